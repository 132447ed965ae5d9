"""Does it help to ask about a pattern at several small shifts, and to answer with the mean?

    python benchmarks/studies/shifts.py            # writes docs/results/shifts.md
    python benchmarks/studies/shifts.py --quick    # of 600 materials, writes nothing

The shipped model is asked about laboratory-distorted patterns of the validation split as they are, and moved a little
to both sides; the mean of the class probabilities is held against the single answer. The last line is a JSON object.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.shipped_checkpoint import read_or_build
from xxact_core.augmentation.config import Distortions
from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import rows_in_order
from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.metrics import accuracy, expected_calibration_error
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.model.inference import class_probabilities
from xxact_core.patterns.grid import GRID

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "shifts.md"
SPREADS = (0.02, 0.04, 0.08, 0.16)
"""Shifts to both sides [deg 2θ]."""

ROWS = 2000


@torch.inference_mode()
def answers(table: StickTable) -> tuple[dict[float, np.ndarray], np.ndarray]:
    """Probabilities of the crystal systems at each shift [deg], and the true systems."""
    checkpoint = load_checkpoint()
    model = checkpoint.model
    temperatures = {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}
    shifts = sorted({0.0, *SPREADS, *(-spread for spread in SPREADS)})
    maker = BatchMaker(table, device=torch.device("cpu"), distortions=Distortions(share=1.0))
    found: dict[float, list[np.ndarray]] = {shift: [] for shift in shifts}
    true = []
    chosen = np.random.default_rng(0).permutation(table.rows("validation"))[:ROWS]
    for number, part in enumerate(rows_in_order(np.sort(chosen), batch_size=64)):
        batch = maker.batch(part, seed=number)
        true.append(batch.targets["crystal_system"].numpy().astype(int))
        for shift in shifts:
            moved = replace(batch, intensity=batch.intensity.roll(round(shift / GRID.step), dims=1))
            embedding, _ = model.encode_features(moved)
            logits = {
                name: out for name, out in model.apply_heads(embedding).items() if name not in checkpoint.statistics
            }
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


def verdict(found: dict[float, np.ndarray], true: np.ndarray) -> str:
    """Whether a mean has more right answers than chance makes of those that it changes: two standard deviations."""
    alone = found[0.0].argmax(axis=1) == true
    told = []
    for spread in SPREADS:
        together = np.mean([found[-spread], found[0.0], found[spread]], axis=0).argmax(axis=1) == true
        won, lost = int((together & ~alone).sum()), int((alone & ~together).sum())
        told.append((won - lost > 2 * np.sqrt(won + lost), f"±{spread:g}° mends {won} answers and spoils {lost}"))
    how = "A mean helps" if any(helps for helps, _ in told) else "No mean helps by more than chance makes of it"
    return f"{how}: {', '.join(words for _, words in told)}."


def main() -> None:
    """Ask, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "dataset" if arguments.quick else arguments.dataset
        found, true = answers(read_or_build(folder, quick=arguments.quick))
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
        head += "shipped model. Made by `benchmarks/studies/shifts.py`.\n\n"
        head += provenance_to_line(provenance(table_digest=about["data_digest"], seeds=[0])) + "\n\n"
        lines += ["", verdict(found, true)]
        RESULTS.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
