"""The app in Chromium, for tests that look at it as people do; one server and one browser for all of them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 90_000
"""Milliseconds that a busy machine may take for one step."""

LIBRARY_ERRORS = ("rowManager", "verticalFillMode")
"""Panel's table reports these where its rows change, or its size, while another screen is in front; it is drawn all the
same."""

ATTACK = "<img src=x onerror=window.ran=1>"
"""A name that would run if anything took it for markup."""

SHOWN_ATTACK = "‹img src=x onerror=window.ran=1›"

LARGE_CANVASES = """() => {
  const found = []
  const walk = (node) => {
    const box = node.tagName === "CANVAS" ? node.getBoundingClientRect() : {width: 0}
    if (box.width > 200 && box.height > 200) found.push([box.x, box.y, box.width, box.height])
    for (const child of [...(node.shadowRoot?.children ?? []), ...(node.children ?? [])]) walk(child)
  }
  walk(document.body)
  return found
}"""


@dataclass
class Visit:
    """A page of the app, and everything that went wrong on it."""

    page: object
    abroad: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def drop(self, *files: Path | dict[str, object]) -> None:
        self.page.set_input_files("input[type=file]", list(files))

    def shows(self, text: str, *, patience: int = PATIENCE) -> None:
        self.page.get_by_text(text, exact=False).first.wait_for(timeout=patience)

    def open(self, screen: str) -> None:
        self.page.get_by_role("tab", name=screen).click()

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_role("combobox", name=label, exact=True).click(timeout=PATIENCE)
        self.page.get_by_text(option).last.click(timeout=PATIENCE)

    def drag(self, *places: tuple[float, float]) -> None:
        """Drag over the first plot; places are shares of its width and height. One place is a click."""
        left, top, width, height = self.page.evaluate(LARGE_CANVASES)[0]
        points = [(left + x * width, top + y * height) for x, y in places]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=4)
        self.page.mouse.up()


def text_file(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "text/plain", "buffer": content}


@pytest.fixture(scope="session")
def seen_workspace(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a data set, a run that reconstructs and left embeddings, and names that are attacks."""
    from looking_fixtures import embedded_of, workspace_with, write_run_file

    runs = {"one": ["mxm"], f"run {ATTACK}": ["mxm"]}
    workspace = workspace_with(tmp_path_factory.mktemp("workspace"), runs=runs, dataset=small_dataset)
    shutil.copytree(small_dataset, workspace.datasets / f"data {ATTACK}")
    embedded = embedded_of(210, width=32)
    write_run_file(workspace, "one", embedded)
    names = np.array([f"{number} {ATTACK}" for number in range(210)])
    attack = replace(embedded, id=names, formula=np.full(210, ATTACK))
    write_run_file(workspace, f"run {ATTACK}", attack, name=f"{ATTACK}.h5")
    write_history(workspace.runs / f"run {ATTACK}")
    return workspace.root


def write_history(run: Path) -> None:
    """What a training of two steps leaves in its folder."""
    numbers = {"learning_rate": 1e-4, "samples_per_second": 100.0, "seconds_left": 0.0, "gradient_norm": 1.0}
    steps = [
        {"event": "step", "step": step, "loss": 1 / step, "losses": {"mxm": 1 / step}, **numbers} for step in (1, 2)
    ]
    events = [{"event": "started", "step": 0, "steps": 2}, *steps]
    (run / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (run / "status.json").write_text(json.dumps({"state": "finished", "step": 2, "steps": 2}))
    (run / "recipe.json").write_text("{}")


@pytest.fixture(scope="session")
def address(seen_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as `panel serve app.py` serves it, without any option but the port."""
    from serving_fixtures import Served, free_port, started, wait_until_answered

    from xxact_app.jobs.registry import Jobs

    port, log = free_port(), tmp_path_factory.mktemp("app") / "server.log"
    line = [sys.executable, "-m", "panel", "serve", "app.py", "--port", str(port)]
    with started(line, log, XXACT_WORKSPACE=str(seen_workspace), XXACT_SOURCES="") as process:
        server = Served(port, process, log)
        wait_until_answered(server)
        yield server.url
    jobs = Jobs(seen_workspace / "jobs")
    for job in jobs.list():
        if job.state in {"starting", "running"}:
            jobs.cancel(job.key)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(address: str, browser: object) -> Iterator[Visit]:
    """A page of its own, which asked nothing of other machines and had no errors when it is left."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visit = Visit(page)
    page.on("console", lambda message: message.type == "error" and visit.errors.append(message.text))
    page.on("pageerror", lambda error: visit.errors.append(error.stack or str(error)))
    page.on("request", lambda request: is_abroad(request.url) and visit.abroad.append(request.url))
    page.goto(address)
    visit.shows("Load example data")
    yield visit
    context.close()
    assert visit.abroad == []
    assert [error for error in visit.errors if not any(known in error for known in LIBRARY_ERRORS)] == []


def is_abroad(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1"
