"""The widgets in JupyterLab as a person uses it: a click in the page reaches Python, and Python's answer the page."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from browser_fixtures import is_abroad

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 180_000
"""Milliseconds that a busy machine may take for one step; the first import of everything is one."""

TOKEN = "for-this-test-only"  # noqa: S105 - of a server that lives as long as the test

CELLS = [
    "import panel as pn\npn.extension('tabulator', inline=True)",
    (
        "import numpy as np\nfrom xxact_app.widgets import PatternView\n"
        "angles = np.arange(10, 80, 0.02)\n"
        "counts = 100 + 2000 * np.exp(-0.5 * ((angles - 30) / 0.1) ** 2)\n"
        "view = PatternView((angles, counts), wavelength='CuKa')\nview"
    ),
    "print('Python saw', view.scale, view.stage)",
    "view.scale = 'log'",
]

EXECUTED = """number => {
  const prompt = document.querySelectorAll(".jp-Notebook .jp-CodeCell .jp-InputPrompt")[number]
  return prompt !== undefined && /\\[\\d+\\]/.test(prompt.textContent)
}"""


@pytest.fixture
def address(repository: Path, tmp_path: Path) -> Iterator[str]:
    """A notebook in a JupyterLab on this machine alone, with a token and without the user's own settings."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "widgets.ipynb")
    settings = tmp_path / "config" / "labconfig"
    settings.mkdir(parents=True)
    silent = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (settings / "page_config.json").write_text(json.dumps(silent))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={tmp_path / 'work'}",
    ]  # fmt: skip
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    surroundings = {
        **os.environ, **folders, "IPYTHONDIR": str(tmp_path / "ipython"), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(repository), "XXACT_WORKSPACE": str(tmp_path / "workspace"),
    }  # fmt: skip
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(line, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, env=surroundings)
        try:
            wait_for(server, port=port, log=tmp_path / "server.log")
            yield f"http://127.0.0.1:{port}/lab/tree/widgets.ipynb?token={TOKEN}"
        finally:
            server.terminate()
            server.wait(timeout=60)


def wait_for(server: subprocess.Popen[bytes], *, port: int, log: Path) -> None:
    url = f"http://127.0.0.1:{port}/api/status?token={TOKEN}"
    for _ in range(PATIENCE // 500):
        assert server.poll() is None, log.read_text()
        with suppress(OSError), urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.status == 200
            return
        time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start: {log.read_text()}")


def test_a_click_reaches_python_and_python_the_page(address: str, browser: object) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    abroad: list[str] = []
    page.on("request", lambda request: is_abroad(request.url) and abroad.append(request.url))
    page.goto(address)
    page.get_by_text("| Idle").first.wait_for()

    def run(number: int) -> None:
        page.locator(".jp-Notebook .jp-CodeCell .jp-Editor").nth(number).click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_function(EXECUTED, arg=number)

    run(0)
    run(1)
    page.get_by_role("button", name="√").click()
    page.get_by_role("button", name="Model input").click()
    page.get_by_text("Dotted: the 17 windows").wait_for()
    output, seen = page.locator(".jp-Notebook .jp-CodeCell").nth(2).locator(".jp-OutputArea-output"), ""
    deadline = time.monotonic() + PATIENCE / 1000
    # JupyterLab handles clicks in a thread beside the cells; Panel shows below the widget what is printed meanwhile.
    while "Python saw root gridded" not in seen and time.monotonic() < deadline:
        run(2)
        page.get_by_text("| Idle").first.wait_for()
        page.wait_for_timeout(500)
        seen = " ".join(output.all_inner_texts())
    assert "Python saw root gridded" in seen
    run(3)
    page.locator("button[aria-pressed=true]", has_text="log").wait_for()
    page.close()
    assert abroad == []
