"""How well does the shipped model reconstruct masked windows, compared with predicting an empty window?

    python benchmarks/quality/reconstruction.py                       # writes docs/results/reconstruction.md
    python benchmarks/quality/reconstruction.py --model RUN/model     # another model, writes nothing
    python benchmarks/quality/reconstruction.py --split validation    # for choices, writes nothing
    python benchmarks/quality/reconstruction.py --quick               # on 600 materials, writes nothing

Random windows of all materials of the test split are masked. `reconstruction_gain` is the part by which the error lies
below that of predicting an empty window, `reconstruction_gain_cubic` the same for cubic materials.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

from collections.abc import Mapping

import numpy as np
import torch

from benchmarks.harness import argument_parser, finish, markdown_table, standard_dataset
from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.table import read_dataset
from xxact_core.evaluation.reconstruction import RowErrors, WindowErrors, reconstruct_rows, reconstruction_metrics
from xxact_core.patterns.grid import GRID
from xxact_core.quantities import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS

METHOD = (
    "Errors are root mean squares over the points of masked windows of all materials of the split, in % of the "
    "strongest line; *empty* is the error of predicting zero everywhere."
)
RATIOS = (0.05, 0.25, 0.75)
RATIO = 0.25
"""Fraction of the windows whose errors are shown by window and by crystal system."""


def to_page(checkpoint: Checkpoint, errors: Mapping[float, RowErrors], systems: np.ndarray) -> str:
    """The tables of the page; `systems` is the index of the crystal system of each material, NaN where unknown."""
    recipe = checkpoint.about["recipe"]
    trained = f"{recipe['epochs']:g} epochs with {recipe['mask_ratio']:.0%} of the windows masked"
    by_ratio = [to_cells(f"{ratio:.0%} of the windows", found.over_windows()) for ratio, found in errors.items()]
    found = errors[RATIO]
    by_system = [
        to_cells(name, found.over_windows(systems == index))
        for index, name in enumerate(CRYSTAL_SYSTEMS)
        if (systems == index).any()
    ]
    of_windows = found.over_windows()
    edges = GRID.start + GRID.step * GRID.window_points * np.arange(GRID.windows + 1)
    by_window = [
        [f"{low:g}-{high:g}°", f"{error:.2f}", f"{empty:.2f}"]
        for low, high, error, empty in zip(edges[:-1], edges[1:], of_windows.error, of_windows.empty, strict=True)
    ]
    return "\n\n".join(
        [
            f"The last stage of the training had {trained}. {METHOD}",
            markdown_table(["masked", "model", "empty", "reduction"], by_ratio),
            f"By crystal system, {RATIO:.0%} masked:",
            markdown_table(["crystal system", "model", "empty", "reduction"], by_system),
            f"By window, {RATIO:.0%} masked:",
            markdown_table(["2θ", "model", "empty"], by_window),
        ]
    )


def to_cells(name: str, errors: WindowErrors) -> list[str]:
    """A line of a table."""
    error, empty = errors.total
    return [name, f"{error:.2f}", f"{empty:.2f}", f"{errors.gain:.0%}"]


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--model", type=Path, metavar="CHECKPOINT", help="another model than the shipped one")
    parser.add_argument("--split", choices=SPLITS, default="test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(arguments.model)
    with standard_dataset(arguments) as folder:
        table = read_dataset(folder)
    maker, rows = BatchMaker(table, device=torch.device("cpu")), table.rows(arguments.split)
    errors = {ratio: reconstruct_rows(checkpoint, maker, rows, ratio=ratio) for ratio in RATIOS}
    systems = table.targets[CRYSTAL_SYSTEM.name][rows]
    finish(
        __file__,
        to_page(checkpoint, errors, systems),
        {f"{ratio:g}": list(found.over_windows().total) for ratio, found in errors.items()}
        | reconstruction_metrics(errors[RATIO], systems),
        quick=arguments.quick or arguments.model is not None or arguments.split != "test",
        title="Reconstruction of masked windows",
        introduction="How much of a masked window the shipped model recovers.",
        data_digest=checkpoint.about["data_digest"],
    )


if __name__ == "__main__":
    main()
