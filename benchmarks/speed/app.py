"""How long does a user of the app wait?

    python benchmarks/speed/app.py            # writes docs/results/app.md
    python benchmarks/speed/app.py --quick    # every step once, no load and no maps; writes nothing

The app is served with `panel serve app.py`. In Chromium a measured file is uploaded while a formula is entered, and the
time until the prediction can be read is taken. Then follow a training at the same time, simultaneous sessions, sliders
and maps (`app_load.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from benchmarks.harness import (
    EXAMPLES,
    REPOSITORY,
    Figure,
    argument_parser,
    figures_to_table,
    finish,
    median_seconds,
    seconds_of,
)
from benchmarks.speed.app_load import (
    SESSIONS,
    measure_beside_training,
    measure_maps,
    measure_sessions,
    measure_sliders,
    scan,
)
from xxact_core.dataset.store import file_digest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WEIGHTS = REPOSITORY / "xxact_core" / "weights"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 120_000
"""Longest wait for a step in the browser [ms]."""

SECONDS = "{:.2f} s"
FIGURES = {
    "start_seconds": Figure("starting `panel serve app.py --warm`", SECONDS),
    "html_seconds": Figure("first request for the page", SECONDS, at_most=2.0),
    "next_html_seconds": Figure("later requests for the page, median", SECONDS),
    "page_seconds": Figure("in Chromium: opening the page until it can be used", SECONDS),
    "first_plot_seconds": Figure(
        "opening the page and uploading a scan until its curve is drawn", SECONDS, at_most=4.0
    ),
    "twenty_files_seconds": Figure("uploading 20 scans until all are listed and five drawn", SECONDS, at_most=3.0),
    "drop_to_drawn_seconds": Figure("uploading a scan of 5,000 points until its curve is drawn", SECONDS),
    "drop_to_prediction_seconds": Figure("uploading a scan until its prediction, formula entered before", SECONDS),
    "processed_to_prediction_seconds": Figure("of that, after the file is listed", SECONDS, at_most=1.0),
    "formula_to_prediction_seconds": Figure("entering a new formula until its prediction", SECONDS),
    "examples_seconds": Figure("loading the example files until all are listed and five drawn", SECONDS),
    "stage_seconds": Figure("showing five patterns as model input", SECONDS),
    "slider_ms": Figure(
        "server time of a change of broadening or arrangement (the slower), ten patterns, median",
        "{:.2f} ms",
        at_most=30.0,
    ),
    "map_50k_seconds": Figure("map of 50,000 materials, from file to document", SECONDS, at_most=4.0),
    "lasso_server_seconds": Figure("server time of selecting 3,000 of them", SECONDS, at_most=0.3),
    "map_1m_seconds": Figure("map of 1,000,000 materials, from file to document", SECONDS, at_most=10.0),
    "zoom_1m_seconds": Figure("zooming into it", SECONDS, at_most=1.5),
    "latency_ratio_while_training": Figure(
        "95th percentile of page requests during a training, over that without", "{:.2f}", at_most=1.5
    ),
    "first_opening_seconds": Figure("opening a screen for the first time, up to 20 other sessions, median", SECONDS),
    "p95_20_sessions_seconds": Figure(
        "reopening a screen while each of 20 sessions opens one every 2 s, 95th percentile", SECONDS, at_most=1.0
    ),
    "mb_per_session": Figure("memory of a session", "{:.2f} MB", at_most=60.0),
}


@contextmanager
def served(workspace: Path) -> Iterator[tuple[str, int, float]]:
    """The app on a free port: its address, its process id, and the time it took to start [s]."""
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


def request(address: str) -> None:
    """Request the page's HTML."""
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - our own address
        answer.read()


def shows(page: Page, text: str) -> None:
    """Wait until the page shows a text."""
    page.get_by_text(text, exact=False).first.wait_for(timeout=PATIENCE)


def find_chromium() -> str | None:
    """Path of Chromium: the environment variable XXACT_CHROMIUM, else from the PATH; None where there is none."""
    return os.environ.get("XXACT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def opened(browser: Browser, address: str) -> Page:
    """A new page of the app, ready for use."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    shows(page, "Load example data")
    return page


def measure_drop(page: Page, *, predicts: bool) -> dict[str, float | None]:
    """Upload one file that states its wavelength, then predict for two formulas."""
    found: dict[str, float | None] = {}
    page.wait_for_timeout(1000)
    file = EXAMPLES / "quartz.xrdml"
    found["drop_to_drawn_seconds"] = seconds_of(
        lambda: (page.set_input_files("input[type=file]", file), shows(page, "1 of 1 patterns shown"))
    )
    page.reload()
    shows(page, "Load example data")
    page.get_by_role("tab", name="Prediction").click()
    formula = page.get_by_label("Composition", exact=True)
    formula.fill("SiO2")
    shows(page, "Atomic fractions: O 66.7")
    if predicts:
        listed = seconds_of(lambda: (page.set_input_files("input[type=file]", file), shows(page, file.name)))
        answered = seconds_of(lambda: shows(page, "Prediction for SiO2"))
        found["drop_to_prediction_seconds"] = listed + answered
        found["processed_to_prediction_seconds"] = answered
        formula.fill("GeO2")
        found["formula_to_prediction_seconds"] = seconds_of(
            lambda: (formula.press("Enter"), shows(page, "Prediction for GeO2"))
        )
    return found


def measure_twenty(page: Page) -> dict[str, float | None]:
    """Upload twenty scans at once."""
    page.wait_for_timeout(1000)
    files = [{"name": f"{number}.xy", "mimeType": "text/plain", "buffer": scan(number)} for number in range(20)]
    took = seconds_of(lambda: (page.set_input_files("input[type=file]", files), shows(page, "5 of 20 patterns shown")))
    return {"twenty_files_seconds": took}


def measure_examples(page: Page) -> dict[str, float | None]:
    """Load the examples, then show them as model input."""
    page.wait_for_timeout(1000)
    load = page.get_by_role("button", name="Load example data")
    stage = page.get_by_role("button", name="Model input")
    return {
        "examples_seconds": seconds_of(lambda: (load.click(), shows(page, "patterns shown as measured"))),
        "stage_seconds": seconds_of(lambda: (stage.click(), shows(page, "shown as model input"))),
    }


def measure_in_browser(address: str, *, rounds: int, predicts: bool) -> dict[str, float | None]:
    """Waiting times of a user in Chromium, medians [s]; empty where Chromium is not installed."""
    chromium = find_chromium()
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    found: list[dict[str, float | None]] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        if rounds > 1:
            opened(browser, address).close()  # the first page is slower
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
    """All figures; None for those that need a browser or a model that is missing."""
    found: dict[str, float | None] = dict.fromkeys(FIGURES)
    predicts = any(WEIGHTS.glob("**/*.safetensors"))
    with (
        tempfile.TemporaryDirectory() as workspace,
        served(Path(workspace)) as (address, server, found["start_seconds"]),
    ):
        found["html_seconds"] = seconds_of(lambda: request(address))
        found["next_html_seconds"] = median_seconds(lambda: request(address), repeats=1 if quick else 5)
        found |= log(measure_in_browser(address, rounds=1 if quick else 3, predicts=predicts))
        if not quick:  # a 95th percentile needs many requests
            ratio = measure_beside_training(address, Path(workspace), requests=40)
            found |= log({"latency_ratio_while_training": ratio})
            found |= log(measure_sessions(address, server, sessions=SESSIONS, seconds=60))
    found |= log({"slider_ms": measure_sliders(changes=5 if quick else 50)})
    return found if quick else found | log(measure_maps(50_000, 1_000_000))  # embeddings.py --quick has small maps


def log(found: dict[str, float | None]) -> dict[str, float | None]:
    """Print figures as they come, since the whole takes minutes."""
    print(*(f"{name} {value:.3f}" for name, value in found.items()), sep="\n", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    quick = argument_parser(__doc__).parse_args().quick
    found = measure(quick=quick)
    finish(
        __file__,
        figures_to_table(found, FIGURES),
        {name: value if value is None else round(value, 3) for name, value in found.items()},
        quick=quick,
        title="Response times of the app",
        introduction=f"Medians of three runs, {os.cpu_count()} cores.",
        data_digest=file_digest(EXAMPLES / "examples.csv"),
    )


if __name__ == "__main__":
    main()
