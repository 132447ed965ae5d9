"""Background tasks that end with the server: commands of xxact in child processes, and calls in a thread.

What shall outlive the server is a job (`registry`); both have the states and the progress of `progress`.
"""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from xxact_app.jobs.progress import ACTIVE, Progress, State, estimate_left, memory_limit
from xxact_app.ui.formatting import percent
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError
from xxact_core.processes import ProcessIdentity, end_child, end_process, last_line, module_command, start_child

logger = logging.getLogger(__name__)

GRACE = 10.0
"""Time [s] for the command of a cancelled task to end before it is killed."""

OUT_OF_MEMORY = ("MemoryError", "allocate memory", "std::bad_alloc")
"""What Python, torch and C++ write where a process has reached its limit."""

_LOCK_POLL = 0.5
"""Polling interval [s] for a cancellation while another server works on the same."""


class TaskError(Exception):
    """A step of a task failed; the message is safe to show.

    Where bad input is why, `code` is that of the `InputError`, and `plain` its message as it is, for programs.
    """

    def __init__(self, message: str, *, code: str = "", plain: str = "") -> None:
        super().__init__(message)
        self.code, self.plain = code, plain


@dataclass(frozen=True)
class Step:
    """A part of a task; see `command_step` and `call_step`."""

    text: str
    """Description, safe to show."""

    work: Callable[[BackgroundTask], None]
    """Function that does the step and reports its progress to the task."""

    is_done: Callable[[], bool] = lambda: False
    """Whether its result exists already."""

    count: Callable[[], tuple[int, int]] | None = None
    """Function that returns (done, total), where `work` does not report it."""

    unit: str = ""
    """Name of the items, such as `patterns`; empty to show a percentage."""

    weight: float = 1.0
    """Relative duration of the step."""


class BackgroundTask:
    """Steps done one after another in a thread, with progress and a way to cancel them.

    Args:
        steps: in this order; those whose result exists are skipped.
        lock: a file; servers that share it never work at the same time, and find what another one has made meanwhile.
    """

    def __init__(self, steps: Sequence[Step], *, lock: Path | None = None) -> None:
        self.steps, self.lock = tuple(steps), lock
        self.state: State = "starting"
        self.reason = ""
        """Why it failed or where it was stopped, safe to show."""
        self.code = ""
        """Code of the error, see `InputError`, where bad input is why it failed."""
        self.plain_reason = ""
        """The reason then as it is, for programs; not safe to show."""
        self.result: dict[str, Any] = {}
        """What the last command printed as JSON."""
        self._number = 0
        self._reported = (0, 1)
        self._process: ProcessIdentity | None = None
        self._changing = threading.Lock()
        self._cancelled = threading.Event()
        self._at_end: list[Callable[[], object]] = []
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE

    @property
    def progress(self) -> Progress:
        """Progress over all steps."""
        steps, number = self.steps, self._number
        if not self.active or not steps:
            return Progress(1.0 if self.state == "finished" else None, self.reason or "Done.")
        step = steps[number]
        done, total = self._reported if step.count is None else step.count()
        before = sum(earlier.weight for earlier in steps[:number])
        share = (before + step.weight * min(done / max(total, 1), 1.0)) / sum(every.weight for every in steps)
        amount = f"{done} of {total} {step.unit}" if step.unit else percent(share)
        return Progress(share, f"{step.text}: {amount}", estimate_left(share, time.monotonic() - self._began))

    def cancel(self) -> None:
        """Stop; what was finished is kept."""
        with self._changing:
            if not self.active:
                return
            self._cancelled.set()
            self.state = "stopping"
            process = self._process
        if process is not None:
            threading.Thread(target=end_process, args=(process,), kwargs={"grace": GRACE}, daemon=True).start()

    def join(self, *, seconds: float) -> None:
        """Wait until it has ended, at most `seconds`."""
        self._thread.join(seconds)

    def call_at_end(self, call: Callable[[], object]) -> None:
        """Call a function when it has ended, in its thread; at once where it has."""
        with self._changing:
            if self.active:
                self._at_end.append(call)
                return
        call()

    # -------------------------------------------------------------------------------------------------- for the steps
    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled; a step ends then."""
        return self._cancelled.is_set()

    def report(self, done: int, total: int) -> None:
        """Set how many items of the current step are done."""
        self._reported = (done, total)

    @contextmanager
    def waiting_for(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """End a process when the task is cancelled, or at the end of the block."""
        identity = ProcessIdentity.of(child.pid)
        try:
            with self._changing:
                self._process = identity
            if self.cancelled:
                end_process(identity, grace=GRACE)
            yield
        finally:
            with self._changing:
                self._process = None
            end_child(child)

    # ------------------------------------------------------------------------------------------------- implementation
    def _work(self) -> None:
        state: State = "failed"
        try:
            with self._locked():
                for number, step in enumerate(self.steps):
                    self._number, self._reported = number, (0, 1)
                    if not self.cancelled and not step.is_done():
                        step.work(self)
            state = "finished"
        except TaskError as error:
            self.reason, self.code, self.plain_reason = str(error), error.code, error.plain
        except InputError as error:
            self.reason, self.code, self.plain_reason = safe_message(error), error.code, str(error)
        except OSError as error:
            self.reason = safe_message(f"The task failed: {error}")
        except Exception:
            logger.exception("a background task failed")
            self.reason = "The task failed because of an error in the app; see the server log."
        with self._changing:
            if self.cancelled:
                state, self.reason = "cancelled", self._stopped_at()
            self.state, self.steps = state, ()  # their inputs are not needed any more
            calls, self._at_end = self._at_end, []
        for call in calls:
            call()

    def _stopped_at(self) -> str:
        done, total = self._reported
        unit = self.steps[self._number].unit if self.steps else ""
        if unit:
            return f"Stopped after {done} of {total} {unit}."
        return "Stopped. Finished parts are kept; start again to continue."

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait for another server that works on the same, until the task is cancelled."""
        if self.lock is None:
            self._run()
            yield
            return
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock, timeout=_LOCK_POLL)
        try:
            while not lock.is_locked and not self.cancelled:
                with suppress(Timeout):
                    lock.acquire()
            self._run()
            yield
        finally:
            lock.release()

    def _run(self) -> None:
        with self._changing:
            if not self.cancelled:
                self.state = "running"


# --------------------------------------------------------------------------------------------------------------- steps
def command_step(
    text: str,
    arguments: Callable[[], Sequence[str]],
    *,
    is_done: Callable[[], bool] = lambda: False,
    count: Callable[[], tuple[int, int]] | None = None,
    weight: float = 1.0,
) -> Step:
    """One command of xxact; the last line of JSON that it prints is the result of the task.

    Args:
        text: description, safe to show.
        arguments: of the command line; called when its turn comes, because they may depend on the steps before.
        is_done: whether its result exists already.
        count: how many of how many items are done, where the command does not print it.
        weight: its time, relative to that of the other steps.
    """

    def work(task: BackgroundTask) -> None:
        command = module_command("xxact_core.commands.main", *arguments())
        with tempfile.TemporaryFile() as errors:
            child = start_child(
                command, stdout=subprocess.PIPE, stderr=errors, threads=1, low_priority=True,
                memory=memory_limit(), environment={"TQDM_DISABLE": "1"},
            )  # fmt: skip
            with task.waiting_for(child):
                assert child.stdout is not None
                for line in child.stdout:
                    with suppress(ValueError):
                        _take(json.loads(line), task)
                status = child.wait()
            if status != 0 and not task.cancelled:
                reason = last_line(errors).removeprefix("xxact: ") or "no reason given"
                if any(sign in reason for sign in OUT_OF_MEMORY):
                    reason = f"it needs more than {memory_limit() / 1e9:.1f} GB of memory"
                raise TaskError(safe_message(f"{text} failed: {reason}"))

    return Step(text, work, is_done=is_done, count=count, weight=weight)


def _take(printed: object, task: BackgroundTask) -> None:
    if isinstance(printed, dict) and {"done", "total"} <= printed.keys():
        task.report(int(printed["done"]), int(printed["total"]))
    elif isinstance(printed, dict):
        task.result = printed


def call_step(text: str, call: Callable[[str], object], items: Sequence[str], *, unit: str) -> Step:
    """A call in this process for each item, such as a key of one of the `unit` "patterns"."""

    def work(task: BackgroundTask) -> None:
        for number, item in enumerate(items):
            task.report(number, len(items))
            if task.cancelled:
                return
            call(item)
        task.report(len(items), len(items))

    return Step(text, work, unit=unit)


# ------------------------------------------------------------------------------------------- shared by the whole server
_tasks: dict[tuple[str, ...], BackgroundTask] = {}
_changing = threading.Lock()
_MAX_KEPT = 200


def find_task(*key: str) -> BackgroundTask | None:
    """The task submitted with a key by any page, active or ended; None where there is none."""
    return _tasks.get(key)


def submit(key: tuple[str, ...], steps: Sequence[Step], *, lock: Path | None) -> BackgroundTask:
    """Start a task with a key, or join the active one; the oldest ended tasks are forgotten.

    lock: as of `BackgroundTask`.
    """
    with _changing:
        task = _tasks.get(key)
        if task is None or not task.active:
            ended = [name for name, one in _tasks.items() if not one.active]
            for name in ended[: max(0, len(_tasks) - _MAX_KEPT)]:
                del _tasks[name]
            task = _tasks[key] = BackgroundTask(steps, lock=lock)
        return task
