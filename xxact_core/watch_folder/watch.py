"""Watches a folder: every whole file is answered once, and the answers are committed one by one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError, os_error_to_text, shorten
from xxact_core.reports.analysed_pattern import AnalysisSettings
from xxact_core.reports.files import DRAWN, FORMATS, write_atomically
from xxact_core.reports.records import rows_to_csv
from xxact_core.watch_folder.alerts import AlertSettings, answer_to_messages, open_couriers
from xxact_core.watch_folder.files import PATIENCE, WatchedFiles, WholeFile
from xxact_core.watch_folder.ledger import STATE, TABLE, AnsweredFile, FileState, Ledger, OutputLock, printable
from xxact_core.watch_folder.workers import AnsweringProcesses

DEFAULT_FORMATS = ("json", "html", "png")
"""Files that are written for every measured file where nothing else is chosen."""

UNREADABLE = frozenset({"E_EMPTY", "E_TRUNCATED", "E_FORMAT", "E_VALUES", "E_AXIS", "E_XML", "E_OPEN", "E_LIMIT"})
"""Errors that a file has also while it is still being written; it gets more time before they are its answer."""

_NOT_IN_NAMES = re.compile(r'[<>:"\\|?*\x00-\x1f\x7f\ud800-\udfff]')
"""Characters that names on some drive cannot have, as on one of Windows."""

LONGEST_BASE = 180
"""Longest name of an answer without its ending [bytes]; most file systems allow 255."""

MOST_WORKERS = 2
"""Processes that answer files where nothing else is chosen: each takes about 0.6 GB of memory."""

_LAST_MESSAGES = 15.0
"""Time that messages still waiting have at the end [s]. Ours."""

_BUSY = 0.05
"""Time between two looks at the files that are being answered [s]. Ours."""


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """What is watched, and where answers go.

    Raises:
        InputError: a format is unknown, or a number is out of its range (E_WATCH).
    """

    folder: Path
    """The watched folder."""
    output: Path
    """Folder of the answers; made where it is missing."""
    files: str = "*"
    """Pattern of file names, such as `*.xy`."""
    recursive: bool = False
    """Whether folders in it are watched, too."""
    formats: tuple[str, ...] = DEFAULT_FORMATS
    """Files that are written for every measured file, of `reports.files.FORMATS`; JSON always is."""
    settle: float = 2.0
    """Time for which a file must not change before it counts as whole [s], 0.05-3600."""
    poll: float = 1.0
    """Time between two looks at the folder [s], 0.05-3600."""
    workers: int = 0
    """Number of processes, 1-64; 0 for as many as there are cores, at most `MOST_WORKERS`."""
    once: bool = False
    """Whether to end once every file that is there has an answer."""

    def __post_init__(self) -> None:
        """Check formats and numbers."""
        if wrong := [kind for kind in self.formats if kind not in FORMATS]:
            msg = f"--format {shorten(wrong[0], limit=40)!r}: expected one of {', '.join(FORMATS)}"
            raise InputError(msg, code="E_WATCH")
        for name in ("settle", "poll"):
            value = getattr(self, name)
            if not 0.05 <= value <= 3600:  # noqa: PLR2004 - the range that is documented
                msg = f"--{name} {value:g}: expected 0.05 to 3600 s"
                raise InputError(msg, code="E_WATCH")
        if not 0 <= self.workers <= 64:  # noqa: PLR2004 - likewise
            msg = f"--workers {self.workers}: expected 1 to 64"
            raise InputError(msg, code="E_WATCH")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The formats with JSON, each once."""
        return tuple(dict.fromkeys((*self.formats, "json")))

    @property
    def processes(self) -> int:
        """Number of processes."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.workers or min(MOST_WORKERS, cores)


@dataclass
class _Underway:
    """A file that is being answered."""

    file: WholeFile
    version: int
    number: int
    result: Future[dict[str, Any]]


class FolderWatch:
    """A watched folder with its answers.

    `run` answers files until `stop` is called. A folder or disk that vanishes is waited for; nothing is lost by that.
    """

    def __init__(
        self,
        settings: WatchSettings,
        analysis: AnalysisSettings,
        alerts: AlertSettings | None = None,
        *,
        tell: Callable[[str], object] = lambda _note: None,
        answered: Callable[[AnsweredFile, float], object] = lambda _answer, _seconds: None,
    ) -> None:
        """Watch as `settings` say.

        Args:
            settings: what is watched, and where answers go.
            analysis: what is known of the specimens.
            alerts: where messages go, and what they are about; nowhere where it is not given.
            tell: takes notes for the user.
            answered: takes every answer, with the time that it took [s].

        Raises:
            InputError: the folder is missing, or the output folder is the same (E_WATCH).
            ModuleNotFoundError: matplotlib is not installed, for formats with a plot.
        """
        self.settings, self.analysis, self.alerts = settings, analysis, alerts or AlertSettings()
        self._tell, self._answered = tell, answered
        self._stopped = False
        self._troubles: dict[str, str] = {}
        self._closed: set[Path] = set()
        if not settings.folder.is_dir():
            msg = f"{shorten(settings.folder)}: there is no such folder to watch"
            raise InputError(msg, code="E_WATCH")
        folder, output = settings.folder.resolve(), settings.output.resolve()
        if output == folder or (settings.recursive and folder.is_relative_to(output)):
            msg = f"{shorten(settings.output)}: answers would be watched, too; choose another --output"
            raise InputError(msg, code="E_WATCH")
        if DRAWN & set(settings.kinds):
            import matplotlib.figure  # noqa: F401, PLC0415 - missing libraries are reported before hours of watching

    def stop(self) -> None:
        """End as soon as possible; files that are being answered are answered by the next start."""
        self._stopped = True

    def run(self) -> None:
        """Answer files until `stop` is called, or with `once` until all are answered.

        Raises:
            InputError: another process writes to the output folder (E_WATCH), or tables or model cannot be loaded.
            OSError: the output folder cannot be made or written at the start.
        """
        self.settings.output.mkdir(parents=True, exist_ok=True)
        self._lock = OutputLock(self.settings.output)
        try:
            self._ledger = Ledger.open(self.settings.output)
            self._parts = _new_parts(self.settings.output)
            self._couriers = open_couriers(self.alerts)
            for message in list(self._ledger.pending.values()):
                self._send(message)
            self._enter_unentered()
            self._write_table()
            with _processes(self.analysis, self.settings) as processes:
                self._watch(processes)
            for courier in self._couriers.values():
                courier.close(seconds=_LAST_MESSAGES if self.settings.once else 1.0)
            self._note_messages()
        finally:
            self._lock.release()
            shutil.rmtree(getattr(self, "_parts", ""), ignore_errors=True)

    # --------------------------------------------------------------------------------------------------------- the loop
    def _watch(self, processes: AnsweringProcesses) -> None:
        watched = WatchedFiles(
            self.settings.folder,
            pattern=self.settings.files,
            recursive=self.settings.recursive,
            settle=self.settings.settle,
            leave_out=self.settings.output,
            again=not self.settings.once,
        )
        underway: dict[str, _Underway] = {}
        ready: list[WholeFile] = []
        put_off: dict[str, FileState] = {}
        next_look, number = 0.0, 0
        while not self._stopped:
            now = time.monotonic()
            if now >= next_look:
                looked = self._try("folder", lambda: watched.look(self._ledger))
                ready = [] if looked is None or not self._output_is_there() else looked
                next_look = now + max(self.settings.poll, 5 * (time.monotonic() - now))
                self._note_closed(watched.closed)
            for one in [one for one in underway.values() if one.result.done()]:
                del underway[one.file.file]
                self._finish(one, put_off)
                ready = [file for file in ready if file.file != one.file.file]
                next_look = min(next_look, now + self.settings.poll)
            for started in [one for one in processes.started if one.done()]:
                started.result()  # raises where tables or model cannot be loaded
                processes.started.remove(started)
            for file in list(ready):
                if len(underway) >= 2 * self.settings.processes:
                    break
                ready.remove(file)
                if file.file in underway or not self._may_answer(file, put_off):
                    continue
                number += 1
                underway[file.file] = self._begin(processes, file, number)
            self._note_messages()
            if self.settings.once and not (underway or ready or watched.waiting) and "folder" not in self._troubles:
                return
            time.sleep(_BUSY if underway else min(_BUSY * 4, self.settings.poll))

    def _may_answer(self, file: WholeFile, put_off: dict[str, FileState]) -> bool:
        """Whether a whole file is to be answered now; one that could not be read just before is waited for longer."""
        known = self._ledger.answered.get(file.file)
        if known is not None and known.state == file.state and known.sha256:
            return False
        return put_off.get(file.file) != file.state or file.quiet >= PATIENCE * self.settings.settle

    def _begin(self, processes: AnsweringProcesses, file: WholeFile, number: int) -> _Underway:
        known = self._ledger.answered.get(file.file)
        version = self._ledger.version_of(file.file)
        request = {
            "file": printable(file.file),
            "path": os.fspath(file.path),
            "size": file.state.size,
            "mtime_ns": file.state.mtime_ns,
            "version": version,
            "known_sha256": "" if known is None else known.sha256,
            "parts": os.fspath(self._parts),
            "number": number,
        }
        return _Underway(file, version, number, processes.submit(request))

    def _finish(self, one: _Underway, put_off: dict[str, FileState]) -> None:
        """Commit what was found out about a file."""
        try:
            answer = one.result.result()
        except InputError as error:  # a process could not be started again, because memory is short for instance
            self._trouble("processes", str(error))
            return
        self._troubles.pop("processes", None)
        known = self._ledger.answered.get(one.file.file)
        if answer["state"] == "same" and known is not None:  # only the time of change is another
            same = replace(known, size=one.file.state.size, mtime_ns=one.file.state.mtime_ns)
            self._try("output", lambda: self._ledger.add(same))
        elif answer["state"] == "unwritten":
            self._trouble("output", f"the answer of {shorten(one.file.file)} cannot be written: {answer['error']}")
        elif answer["state"] == "answered" and not self._is_waited_for(one.file, answer["facts"], known):
            base = self._ledger.free_base(_base_of(one.file.file), one.version)
            entry = AnsweredFile.from_dict({**answer["facts"], "file": one.file.file, "base": base})
            if self._try("output", lambda: self._move(entry, one.number, answer["kinds"])) is not None:
                self._try("output", lambda: self._enter(entry))
                self._append_row(entry)
                put_off.pop(one.file.file, None)
                self._answered(entry, float(answer["seconds"]))
        elif answer["state"] == "answered":
            put_off[one.file.file] = one.file.state

    def _is_waited_for(self, file: WholeFile, facts: Mapping[str, Any], known: AnsweredFile | None) -> bool:
        """Whether an answer is no answer yet: the file may still be written, or is still closed to us."""
        closed = known is not None and facts["code"] == known.code == "E_OPEN" and known.state == file.state
        return closed or (facts["code"] in UNREADABLE and file.quiet < PATIENCE * self.settings.settle)

    # ------------------------------------------------------------------------------------------------------- committing
    def _move(self, answer: AnsweredFile, number: int, kinds: list[str]) -> AnsweredFile:
        """Move the files of an answer to the output folder, its JSON last, with which it counts."""
        target = self.settings.output / answer.base
        if not self.settings.output.is_dir():  # never made anew: it may be on a drive that will come back
            raise FileNotFoundError(2, "there is no such folder", os.fspath(self.settings.output))
        target.parent.mkdir(parents=True, exist_ok=True)
        for kind in sorted(kinds, key=lambda kind: kind == "json"):
            (self._parts / f"{number}.{kind}").replace(target.with_name(f"{target.name}.{kind}"))
        _sync_folder(target.parent)
        return answer

    def _enter(self, answer: AnsweredFile) -> None:
        """Enter an answer in the ledger with its messages, and send these, even where the ledger cannot be written."""
        json_file = os.fspath((self.settings.output / f"{answer.base}.json").resolve())
        messages = answer_to_messages(answer, self.alerts, phases=self._ledger.phases, json_file=json_file)
        try:
            self._ledger.add(answer, messages)
        finally:
            for message in messages:
                self._send(message)

    def _enter_unentered(self) -> None:
        """Enter answers that the ledger lacks; of those from before a loss of the ledger nothing is sent (again)."""
        found, lost = self._ledger.unentered, self._ledger.lost
        if found and lost:
            place = shorten(self.settings.output / STATE)
            note = f"the list of answered files in {place} is gone; it is made anew from the {len(found)} answers that "
            note += "are there. No messages are sent about them"
            self._tell(note)
        for answer in found:
            if lost:
                self._ledger.add(answer)
            else:
                self._enter(answer)

    def _send(self, message: Mapping[str, Any]) -> None:
        courier = self._couriers.get(str(message.get("way")))
        if courier is not None:
            courier.send(message)

    def _note_messages(self) -> None:
        for courier in self._couriers.values():
            while not courier.outcomes.empty():
                identifier, outcome = courier.outcomes.get()
                self._try("output", lambda: self._ledger.delivered(identifier, outcome=outcome))  # noqa: B023 - at once
            while not courier.troubles.empty():
                self._tell(courier.troubles.get())

    def _write_table(self) -> None:
        rows = [_row(one) for one in self._ledger.answers.values()]
        with suppress(OSError):  # the answers themselves count
            write_atomically(self.settings.output / TABLE, rows_to_csv(rows).encode("utf-8", "replace"))

    def _append_row(self, answer: AnsweredFile) -> None:
        path = self.settings.output / TABLE
        with suppress(OSError):  # likewise
            new = not path.is_file() or path.stat().st_size == 0
            with path.open("ab") as file:
                file.write(rows_to_csv([_row(answer)], header=new).encode("utf-8", "replace"))

    # --------------------------------------------------------------------------------------------------------- troubles
    def _try(self, what: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the work returns
        """The result of some work; None where the folder or disk is not there, which is said once until it is back."""
        try:
            result = work()
        except OSError as error:
            self._trouble(what, os_error_to_text(error))
            return None
        if self._troubles.pop(what, None) is not None:
            self._tell("the watched folder is back" if what == "folder" else "answers can be written again")
        return result

    def _output_is_there(self) -> bool:
        """Whether answers can be written; tried only where they could not be just before."""
        if "output" not in self._troubles:
            return True

        def try_to_write() -> bool:
            if not (self.settings.output / TABLE).is_file():  # an empty folder: the drive is not there
                raise FileNotFoundError(2, "there is no such folder", os.fspath(self.settings.output))
            if not (self.settings.output / STATE).is_dir():  # deleted by somebody
                self._lock.release()
                self._lock = OutputLock(self.settings.output)
                self._ledger.compact()
            self._parts.mkdir(exist_ok=True)
            write_atomically(self._parts / "probe", b"xxact")
            return True

        return self._try("output", try_to_write) is not None

    def _note_closed(self, folders: set[Path]) -> None:
        """Note once which folders inside cannot be read, and that they can be again."""
        for folder in folders - self._closed:
            self._tell(f"{shorten(folder)}: cannot be read; files in it have to wait")
        for folder in self._closed - folders:
            self._tell(f"{shorten(folder)}: can be read again, or is gone")
        self._closed = set(folders)

    def _trouble(self, what: str, text: str) -> None:
        if self._troubles.get(what) != text:
            self._troubles[what] = text
            self._tell(f"{text}; waiting")


@contextmanager
def _processes(analysis: AnalysisSettings, settings: WatchSettings) -> Iterator[AnsweringProcesses]:
    processes = AnsweringProcesses(analysis, settings.kinds, count=settings.processes)
    try:
        yield processes
    finally:
        processes.close()


def _new_parts(output: Path) -> Path:
    """A folder for files that are not complete yet; those of earlier runs are removed."""
    state = output / STATE
    for old in state.glob("parts-*"):
        shutil.rmtree(old, ignore_errors=True)
    parts = state / f"parts-{os.getpid()}-{time.time_ns():x}"
    parts.mkdir()
    return parts


def _base_of(file: str) -> str:
    """Path of the answer of a file: its own, without characters that some drive refuses.

    A name that would be too long with an ending is shortened.
    """
    folder, _, name = _NOT_IN_NAMES.sub("_", file).rpartition("/")
    name = name.rstrip(" .") or "_"
    encoded = os.fsencode(name)
    if len(encoded) > LONGEST_BASE:
        digest = hashlib.sha256(encoded).hexdigest()[:12]
        name = f"{encoded[:LONGEST_BASE].decode('utf-8', 'ignore')}-{digest}"
    return f"{folder}/{name}" if folder else name


def _sync_folder(folder: Path) -> None:
    """Make renamed files last over a power failure, on systems where folders can be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _row(answer: AnsweredFile) -> dict[str, str]:
    """The row of an answer in the table."""
    return {
        "answered_at": answer.answered_at,
        "file": printable(answer.file),
        "version": str(answer.version),
        "status": answer.status,
        "verdict": answer.verdict,
        "phases": "; ".join(formula for formula, _ in answer.phases),
        "result": answer.sentence,
        "code": answer.code,
        "sha256": answer.sha256,
        "answer": f"{printable(answer.base)}.json",
    }
