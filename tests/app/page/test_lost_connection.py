"""A server that is killed, frozen and started again, seen from a page in Chromium."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from browser_fixtures import PATIENCE, Visit
from locations import REPOSITORY
from serving_fixtures import Served, free_port, wait_until_answered

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATTERN = "1 of 1 patterns shown"


class Restarted:
    """A server that can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/app"

    def start(self) -> None:
        line = [sys.executable, "-m", "xxact_core.commands.main", "app", "--port", str(self.port)]
        surroundings = {
            **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY),
            "XXACT_WORKSPACE": str(self.folder / "work"),
        }  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                line, cwd=REPOSITORY, env=surroundings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        wait_until_answered(Served(self.port, self.process, self.folder / "server.log"))

    def send(self, number: int) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Restarted]:
    server = Restarted(tmp_path)
    server.start()
    yield server
    server.send(signal.SIGCONT)
    server.kill()


@pytest.fixture
def working(server: Restarted, browser: object, examples: Path) -> Iterator[Visit]:
    """A page on which a pattern was dropped and an axis chosen, saved a while ago."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visit = Visit(page)
    page.goto(server.url)
    visit.open("Patterns")
    visit.drop(examples / "quartz.xrdml")
    visit.shows(PATTERN)
    page.keyboard.press("x")
    page.wait_for_url("**axis=q", timeout=PATIENCE)
    wait_until_saved(server)
    yield visit
    context.close()


def wait_until_saved(server: Restarted) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for record in (server.folder / "work" / "sessions").glob("*/*.json"):
            if '"axis": "q"' in record.read_text():
                return
        time.sleep(0.2)
    message = "the session was not saved"
    raise AssertionError(message)


def test_a_killed_server_costs_nothing(server: Restarted, working: Visit) -> None:
    server.kill()
    began = time.monotonic()
    working.shows("Connection to the server lost")
    assert time.monotonic() - began < 5
    server.start()
    working.shows("was restored", patience=2 * PATIENCE)
    working.shows(PATTERN)
    assert "axis=q" in working.page.url
    working.open("Training")
    working.shows("New training")


def test_a_frozen_server_is_waited_for(server: Restarted, working: Visit) -> None:
    server.send(signal.SIGSTOP)
    began = time.monotonic()
    working.shows("The server does not answer")
    assert time.monotonic() - began < 6
    time.sleep(20)
    server.send(signal.SIGCONT)
    working.page.get_by_text("The server does not answer").wait_for(state="hidden", timeout=PATIENCE)
    working.page.keyboard.press("x")
    working.page.wait_for_url("**axis=d", timeout=PATIENCE)
    working.shows(PATTERN)


def test_a_reload_restores_and_a_new_tab_asks(server: Restarted, working: Visit) -> None:
    working.page.reload()
    working.shows("was restored")
    working.shows(PATTERN)
    other = working.page.context.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(server.url)
    other.get_by_role("button", name="Continue where you were").click()
    other.get_by_text(PATTERN).first.wait_for()
    other.wait_for_url("**axis=q")
    stranger = working.page.context.browser.new_context()
    page = stranger.new_page()
    page.goto(server.url, timeout=PATIENCE)
    page.get_by_text("Load example data").first.wait_for(timeout=PATIENCE)
    page.wait_for_timeout(5000)
    assert not page.get_by_role("button", name="Continue where you were").is_visible()
    stranger.close()
