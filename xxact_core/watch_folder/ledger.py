"""The record of answered files: every file is answered once, also over restarts, power failures and lost connections.

The JSON of an answer is written last, and states which file it is of; with it, the file counts as answered. The ledger
repeats that in one line each, so that a start need not read all answers. An answer without a line, as after a crash
between the two, is entered at the next start; where the whole ledger is lost, all answers are, without messages.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from xxact_core.errors import InputError, shorten
from xxact_core.reports.files import write_atomically

STATE = ".xxact-watch"
"""Folder with the ledger in the output folder."""

LEDGER = "answered.jsonl"
"""Name of the ledger."""

FIRST_LINE = {"ledger": 1}
"""First line of a ledger, without which it was deleted since, or cut off."""

KEY = "watched"
"""Key of the JSON of an answer under which the file is described."""

TABLE = "answers.csv"
"""Name of the table with a row for each answer, which no answer may have."""


def printable(file: str) -> str:
    """A file name with � for bytes that are no text."""
    return os.fsencode(file).decode("utf-8", "replace")


@dataclass(frozen=True)
class FileState:
    """Size and time of change of a file, by which a change is noticed without reading it."""

    size: int
    """Size [bytes]."""
    mtime_ns: int
    """Time of the last change [ns]."""

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """From the status of a file."""
        return cls(size=status.st_size, mtime_ns=status.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class AnsweredFile:
    """One version of a file that has an answer."""

    file: str
    """Path relative to the watched folder, with `/`."""
    size: int
    """Size [bytes]."""
    mtime_ns: int
    """Time of the last change [ns]."""
    sha256: str
    """SHA-256 of the content; empty where the file could not be opened."""
    version: int
    """Number of the version, from 1."""
    base: str
    """Path of the answer relative to the output folder, without the ending of each of its files."""
    status: str
    """`ok`, or `error` where the file could not be analysed."""
    sentence: str
    """The result or the error in a sentence."""
    verdict: str = ""
    """`single`, `mixture`, `no match`; empty for an error."""
    phases: tuple[tuple[str, int], ...] = ()
    """Formula and space group (0 where unknown) of every phase."""
    code: str = ""
    """Code of the error."""
    answered_at: str = ""
    """Time of the answer."""

    @property
    def state(self) -> FileState:
        """Size and time of change."""
        return FileState(self.size, self.mtime_ns)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AnsweredFile:
        """From plain values; `TypeError`, `KeyError` or `ValueError` where they are others."""
        phases = tuple((str(formula), int(group)) for formula, group in values.get("phases", ()))
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known} | {"phases": phases})


@dataclass(eq=False)
class Ledger:
    """The answered files of an output folder; only one process at a time may have it open, see `OutputLock`."""

    output: Path
    """The output folder."""
    answered: dict[str, AnsweredFile] = field(default_factory=dict)
    """Newest version of every file, by `AnsweredFile.file`."""
    answers: dict[str, AnsweredFile] = field(default_factory=dict)
    """All versions of all files, by `AnsweredFile.base` in lower case."""
    pending: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Messages that have not been delivered yet, by id."""
    phases: set[tuple[str, int]] = field(default_factory=set)
    """All phases found so far."""
    unentered: list[AnsweredFile] = field(default_factory=list)
    """Answers that have no line, as after a crash between the two; the caller enters them by `add`."""
    lost: bool = False
    """Whether there was no ledger, so that nothing is known of the messages of the answers."""
    _unwritten: list[Mapping[str, Any]] = field(default_factory=list)
    """Entries that could not be written yet."""

    @classmethod
    def open(cls, output: Path) -> Ledger:
        """Read the ledger of an output folder, and find the answers that it lacks.

        Raises:
            OSError: the folder cannot be read or written.
        """
        ledger = cls(output)
        (output / STATE).mkdir(parents=True, exist_ok=True)
        path = output / STATE / LEDGER
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        ledger.lost = lines[:1] != [json.dumps(FIRST_LINE)]
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):  # cut off by a power failure
                ledger._apply(json.loads(line))
        known = {(one.file, one.version) for one in ledger.answers.values()}
        for base, path in _answers(output, known=ledger.answers):
            with suppress(ValueError, TypeError, KeyError):  # JSON of something else
                found = AnsweredFile.from_dict({**json.loads(path.read_bytes())[KEY], "base": base})
                if (found.file, found.version) not in known:  # not a copy that somebody made
                    ledger.unentered.append(found)
        ledger.compact()
        return ledger

    def compact(self) -> None:
        """Write the ledger anew: one line for every answer and for every message that is not delivered yet."""
        entries = [{"answer": asdict(one)} for one in self.answers.values()]
        messages = [{"message": message} for message in self.pending.values()]
        text = "".join(json.dumps(entry) + "\n" for entry in (FIRST_LINE, *entries, *messages))
        write_atomically(self.output / STATE / LEDGER, text.encode())
        self._unwritten = []

    def add(self, answer: AnsweredFile, messages: Sequence[Mapping[str, Any]] = ()) -> None:
        """Enter an answer with the messages that it gives rise to.

        Raises:
            OSError: the ledger cannot be written; the answer is entered in memory, and written with the next one.
        """
        entries: list[dict[str, Any]] = [{"message": dict(message)} for message in messages]
        entries.append({"answer": asdict(answer)})
        for entry in entries:
            self._apply(entry)
        self._append(entries)

    def delivered(self, identifier: str, *, outcome: str) -> None:
        """Enter that a message was delivered, or given up; raises as `add`."""
        entry = {"delivered": identifier, "outcome": outcome}
        self._apply(entry)
        self._append([entry])

    def version_of(self, file: str) -> int:
        """Number of the next version of a file."""
        known = self.answered.get(file)
        return 1 if known is None else known.version + 1

    def free_base(self, base: str, version: int) -> str:
        """A path for the next answer of a file that no other answer has; it differs also where case does not count."""
        candidate = base if version == 1 else f"{base}.v{version}"
        while candidate.lower() in self.answers or candidate.lower() == TABLE.removesuffix(".csv"):
            candidate += f".v{version}" if version > 1 else "-1"
        return candidate

    def _append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        again = "\n" if self._unwritten else ""  # after a line that was cut off
        self._unwritten += entries
        with (self.output / STATE / LEDGER).open("a", encoding="utf-8") as stream:
            stream.write(again + "".join(json.dumps(entry) + "\n" for entry in self._unwritten))
            stream.flush()
            os.fsync(stream.fileno())
        self._unwritten = []

    def _apply(self, entry: Mapping[str, Any]) -> None:
        if "answer" in entry:
            answer = AnsweredFile.from_dict(entry["answer"])
            known = self.answered.get(answer.file)
            if known is None or known.version <= answer.version:
                self.answered[answer.file] = answer
            self.answers[answer.base.lower()] = answer
            self.phases.update(answer.phases)
        elif "message" in entry:
            self.pending[str(entry["message"]["id"])] = dict(entry["message"])
        elif "delivered" in entry:
            self.pending.pop(str(entry["delivered"]), None)


def _answers(output: Path, *, known: Container[str]) -> Iterator[tuple[str, Path]]:
    """Base and path of every JSON in the output folder whose base is not known."""
    for folder, folders, files in os.walk(output):
        folders[:] = sorted(name for name in folders if name != STATE)
        for name in sorted(files):
            if not name.endswith(".json") or name.startswith("."):
                continue
            path = Path(folder, name)
            base = path.relative_to(output).as_posix().removesuffix(".json")
            if base.lower() not in known:
                yield base, path


class OutputLock:
    """Keeps a second watcher out of an output folder; the system releases it when the process ends, however it ends.

    Raises:
        InputError: another process watches for this output folder (E_WATCH).
    """

    def __init__(self, output: Path) -> None:
        """Lock the folder."""
        path = output / STATE / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("a+b")
        try:
            _lock(self._file)
        except BlockingIOError as error:
            self._file.close()
            msg = f"{shorten(output)}: another `xxact watch` writes to this folder; end it, or choose another --output"
            raise InputError(msg, code="E_WATCH") from error
        except OSError:  # a network drive without locks: there is nothing to rely on
            pass

    def release(self) -> None:
        """Release it."""
        self._file.close()


def _lock(file: IO[bytes]) -> None:
    """Lock a file without waiting; `BlockingIOError` where another process has locked it."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - not on every system

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
    else:
        import fcntl  # noqa: PLC0415 - not on every system

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
