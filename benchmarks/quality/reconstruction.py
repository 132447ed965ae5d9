"""Does the model for reconstruction expect what stands in masked windows? And: make the one that ships.

    python benchmarks/quality/reconstruction.py              # the shipped one, writes docs/results/reconstruction.md
    python benchmarks/quality/reconstruction.py --ship RUN   # first take the model of a run over, in bfloat16
    python benchmarks/quality/reconstruction.py --quick      # of 600 materials, writes nothing

Windows of all materials of the test split are masked by lot, and the error in them is held against that of expecting
nothing there. The last line printed is a JSON object.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.shipped_checkpoint import read_or_build
from xxact_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.evaluation.reconstruction import WindowErrors, reconstruct_rows
from xxact_core.patterns.grid import GRID
from xxact_core.shipped import RECONSTRUCTION_CHECKPOINT, shipped_path

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "reconstruction.md"
WHAT = (
    "Errors are root mean squares over the points of masked windows, in % of the strongest line, of all materials of "
    "the test split; *nothing* is what expecting nothing at all there would give."
)
WHY = (
    "Where lines stand and how strong they are is guessed from the rest of the pattern and the formula: they are "
    "expected as low, broad rises, because a sharp line that is expected a little beside its place costs twice."
)
RATIOS = (0.05, 0.25, 0.75)


def ship(run: Path) -> None:
    """Put the model of a run where the app looks for it, in place of the one that is there."""
    with tempfile.TemporaryDirectory(dir=shipped_path(RECONSTRUCTION_CHECKPOINT).parent) as folder:
        part = Path(folder) / "reconstruction"
        part.mkdir()
        save_checkpoint(part, load_checkpoint(run / "model"), dtype=torch.bfloat16)
        shutil.rmtree(shipped_path(RECONSTRUCTION_CHECKPOINT), ignore_errors=True)
        part.rename(shipped_path(RECONSTRUCTION_CHECKPOINT))


def to_lines(checkpoint: Checkpoint, errors: Mapping[float, WindowErrors]) -> list[str]:
    """The page without its head."""
    recipe = checkpoint.about["recipe"]
    how = f"{recipe['epochs']:g} epochs of the training split with {recipe['mask_ratio']:.0%} of the windows masked"
    lines = [f"The model that ships learned {how}. {WHAT}", "", "| masked | the model | nothing | less by |"]
    lines.append("|---|---|---|---|")
    for ratio, found in errors.items():
        error, empty = found.total
        lines.append(f"| {ratio:.0%} of the windows | {error:.2f} | {empty:.2f} | {1 - error / empty:.0%} |")
    found = errors[RATIOS[1]]
    edges = GRID.start + GRID.step * GRID.window_points * np.arange(GRID.windows + 1)
    lines += ["", f"By window, {RATIOS[1]:.0%} masked:", "", "| 2θ | the model | nothing |", "|---|---|---|"]
    for low, high, error, empty in zip(edges[:-1], edges[1:], found.error, found.empty, strict=True):
        lines.append(f"| {low:g}-{high:g}° | {error:.2f} | {empty:.2f} |")
    return [*lines, "", WHY]


def main() -> None:
    """Ship if told so, measure, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--ship", type=Path, metavar="RUN")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.ship is not None:
        ship(arguments.ship)
    checkpoint = load_checkpoint(shipped_path(RECONSTRUCTION_CHECKPOINT))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "dataset" if arguments.quick else arguments.dataset
        table = read_or_build(folder, quick=arguments.quick)
    maker, rows = BatchMaker(table, device=torch.device("cpu")), table.rows("test")
    errors = {ratio: reconstruct_rows(checkpoint, maker, rows, ratio=ratio) for ratio in RATIOS}
    lines = to_lines(checkpoint, errors)
    print("\n".join(lines))
    if not arguments.quick:
        head = "# Masked windows\n\nMade by `benchmarks/quality/reconstruction.py`.\n\n"
        head += provenance_to_line(provenance(table_digest=checkpoint.about["data_digest"], seeds=[0])) + "\n\n"
        RESULTS.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps({f"{ratio:g}": list(found.total) for ratio, found in errors.items()}))


if __name__ == "__main__":
    main()
