"""Garbage collection while nobody waits for an answer."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import psutil
from panel.io import document
from tornado.ioloop import IOLoop, PeriodicCallback

IDLE_SECONDS, IDLE_SHARE = 2.0, 0.1
"""The server is idle while it uses at most this share of a CPU for so long [s]. Ours."""

LONGEST_WAIT = 60.0
"""Time after which a collection no longer waits until the server is idle [s]. Ours."""

MOST_GROWTH = 200 * 2**20
"""Growth of the memory from which a collection no longer waits either [bytes]: about six sessions. Ours."""

_REGULARLY = 600.0
"""Time between two collections where no session ends [s]. Ours."""

_YOUNG, _MIDDLE, _OLD = 700, 10, 1000
"""Thresholds of Python's own collections. The first two are Python's; with the last, a full one is made after seven
million new objects, about fifty sessions, instead of 70,000."""


class Collector:
    """Collects garbage when the server is idle.

    A full collection stops the server for 0.06 s for each open session, and as long for each that ended.

    Args:
        clock: time [s].
        used: CPU time of the process [s].
        sleep: waits for a time [s].
        memory: memory of the process [bytes].
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        memory: Callable[[], int] | None = None,
    ) -> None:
        self._clock, self._used, self._sleep = clock, used, sleep
        self._memory = memory or (lambda: int(psutil.Process().memory_info().rss))
        self._least = self._memory()
        self._waiting = False

    def request(self) -> None:
        """Collect as soon as the server is idle; requests until then are one."""
        if not self._waiting:
            self._waiting = True
            IOLoop.current().add_callback(self.collect)

    async def collect(self) -> None:
        """Wait until the server is idle, but not longer than `LONGEST_WAIT` or `MOST_GROWTH` allow, and collect."""
        latest = self._clock() + LONGEST_WAIT
        busy = True
        while busy and self._clock() < latest and self._memory() < self._least + MOST_GROWTH:
            before = self._used()
            await self._sleep(IDLE_SECONDS)
            busy = self._used() - before > IDLE_SHARE * IDLE_SECONDS
        self._waiting = False
        gc.collect()
        self._least = self._memory()


def collect_when_idle(*, loaded: bool) -> None:
    """Collect garbage when this server is idle, instead of while pages are built and after every session that ended.

    Args:
        loaded: libraries and models are loaded already, before the first visit. They live to the end, and looking
            through them takes 0.3 s: they are left out.
    """
    collector = Collector()
    document._garbage_collect = collector.request  # noqa: SLF001 - Panel calls it 5 s after each session that ended
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    PeriodicCallback(collector.request, 1000 * _REGULARLY).start()
    if loaded:  # once the server runs, nothing refers to the page of before the first visit
        loop = IOLoop.current()
        loop.add_callback(gc.collect)
        loop.add_callback(gc.freeze)
