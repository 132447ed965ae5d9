"""What takes a while, made by commands of xxact in processes of their own, with progress and a way to stop it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from xxact_app.ui.safe_text import safe_message
from xxact_core.shipped import packages_folder

_POLITE = 10
"""Niceness of the processes: the pages of the app come first."""

_ALL = 1.0


@dataclass(frozen=True)
class Step:
    """One command of xxact: in words, its arguments, whether its result is there, and how many of how many are done.

    arguments: asked for when its turn comes, for they may follow from the steps before. count: where the command does
    not tell its progress itself. weight: of its time beside that of the other steps.
    """

    text: str
    arguments: Callable[[], tuple[str, ...]]
    is_done: Callable[[], bool]
    count: Callable[[], tuple[int, int]] | None = None
    weight: float = 1.0


class UnderWay(Protocol):
    """What takes a while, as a screen shows it: how much is done (0-1), in safe words, whether and how it ended."""

    finished: bool
    error: str

    @property
    def share(self) -> float: ...  # noqa: D102 - said above

    @property
    def text(self) -> str: ...  # noqa: D102 - said above

    def cancel(self) -> None:
        """Stop; what was finished stays."""


class Making:
    """Commands one after another, in a thread that waits for them.

    `result` is the last line of JSON that the last command printed. Servers that share `lock` never make at one time,
    and what another one has made meanwhile is not made again.
    """

    def __init__(self, steps: Sequence[Step], *, lock: Path) -> None:
        self.steps, self.lock = tuple(steps), lock
        self.error = ""
        self.finished = False
        self.result: dict[str, Any] = {}
        self._number = 0
        self._said = (0, 1)
        self._process: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    @property
    def share(self) -> float:
        """How much is done (0-1)."""
        if self.finished:
            return _ALL
        step = self.steps[self._number]
        done, total = step.count() if step.count is not None else self._said
        before = sum(step.weight for step in self.steps[: self._number])
        part = step.weight * min(done / max(total, 1), _ALL)
        return (before + part) / sum(step.weight for step in self.steps)

    @property
    def text(self) -> str:
        """What is done at present, with the time left where it can be told, in words that are safe to show."""
        if self.finished:
            return self.error or "Done."
        share, spent = self.share, time.monotonic() - self._began
        left = f", about {duration(spent / share - spent)} left" if share > 0.02 else ""  # noqa: PLR2004 - too early
        return f"{self.steps[self._number].text}: {share:.0%}{left}"

    def cancel(self) -> None:
        """Stop; what was finished stays."""
        self._stopped.set()
        process = self._process
        if process is not None:
            process.terminate()

    def join(self, *, seconds: float) -> None:
        """Wait until it has ended, at most so long."""
        self._thread.join(seconds)

    def _make(self) -> None:
        lock = FileLock(self.lock, timeout=0.5)
        try:
            self.lock.parent.mkdir(parents=True, exist_ok=True)
            while not lock.is_locked and not self._stopped.is_set():
                with suppress(Timeout):
                    lock.acquire()
            for number, step in enumerate(self.steps):
                self._number, self._said = number, (0, 1)
                if self._stopped.is_set() or self.error:
                    break
                if not step.is_done():
                    self._run(step)
        except OSError as error:
            self.error = safe_message(f"It cannot be made: {error}")
        finally:
            lock.release()
            if self._stopped.is_set():
                self.error = "Stopped. What was finished is kept, and the same button goes on from there."
            self.finished = True

    def _run(self, step: Step) -> None:
        path = os.pathsep.join([str(packages_folder()), *filter(None, [os.environ.get("PYTHONPATH")])])
        surroundings = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        command = [sys.executable, "-m", "xxact_core.commands.main", *step.arguments()]
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(  # noqa: S603 - our own command line; its arguments come from the app
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                start_new_session=True, env=surroundings,
            ) as process,
        ):  # fmt: skip
            self._process = process
            if hasattr(os, "setpriority"):
                with suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, _POLITE)
            if self._stopped.is_set():
                process.terminate()
            assert process.stdout is not None
            for line in process.stdout:
                with suppress(ValueError):
                    self._take(json.loads(line))
            if process.wait() != 0 and not self._stopped.is_set():
                errors.seek(0)
                lines = errors.read().strip().splitlines() or ["no reason given"]
                self.error = safe_message(f"{step.text} failed: {lines[-1].removeprefix('xxact: ')}")
            self._process = None

    def _take(self, told: object) -> None:
        if isinstance(told, dict) and {"done", "total"} <= told.keys():
            self._said = (int(told["done"]), int(told["total"]))
        elif isinstance(told, dict):
            self.result = told


# ------------------------------------------------------------------------------------------------- shared by everybody
_makings: dict[tuple[str, ...], Making] = {}
_entrance = threading.Lock()
_MOST_KEPT = 200


def making_of(*key: str) -> Making | None:
    """What is under way, or was, under this key, whoever began it."""
    return _makings.get(key)


def begin(key: tuple[str, ...], steps: Sequence[Step], *, lock: Path) -> Making:
    """Begin what this key stands for, or join who began it; the oldest results are forgotten."""
    with _entrance:
        making = _makings.get(key)
        if making is None or making.finished:
            for old in [name for name, one in _makings.items() if one.finished][: len(_makings) - _MOST_KEPT]:
                del _makings[old]
            making = _makings[key] = Making(steps, lock=lock)
        return making


def duration(seconds: float) -> str:
    """Seconds or minutes, in words."""
    return f"{max(seconds, 1):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - minutes read better
