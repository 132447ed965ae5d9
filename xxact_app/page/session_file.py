"""Session files: settings and loaded files in one archive, written here and validated when read."""

from __future__ import annotations

import io
import json
import logging
import re
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from xxact_app.library.models import former_run_to_key
from xxact_app.samples.processing_steps import steps_to_pipeline
from xxact_app.samples.store import Store
from xxact_app.session.sample_choices import SAMPLE_FIELDS
from xxact_app.session.session import FORMER_SCREENS, Session
from xxact_app.ui.file_drop import LARGEST_FILE
from xxact_app.ui.safe_text import safe_text
from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.errors import InputError, PatternError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.processing.steps import update_step
from xxact_core.readers.content import read_members

logger = logging.getLogger(__name__)

ENDING = ".xxact"
FORMAT, VERSION = "XxaCT session", 2
"""Version of the format; increase it when the meaning of a setting changes. Files of later versions are refused.

Version 1 (XxaCT 0.1.0) had a dictionary by pattern for each kind of setting; see `_from_version_1`.
"""

LARGEST_CONTENT = LARGEST_FILE - 4 * 2**20
"""Largest total size of the loaded files [bytes], so that the session file itself can be uploaded."""

MOST_FILES = 2000
_CHOICES = "session.json"
_KEY = re.compile(r"[a-z]{0,8}-?[0-9a-f]{16}(-[0-9]{1,9})?")
_LONGEST_TEXT = 1000
_NOT_SAVED = frozenset({"name", "dark", "editing", "dismissed"})
"""Settings of the visit, which are not saved."""


class SessionFileError(InputError):
    """A session file that cannot be restored (E_SESSION)."""


class DroppedFile(Protocol):
    """A file of a session: its key in the settings, its original name, its bytes."""

    @property
    def key(self) -> str:
        """Key in the settings."""

    @property
    def file(self) -> str:
        """Original name."""

    @property
    def content(self) -> bytes:
        """The bytes."""


@dataclass(frozen=True)
class SavedFile:
    """A dropped file in a session file: its key in the choices, its original name, its bytes."""

    key: str
    name: str
    content: bytes


@dataclass(frozen=True)
class SavedSession:
    """What a session file holds, its form checked; `unknown` are choices that this version does not have."""

    choices: dict[str, Any]
    files: tuple[SavedFile, ...]
    unknown: tuple[str, ...]


def session_to_file(session: Session, store: Store) -> bytes:
    """The session as a zip file; members are not packed, so that writing is quick and reading needs no trust in sizes.

    Raises:
        SessionFileError: the dropped files are more than `LARGEST_CONTENT` together.
    """
    dropped = dropped_files(store)
    size = sum(len(file.content) for file in dropped)
    if size > LARGEST_CONTENT:
        msg = f"the files of this session have {size / 2**20:.0f} MB in total, a session file holds at most "
        msg += f"{LARGEST_CONTENT // 2**20} MB: remove some patterns and save again"
        raise SessionFileError(msg, code="E_SESSION")
    members = {f"files/{number:04}": file for number, file in enumerate(dropped)}
    content = session_to_content(session, members.items())
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_CHOICES, json.dumps(content, indent=1))
        for name, held in members.items():
            archive.writestr(name, held.content)
    return file.getvalue()


def dropped_files(store: Store) -> list[DroppedFile]:
    """The files of a session: patterns, then reference structures."""
    return [*store.samples.values(), *store.references.values()]


def session_to_content(session: Session, copies: Iterable[tuple[str, DroppedFile]]) -> dict[str, Any]:
    """Settings of a session and list of its files as plain values; `copies` has the name of the copy of each file."""
    choices = session.to_dict()
    return {
        "format": FORMAT,
        "version": VERSION,
        "choices": {name: value for name, value in choices.items() if name not in _NOT_SAVED},
        "files": [{"key": held.key, "name": held.file, "member": name} for name, held in copies],
    }


def is_session_file(name: str, content: bytes) -> bool:
    """Whether a dropped file is a saved session, by its ending or by its first member."""
    return name.lower().endswith(ENDING) or (content[30:42] == _CHOICES.encode() and content.startswith(b"PK"))


def file_to_saved(content: bytes, *, name: str) -> SavedSession:
    """What a session file holds.

    Raises:
        SessionFileError: it is damaged, of a later version, or no session file; or the archive is one that
            `read_members` refuses.
    """
    name = safe_text(name)
    try:
        members = read_members(content, name=name, archives_inside=True)
        contents = json.loads(members.get(_CHOICES, b""))
    except PatternError as error:
        msg = f"{error}. Nothing was changed."
        raise SessionFileError(msg, code=error.code) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(name, "its settings cannot be read") from error
    return content_to_saved(contents, members, name=name)


def content_to_saved(contents: Any, members: Mapping[str, bytes], *, name: str) -> SavedSession:  # noqa: ANN401 - any value of JSON
    """What the plain values of `session_to_content` and the files by name of their copy say.

    Raises:
        SessionFileError: they are damaged, or of a later version.
    """
    try:
        _check_version(contents, name=name)
        choices = dict(contents["choices"])
        saved = tuple(
            SavedFile(str(file["key"]), str(file["name"]), members[file["member"]])
            for file in contents["files"][: MOST_FILES + 1]
        )
    except SessionFileError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(name, "its settings cannot be read") from error
    keys = {file.key for file in saved}
    if len(saved) > MOST_FILES:
        raise _damaged(name, f"it holds more than {MOST_FILES} files")
    if len(keys) != len(saved) or not all(map(_KEY.fullmatch, keys)):
        raise _damaged(name, "the keys of its files are missing or not unique")
    try:
        if contents["version"] == 1:
            choices = _from_version_1(choices)
        choices, unknown = _known(choices)
        _check_choices(choices)
    except (InputError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(name, "one of its settings has an invalid value") from error
    return SavedSession(choices, saved, unknown)


def _check_version(contents: Any, *, name: str) -> None:  # noqa: ANN401 - any value of JSON
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise _damaged(name, "it is not a session of XxaCT")
    version = contents.get("version")
    if type(version) is not int or version > VERSION:
        msg = f"{name}: this session was saved by a newer version of XxaCT (format {shorten(version)}, supported up to "
        msg += f"{VERSION}): update XxaCT to open it. Nothing was changed."
        raise SessionFileError(msg, code="E_SESSION")


def restore_session(saved: SavedSession, session: Session, store: Store, *, name: str) -> Generator[int, None, None]:
    """Replace choices and files by those of a saved session; files that cannot be read become problems of the store.

    Yields how many files are read. The session changes only after the last one, so that stopping changes nothing.

    Raises:
        SessionFileError: the choices do not fit together; the session is as it was before.
    """
    renamed: dict[str, str] = {}
    for number, file in enumerate(saved.files, start=1):
        taken = {store.read[key].name for key in renamed.values()}
        for key in store.read_files([(file.name, file.content)], taken=taken):
            renamed[file.key] = key
        yield number
    before = {key: getattr(session, key) for key in session.param if key != "name"}
    restored = Session.from_dict(_rename(saved.choices, renamed))
    named = {*restored.files, *(file.key for file in saved.files)}
    restored.remove(sorted(named - set(renamed.values())))
    values = {key: getattr(restored, key) for key in restored.param if key not in _NOT_SAVED}
    try:
        # The samples come first, so that they are there before anything that names them is drawn.
        session.param.update(**{"samples": values.pop("samples"), **values})
    except Exception as error:
        logger.exception("the screens could not show a restored session")
        session.param.update(**before)
        raise _damaged(safe_text(name), "its settings are inconsistent") from error
    if saved.unknown:
        left_out = ", ".join(saved.unknown[:10])
        store.add_problem(f"{safe_text(name)}: settings unknown to this version were ignored: {left_out}")


def _rename(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - any value of JSON
    """The value with the keys of the saved files as those they have in this visit, wherever they occur."""
    if isinstance(value, dict):
        return {names.get(key, key): _rename(held, names) for key, held in value.items()}
    if isinstance(value, list):
        return [_rename(held, names) for held in value]
    return names.get(value, value) if isinstance(value, str) else value


def _from_version_1(choices: dict[str, Any]) -> dict[str, Any]:
    """Choices as this version has them, from those of XxaCT 0.1.0: a dictionary by pattern for each kind of choice."""
    files, hidden = choices.pop("files", []), choices.pop("hidden", [])
    if not isinstance(files, list):
        msg = f"expected a list of files, not {shorten(files)}"
        raise TypeError(msg)
    former = {"wavelengths": "wavelength", "formulas": "formula", "scans": "scan", "masked": "masked"}
    by_field = {field: choices.pop(name, {}) for name, field in {**former, "neighbours": "phase"}.items()}
    choices["draft_formula"] = by_field["formula"].get("", "")
    choices["samples"] = {
        key: {"visible": key not in hidden, "masked": []}
        | {field: held[key] for field, held in by_field.items() if key in held}
        for key in files
    }
    if "model" in choices:
        choices["model"] = former_run_to_key(str(choices["model"]))
    if not choices.get("reconstruction_model"):
        choices.pop("reconstruction_model", None)
    return choices


def _known(choices: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The choices that this version has, and safe names of the others."""
    known = set(Session.param) - _NOT_SAVED
    unknown = {key for key in choices if key not in known}
    choices = {key: value for key, value in choices.items() if key in known}
    if "screen" in choices:
        choices["screen"] = FORMER_SCREENS.get(choices["screen"], choices["screen"])
    if "samples" in choices:
        records = choices["samples"].items()
        unknown |= {field for _, record in records for field in record if field not in SAMPLE_FIELDS}
        choices["samples"] = {
            key: {field: value for field, value in record.items() if field in SAMPLE_FIELDS} for key, record in records
        }
    if isinstance(choices.get("steps"), list):
        choices["steps"] = [update_step(step) if isinstance(step, dict) else step for step in choices["steps"]]
    return choices, tuple(safe_text(key, limit=40) for key in sorted(unknown))


def _is_wavelength(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(parse_wavelength(value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _is_scan(value: object) -> bool:
    return value in {"sum", "join"} or (type(value) is int and value >= 0)


def _are_windows(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < GRID.windows for number in value)


def _are_steps(value: object) -> bool:
    return isinstance(value, list) and bool(steps_to_pipeline(value))


def _are_symbols(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(symbol, str) and symbol in ATOMIC_NUMBERS for symbol in value)


_HELD: dict[str, Callable[[object], bool]] = {
    "visible": lambda value: isinstance(value, bool),
    "wavelength": _is_wavelength,
    "formula": _is_text,
    "scan": _is_scan,
    "masked": _are_windows,
    "own_steps": _are_steps,
    "phase": _is_text,
    "may": _are_symbols,
    "one_of": _are_symbols,
    "never": _are_symbols,
    "label": _is_text,
    "use_guess": lambda value: isinstance(value, bool),
}
"""Type check of each field of the record of a pattern."""


def _check_choices(choices: dict[str, Any]) -> None:
    """Refuse values that choices cannot have.

    Raises:
        InputError: the steps cannot be done, or there is no such wavelength.
        ValueError: another value is none of its choice.
        TypeError: a value is of another type.
    """
    for record in choices.get("samples", {}).values():
        wrong = [field for field, value in record.items() if not _HELD[field](value)]
        if wrong:
            msg = f"expected another value of {wrong[0]}"
            raise ValueError(msg)
    if not _is_text(choices.get("draft_formula", "")):
        msg = "expected a shorter formula"
        raise ValueError(msg)
    steps_to_pipeline(Session.from_dict(choices).steps)


def _damaged(name: str, reason: str) -> SessionFileError:
    msg = f"{name}: this session cannot be restored: {reason}. Nothing was changed."
    return SessionFileError(msg, code="E_SESSION")
