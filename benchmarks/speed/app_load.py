"""The app's server under load: sliders, simultaneous sessions, a training. Part of `benchmarks/speed/app.py`."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
import urllib.request
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from benchmarks.harness import TABLE, seconds_of
from benchmarks.speed.embeddings import measure as measure_embeddings
from xxact_app.jobs.records import JobError
from xxact_app.jobs.registry import Jobs

SESSIONS = 20
PAUSE = 2.0
"""Time that a user stays on a screen before opening the next [s]."""

HANDLED = 0.06
"""Time after which the server has started to handle a change [s]; the library waits for 0.05 s."""

FORGOTTEN = 90.0
"""Time after which the server has dropped the session of a closed page and given its memory back [s]."""

SETTLED = 5.0
"""Time after which the screens that were opened for the first time are complete [s]."""

VISITED = (2, 1, 4, 0)
"""Indices of the screens that a user opens, the start screen last."""

_DRAWN = {
    "kind": "MessageSent", "msg_type": "bokeh_event",
    "msg_data": {"type": "event", "name": "document_ready", "values": {"type": "map"}},
}  # fmt: skip
"""The event by which a page reports that it is drawn."""

Found = TypeVar("Found")

TRAINING = ["--recipe", "tiny", "--set", "epochs=100000", "--set", "validation_rows=64", "--set", "device=cpu"]


def scan(number: int) -> bytes:
    """A scan of 4,000 points as text, with its wavelength."""
    two_theta = np.arange(10, 90, 0.02)
    intensity = 100 + 2000 * np.exp(-0.5 * ((two_theta - 20 - number) / 0.1) ** 2)
    rows = (f"{angle:.3f} {height:.2f}" for angle, height in zip(two_theta, intensity, strict=True))
    return ("# wavelength: 1.5406\n" + "\n".join(rows) + "\n").encode()


def measure_sliders(*, changes: int) -> float:
    """Server time of a change of broadening or arrangement (the slower) with ten patterns, median [ms]."""
    import panel as pn
    from bokeh.document import Document

    from xxact_app.samples.store import Store
    from xxact_app.screens.patterns.view import PatternsScreen
    from xxact_app.session.session import Session

    pn.extension("tabulator")
    session = Session()
    store = Store(session)
    session.add(store.read_files([(f"{number}.xy", scan(number)) for number in range(10)]))
    session.show_only(session.files)
    view = PatternsScreen(session, store)
    view.panel.server_doc(Document())
    medians = []
    for stage in ("measured", "gridded"):
        session.stage = stage
        broadening, arrangement = [], []
        for number in range(changes):
            sigma, chosen = 0.01 * (1 + number % 40), ("offset", "overlay")[number % 2]
            broadening.append(seconds_of(lambda sigma=sigma: setattr(view.steps.broadening, "value", sigma)))
            arrangement.append(seconds_of(lambda chosen=chosen: setattr(session, "arrangement", chosen)))
        medians += [statistics.median(broadening), statistics.median(arrangement)]
    return 1000 * max(medians)


def measure_maps(small: int, large: int) -> dict[str, float]:
    """The figures of `benchmarks/speed/embeddings.py` for maps of two numbers of materials."""
    found = measure_embeddings(small, large)
    names = {
        "map_50k_seconds": "show_50000_seconds", "lasso_server_seconds": "select_3000_seconds",
        "map_1m_seconds": "show_1000000_seconds", "zoom_1m_seconds": "zoom_1000000_seconds",
    }  # fmt: skip
    return {ours: found[theirs] for ours, theirs in names.items()}


def page_latency(address: str, *, requests: int, percentile: float = 95) -> float:
    """A percentile of the time of a page request [s]."""
    took = []
    for _ in range(requests):
        began = time.perf_counter()
        with urllib.request.urlopen(address, timeout=120) as response:  # noqa: S310 - our own address
            response.read()
        took.append(time.perf_counter() - began)
    return float(np.percentile(took, percentile))


class RunningTraining:
    """A training started by the app."""

    def __init__(self, jobs: Jobs, key: str) -> None:
        self.jobs, self.key = jobs, key

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.jobs.get(self.key).active

    def stop(self) -> None:
        """Stop it, and wait until it has ended."""
        with suppress(JobError):  # it has ended, or is being stopped
            self.jobs.cancel(self.key)
        while self.running:
            time.sleep(0.2)


@contextmanager
def training(workspace: Path) -> Iterator[RunningTraining]:
    """A training started by the app in its workspace, stopped afterwards."""
    from xxact_app.library.workspace import open_workspace
    from xxact_core.dataset.building.build import BuildPlan, build_dataset

    place = open_workspace(workspace, sources=())
    dataset, run = place.datasets / "small", place.runs / "load"
    build_dataset(BuildPlan(source=str(TABLE), limit=400), dataset, workers=1, progress=False)
    jobs = Jobs(place.jobs, grace=20)
    job = jobs.start("train", ["train", str(dataset), str(run), *TRAINING], name="load", output=run, about={})
    started = RunningTraining(jobs, job.key)
    try:
        while not (run / "journal.jsonl").is_file() or b'"step"' not in (run / "journal.jsonl").read_bytes():
            if not started.running:
                raise RuntimeError(jobs.log_tail(job.key))
            time.sleep(0.5)
        yield started
    finally:
        started.stop()


def measure_latency(address: str, job: RunningTraining, *, requests: int) -> float:
    """Median of page requests during a training, over that while its process is halted."""
    process = job.jobs.get(job.key).identity
    halted = None if process is None else process.find()
    during = page_latency(address, requests=requests, percentile=50)
    if halted is None:
        msg = "the training has ended"
        raise RuntimeError(msg)
    halted.suspend()
    try:
        return during / page_latency(address, requests=requests, percentile=50)
    finally:
        halted.resume()


def _run(measuring: Coroutine[Any, Any, Found]) -> Found:
    """Run a coroutine in a thread: the driver of the browser has an event loop in this one."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, measuring).result()


def measure_leak(address: str, server: int, *, first: int, sessions: int) -> float:
    """Memory of the server that is not given back after sessions were opened and closed [MB].

    first: sessions that are opened and closed before, since the server loads some things once.
    """
    return _run(_measure_leak(address, psutil.Process(server), first=first, count=sessions))


async def _measure_leak(address: str, server: psutil.Process, *, first: int, count: int) -> float:
    async def visits(number: int) -> float:
        for _ in range(number):
            session = await _begin(address)
            for screen in VISITED[:2]:
                await session.open_screen(screen)
            session.socket.close()
        await asyncio.sleep(FORGOTTEN)
        return server.memory_info().rss / 2**20

    before = await visits(first)
    return await visits(count) - before


async def _begin(address: str) -> OpenSession:
    with await asyncio.to_thread(urllib.request.urlopen, address, timeout=120) as response:
        token = re.findall(rb'"token":"([^"]+)"', response.read())[0].decode()
    return await OpenSession.begin(address, token)


class OpenSession:
    """A session as the page's script holds it: a websocket, and the id of the tabs."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self.tabs = ""

    @classmethod
    async def begin(cls, address: str, token: str) -> OpenSession:
        """Open the websocket of a page and read its document."""
        root = address.removesuffix("/app")
        request = HTTPRequest(f"{address.replace('http', 'ws', 1)}/ws", headers={"Origin": root}, request_timeout=120)
        session = cls(await websocket_connect(request, subprotocols=["bokeh", token], max_message_size=2**28))
        await session._next("ACK")
        shown = await session.ask("PULL-DOC-REQ", {}, answer="PULL-DOC-REPLY")
        session.tabs = re.findall(r'"type":"object","name":"Tabs\d+","id":"([^"]+)"', shown)[0]
        await session.ask("PATCH-DOC", {"events": [_DRAWN]}, answer="OK")
        return session

    async def ask(self, kind: str, content: dict[str, Any], *, answer: str) -> str:
        """Send a message of Bokeh's protocol and wait for the reply."""
        header = {"msgid": uuid.uuid4().hex, "msgtype": kind}
        for part in (header, {}, content):
            await self.socket.write_message(json.dumps(part))
        return await self._next(answer, reply_to=header["msgid"])

    async def open_screen(self, number: int) -> float:
        """Choose a tab; the time until the server has handled the change [s]."""
        change = {"kind": "ModelChanged", "model": {"id": self.tabs}, "attr": "active", "new": number}
        began = time.perf_counter()
        await self.ask("PATCH-DOC", {"events": [change]}, answer="OK")
        await asyncio.sleep(HANDLED)
        await self.ask("SERVER-INFO-REQ", {}, answer="SERVER-INFO-REPLY")
        return time.perf_counter() - began

    async def _next(self, kind: str, *, reply_to: str | None = None) -> str:
        while True:
            header = json.loads(await self._part())
            await self._part()
            content = await self._part()
            for _ in range(2 * header.get("num_buffers", 0)):
                await self._part()
            if header["msgtype"] == kind and reply_to in (None, header.get("reqid")):
                return str(content)

    async def _part(self) -> str | bytes:
        part = await self.socket.read_message()
        if part is None:
            msg = "the server closed the websocket"
            raise RuntimeError(msg)
        return part


def measure_sessions(address: str, server: int, *, sessions: int, seconds: float) -> dict[str, float]:
    """Load of simultaneous sessions: each opens every screen, then all open another screen every two seconds.

    server: process id of the server, whose memory is read before and after. seconds: duration of the second part.
    """
    return _run(_measure_sessions(address, psutil.Process(server), count=sessions, seconds=seconds))


async def _measure_sessions(address: str, server: psutil.Process, *, count: int, seconds: float) -> dict[str, float]:
    async def visit(session: OpenSession, number: int, until: float) -> list[float]:
        took = []
        await asyncio.sleep(PAUSE * number / count)
        while time.perf_counter() < until:
            for screen in VISITED:
                took.append(await session.open_screen(screen))
                await asyncio.sleep(PAUSE)
        return took

    sessions, first = [await _begin(address)], []  # the first session includes what the server loads once
    before = server.memory_info().rss
    for _ in range(count):
        sessions.append(await _begin(address))
        first += [await sessions[-1].open_screen(screen) for screen in VISITED[:-1]]
    await asyncio.sleep(SETTLED)
    until = time.perf_counter() + seconds
    took = await asyncio.gather(*(visit(session, number, until) for number, session in enumerate(sessions[1:])))
    memory = (server.memory_info().rss - before) / count / 2**20
    for session in sessions:
        session.socket.close()
    return {
        "first_opening_seconds": statistics.median(first),
        "p95_20_sessions_seconds": float(np.percentile([value for values in took for value in values], 95)),
        "mb_per_session": memory,
    }
