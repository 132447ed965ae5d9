"""Garbage is collected while the server is idle, or after a time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest

from xxact_app.server.garbage_collection import IDLE_SECONDS, LONGEST_WAIT, MOST_ENDED, Collector


class Machine:
    """A clock, and the CPU time that the server uses while it sleeps."""

    def __init__(self, busy: Iterator[bool]) -> None:
        self.time = self.cpu = 0.0
        self.ended: Callable[[], None] = lambda: None
        self.busy = busy

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.ended()
        self.cpu += 0.5 * seconds if next(self.busy) else 0.01
        await asyncio.sleep(0)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: found.append(1))
    return found


def collector_on(machine: Machine) -> Collector:
    return Collector(clock=lambda: machine.time, used=lambda: machine.cpu, sleep=machine.sleep)


def test_waits_until_the_server_is_idle(collected: list[int]) -> None:
    machine = Machine(iter([True, True, False]))
    asyncio.run(collector_on(machine).collect())
    assert (len(collected), machine.time) == (1, 3 * IDLE_SECONDS)


def test_waits_no_longer_than_that(collected: list[int]) -> None:
    machine = Machine(iter(lambda: True, False))
    asyncio.run(collector_on(machine).collect())
    assert len(collected) == 1
    assert LONGEST_WAIT <= machine.time < LONGEST_WAIT + IDLE_SECONDS


def test_waits_no_longer_where_sessions_end(collected: list[int]) -> None:
    machine = Machine(iter(lambda: True, False))
    collector = collector_on(machine)
    machine.ended = lambda: collector.session_ended(None)
    for number in (1, 2):  # counted from zero after a collection
        asyncio.run(collector.collect())
        assert (len(collected), machine.time) == (number, number * MOST_ENDED * IDLE_SECONDS)


def test_several_requests_are_one_collection_until_it_is_made(collected: list[int]) -> None:
    machine = Machine(iter([True, False] * 2))
    collector = collector_on(machine)

    async def requests() -> None:
        for expected in (1, 2):
            collector.request()
            collector.request()
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(collected) == expected

    asyncio.run(requests())
    assert len(collected) == 2
    assert machine.time == 4 * IDLE_SECONDS
