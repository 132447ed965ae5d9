"""How well does the shipped model reconstruct masked windows, compared with predicting an empty window?

    python benchmarks/quality/reconstruction.py              # writes docs/results/reconstruction.md
    python benchmarks/quality/reconstruction.py --ship RUN   # first ship the model of a run, in bfloat16
    python benchmarks/quality/reconstruction.py --quick      # on 600 materials, writes nothing

Random windows of all materials of the test split are masked.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import shutil
import tempfile
from collections.abc import Mapping

import numpy as np
import torch

from benchmarks.harness import argument_parser, finish, markdown_table, standard_dataset
from xxact_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import read_dataset
from xxact_core.evaluation.reconstruction import WindowErrors, reconstruct_rows
from xxact_core.patterns.grid import GRID
from xxact_core.shipped import RECONSTRUCTION_CHECKPOINT, shipped_path

METHOD = (
    "Errors are root mean squares over the points of masked windows of all materials of the test split, in % of the "
    "strongest line; *empty* is the error of predicting zero everywhere."
)
COMMENT = (
    "Positions and intensities of peaks are inferred from the rest of the pattern and the formula. They are "
    "predicted as low, broad maxima, because a sharp peak predicted off its true position counts twice."
)
RATIOS = (0.05, 0.25, 0.75)


def ship(run: Path) -> None:
    """Replace the shipped model for reconstruction by that of a run."""
    with tempfile.TemporaryDirectory(dir=shipped_path(RECONSTRUCTION_CHECKPOINT).parent) as folder:
        part = Path(folder) / "reconstruction"
        part.mkdir()
        save_checkpoint(part, load_checkpoint(run / "model"), dtype=torch.bfloat16)
        shutil.rmtree(shipped_path(RECONSTRUCTION_CHECKPOINT), ignore_errors=True)
        part.rename(shipped_path(RECONSTRUCTION_CHECKPOINT))


def to_page(checkpoint: Checkpoint, errors: Mapping[float, WindowErrors]) -> str:
    """The tables of the page."""
    recipe = checkpoint.about["recipe"]
    trained = f"{recipe['epochs']:g} epochs of the training split with {recipe['mask_ratio']:.0%} of the windows masked"
    by_ratio = []
    for ratio, found in errors.items():
        error, empty = found.total
        by_ratio.append([f"{ratio:.0%} of the windows", f"{error:.2f}", f"{empty:.2f}", f"{1 - error / empty:.0%}"])
    found = errors[RATIOS[1]]
    edges = GRID.start + GRID.step * GRID.window_points * np.arange(GRID.windows + 1)
    by_window = [
        [f"{low:g}-{high:g}°", f"{error:.2f}", f"{empty:.2f}"]
        for low, high, error, empty in zip(edges[:-1], edges[1:], found.error, found.empty, strict=True)
    ]
    return "\n\n".join(
        [
            f"The shipped model was trained for {trained}. {METHOD}",
            markdown_table(["masked", "model", "empty", "reduction"], by_ratio),
            f"By window, {RATIOS[1]:.0%} masked:",
            markdown_table(["2θ", "model", "empty"], by_window),
            COMMENT,
        ]
    )


def main() -> None:
    """Ship a model if asked to, measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder whose model becomes the shipped one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.ship is not None:
        ship(arguments.ship)
    checkpoint = load_checkpoint(shipped_path(RECONSTRUCTION_CHECKPOINT))
    with standard_dataset(arguments) as folder:
        table = read_dataset(folder)
    maker, rows = BatchMaker(table, device=torch.device("cpu")), table.rows("test")
    errors = {ratio: reconstruct_rows(checkpoint, maker, rows, ratio=ratio) for ratio in RATIOS}
    finish(
        __file__,
        to_page(checkpoint, errors),
        {f"{ratio:g}": list(found.total) for ratio, found in errors.items()},
        quick=arguments.quick,
        title="Reconstruction of masked windows",
        introduction="How much of a masked window the shipped model recovers.",
        data_digest=checkpoint.about["data_digest"],
    )


if __name__ == "__main__":
    main()
