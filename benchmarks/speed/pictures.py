"""Pictures of every screen, light and dark, for README and docs/how-to/app.md.

A data set of 600 materials and a small training are made first, then the app is used as a visitor does: the examples
are loaded, the training is looked at, a map is made.

    python benchmarks/speed/pictures.py            # writes docs/images/SCREEN-light.png and SCREEN-dark.png
    python benchmarks/speed/pictures.py --quick    # the same below build/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.speed.app import FLAGS, REPOSITORY, opened, served, shows

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = REPOSITORY / "docs" / "images"
COLOURS = 96
"""Of a picture: few are enough for a page, and make its file a third as large."""

TRAINING = [
    "preset=tiny", "epochs=40", "batch_size=32", "validate_every=20", "validation_rows=64", "device=cpu", "threads=1",
]  # fmt: skip
PATIENCE = 300_000


def fill(workspace: Path) -> None:
    """Make a data set and a training in it."""
    dataset, run = workspace / "datasets" / "materials", workspace / "runs" / "first"
    table = REPOSITORY / "xxact_core" / "data" / "materials_project.parquet"
    settings = [part for setting in TRAINING for part in ("--set", setting)]
    for line in (
        ["build", str(table), str(dataset), "--limit", "600", "--workers", "1"],
        ["train", str(dataset), str(run), "--recipe", "compact", *settings],
    ):
        run.parent.mkdir(parents=True, exist_ok=True)
        dataset.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "xxact_core.commands.main", *line], check=True, capture_output=True, cwd=REPOSITORY
        )


def take(page: Page, path: Path) -> None:
    """A picture of what can be seen, once it stands still."""
    page.mouse.move(5, 400)
    page.wait_for_timeout(2500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def use(page: Page, folder: Path, *, theme: str) -> None:
    """Go through the screens as a visitor does."""
    page.set_default_timeout(PATIENCE)
    page.set_viewport_size({"width": 1280, "height": 860})
    if theme == "dark":
        page.get_by_label("Toggle theme").click()
    page.get_by_role("button", name="Load example data").click()
    shows(page, "patterns shown as measured")
    page.get_by_role("button", name="Stacked").click()
    take(page, folder / f"patterns-{theme}.png")
    page.get_by_role("tab", name="Prediction").click()
    shows(page, "Prediction for")
    take(page, folder / f"prediction-{theme}.png")
    page.get_by_role("tab", name="Reconstruction").click()
    shows(page, "Nothing is masked")
    page.get_by_role("button", name="Mask random windows", exact=True).click()
    shows(page, "windows are masked")
    page.get_by_role("combobox", name="Pattern", exact=True).scroll_into_view_if_needed()
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
    """Take all pictures and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave the pictures of docs as they are")
    folder = REPOSITORY / "build" / "pictures" if parser.parse_args().quick else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("XXACT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print(json.dumps({"pictures": None}))
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as workspace:
        fill(Path(workspace))
        with served(Path(workspace)) as (address, _, _), sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
            for theme in ("light", "dark"):
                page = opened(browser, address)
                use(page, folder, theme=theme)
                page.close()
            browser.close()
    print(json.dumps({path.name: path.stat().st_size for path in sorted(folder.glob("*-*.png"))}))


if __name__ == "__main__":
    main()
