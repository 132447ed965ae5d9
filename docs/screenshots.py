"""Pictures of every screen of the app, light and dark, for README and docs/how-to/app.md.

    python docs/screenshots.py                  # writes docs/images/SCREEN-light.png and SCREEN-dark.png
    python docs/screenshots.py --output FOLDER  # writes the same to FOLDER

A dataset of 600 materials is built and a small model trained, then the app is used in Chromium: the examples are
loaded, every screen is opened, and a map is calculated.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository

import argparse
import io
import json
import subprocess
import tempfile
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.harness import REPOSITORY, TABLE
from benchmarks.speed.app import FLAGS, find_chromium, opened, served, shows

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = REPOSITORY / "docs" / "images"
EXACT, OTHERS = 32, 128
"""Colours of a picture: its most frequent ones as they are, and others over the whole range. Enough for a page, at a
third of the file size."""

TRAINING = [
    "preset=tiny", "epochs=40", "batch_size=32", "validate_every=20", "validation_rows=64", "device=cpu", "threads=1",
    "difference_weight=0",
]  # fmt: skip
PATIENCE = 300_000
"""Longest wait for a step [ms]."""


def fill(workspace: Path) -> None:
    """Build a dataset in the workspace and train on it."""
    dataset, run = workspace / "datasets" / "materials", workspace / "runs" / "first"
    settings = [part for setting in TRAINING for part in ("--set", setting)]
    for line in (
        ["build", str(TABLE), str(dataset), "--limit", "600", "--workers", "1"],
        ["train", str(dataset), str(run), "--recipe", "compact", *settings],
    ):
        run.parent.mkdir(parents=True, exist_ok=True)
        dataset.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "xxact_core.commands.main", *line], check=True, capture_output=True, cwd=REPOSITORY
        )


def reduce_colours(picture: Image.Image) -> Image.Image:
    """The picture with a palette, so that its background keeps its colour, and lines and small letters keep theirs."""
    counts = picture.getcolors(picture.width * picture.height) or []
    frequent = [value for _, colour in sorted(counts, reverse=True)[:EXACT] for value in colour]
    others = picture.quantize(OTHERS, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*frequent, *others[: 3 * OTHERS]])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def take(page: Page, path: Path) -> None:
    """Save what is visible, once it has settled."""
    page.mouse.move(5, 400)
    page.wait_for_timeout(2500)
    reduce_colours(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).save(path, optimize=True)


def use(page: Page, folder: Path, *, theme: str) -> None:
    """Go through the screens as a user does."""
    page.set_default_timeout(PATIENCE)
    page.set_viewport_size({"width": 1280, "height": 860})
    if theme == "dark":
        page.get_by_label("Toggle theme").click()
    page.get_by_role("button", name="Load example data").click()
    shows(page, "Why “")
    take(page, folder / f"answer-{theme}.png")
    page.get_by_role("tab", name="Patterns").click()
    shows(page, "patterns shown as measured")
    take(page, folder / f"patterns-{theme}.png")
    page.get_by_role("tab", name="Reconstruction").click()
    shows(page, "windows masked")
    page.get_by_role("combobox", name="Pattern", exact=True).click()
    page.get_by_text("fluorite.prn", exact=True).last.click()
    page.get_by_text("CaF2").first.wait_for(state="attached", timeout=PATIENCE)
    shows(page, "An example")
    take(page, folder / f"reconstruction-{theme}.png")
    page.get_by_role("tab", name="Training").click()
    shows(page, "first: finished")
    take(page, folder / f"training-{theme}.png")
    page.get_by_role("tab", name="Embeddings").click()
    make = page.get_by_role("button", name="Compute the map")
    page.get_by_text("materials, fused embedding").or_(make).first.wait_for(timeout=PATIENCE)
    if make.is_visible():
        make.click()
    page.get_by_text("materials, fused embedding").first.wait_for(timeout=PATIENCE)
    take(page, folder / f"embeddings-{theme}.png")


def main() -> None:
    """Take all pictures and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=IMAGES, metavar="FOLDER", help="default: docs/images")
    folder = parser.parse_args().output
    chromium = find_chromium()
    if chromium is None:
        sys.exit("Chromium is not installed (or set XXACT_CHROMIUM)")
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as workspace:
        fill(Path(workspace))
        with served(Path(workspace)) as (server, _), sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
            for theme in ("light", "dark"):
                page = opened(browser, server.address)
                use(page, folder, theme=theme)
                page.close()
            browser.close()
    print(json.dumps({path.name: path.stat().st_size for path in sorted(folder.glob("*-*.png"))}))


if __name__ == "__main__":
    main()
