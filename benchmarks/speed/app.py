"""How long does a user of the app wait?

    python benchmarks/speed/app.py            # writes docs/results/app.md
    python benchmarks/speed/app.py --quick    # every step once, less load and no maps; writes nothing

The app is served with `panel serve app.py`. In Chromium a measured file is uploaded after a formula was entered, and
the time until phases and prediction can be read is taken; screens are opened, patterns switched, a training is stopped,
and the server is killed. Then follow simultaneous sessions beside a training, sessions that are closed again, sliders
and maps (`app_load.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
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
    FORGOTTEN,
    SESSIONS,
    measure_latency,
    measure_leak,
    measure_maps,
    measure_sessions,
    measure_sliders,
    scan,
    training,
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
    "twenty_files_seconds": Figure("uploading 20 scans until all are listed and drawn", SECONDS, at_most=3.0),
    "drop_to_drawn_seconds": Figure("uploading a scan of 5,000 points until its curve is drawn", SECONDS),
    "drop_to_answer_seconds": Figure(
        "uploading a scan until its phases and prediction, formula entered before", SECONDS, at_most=3.0
    ),
    "start_to_answer_seconds": Figure("starting the server until the first answer", SECONDS, at_most=12.0),
    "switch_seconds": Figure("switching to another pattern until its answer", SECONDS, at_most=0.5),
    "screen_open_seconds": Figure("opening a screen for the first time, the slowest of them", SECONDS, at_most=1.5),
    "examples_seconds": Figure("loading the example files until all are listed and drawn", SECONDS),
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
    "stop_shown_seconds": Figure("stopping a training until the page says so", SECONDS, at_most=2.0),
    "stop_ended_seconds": Figure("stopping a training until it has ended", SECONDS, at_most=15.0),
    "banner_seconds": Figure("killing the server until the page says so", SECONDS, at_most=5.0),
    "restored_seconds": Figure("from then on, the server restarted, until the session is restored", SECONDS),
    "lost_files": Figure("files lost by that", "{:.0f}", at_most=0),
    "latency_ratio_while_training": Figure(
        "median of page requests during a training, over that without", "{:.2f}", at_most=1.5
    ),
    "first_opening_seconds": Figure("opening a screen for the first time, up to 20 other sessions, median", SECONDS),
    "p95_20_sessions_seconds": Figure(
        "reopening a screen while each of 20 sessions opens one every 2 s, beside a training, 95th percentile",
        SECONDS,
        at_most=1.0,
    ),
    "mb_per_session": Figure("memory of a session", "{:.2f} MB", at_most=60.0),
    "leak_mb": Figure("memory not given back after 200 sessions (--quick: 20)", "{:.1f} MB", at_most=30.0),
}


class Server:
    """The app on a free port, started as `panel serve app.py --warm`; it can be killed and started again."""

    def __init__(self, workspace: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.workspace = workspace
        self.address = f"http://127.0.0.1:{self.port}/app"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start the server; the time until it answers [s]."""
        line = [sys.executable, "-m", "panel", "serve", "app.py", "--address", "127.0.0.1", "--warm"]
        start = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "XXACT_WORKSPACE": str(self.workspace)}
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [*line, "--port", str(self.port)], cwd=REPOSITORY, env=environment, stdout=quiet, stderr=quiet
        )
        while time.perf_counter() - start < PATIENCE / 1000:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return time.perf_counter() - start
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        msg = "the server ended before it answered"
        raise RuntimeError(msg)

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def served(workspace: Path) -> Iterator[tuple[Server, float]]:
    """The app on a free port, and the time it took to start [s]."""
    server = Server(workspace)
    try:
        took = server.start()
        yield server, took
    finally:
        server.kill()


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
    page.get_by_text("Opening Answer").wait_for(state="detached")
    return page


def answered(page: Page, formula: str = "") -> None:
    """Wait until the Answer screen shows phases and prediction, with a formula in its heading where one is given."""
    heading = page.get_by_role("heading", name=re.compile(formula))
    (heading if formula else page.get_by_text("Why “")).first.wait_for(timeout=PATIENCE)


def measure_drop(page: Page, *, predicts: bool) -> dict[str, float | None]:
    """Upload one file that states its wavelength, with its formula entered before, until its answer."""
    found: dict[str, float | None] = {}
    page.wait_for_timeout(1000)
    if predicts:
        page.get_by_label("Composition", exact=True).fill("SiO2")
        page.get_by_label("Composition", exact=True).press("Enter")
        page.wait_for_timeout(1000)
        file = EXAMPLES / "quartz.xrdml"
        found["drop_to_answer_seconds"] = seconds_of(
            lambda: (page.set_input_files("input[type=file]", file), answered(page))
        )
    return found


def measure_drawn(page: Page) -> dict[str, float | None]:
    """Upload one file on the Patterns screen until its curve is drawn."""
    page.get_by_role("tab", name="Patterns").click()
    page.get_by_text("Opening Patterns").wait_for(state="detached")
    page.wait_for_timeout(1000)
    file = EXAMPLES / "quartz.xrdml"
    return {
        "drop_to_drawn_seconds": seconds_of(
            lambda: (page.set_input_files("input[type=file]", file), shows(page, "1 of 1 patterns shown"))
        )
    }


def measure_switch(page: Page) -> dict[str, float | None]:
    """Switch between two examples whose answers are known already."""
    page.get_by_role("button", name="Load example data").click()
    answered(page)
    page.wait_for_timeout(3000)  # until what is below the answer is there
    for _ in range(2):  # the first round computes the answers
        took = []
        for file, formula in (("corundum.prn", "Al2O3|Al₂O₃"), ("quartz.xrdml", "SiO2|SiO₂")):
            page.get_by_role("combobox", name="Pattern", exact=True).click()
            option = page.locator(".MuiMenuItem-root", has_text=file)
            option.wait_for()
            took.append(seconds_of(lambda option=option, formula=formula: (option.click(), answered(page, formula))))
    return {"switch_seconds": max(took)}


def measure_screens(page: Page) -> dict[str, float | None]:
    """Open every screen for the first time."""
    page.wait_for_timeout(1000)
    took = []
    for screen in ("Patterns", "Embeddings", "Reconstruction", "Training"):
        opening = page.get_by_text(f"Opening {screen}")
        tab = page.get_by_role("tab", name=screen)
        took.append(seconds_of(lambda tab=tab, opening=opening: (tab.click(), opening.wait_for(state="detached"))))
        page.wait_for_timeout(1000)
    return {"screen_open_seconds": max(took)}


def measure_stop(page: Page, job: Callable[[], bool]) -> dict[str, float | None]:
    """Stop a training that the page follows; `job` says whether it is running."""
    page.get_by_role("tab", name="Training").click()
    shows(page, "materials/s")
    page.wait_for_timeout(10_000)  # with live curves
    began = time.perf_counter()
    page.get_by_role("button", name="Stop", exact=True).first.click()
    page.get_by_text(re.compile(r": stopp(ing|ed)")).first.wait_for(timeout=PATIENCE)
    shown = time.perf_counter() - began
    while job():
        time.sleep(0.1)
    return {"stop_shown_seconds": shown, "stop_ended_seconds": time.perf_counter() - began}


def measure_crash(page: Page, server: Server) -> dict[str, float | None]:
    """Kill the server while two files are loaded, and start it again."""
    page.get_by_role("tab", name="Patterns").click()
    page.set_input_files("input[type=file]", [EXAMPLES / "quartz.xrdml", EXAMPLES / "anatase.xy"])
    shows(page, "2 of 2 patterns shown")
    page.wait_for_timeout(3000)
    server.kill()
    banner = seconds_of(lambda: shows(page, "Connection to the server lost"))
    began = time.perf_counter()
    server.start()
    shows(page, "was restored")
    restored = time.perf_counter() - began
    try:
        page.get_by_text("2 of 2 patterns shown").first.wait_for(timeout=PATIENCE / 4)
        lost = 0.0
    except Exception:  # noqa: BLE001 - of a library that is imported where there is a browser only
        lost = 2.0
    return {"banner_seconds": banner, "restored_seconds": restored, "lost_files": lost}


def measure_twenty(page: Page) -> dict[str, float | None]:
    """Upload twenty scans at once."""
    page.get_by_role("tab", name="Patterns").click()
    page.get_by_text("Opening Patterns").wait_for(state="detached")
    page.wait_for_timeout(1000)
    files = [{"name": f"{number}.xy", "mimeType": "text/plain", "buffer": scan(number)} for number in range(20)]
    took = seconds_of(lambda: (page.set_input_files("input[type=file]", files), shows(page, "20 of 20 patterns shown")))
    return {"twenty_files_seconds": took}


def measure_examples(page: Page) -> dict[str, float | None]:
    """Load the examples, then show them as model input."""
    page.get_by_role("tab", name="Patterns").click()
    page.get_by_text("Opening Patterns").wait_for(state="detached")
    page.wait_for_timeout(1000)
    load = page.get_by_role("button", name="Load example data")
    stage = page.get_by_role("button", name="Model input")
    return {
        "examples_seconds": seconds_of(lambda: (load.click(), shows(page, "patterns shown as measured"))),
        "stage_seconds": seconds_of(lambda: (stage.click(), shows(page, "shown as model input"))),
    }


@contextmanager
def chromium() -> Iterator[Browser | None]:
    """Chromium; None where it is not installed."""
    path = find_chromium()
    if path is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def measure_in_browser(
    browser: Browser, address: str, *, rounds: int, predicts: bool, started: float
) -> dict[str, float | None]:
    """Waiting times of a user in Chromium, medians [s]; `started` is the time that the server took to start."""
    first_answer: list[float] = []

    def once() -> dict[str, float | None]:
        began = time.perf_counter()
        page = opened(browser, address)
        took = time.perf_counter() - began
        drop = measure_drop(page, predicts=predicts)
        first_answer.append(started + took + (drop.get("drop_to_answer_seconds") or 0))
        page.close()
        found: dict[str, float | None] = {"page_seconds": took, **drop}
        works = (
            measure_screens,
            measure_drawn,
            measure_twenty,
            measure_examples,
            *([measure_switch] if predicts else []),
        )
        for work in works:
            page = opened(browser, address)
            found |= work(page)
            page.close()
        found["first_plot_seconds"] = took + (found["drop_to_drawn_seconds"] or 0)
        return log(found)

    found = [once() for _ in range(rounds)]
    medians = {name: statistics.median(one[name] or 0.0 for one in found) for name in found[0]}
    return {**medians, "start_to_answer_seconds": first_answer[0]}


def measure(*, quick: bool) -> dict[str, float | None]:
    """All figures; None for those that need a browser or a model that is missing."""
    found: dict[str, float | None] = dict.fromkeys(FIGURES)
    predicts = any(WEIGHTS.glob("**/*.safetensors"))
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as (server, found["start_seconds"]),
        chromium() as browser,
    ):
        workspace, started = Path(folder), found["start_seconds"]
        found["html_seconds"] = seconds_of(lambda: request(server.address))
        found["next_html_seconds"] = median_seconds(lambda: request(server.address), repeats=1 if quick else 5)
        if browser is not None:
            found |= measure_in_browser(
                browser, server.address, rounds=1 if quick else 3, predicts=predicts, started=started
            )
        with training(workspace) as job:
            assert server.process is not None
            if not quick:
                found |= log({"latency_ratio_while_training": measure_latency(server.address, job, requests=40)})
            seconds = 20 if quick else 60
            found |= log(measure_sessions(server.address, server.process.pid, sessions=SESSIONS, seconds=seconds))
            if browser is not None:
                time.sleep(FORGOTTEN)  # giving back twenty sessions at a time takes two seconds
                found |= log(measure_stop(opened(browser, server.address), lambda: job.running))
        visits = {"first": 4, "sessions": 20} if quick else {"first": SESSIONS, "sessions": 200}
        found |= log({"leak_mb": measure_leak(server.address, server.process.pid, **visits)})
        if browser is not None:
            found |= log(measure_crash(opened(browser, server.address), server))
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
