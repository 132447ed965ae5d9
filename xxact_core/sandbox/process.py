"""Processes that parse untrusted files within limits; one that exceeds them is killed, and only its file is lost."""

from __future__ import annotations

import atexit
import signal
import subprocess
from collections import deque
from typing import Any, BinaryIO, cast

from xxact_core.errors import shorten
from xxact_core.processes import Watchdog, end_child, module_command, start_child
from xxact_core.sandbox.framing import read_message, write_message

_WALL_TIME_FACTOR = 3
"""Wall time over CPU time that a file may take, for machines under load."""

_MAX_IDLE = 2
"""Processes kept for later files."""


class SandboxProcesses:
    """Processes that run one module; idle ones are kept, so that only the first file waits for a start.

    module: name of a module that calls `framing.serve` when run as a program.
    """

    def __init__(self, module: str) -> None:
        self.command = module_command(module)
        self.idle: deque[subprocess.Popen[bytes]] = deque()

    def prepare(self) -> None:
        """Start a process in advance; returns at once."""
        if not self.idle:
            self.idle.append(self._start())

    def run(
        self, request: dict[str, Any], data: bytes, *, seconds: float, max_bytes: int
    ) -> tuple[dict[str, Any], bytes] | str:
        """Header and block that a process returns for a file, or a message why it was killed. Thread-safe.

        Args:
            request: plain values, among them the `name` of the file.
            data: content of the file.
            seconds: CPU time that the file may take [s].
            max_bytes: largest block of the answer [bytes].
        """
        process = self._take()
        watchdog = Watchdog(process, seconds=_WALL_TIME_FACTOR * seconds)
        answer: tuple[dict[str, Any], bytes] | None = None
        try:
            with watchdog:
                write_message(cast("BinaryIO", process.stdin), {**request, "seconds": seconds}, data)
                answer = read_message(cast("BinaryIO", process.stdout), max_bytes=max_bytes)
        except BrokenPipeError:
            answer = None  # the process ended; the message below says why
        finally:
            limit = answer is None or watchdog.expired or answer[0].get("code") == "E_LIMIT"
            if limit or len(self.idle) >= _MAX_IDLE:
                end_child(process)
            else:
                self.idle.append(process)
        if answer is None:
            slow = watchdog.expired or process.returncode == -getattr(signal, "SIGXCPU", 0)
            reason = f"took more than {seconds:g} s" if slow else "crashed the process that read it"
            return f"{shorten(request['name'])}: reading it was stopped, it {reason}"
        return answer

    def _take(self) -> subprocess.Popen[bytes]:
        """An idle process, or a new one."""
        while self.idle:
            try:
                process = self.idle.pop()
            except IndexError:  # another thread took it
                break
            if process.poll() is None:
                return process
            end_child(process)
        return self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = start_child(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, threads=1)
        atexit.register(end_child, process)
        return process
