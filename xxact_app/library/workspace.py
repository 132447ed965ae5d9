"""The workspace: the one folder that the app writes to, and the folders that it may read structures from."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from xxact_core.errors import InputError, shorten

logger = logging.getLogger(__name__)

WORKSPACE_VARIABLE = "XXACT_WORKSPACE"
SOURCES_VARIABLE = "XXACT_SOURCES"
"""Environment variables: the workspace, and further folders that may be read, separated as in PATH."""

_CHECKED_SECONDS = 2.0
"""Time for which the default workspace counts as one that can be written [s]."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class WorkspaceError(InputError):
    """A folder that may not be read, or a workspace that cannot be written (E_WORKSPACE)."""


@dataclass(frozen=True)
class Workspace:
    """The folder of datasets, runs, jobs and uploads; `sources` are further folders, read only."""

    root: Path
    sources: tuple[Path, ...] = ()

    @property
    def datasets(self) -> Path:
        """Datasets, one folder each."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """Run folders of trainings, of the app or the command line."""
        return self.root / "runs"

    @property
    def jobs(self) -> Path:
        """Records of jobs, one folder each."""
        return self.root / "jobs"

    @property
    def uploads(self) -> Path:
        """Uploaded structures, by digest."""
        return self.root / "uploads"

    @property
    def sessions(self) -> Path:
        """Sessions saved while people work, one folder for each visitor."""
        return self.root / "sessions"

    @property
    def parts(self) -> tuple[Path, ...]:
        """All of these folders."""
        return (self.datasets, self.runs, self.jobs, self.uploads, self.sessions)

    @property
    def readable(self) -> tuple[Path, ...]:
        """The folders that may be read."""
        return (self.root, *self.sources)

    def readable_path(self, text: str) -> Path:
        """The file or folder of a path; relative paths are in the workspace, links are resolved before the check.

        Raises:
            WorkspaceError: it is a URL, outside the folders that may be read, not there, or holds a link that leads out
                of them.
        """
        from xxact_core.dataset.shard_cache import to_url  # noqa: PLC0415 - HDF5, which most users of this module do without

        if to_url(text.strip()) is not None:
            msg = f"{shorten(text)!r} is a URL, and this server fetches nothing; name a folder on it, or use the URL "
            msg += "with the command line"
            raise WorkspaceError(msg, code="E_WORKSPACE")
        try:
            path = (self.root / text.strip()).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            msg = f"{shorten(text)!r} is not a valid path"
            raise WorkspaceError(msg, code="E_WORKSPACE") from error
        if not text.strip() or not self._is_inside(path):
            folders = ", ".join(str(folder) for folder in self.readable)
            msg = f"{shorten(text)!r} is not in a folder that this server may read: {folders}. "
            msg += "To allow another folder, start the server with xxact app --source FOLDER."
            raise WorkspaceError(msg, code="E_WORKSPACE")
        if not path.exists():
            msg = f"there is no {shorten(text)!r} on this server"
            raise WorkspaceError(msg, code="E_WORKSPACE")
        for link in _links_below(path):
            if not self._is_inside(link.resolve()):
                msg = f"{shorten(link)} is a link that leads out of the folders that this server may read"
                raise WorkspaceError(msg, code="E_WORKSPACE")
        return path

    def holds(self, path: Path) -> bool:
        """Whether a file or folder and all targets of links in it are in the folders that may be read."""
        return all(self._is_inside(place.resolve()) for place in (path, *_links_below(path)))

    def _is_inside(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.readable)


_opened: dict[tuple[str, str], tuple[Workspace, float]] = {}


def open_workspace(root: Path | None = None, *, sources: tuple[Path, ...] | None = None) -> Workspace:
    """The workspace, created where it is missing; by default that of the environment, else the user data folder.

    Whether it can be written is checked again after `_CHECKED_SECONDS`, since one action asks for it many times.

    Raises:
        WorkspaceError: it cannot be written.
    """
    if root is not None or sources is not None:
        return _open(root or _default_root(), sources)
    asked = (_default_root(), os.environ.get(SOURCES_VARIABLE, ""))
    workspace, checked = _opened.get(asked, (None, 0.0))
    if workspace is None or time.monotonic() - checked > _CHECKED_SECONDS or not all(map(Path.is_dir, workspace.parts)):
        workspace = _open(asked[0], None)
        _opened.clear()
        _opened[asked] = workspace, time.monotonic()
    return workspace


def _default_root() -> str:
    return os.environ.get(WORKSPACE_VARIABLE) or str(platformdirs.user_data_path("xxact", appauthor=False))


def _open(chosen: Path | str, sources: tuple[Path, ...] | None) -> Workspace:
    allowed = os.environ.get(SOURCES_VARIABLE, "").split(os.pathsep) if sources is None else sources
    try:
        folder = Path(chosen).expanduser().resolve()
        workspace = Workspace(folder, tuple(Path(source).expanduser().resolve() for source in allowed if str(source)))
        for part in workspace.parts:
            part.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=part):  # a read-only disk lets an existing folder pass
                pass
    except (OSError, RuntimeError) as error:
        msg = f"the workspace {chosen} cannot be written ({shorten(error)}): use another one, xxact app --workspace DIR"
        raise WorkspaceError(msg, code="E_WORKSPACE") from error
    return workspace


def private_folder(folder: Path) -> Path:
    """A folder of the workspace that only this user can read, created where it is missing."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name == "posix" and folder.stat().st_mode & 0o077:  # of an earlier version
        folder.chmod(0o700)
    return folder


def check_name(text: str, *, parent: Path) -> str:
    """Check a name for a new folder in `parent`, and return it without surrounding spaces.

    Raises:
        WorkspaceError: the name is not a portable folder name, or is in use (in any case).
    """
    name = text.strip()
    if not _NAME.fullmatch(name) or name.endswith((".", ".part")):
        msg = f"the name {shorten(name)!r} cannot be a folder name: use up to 60 letters, digits, dots, - and _"
        raise WorkspaceError(msg, code="E_WORKSPACE")
    if name.casefold() in {path.name.casefold() for path in parent.iterdir()}:
        msg = f"the name {name!r} is already in use: choose another one"
        raise WorkspaceError(msg, code="E_WORKSPACE")
    return name


def free_name(start: str, *, parent: Path) -> str:
    """A name that is not in use: `start`, with a number appended where needed."""
    taken = {path.name.casefold() for path in parent.iterdir()}
    bare = re.sub(r"[^A-Za-z0-9._-]+", "-", start).strip("-._")[:50] or "unnamed"
    number = 1
    while (name := bare if number == 1 else f"{bare}-{number}").casefold() in taken:
        number += 1
    return name


def own_folders(parent: Path) -> Iterator[Path]:
    """Folders in a folder of the workspace in alphabetical order, without hidden ones, links and unreadable ones."""
    try:
        paths = sorted(parent.iterdir())
    except OSError as error:
        logger.warning("%s cannot be listed: %s", parent, error)
        return
    for path in paths:
        shown = not path.name.startswith(".") and not path.is_symlink() and path.is_dir()
        if shown and os.access(path, os.R_OK | os.X_OK):
            yield path


def _links_below(path: Path) -> Iterator[Path]:
    """Symbolic links in a folder at any depth."""
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (link := Path(folder, name)).is_symlink():
                yield link
