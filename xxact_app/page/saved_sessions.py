"""Sessions on disk, saved while people work, so that a reload, a crash or a closed tab loses nothing.

Each visitor has a folder, named by a digest of the random key that the browser keeps and, where people log in, of their
name. In it are one JSON file for each browser tab and the dropped files by digest, which the tabs share. Everything is
written under another name and then renamed, so that a crash leaves the previous state. Only the user who runs the
server can open the folders.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from xxact_app.page.session_file import MOST_FILES, SavedSession, SessionFileError, content_to_saved
from xxact_core.dataset.store import write_json
from xxact_core.errors import InputError, shorten

logger = logging.getLogger(__name__)

LARGEST_VISITOR, LARGEST_TOTAL = 2**30, 4 * 2**30
"""Largest size of the saved sessions of one visitor, and of all [bytes]; the oldest ones are removed beyond it."""

MOST_TABS = 20
"""Number of sessions kept for each visitor."""

LONGEST_DAYS = 30.0
"""Age at which a session that was not changed any more is removed [days]."""

LEAST_FREE = 256 * 2**20
"""Disk space that saving leaves free [bytes]."""

_SECRET = re.compile(r"[0-9a-f]{32,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAY = 86400.0
_LOCK_SECONDS = 10.0
_NAME = "the saved session"


class SavingError(InputError):
    """A session that cannot be saved (E_SAVING)."""


@dataclass(frozen=True)
class SavedTab:
    """A saved session of a visitor."""

    tab: str
    """Id of the browser tab."""
    when: float
    """Time of the last change [s since 1970]."""
    files: int
    """Number of its files."""
    offered: bool = True
    """Whether a new tab offers to continue it."""


def is_secret(text: object) -> bool:
    """Whether a text has the form of the random keys that browsers make: 32 to 64 hexadecimal digits."""
    return isinstance(text, str) and _SECRET.fullmatch(text) is not None


class SavedSessions:
    """The saved sessions of one visitor.

    Args:
        root: folder of all visitors.
        key: random key of the browser.
        user: name of the visitor, empty where nobody logs in. Another user of the same browser finds nothing.

    Raises:
        SavingError: the key is none of a browser.
    """

    def __init__(self, root: Path, *, key: str, user: str = "") -> None:
        if not is_secret(key):
            msg = "expected 32 to 64 hexadecimal digits as the key of a browser"
            raise SavingError(msg, code="E_SAVING")
        self.root = root
        self.folder = root / hashlib.sha256(f"{user}\0{key}".encode()).hexdigest()
        self._files = self.folder / "files"

    # -------------------------------------------------------------------------------------------------------- queries
    def tabs(self) -> list[SavedTab]:
        """The saved sessions, the latest first."""
        found = [tab for path in self._records() if (tab := _read_tab(path)) is not None]
        return sorted(found, key=lambda tab: -tab.when)

    def load(self, tab: str) -> tuple[SavedSession, int] | None:
        """A saved session, without the files whose copies are damaged, and how many these are; None where it is gone.

        Raises:
            SessionFileError: it is damaged.
        """
        try:
            content = json.loads(self._path(tab).read_text(encoding="utf-8"))
            listed = content["files"][:MOST_FILES]
            copies = {str(file["member"]): self._read_copy(str(file["member"])) for file in listed}
            there = [file for file in listed if copies[str(file["member"])] is not None]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            msg = f"{_NAME} cannot be read: {shorten(error)}"
            raise SessionFileError(msg, code="E_SESSION") from error
        members = {name: copy for name, copy in copies.items() if copy is not None}
        return content_to_saved({**content, "files": there}, members, name=_NAME), len(listed) - len(there)

    def _read_copy(self, digest: str) -> bytes | None:
        """The copy of a file; None where it is missing or differs from what was saved."""
        if not _DIGEST.fullmatch(digest):
            return None
        try:
            content = (self._files / digest).read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() != digest:
            logger.warning("the copy %s of a dropped file is damaged", self._files / digest)
            return None
        return content

    # -------------------------------------------------------------------------------------------------------- actions
    def save(self, tab: str, content: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Replace the saved session of a tab.

        Args:
            tab: id of the tab.
            content: as of `session_to_content`; the members are the digests of the files.
            files: by digest.

        Raises:
            SavingError: the disk is full or read-only, or the files exceed the limit.
        """
        size = sum(map(len, files.values()))
        if size > LARGEST_VISITOR:
            msg = f"the files have {size / 2**20:.0f} MB, at most {LARGEST_VISITOR // 2**20} MB are saved"
            raise SavingError(msg, code="E_SAVING")
        path = self._path(tab)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._files.mkdir(exist_ok=True)
            with self._locked():
                new = {digest: held for digest, held in files.items() if not (self._files / digest).is_file()}
                self._check_disk(sum(map(len, new.values())))
                for digest, held in new.items():
                    _write(self._files / digest, held)
                first = not path.is_file()
                write_json(path, {**content, "saved": time.time(), "offered": True})
                self._tidy(keep=tab)
            if new or first:
                remove_old(self.root, keep=self.folder)
        except OSError as error:
            msg = f"the workspace cannot be written ({shorten(error)})"
            raise SavingError(msg, code="E_SAVING") from error

    def decline(self, tab: str) -> None:
        """Offer a saved session to new tabs no more, until it changes."""
        path = self._path(tab)
        try:
            with self._locked():  # its tab may be open still, and save
                content = json.loads(path.read_text(encoding="utf-8"))
                write_json(path, {**content, "offered": False})
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be changed: %s", path, error)

    # ------------------------------------------------------------------------------------------------- implementation
    def _path(self, tab: str) -> Path:
        if not is_secret(tab):
            msg = "expected 32 to 64 hexadecimal digits as the id of a tab"
            raise SavingError(msg, code="E_SAVING")
        return self.folder / f"{tab}.json"

    def _records(self) -> list[Path]:
        return [path for path in self.folder.glob("*.json") if is_secret(path.stem)]

    def _locked(self) -> FileLock:
        return FileLock(self.folder / "lock", timeout=_LOCK_SECONDS)

    def _check_disk(self, size: int) -> None:
        if size and shutil.disk_usage(self.folder).free - size < LEAST_FREE:
            msg = "the disk of the workspace is full"
            raise SavingError(msg, code="E_SAVING")

    def _tidy(self, *, keep: str) -> None:
        """Remove the oldest sessions beyond the limits, except that of a tab, and files that none needs any more."""
        sizes = {path.name: path.stat().st_size for path in self._files.iterdir()}
        needed: set[str] = set()
        ordered = sorted(self.tabs(), key=lambda saved: (saved.tab != keep, -saved.when))
        for number, saved in enumerate(ordered):
            wanted = needed | _members(self._path(saved.tab))
            size = sum(sizes.get(name, 0) for name in wanted)
            if saved.tab != keep and (number >= MOST_TABS or size > LARGEST_VISITOR):
                self._path(saved.tab).unlink(missing_ok=True)
            else:
                needed = wanted
        for name in sizes.keys() - needed:
            (self._files / name).unlink(missing_ok=True)


def remove_old(root: Path, *, keep: Path | None = None) -> None:
    """Remove sessions that are too old, and the oldest visitors beyond the limit of all, except one to keep."""
    try:
        folders = [folder for folder in root.iterdir() if _DIGEST.fullmatch(folder.name) and not folder.is_symlink()]
        ages = sorted((_last_change(folder), folder) for folder in folders)
        sizes = {folder: _size(folder) for _, folder in ages}
    except OSError as error:  # another server removes the same
        logger.warning("old sessions in %s cannot be listed: %s", root, error)
        return
    total, now = sum(sizes.values()), time.time()
    for changed, folder in ages:
        if folder != keep and (now - changed > LONGEST_DAYS * _DAY or total > LARGEST_TOTAL):
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]


def _last_change(folder: Path) -> float:
    return max((path.stat().st_mtime for path in (folder, *folder.glob("*.json"))), default=0.0)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _read_tab(path: Path) -> SavedTab | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        offered = content.get("offered", True) is True
        return SavedTab(path.stem, float(content["saved"]), len(content["files"]), offered)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        logger.warning("%s cannot be read: %s", path, error)
        return None


def _members(path: Path) -> set[str]:
    try:
        return {str(file["member"]) for file in json.loads(path.read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
