"""Files of others → patterns, parsed in a process of their own that is stopped where it takes too much."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from xxact_core.errors import PatternError, WavelengthError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.patterns.readers import MOST_BYTES, read_source
from xxact_core.patterns.reading_worker import read_message, write_message

LONGEST = 20.0
"""Seconds of processor time that reading one file may take; a scan of a laboratory takes a hundredth of one."""

_PATIENCE = 3
"""So many times as long by the clock, on a machine that has other things to do."""

_COMMAND = (sys.executable, "-P", "-m", "xxact_core.patterns.reading_worker")
_MOST_IDLE = 2
_idle: deque[subprocess.Popen[bytes]] = deque()
"""Processes that wait for a file; reading a file ends none, so that only the first waits for a process to start."""


def read_foreign_pattern(
    source: bytes | str | Path,
    *,
    name: str | None = None,
    wavelength: str | float | None = None,
    scan: int | Literal["sum"] = 0,
    seconds: float = LONGEST,
) -> Pattern:
    """The pattern in a file that came from somewhere else; like `readers.read_pattern`, in a process under limits.

    The process waits for the next file, so that all but the first cost a few milliseconds more than reading here. It
    is ended where it takes more than `seconds` of processor time, three times that by the clock, or more memory than
    `reading_worker.MOST_MEMORY`; the next file gets a new one. What comes back is plain numbers and text, checked like
    any pattern. Threads may call this at the same time.

    Raises:
        PatternError: as `read_pattern` does, and where the process had to be ended, or broke off (E_LIMIT).
        WavelengthError: `wavelength` is not within 0.1-5 Å.
        OSError: the path cannot be opened.
    """
    chosen = None if wavelength is None else parse_wavelength(wavelength)
    data, called = read_source(source, name=name)
    wanted = {"name": called, "wavelength": chosen, "scan": scan, "seconds": seconds}
    described, block = _ask(wanted, data, seconds=seconds)
    if "error" in described:
        kind = WavelengthError if described["kind"] == "WavelengthError" else PatternError
        raise kind(described["error"], code=described["code"])
    two_theta, intensity = np.frombuffer(block, dtype=np.float64).reshape(2, -1)
    return Pattern(
        two_theta=two_theta,
        intensity=intensity,
        wavelength=described["wavelength"],
        name=described["name"],
        format=described["format"],
        warnings=tuple(described["warnings"]),
        metadata=described["metadata"],
    )


def prepare_reading() -> None:
    """Start a process ahead, so that the first file need not wait for it; returns at once."""
    if not _idle:
        _idle.append(_start())


def _ask(wanted: dict[str, Any], data: bytes, *, seconds: float) -> tuple[dict[str, Any], bytes]:
    """What a process answers to a file; one that answers in time waits for the next file."""
    process = _take()
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        process.kill()

    alarm = threading.Timer(_PATIENCE * seconds, stop)
    alarm.start()
    answer: tuple[dict[str, Any], bytes] | None = None
    try:
        write_message(cast("BinaryIO", process.stdin), wanted, data)
        answer = read_message(cast("BinaryIO", process.stdout), most_bytes=2 * MOST_BYTES)
    except BrokenPipeError:
        answer = None  # it ended: told below
    finally:
        alarm.cancel()
        if answer is None or stopped.is_set() or answer[0].get("code") == "E_LIMIT" or len(_idle) >= _MOST_IDLE:
            _end(process)
        else:
            _idle.append(process)
    if answer is None:
        slow = stopped.is_set() or process.returncode == -getattr(signal, "SIGXCPU", 0)
        reason = f"took more than {seconds:g} s" if slow else "broke the process that read it"
        msg = f"{shorten(wanted['name'])}: reading it was stopped, it {reason}; export the scan as text (.xy)"
        raise PatternError(msg, code="E_LIMIT")
    return answer


def _take() -> subprocess.Popen[bytes]:
    """A process that waits for a file, or a new one."""
    while _idle:
        try:
            process = _idle.pop()
        except IndexError:  # another thread was quicker
            break
        if process.poll() is None:
            return process
        _end(process)
    return _start()


def _start() -> subprocess.Popen[bytes]:
    """A new process that finds this package where this process has it, and computes on one thread."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(  # noqa: S603 - our own module, no text from outside
        _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):  # what it was not told any more
                stream.close()
