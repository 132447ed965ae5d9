"""Processes under limits that parse what others wrote: one that takes too much is ended, and costs its file alone."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from typing import Any, BinaryIO, cast

from xxact_core.errors import shorten
from xxact_core.sandbox.framing import read_message, write_message
from xxact_core.shipped import packages_folder

_PATIENCE = 3
"""So many times as long by the clock, on a machine that has other things to do."""

_MOST_IDLE = 2


class GuardedProcesses:
    """Processes of one kind; those that have answered wait in `idle`, so that only the first file waits for a start.

    module: run as a program, it serves by `framing.serve`.
    """

    def __init__(self, module: str) -> None:
        self.command: tuple[str, ...] = (sys.executable, "-P", "-m", module)
        self.idle: deque[subprocess.Popen[bytes]] = deque()

    def prepare(self) -> None:
        """Start a process ahead; returns at once."""
        if not self.idle:
            self.idle.append(self._start())

    def ask(
        self, wanted: dict[str, Any], data: bytes, *, seconds: float, most_bytes: int
    ) -> tuple[dict[str, Any], bytes] | str:
        """What a process answers to a file, or in words why it had to be stopped; threads may ask at the same time.

        wanted: plain values, among them the `name` of the file and the `seconds` of processor time that it may take.
        most_bytes: of the answer.
        """
        process = self._take()
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            process.kill()

        alarm = threading.Timer(_PATIENCE * seconds, stop)
        alarm.start()
        answer: tuple[dict[str, Any], bytes] | None = None
        try:
            write_message(cast("BinaryIO", process.stdin), {**wanted, "seconds": seconds}, data)
            answer = read_message(cast("BinaryIO", process.stdout), most_bytes=most_bytes)
        except BrokenPipeError:
            answer = None  # it ended: told below
        finally:
            alarm.cancel()
            if answer is None or stopped.is_set() or answer[0].get("code") == "E_LIMIT" or len(self.idle) >= _MOST_IDLE:
                end_process(process)
            else:
                self.idle.append(process)
        if answer is None:
            slow = stopped.is_set() or process.returncode == -getattr(signal, "SIGXCPU", 0)
            reason = f"took more than {seconds:g} s" if slow else "broke the process that read it"
            return f"{shorten(wanted['name'])}: reading it was stopped, it {reason}"
        return answer

    def _take(self) -> subprocess.Popen[bytes]:
        """A process that waits for a file, or a new one."""
        while self.idle:
            try:
                process = self.idle.pop()
            except IndexError:  # another thread was quicker
                break
            if process.poll() is None:
                return process
            end_process(process)
        return self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        """A new process that finds this package where this process has it, and computes on one thread."""
        paths = [str(packages_folder()), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        process = subprocess.Popen(  # noqa: S603 - our own module, no text from outside
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        atexit.register(end_process, process)
        return process


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process and close what led to it."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):  # what it was not told any more
                stream.close()
