"""Execute the notebooks and keep small outputs: text, tables, plots, and a picture of each widget.

    python docs/execute_notebooks.py            all notebooks, in place
    python docs/execute_notebooks.py predict    one of them

A widget would bring megabytes of JavaScript into the file; instead it is saved as a page, of which a headless Chromium
takes a picture.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
import panel as pn
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image
from playwright.sync_api import Browser, Error, Route, sync_playwright

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"

KEPT = ("text/plain", "text/html", "text/markdown", "image/png")
"""Kinds of output that are kept; others need scripts."""

WIDTH, TALLEST = 1100, 900
"""Size of a widget's picture [pixels]; what is below is cut off."""

PATIENCE, SETTLING = 180_000, 4000
"""Longest wait until a widget begins to be drawn, and time until it has settled [ms]."""

COLOURS = 64
"""Of a picture: enough for plots and letters, and a fifth of the bytes."""

SAVE = """
from bokeh.resources import INLINE
for _part in {name}.panel.select():
    _part.__dict__.pop("_manual_params", None)  # what the notebook's page has already, a page of its own has not
{name}.panel.save({path!r}, resources=INLINE)
"""


def execute(path: Path, browser: Browser) -> None:
    """Execute a notebook and write it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    with client.setup_kernel():
        for place, cell in enumerate(list(notebook.cells)):
            if cell.cell_type != "code":
                continue
            client.execute_cell(cell, place)
            if shows_widget(cell):
                cell.outputs = [picture_of_widget(client, cell, browser)]
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            outputs = [small for output in cell.outputs if (small := small_output(output)) is not None]
            cell.outputs = merge_streams(outputs)
    number_cells(notebook)
    nbformat.write(notebook, path)


def shows_widget(cell: NotebookNode) -> bool:
    """Whether the last line of a cell is a widget."""
    return any("application/vnd.holoviews_exec.v0+json" in output.get("data", {}) for output in cell.outputs) and (
        cell.source.splitlines()[-1].isidentifier()
    )


def picture_of_widget(client: NotebookClient, cell: NotebookNode, browser: Browser) -> NotebookNode:
    """An output with a picture of the widget that a cell shows."""
    name = cell.source.splitlines()[-1]
    page = browser.new_page(viewport={"width": WIDTH, "height": TALLEST})
    page.route(re.compile(r"https?://.*/dist/"), answer_from_panel)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "widget.html"
        run_aside(client, SAVE.format(name=name, path=str(path)))
        page.goto(path.as_uri())
        try:
            page.locator("canvas, .bk-Column").first.wait_for(state="attached", timeout=PATIENCE)
        except Error as error:
            message = f"{name} draws nothing"
            raise RuntimeError(message) from error
        page.wait_for_timeout(SETTLING)
        height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
        picture = page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    page.close()
    text = f"Picture of the widget {name}"
    return nbformat.v4.new_output("display_data", {"image/png": smaller(picture), "text/plain": text})


def answer_from_panel(route: Route) -> None:
    """Answer a request for a style sheet of Panel with the installed one: a saved page names its address elsewhere."""
    path = Path(pn.__file__).parent / "dist" / route.request.url.partition("/dist/")[2].partition("?")[0]
    if path.is_file():
        route.fulfill(path=path)
    else:
        route.abort()


def run_aside(client: NotebookClient, code: str) -> None:
    """Run code in the kernel without a trace in the notebook."""
    cells = client.nb.cells
    cells.append(nbformat.v4.new_code_cell(code))
    client.execute_cell(cells[-1], len(cells) - 1)
    cells.pop()


def smaller(png: bytes) -> str:
    """A PNG of few colours, in base 64."""
    reduced = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(reduced, "PNG", optimize=True)
    return base64.b64encode(reduced.getvalue()).decode()


def small_output(output: NotebookNode) -> NotebookNode | None:
    """An output without scripts, warnings and duplicates; None where nothing remains."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if output.output_type not in {"display_data", "execute_result"}:
        return None
    data = {kind: text for kind, text in output.data.items() if kind in KEPT}
    if "<script" in data.get("text/html", "") or not set(output.data) <= {*KEPT, "image/svg+xml"}:
        return None
    if "image/png" in data and output.output_type == "display_data":
        data = {"image/png": data["image/png"].strip(), "text/plain": data.get("text/plain", "")}
    output.data, output.metadata = data, NotebookNode()
    return output


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with text that arrived in pieces put together."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].output_type == "stream":
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def number_cells(notebook: NotebookNode) -> None:
    """Number the code cells in their order; the code that was run aside left gaps."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def main() -> None:
    """Execute all notebooks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of notebooks without their ending")
    chosen = parser.parse_args().names
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            if not chosen or path.stem in chosen:
                execute(path, browser)
                print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
