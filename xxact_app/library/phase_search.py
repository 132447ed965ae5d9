"""The process that identifies phases, one for the whole server, and searches as background tasks."""

from __future__ import annotations

import atexit
import logging
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, cast

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, Step, TaskError
from xxact_app.ui.safe_text import safe_message
from xxact_core.processes import end_child, module_command, start_child
from xxact_core.readers.content import MAX_BYTES
from xxact_core.sandbox.framing import read_message, write_message
from xxact_core.search_match.worker import SearchOptions, pattern_to_block, read_curves

logger = logging.getLogger(__name__)

_POLL = 0.1
"""Interval [s] at which a waiting search notices that it was cancelled."""

LONGEST = 300.0
"""Time [s] after which a search without any progress is given up. Ours: hundreds of times the usual."""

_UNNAMED = "the pattern"
"""Name of a pattern that messages do not state."""

Message = tuple[dict[str, Any], bytes] | None


class SearchProcess:
    """A process that keeps the reference database open; searches wait for each other.

    Args:
        module: that is run as a program; see `xxact_core.search_match.worker`.
    """

    def __init__(self, module: str = "xxact_core.search_match.worker") -> None:
        self._command = module_command(module)
        self._using = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._serving: BackgroundTask | None = None
        atexit.register(self._end)

    def prepare(self, reference: Path | None = None) -> None:
        """Start the process and open a reference database in advance; returns at once."""

        def open_database() -> None:
            if self._using.acquire(blocking=False):  # else a search does it
                try:
                    if self._child is None:
                        self._send({"reference": _to_text(reference)}, b"")
                        if self._receive() is None:
                            self._end()  # a late answer would be taken for that of the next search
                except (OSError, TaskError) as error:
                    logger.warning("the search for phases could not be prepared: %s", error)
                finally:
                    self._using.release()

        threading.Thread(target=open_database, daemon=True).start()

    def is_serving(self, task: BackgroundTask) -> bool:
        """Whether a search is being done, rather than waiting for another."""
        return self._serving is task

    def step(
        self,
        text: str,
        *,
        pattern: tuple[np.ndarray, np.ndarray],
        wavelength: float | None,
        states: Mapping[str, Sequence[str]],
        reference: Path | None,
        name: str = _UNNAMED,
        options: SearchOptions | None = None,
    ) -> Step:
        """The step of a background task that searches; the result of the task has `curves` besides.

        Args:
            text: description, safe to show.
            pattern: angles [deg] and intensities.
            wavelength: in Å; the search fails where it is None.
            states: arguments of `parse_element_states`.
            reference: the reference database; None for the shipped table.
            name: of the pattern, in messages.
            options: further choices.
        """
        request = {
            "name": name, "wavelength": wavelength, "reference": _to_text(reference),
            "options": asdict(options or SearchOptions()),
            "states": {name: list(symbols) for name, symbols in states.items() if symbols},
        }  # fmt: skip

        def work(task: BackgroundTask) -> None:
            while not self._using.acquire(timeout=_POLL):
                if task.cancelled:
                    return
            try:
                self._serving = task
                self._search(request, pattern_to_block(*pattern), task)
            finally:
                self._serving = None
                self._using.release()

        return Step(text, work)

    def _search(self, request: dict[str, Any], block: bytes, task: BackgroundTask) -> None:
        try:
            self._send(request, block)
            while (message := self._receive(task)) is not None:
                header, content = message
                if "error" in header:
                    plain = str(header["error"]).removeprefix(f"{_UNNAMED}: ")
                    raise TaskError(safe_message(plain), code=header["code"], plain=plain)
                if "result" in header:
                    result = header["result"]
                    task.result = {**result, "curves": read_curves(content, phases=len(result.get("phases", ())))}
                    return
                task.report(header["done"], header["total"])
        except BrokenPipeError:
            pass  # it ended; the message below says so
        self._end()
        if not task.cancelled:
            msg = "The search ended unexpectedly; see the server log"
            raise TaskError(msg)

    def _send(self, request: dict[str, Any], block: bytes) -> None:
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._child = start_child(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, threads=1)
        write_message(cast("BinaryIO", self._child.stdin), request, block)

    def _receive(self, task: BackgroundTask | None = None) -> Message:
        """The next message; None where the process ended, is silent for too long, or the task was cancelled."""
        assert self._child is not None, "a request was sent"
        arrived: SimpleQueue[Message] = SimpleQueue()
        stream = cast("BinaryIO", self._child.stdout)
        threading.Thread(target=lambda: arrived.put(_read(stream)), daemon=True).start()
        for _ in range(round(LONGEST / _POLL)):
            try:
                return arrived.get(timeout=_POLL)
            except Empty:
                if task is not None and task.cancelled:
                    return None
        logger.error("a search for phases was given up after %.0f s", LONGEST)
        return None

    def _end(self) -> None:
        if self._child is not None:
            end_child(self._child)
            self._child = None


def _read(stream: BinaryIO) -> Message:
    try:
        return read_message(stream, max_bytes=MAX_BYTES)
    except (OSError, ValueError):  # the process was ended, and its stream closed
        return None


def _to_text(reference: Path | None) -> str | None:
    return None if reference is None else str(reference)


PROCESS = SearchProcess()
"""The process of this server."""
