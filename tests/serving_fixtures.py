"""The app served as people serve it, for tests that ask it over HTTP or in a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from locations import REPOSITORY

PATIENCE = 240.0
"""Seconds that a busy machine may take to start the server."""

XXACT_APP = ("xxact_core.commands.main", "app")
PANEL_SERVE = ("panel", "serve", "app.py", "--warm")
"""The two ways to serve the app, as arguments of `python -m`."""


@dataclass(frozen=True)
class Served:
    """A server that answers: `url` is the app's page, `log` what the server has printed."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/app"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def served(
    folder: Path, *options: str, workspace: Path, command: Sequence[str] = XXACT_APP, **environment: str
) -> Iterator[Served]:
    """The app on a free port with further options, ended afterwards; `folder` takes the log."""
    port = free_port()
    line = [sys.executable, "-m", *command, "--port", str(port), *options]
    with started(line, folder / "server.log", XXACT_WORKSPACE=str(workspace), **environment) as process:
        server = Served(port, process, folder / "server.log")
        wait_until_answered(server)
        yield server


@contextmanager
def started(line: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is ended afterwards with all that it started but jobs."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **environment}
    with log.open("wb") as file:
        process = subprocess.Popen(
            line, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT, env=surroundings, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait(timeout=30)


def wait_until_answered(server: Served) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=60):
            return
        time.sleep(0.2)
    raise AssertionError(server.log.read_text())
