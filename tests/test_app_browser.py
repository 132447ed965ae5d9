from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from looking_fixtures import embedded_of, workspace_with, write_run_file

from xxact_app.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000
"""Milliseconds that a busy machine may take for one step."""


SURFACE_IS_DARK = """() => {
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--panel-surface-color")
  return parseInt(colour.replace("#", "").slice(0, 2), 16) < 64
}"""


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

    def shows(self, text: str) -> None:
        self.page.get_by_text(text, exact=False).first.wait_for(timeout=PATIENCE)

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


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a run that reconstructs and left embeddings of 210 materials."""
    workspace = workspace_with(tmp_path_factory.mktemp("workspace"), runs={"one": ["mxm"]})
    write_run_file(workspace, "one", embedded_of(210, width=32))
    return workspace


@pytest.fixture(scope="module")
def address(repository: Path, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, served as a user would serve it, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("app") / "server.log").open("wb")
    line = [sys.executable, "-m", "panel", "serve", "app.py", "--address", "127.0.0.1", "--port", str(port), "--warm"]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "XXACT_WORKSPACE": str(workspace.root)}
    server = subprocess.Popen(line, cwd=repository, stdout=log, stderr=subprocess.STDOUT, env=surroundings)
    url = f"http://127.0.0.1:{port}/app"
    try:
        for _ in range(240):
            assert server.poll() is None, Path(log.name).read_text()
            with suppress(OSError), urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.status == 200
                break
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


@pytest.fixture
def visit(address: str, chromium: str) -> Iterator[Visit]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        visit = Visit(page)
        page.on("console", lambda message: message.type == "error" and visit.errors.append(message.text))
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.on("request", lambda request: is_abroad(request.url) and visit.abroad.append(request.url))
        page.goto(address)
        visit.shows("Load example data")
        yield visit
        browser.close()
    assert visit.abroad == []
    assert visit.errors == []


def is_abroad(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1"


def text_file(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def test_a_dropped_file_and_a_formula_become_a_prediction(visit: Visit, examples: Path) -> None:
    visit.drop(examples / "corundum.prn")
    visit.shows("1 of 1 patterns drawn")
    visit.shows("Which radiation was used?")
    visit.page.get_by_label("Radiation or wavelength in Å").fill("CuKa")
    visit.page.get_by_role("button", name="Use this wavelength").click()
    visit.shows("1.5418 Å (given)")
    visit.page.get_by_role("tab", name="Prediction").click()
    formula = visit.page.get_by_label("Formula")
    formula.fill("Al2O3")
    visit.shows("Read as: O 60 %, Al 40 %")
    formula.press("Enter")
    visit.shows("Prediction for Al2O3")
    visit.shows("Crystal system:")
    visit.shows("eV/atom")
    visit.shows("100% of 5–90° 2θ (Cu Kα) was measured")

    visit.drop(text_file("broken.xrdml", b"<xrdMeasurements><oops"))
    visit.shows("broken.xrdml:")
    visit.page.get_by_label("Formula").fill("MgO")
    visit.page.get_by_role("button", name="Predict", exact=True).click()
    visit.shows("Prediction for MgO")


def test_bad_files_are_told_in_words_and_put_away(visit: Visit, examples: Path) -> None:
    scan = text_file("rutile.raw", (examples / "rutile.raw").read_bytes())
    visit.drop(text_file("empty.xy", b""), text_file("letter.xy", b"Dear all,\n"), scan)
    visit.shows("empty.xy:")
    visit.shows("letter.xy:")
    visit.shows("1 of 1 patterns drawn")
    close = visit.page.get_by_label("Close")
    close.first.click()
    visit.page.get_by_text("empty.xy:").wait_for(state="detached", timeout=PATIENCE)
    visit.shows("letter.xy:")


def test_the_examples_are_one_click_away_in_both_stages(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Load example data").click()
    visit.shows("patterns drawn as measured")
    visit.shows("corundum.prn")
    visit.page.get_by_role("button", name="As the model sees it").click()
    visit.shows("Background removed, moved to Cu Kα")
    visit.page.get_by_role("button", name="Stacked").click()
    visit.page.get_by_role("button", name="Remove selected").wait_for()


def test_markup_in_a_name_is_shown_and_not_run(visit: Visit, examples: Path) -> None:
    scan = (examples / "anatase.xy").read_bytes()
    attack = "<img src=x onerror=window.ran=1>"
    visit.drop(text_file(f"{attack}.xy", scan), text_file(f"bad {attack}.xy", b"hello"))
    visit.shows("bad ‹img src=x onerror=window.ran=1›.xy:")
    visit.shows("1 of 1 patterns drawn")
    visit.page.get_by_role("gridcell", name="‹img src=x onerror=window.ran=1›.xy").wait_for(timeout=PATIENCE)
    visit.page.get_by_role("tab", name="Prediction").click()
    visit.page.get_by_label("Formula").fill(attack)
    visit.page.get_by_label("Formula").press("Enter")
    visit.shows("‹img")
    assert visit.page.evaluate("window.ran") is None


def test_the_page_fits_a_phone_and_a_dark_room(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.page.get_by_role("button", name="Load example data").click()
    visit.shows("patterns drawn as measured")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.page.get_by_label("Toggle theme").click()
    visit.page.wait_for_function(SURFACE_IS_DARK, timeout=PATIENCE)


def test_a_click_on_the_plot_masks_a_window(visit: Visit, examples: Path) -> None:
    visit.drop(examples / "lanthanum_hexaboride.cif")
    visit.shows("1 of 1 patterns drawn")
    visit.page.get_by_role("tab", name="Reconstruction").click()
    visit.page.get_by_label("Formula").last.fill("LaB6")
    visit.page.get_by_label("Formula").last.press("Enter")
    visit.shows("Nothing is masked")
    visit.drag((0.5, 0.5))
    visit.shows("1 of 17 windows are masked")
    visit.shows("Error in the masked windows")


def test_a_lasso_on_the_map_selects_materials(visit: Visit) -> None:
    visit.page.get_by_role("tab", name="Embeddings").click()
    visit.choose("Model", "Run one")
    visit.choose("Materials", "File test.h5")
    visit.shows("210 materials, fused embedding")
    visit.drag((0.15, 0.1), (0.8, 0.1), (0.8, 0.8), (0.15, 0.8), (0.15, 0.15))
    visit.shows("materials are selected")
    visit.page.get_by_role("gridcell", name="NaCl").first.wait_for(timeout=PATIENCE)


def test_the_keyboard_the_address_and_a_saved_session_work_together(
    visit: Visit, examples: Path, tmp_path: Path
) -> None:
    page = visit.page
    visit.drop(examples / "anatase.xy")
    visit.shows("1 of 1 patterns drawn")
    before = page.evaluate("history.length")
    page.keyboard.press("x")
    page.wait_for_url("**/app?axis=q", timeout=PATIENCE)
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="Save session").click()
    download.value.save_as(tmp_path / "session.xxact")
    page.keyboard.press("Control+z")
    visit.shows("Undone: axis")
    page.wait_for_url("**/app", timeout=PATIENCE)
    page.get_by_label("Radiation or wavelength in Å").press("x")
    page.get_by_label("Radiation or wavelength in Å").press("?")
    page.get_by_role("button", name="Shortcuts").focus()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for(timeout=PATIENCE)
    page.keyboard.press("y")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached", timeout=PATIENCE)
    page.keyboard.press("3")
    page.wait_for_url("**/app?screen=prediction", timeout=PATIENCE)
    assert page.evaluate("history.length") == before

    page.goto(page.url.replace("screen=prediction", "scale=log&arrangement=sideways"), timeout=PATIENCE)
    visit.shows("The address asks for what is not known here, which was left out: arrangement=sideways")
    assert page.url.endswith("/app?scale=log")
    visit.drop(tmp_path / "session.xxact")
    page.wait_for_url("**/app?axis=q", timeout=PATIENCE)
    page.get_by_role("gridcell", name="anatase.xy").wait_for(timeout=PATIENCE)
