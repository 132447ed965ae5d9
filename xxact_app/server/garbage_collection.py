"""Garbage collection while nobody waits for an answer."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

from panel.io import document
from tornado.ioloop import IOLoop, PeriodicCallback

IDLE_SECONDS, IDLE_SHARE = 2.0, 0.1
"""The server is idle while it uses at most this share of a CPU for so long [s]. Ours."""

FEWEST_ENDED = 0.25
"""Number of ended sessions over that of open ones from which a collection is worth its pause. Source: CPython, whose
own full collections wait until new objects are a quarter of the old ones."""

MOST_ENDED = 10
"""Number of ended sessions, if no more are open, from which a collection no longer waits: about 300 MB. Ours."""

_REGULARLY = 600.0
"""Time between two collections where no session ends [s]. Ours."""

_YOUNG, _MIDDLE, _OLD = 700, 10, 1000
"""Thresholds of Python's own collections. The first two are Python's; with the last, a full one is made after seven
million new objects, about fifty sessions, instead of 70,000."""


class Collector:
    """Collects garbage when the server is idle.

    A full collection stops the server for 0.06 s for each open session, and as long for each that ended. It is made
    when the server is idle and a quarter as many sessions have ended as are open; on a busy server when as many have,
    and at least `MOST_ENDED`.

    Args:
        used: CPU time of the process [s].
        sleep: waits for a time [s].
    """

    def __init__(
        self,
        *,
        used: Callable[[], float] = time.process_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._used, self._sleep = used, sleep
        self._waiting = self._regular = False
        self._open = self._ended = 0

    def session_began(self) -> None:
        """Count a session that began."""
        self._open += 1

    def session_ended(self, session_context: object) -> None:  # noqa: ARG002 - Bokeh calls it with one
        """Count a session that ended."""
        self._open -= 1
        self._ended += 1

    def request(self) -> None:
        """Collect when that is worth the pause; requests until then are one."""
        if not self._waiting:
            self._waiting = True
            IOLoop.current().add_callback(self.collect)

    def request_regularly(self) -> None:
        """Collect when the server is idle, even if no session has ended."""
        self._regular = True
        self.request()

    async def collect(self) -> None:
        """Wait until a collection is worth the pause, and collect."""
        idle = False
        while not (idle and self._is_worthwhile()) and self._ended < max(MOST_ENDED, self._open):
            before = self._used()
            await self._sleep(IDLE_SECONDS)
            idle = self._used() - before <= IDLE_SHARE * IDLE_SECONDS
        self._waiting, self._regular, self._ended = False, False, 0
        gc.collect()

    def _is_worthwhile(self) -> bool:
        return self._regular or self._ended >= FEWEST_ENDED * self._open


def collect_when_idle(*, loaded: bool) -> Collector:
    """Collect garbage when this server is idle, instead of while pages are built and after every session that ended.

    Args:
        loaded: libraries and models are loaded already, before the first visit. They live to the end, and looking
            through them takes 0.3 s: they are left out.

    Returns:
        The collector, whose `session_began` and `session_ended` have to be called for each session.
    """
    collector = Collector()
    document._garbage_collect = collector.request  # noqa: SLF001 - Panel calls it 5 s after each session that ended
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    PeriodicCallback(collector.request_regularly, 1000 * _REGULARLY).start()
    if loaded:  # once the server runs, nothing refers to the page of before the first visit
        loop = IOLoop.current()
        loop.add_callback(gc.collect)
        loop.add_callback(gc.freeze)
    return collector
