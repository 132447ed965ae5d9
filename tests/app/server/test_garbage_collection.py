"""Garbage is collected while the server is idle, or after a time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest

from xxact_app.server.garbage_collection import IDLE_SECONDS, MOST_ENDED, Collector


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
    return Collector(used=lambda: machine.cpu, sleep=machine.sleep)


def test_waits_until_the_server_is_idle(collected: list[int]) -> None:
    machine = Machine(iter([True, True, False]))
    asyncio.run(collector_on(machine).collect())
    assert (len(collected), machine.time) == (1, 3 * IDLE_SECONDS)


@pytest.mark.parametrize("still_open", [0, MOST_ENDED, 3 * MOST_ENDED])
def test_waits_no_longer_than_until_most_sessions_have_ended(collected: list[int], still_open: int) -> None:
    machine = Machine(iter(lambda: True, False))
    collector = collector_on(machine)
    machine.ended = lambda: collector.session_ended(None)
    expected = max(MOST_ENDED, still_open)
    for number in (1, 2):  # counted from zero after a collection
        for _ in range(expected):
            collector.session_began()
        for _ in range(still_open if number == 1 else 0):
            collector.session_began()
        asyncio.run(collector.collect())
        assert (len(collected), machine.time) == (number, number * expected * IDLE_SECONDS)


@pytest.mark.parametrize("regularly", [False, True])
def test_waits_while_few_of_many_sessions_have_ended(collected: list[int], regularly: bool) -> None:
    machine = Machine(iter(lambda: False, True))
    collector = collector_on(machine)
    for _ in range(24):
        collector.session_began()
    machine.ended = lambda: collector.session_ended(None)

    async def requests() -> None:
        (collector.request_regularly if regularly else collector.request)()
        for _ in range(50):
            await asyncio.sleep(0)

    asyncio.run(requests())
    assert (len(collected), machine.time) == (1, (1 if regularly else 5) * IDLE_SECONDS)  # 5 of then 19


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
