"""Does it help to ask about a pattern at several small shifts, and to answer with the mean?

    python benchmarks/shifts.py DATASET            # writes docs/results/shifts.md
    python benchmarks/shifts.py DATASET --quick    # 64 materials, writes nothing

The shipped model is asked about laboratory-distorted patterns of the validation split as they are, and moved a little
to both sides; the mean of the class probabilities is held against the single answer. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.batches import BatchMaker
from xxact_core.dataset.order import rows_in_order
from xxact_core.dataset.table import read_dataset
from xxact_core.evaluation.metrics import accuracy, expected_calibration_error
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.model.answers import class_probabilities
from xxact_core.patterns.distortions import Distortions
from xxact_core.patterns.grid import GRID

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "docs" / "results" / "shifts.md"
SPREADS = (0.02, 0.04, 0.08, 0.16)
"""Shifts to both sides [deg 2θ]."""

ROWS, QUICK = 2000, 64


@torch.inference_mode()
def answers(dataset: Path, *, rows: int) -> tuple[dict[float, np.ndarray], np.ndarray]:
    """Probabilities of the crystal systems at each shift [deg], and the true systems."""
    checkpoint, table = load_checkpoint(), read_dataset(dataset)
    model = checkpoint.model
    temperatures = {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}
    shifts = sorted({0.0, *SPREADS, *(-spread for spread in SPREADS)})
    maker = BatchMaker(table, device=torch.device("cpu"), distortions=Distortions(share=1.0))
    found: dict[float, list[np.ndarray]] = {shift: [] for shift in shifts}
    true = []
    chosen = np.random.default_rng(0).permutation(table.rows("validation"))[:rows]
    for number, part in enumerate(rows_in_order(np.sort(chosen), batch_size=64)):
        batch = maker.batch(part, seed=number)
        true.append(batch.targets["crystal_system"].numpy().astype(int))
        for shift in shifts:
            moved = batch.intensity.roll(round(shift / GRID.step), dims=1)
            embedding, _ = model.observe(moved, batch.hidden, batch.atomic_numbers, batch.fractions)
            logits = {name: out for name, out in model.answer(embedding).items() if name not in checkpoint.statistics}
            found[shift].append(class_probabilities(logits, temperatures)["crystal_system"].numpy())
    return {shift: np.concatenate(parts) for shift, parts in found.items()}, np.concatenate(true)


def to_row(name: str, probabilities: np.ndarray, true: np.ndarray) -> dict[str, float | str]:
    """Share of right answers, log-loss [bit] and calibration error."""
    loss = -np.log2(np.maximum(probabilities[np.arange(len(true)), true], 1e-12)).mean()
    return {
        "what": name,
        "top1": accuracy(probabilities.argmax(axis=1), true),
        "log_loss": float(loss),
        "calibration_error": expected_calibration_error(probabilities, true),
    }


def main() -> None:
    """Ask, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found, true = answers(arguments.dataset, rows=QUICK if arguments.quick else ROWS)
    rows = [to_row("one answer, as it is", found[0.0], true)]
    rows += [
        to_row(f"mean of three, ±{spread:g}°", np.mean([found[-spread], found[0.0], found[spread]], axis=0), true)
        for spread in SPREADS
    ]
    lines = ["| crystal system | right | log-loss [bit] | calibration error |", "|---|---|---|---|"]
    lines += [
        f"| {row['what']} | {row['top1']:.1%} | {row['log_loss']:.3f} | {row['calibration_error']:.3f} |"
        for row in rows
    ]
    print("\n".join(lines))
    if not arguments.quick:
        about = load_checkpoint().about
        head = f"# Several small shifts\n\n{len(true):,} laboratory-distorted patterns of the validation split, the "
        head += "shipped model. Made by `benchmarks/shifts.py`.\n\n"
        head += provenance_to_line(provenance(table_digest=about["data_digest"], seeds=[0])) + "\n\n"
        chance = 1 / np.sqrt(2 * len(true))
        best = max(row["top1"] for row in rows[1:]) - rows[0]["top1"]
        lines += ["", "No spread helps by more than chance makes of it, so a pattern is asked about once."] * (
            best < chance
        )
        RESULTS.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
