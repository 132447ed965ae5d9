"""How long does a user of the app wait?

Serves the app as `make app` does and asks for the page; with Chromium it then drops a measured file while a formula
stands in its box, and times until the prediction can be read. Sliders, maps, twenty sessions and a training beside the
server follow (`app_load.py`). Without --quick it repeats each step.

    python benchmarks/speed/app.py            # writes docs/results/app.md
    python benchmarks/speed/app.py --quick    # once, writes nothing
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.app_load import measure_beside_training, measure_maps, measure_sessions, measure_sliders, scan

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

from xxact_core.evaluation.provenance import file_to_line

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "xxact_core" / "data" / "examples"
RESULTS = REPOSITORY / "docs" / "results" / "app.md"
WEIGHTS = REPOSITORY / "xxact_core" / "weights"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
LIMITS = {
    "html_seconds": 2.0, "first_plot_seconds": 4.0, "twenty_files_seconds": 3.0, "processed_to_prediction_seconds": 1.0,
    "slider_ms": 30.0, "map_50k_seconds": 4.0, "lasso_server_seconds": 0.3, "map_1m_seconds": 10.0,
    "zoom_1m_seconds": 1.5, "latency_ratio_while_training": 1.5, "p95_20_sessions_seconds": 1.0, "mb_per_session": 60.0,
}  # fmt: skip
"""The figures to reach on two cores."""

MEANING = {
    "start_seconds": "`panel serve app.py --warm` until it answers",
    "html_seconds": "the first request for the page, answered",
    "next_html_seconds": "later requests for the page, median",
    "page_seconds": "in Chromium: from the address to a page that can be used",
    "first_plot_seconds": "from the address to the first curve: the page, and a scan dropped on it at once",
    "twenty_files_seconds": "from the drop of 20 scans to all of them listed, and five drawn",
    "drop_to_drawn_seconds": "from the drop of a scan of 5,000 points to its curve",
    "drop_to_prediction_seconds": "from the drop to its prediction, the formula typed before",
    "processed_to_prediction_seconds": "of these, from the dropped file's name on the screen to its prediction",
    "formula_to_prediction_seconds": "from Enter behind a new formula to the prediction",
    "examples_seconds": "from the click to all example files listed and five drawn",
    "stage_seconds": "from the click to five patterns as the model sees them",
    "slider_ms": "server time of a change of smearing or arrangement, the slower, ten patterns drawn, median",
    "map_50k_seconds": "a map of 50,000 materials, from its file to the document",
    "lasso_server_seconds": "server time of a selection of 3,000 of them",
    "map_1m_seconds": "a map of 1,000,000 materials",
    "zoom_1m_seconds": "a zoom into it",
    "latency_ratio_while_training": "the page while a training runs, 95th percentile, times that without",
    "first_opening_seconds": "a screen that a visitor opens for the first time, median, up to twenty others there",
    "p95_20_sessions_seconds": "a screen opened again while 20 sessions open one every 2 s, 95th percentile",
    "mb_per_session": "memory that each of them takes",
}


UNITS = {"_seconds": " s", "_ms": " ms", "mb_": " MB"}


@contextmanager
def served(workspace: Path) -> Iterator[tuple[str, int, float]]:
    """The app on a free port: its address, the number of its process, and the seconds that it took to start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "panel", "serve", "app.py", "--address", "127.0.0.1", "--port", str(port), "--warm"]
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XXACT_WORKSPACE": str(workspace)}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(line, cwd=REPOSITORY, env=environment, stdout=quiet, stderr=quiet) as server:
        try:
            while time.perf_counter() - start < 120:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if server.poll() is not None:
                    msg = "the server ended before it answered"
                    raise RuntimeError(msg)
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/app", server.pid, time.perf_counter() - start
        finally:
            server.terminate()


def seconds(action: Callable[[], object]) -> float:
    """How long the action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def request(address: str) -> None:
    """Ask for the page's HTML."""
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - our own address
        answer.read()


def shows(page: Page, text: str) -> None:
    """Wait until the page shows a text."""
    page.get_by_text(text, exact=False).first.wait_for(timeout=60_000)


def opened(browser: Browser, address: str) -> Page:
    """A new page of the app that is ready to be used."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(address)
    shows(page, "Load example data")
    return page


def measure_drop(page: Page, *, predicts: bool) -> dict[str, float | None]:
    """Drop one file that says its wavelength, then ask for another formula."""
    found: dict[str, float | None] = {}
    page.wait_for_timeout(1000)
    file = EXAMPLES / "quartz.xrdml"
    found["drop_to_drawn_seconds"] = seconds(
        lambda: (page.set_input_files("input[type=file]", file), shows(page, "1 of 1 patterns shown"))
    )
    page.reload()
    shows(page, "Load example data")
    page.get_by_role("tab", name="Prediction").click()
    formula = page.get_by_label("Formula")
    formula.fill("SiO2")
    shows(page, "Read as: O 66.7 %")
    if predicts:
        listed = seconds(lambda: (page.set_input_files("input[type=file]", file), shows(page, file.name)))
        answered = seconds(lambda: shows(page, "Prediction for SiO2"))
        found["drop_to_prediction_seconds"] = listed + answered
        found["processed_to_prediction_seconds"] = answered
        formula.fill("GeO2")
        found["formula_to_prediction_seconds"] = seconds(
            lambda: (formula.press("Enter"), shows(page, "Prediction for GeO2"))
        )
    return found


def measure_twenty(page: Page) -> dict[str, float | None]:
    """Drop twenty scans at once."""
    page.wait_for_timeout(1000)
    files = [{"name": f"{number}.xy", "mimeType": "text/plain", "buffer": scan(number)} for number in range(20)]
    took = seconds(lambda: (page.set_input_files("input[type=file]", files), shows(page, "5 of 20 patterns shown")))
    return {"twenty_files_seconds": took}


def measure_examples(page: Page) -> dict[str, float | None]:
    """Load the examples, then show them as the model sees them."""
    page.wait_for_timeout(1000)
    load = page.get_by_role("button", name="Load example data")
    stage = page.get_by_role("button", name="Model input")
    return {
        "examples_seconds": seconds(lambda: (load.click(), shows(page, "patterns shown as measured"))),
        "stage_seconds": seconds(lambda: (stage.click(), shows(page, "shown as model input"))),
    }


def measure_in_browser(address: str, *, rounds: int, predicts: bool) -> dict[str, float | None]:
    """What a visitor in Chromium waits for, medians; nothing where there is no Chromium."""
    chromium = os.environ.get("XXACT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    found: list[dict[str, float | None]] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        opened(browser, address).close()
        for _ in range(rounds):
            start = time.perf_counter()
            page = opened(browser, address)
            took = time.perf_counter() - start
            drop = measure_drop(page, predicts=predicts)
            page.close()
            page = opened(browser, address)
            twenty = measure_twenty(page)
            page.close()
            page = opened(browser, address)
            first = {"page_seconds": took, "first_plot_seconds": took + (drop["drop_to_drawn_seconds"] or 0)}
            found.append({**first, **drop, **twenty, **measure_examples(page)})
            page.close()
        browser.close()
    return {name: statistics.median(once[name] for once in found) for name in found[0]}


def measure(*, quick: bool) -> dict[str, float | None]:
    """All figures; those that need a browser or a model that is not there are None."""
    found: dict[str, float | None] = dict.fromkeys(MEANING)
    predicts = any(WEIGHTS.glob("**/*.safetensors"))
    with (
        tempfile.TemporaryDirectory() as workspace,
        served(Path(workspace)) as (address, server, found["start_seconds"]),
    ):
        found["html_seconds"] = seconds(lambda: request(address))
        found["next_html_seconds"] = statistics.median(seconds(lambda: request(address)) for _ in range(5))
        found |= tell(measure_in_browser(address, rounds=1 if quick else 3, predicts=predicts))
        requests = 5 if quick else 40
        ratio = measure_beside_training(address, Path(workspace), requests=requests)
        found |= tell({"latency_ratio_while_training": ratio})
        found |= tell(measure_sessions(address, server, seconds=6 if quick else 60))
    return found | tell({"slider_ms": measure_sliders(changes=5 if quick else 50), **measure_maps(quick=quick)})


def tell(found: dict[str, float | None]) -> dict[str, float | None]:
    """Say what was found, because the whole takes minutes."""
    print(*(f"{name} {value:.3f}" for name, value in found.items()), sep="\n", file=sys.stderr, flush=True)
    return found


def write_results(found: dict[str, float | None]) -> None:
    """Write the table of docs/results."""
    lines = ["# How long a user of the app waits", ""]
    lines += [f"Median of three, {os.cpu_count()} cores, `python benchmarks/speed/app.py`.", ""]
    lines += [file_to_line(EXAMPLES / "examples.csv"), ""]
    lines += ["| what | value | at most |", "|---|---|---|"]
    for name, meaning in MEANING.items():
        value = found[name]
        unit = next((unit for ending, unit in UNITS.items() if ending in name), "")
        shown = "not measured" if value is None else f"{value:.2f}{unit}"
        lines.append(f"| {meaning} | {shown} | {LIMITS.get(name, '')} |")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, and write the results down unless it was to be quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="once, writing nothing")
    quick = parser.parse_args().quick
    found = measure(quick=quick)
    if not quick:
        write_results(found)
    print(json.dumps({name: value if value is None else round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
