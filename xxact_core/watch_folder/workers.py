"""Processes that answer files, each with tables and model loaded once; one that crashes or hangs is replaced."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any, BinaryIO, cast

from xxact_core.errors import InputError, os_error_to_text, shorten
from xxact_core.processes import Watchdog, end_child, module_command, start_child
from xxact_core.reports.analysed_pattern import AnalysisSettings
from xxact_core.sandbox.framing import read_message, write_message
from xxact_core.watch_folder.worker import answer_file

COMMAND = module_command("xxact_core.watch_folder.worker")
"""Command that answers files."""

START_SECONDS = 300.0
"""Time that loading tables and model may take [s]."""

FILE_SECONDS = 180.0
"""Time that one file may take [s], after which its process is killed."""

MOST_CRASHES = 2
"""Times that the process of a file may crash or hang, after which the answer is an error. Ours."""


class AnsweringProcesses:
    """A number of processes that answer files at the same time."""

    def __init__(self, settings: AnalysisSettings, formats: tuple[str, ...], *, count: int) -> None:
        """Start them; they load tables and model while files are looked for."""
        self.settings, self.formats, self.count = settings, formats, count
        self._idle: list[subprocess.Popen[bytes]] = []
        self._all: set[subprocess.Popen[bytes]] = set()
        self._lock, self._closed = threading.Lock(), False
        self._threads = ThreadPoolExecutor(max_workers=count)
        self.started = [self._threads.submit(self._prepare) for _ in range(count)]
        """Ready once tables and model are loaded; `InputError` where these cannot be."""

    def submit(self, request: dict[str, Any]) -> Future[dict[str, Any]]:
        """Answer a file; see `worker`. The result has the state `stopped` where `close` was called."""
        return self._threads.submit(self._answer, request)

    def close(self) -> None:
        """End the processes at once; files that they were answering are not answered."""
        with self._lock:
            self._closed = True
            children = list(self._all)
        for child in children:
            child.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for child in children:
            end_child(child)

    def _prepare(self) -> None:
        child = self._start()
        with self._lock:
            self._idle.append(child)

    def _start(self) -> subprocess.Popen[bytes]:
        """A process that is ready.

        Raises:
            InputError: tables or model cannot be loaded.
        """
        try:
            child = start_child(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, threads=1, own_session=False)
        except OSError as error:  # too little memory, or too many processes
            msg = f"the process that answers files could not be started: {shorten(error.strerror or error)}"
            raise InputError(msg, code="E_WATCH") from error
        with self._lock:
            self._all.add(child)
            closed = self._closed
        if closed:
            child.kill()
        answer = _ask(child, {"settings": asdict(self.settings), "formats": list(self.formats)}, seconds=START_SECONDS)
        if answer is None or "error" in answer:
            self._end(child)
            msg = "the process that answers files could not be started" if answer is None else str(answer["error"])
            raise InputError(msg, code="E_WATCH" if answer is None else str(answer["code"]))
        return child

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._all.discard(child)
        end_child(child)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        for _ in range(MOST_CRASHES):
            with self._lock:
                child = self._idle.pop() if self._idle else None
            try:
                child = child or self._start()
            except InputError:
                if self._closed:
                    return {"state": "stopped"}
                raise
            answer = _ask(child, request, seconds=FILE_SECONDS)
            if answer is not None:
                with self._lock:
                    self._idle.append(child)
                return answer
            self._end(child)
            if self._closed:
                return {"state": "stopped"}
        problem = f"the analysis crashed or took longer than {FILE_SECONDS:g} s, {MOST_CRASHES} times"
        try:
            return answer_file(None, self.formats, {**request, "error": f"{request['file']}: {problem}"})
        except OSError as error:
            return {"state": "unwritten", "error": os_error_to_text(error)}


def _ask(child: subprocess.Popen[bytes], request: dict[str, Any], *, seconds: float) -> dict[str, Any] | None:
    """The answer of a process; None where it has ended, or is killed because it takes too long."""
    with Watchdog(child, seconds=seconds), suppress(BrokenPipeError, ValueError):
        write_message(cast("BinaryIO", child.stdin), request)
        message = read_message(cast("BinaryIO", child.stdout), max_bytes=0)
        return None if message is None else message[0]
    return None
