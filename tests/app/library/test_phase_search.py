"""The process that identifies phases: what happens when it ends, is silent, or refuses a pattern."""

from __future__ import annotations

import sys
import time

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask
from xxact_app.library.phase_search import SearchProcess

TWO_THETA = np.arange(10.0, 80.0, 0.02)
FLAT = (TWO_THETA, np.full(TWO_THETA.size, 100.0))


def begin(process: SearchProcess, *, pattern: tuple[np.ndarray, np.ndarray] = FLAT) -> BackgroundTask:
    step = process.step("Searching", pattern=pattern, wavelength=1.5406, states={"elements": ("Si",)}, reference=None)
    return BackgroundTask([step])


def python(code: str) -> SearchProcess:
    """A process that runs a program of Python in place of the search."""
    process = SearchProcess()
    process._command = (sys.executable, "-c", code)
    return process


def test_a_process_that_ends_is_reported_and_the_next_search_gets_a_new_one() -> None:
    process = python("raise SystemExit(3)")
    for _ in range(2):
        task = begin(process)
        task.join(seconds=60)
        assert (task.state, task.reason) == ("failed", "The search ended unexpectedly; see the server log")


def test_a_silent_process_is_ended_when_its_search_is_cancelled() -> None:
    process = python("import time; time.sleep(600)")
    task, waiting = begin(process), begin(process)
    while process._child is None:
        time.sleep(0.05)
    child = process._child
    first, second = (task, waiting) if process.is_serving(task) else (waiting, task)
    second.cancel()
    second.join(seconds=60)
    assert second.state == "cancelled"
    assert process.is_serving(first)
    first.cancel()
    first.join(seconds=60)
    assert first.state == "cancelled"
    assert child.poll() is not None


def test_a_pattern_that_is_refused_is_reported_with_the_reason() -> None:
    process = SearchProcess()
    task = begin(process)
    task.join(seconds=240)
    process._end()
    assert task.state == "failed"
    assert task.reason == "nothing rises above the background between 5 and 90°"
