"""What partial knowledge of the composition costs: the shipped model on test materials, told less and less.

    python benchmarks/quality/compositions.py [--rows ROWS] [--dataset DATASET] [--quick]

Patterns are distorted as a laboratory would. "At its word" gives the model what was measured as if it were exact; "with
its error" gives what was measured with its standard error, or what may be there, and averages over draws
(`xxact_core.compositions.draws`). Measured fractions are those of the material, each off by a normal error. DATASET is
made from the shipped table on the first call (--quick: from its first 600 materials). The last line printed is a JSON
object.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.shipped_checkpoint import read_or_build
from xxact_core.augmentation.config import Distortions
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.partial import PartialComposition
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.metrics import accuracy
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.prediction.predictor import Predictor
from xxact_core.quantities import CRYSTAL_SYSTEMS

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "compositions.md"
LIGHT = ("H", "Li", "C", "O")
KINDS = {
    "exact": "the formula",
    "off_5": "fractions 5 % off, at their word",
    "off_5_said": "fractions 5 % off, with their error",
    "off_20": "fractions 20 % off, at their word",
    "off_20_said": "fractions 20 % off, with their error",
    "no_light": "H, Li, C, O unseen, the rest at its word",
    "no_light_said": "H, Li, C, O unseen, those that are there said to be possible",
    "elements": "the elements alone",
    "nothing": "nothing",
}
Known = Composition | PartialComposition


def measured(composition: Composition, *, spread: float, generator: np.random.Generator) -> tuple[Known, Known]:
    """Fractions as measured with a relative error: as if they were exact, and with their standard errors."""
    off = composition.fractions * np.maximum(1 + spread * generator.standard_normal(len(composition.symbols)), 0.05)
    errors = tuple(float(error) for error in spread * off)
    amounts = tuple(float(amount) for amount in off)
    return Composition(composition.symbols, amounts), PartialComposition(composition.symbols, amounts, errors)


def without_light(composition: Composition) -> tuple[Known, Known]:
    """Heavy elements alone, and with the light ones as possible; the whole composition where all or none is light."""
    known = dict(zip(composition.symbols, composition.amounts, strict=True))
    heavy = {symbol: amount for symbol, amount in known.items() if symbol not in LIGHT}
    light = tuple(symbol for symbol in composition.symbols if symbol in LIGHT)
    if not heavy or not light:
        return composition, composition
    symbols, amounts = tuple(heavy), tuple(heavy.values())
    return Composition(symbols, amounts), PartialComposition(symbols, amounts, maybe=light)


def told(composition: Composition, generator: np.random.Generator) -> dict[str, Known]:
    """One composition, as each of `KINDS` knows it."""
    off_5, off_5_said = measured(composition, spread=0.05, generator=generator)
    off_20, off_20_said = measured(composition, spread=0.2, generator=generator)
    no_light, no_light_said = without_light(composition)
    elements, nothing = PartialComposition(composition.symbols), PartialComposition()
    return dict(
        zip(
            KINDS,
            (composition, off_5, off_5_said, off_20, off_20_said, no_light, no_light_said, elements, nothing),
            strict=True,
        )
    )


def draw_rows(table: StickTable, *, rows: int, split: str) -> np.ndarray:
    """Row numbers of materials of a split, drawn by a seed."""
    return np.random.default_rng(0).permutation(table.rows(split))[:rows]


def materials(
    table: StickTable, *, rows: int, split: str = "test"
) -> list[tuple[GriddedPattern, Composition, dict[str, float]]]:
    """Distorted patterns, compositions and labels of the materials of `draw_rows`."""
    chosen = draw_rows(table, rows=rows, split=split)
    maker = BatchMaker(table, device=torch.device("cpu"), distortions=replace(Distortions(), share=1.0))
    found = []
    for first in range(0, len(chosen), 100):
        batch = maker.batch(chosen[first : first + 100], seed=first)
        for row in range(len(batch)):
            present = batch.fractions[row] > 0
            symbols = tuple(SYMBOLS[number - 1] for number in batch.atomic_numbers[row][present].tolist())
            composition = Composition(symbols, tuple(batch.fractions[row][present].tolist()))
            coverage = ~np.repeat(batch.hidden[row].numpy(), GRID.window_points)
            intensity = np.where(coverage, batch.intensity[row].numpy(), 0)
            pattern = GriddedPattern(100 * intensity / intensity.max(), coverage)
            found.append((pattern, composition, {name: float(of[row]) for name, of in batch.targets.items()}))
    return found


def measure(predictor: Predictor, table: StickTable, *, rows: int) -> dict[str, dict[str, float | None]]:
    """Of each kind of knowledge: accuracy and log-loss [bit] of the crystal system, doubt [bit], errors of values."""
    generator = np.random.default_rng(0)
    answers: dict[str, list[tuple[int, int, float, float, float]]] = {kind: [] for kind in KINDS}
    share_within: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for pattern, composition, labels in materials(table, rows=rows):
        truth = CRYSTAL_SYSTEMS[int(labels["crystal_system"])]
        for kind, known in told(composition, generator).items():
            prediction = predictor.predict(pattern, known)
            chance = {entry.label: entry.probability for entry in prediction.crystal_system}
            doubt = -sum(value * np.log2(value) for value in chance.values() if value > 0)
            energy = prediction.formation_energy_per_atom
            off = energy.value - labels["formation_energy_per_atom"]
            ranked = CRYSTAL_SYSTEMS.index(prediction.crystal_system[0].label)
            answers[kind].append((ranked, int(labels["crystal_system"]), -np.log2(chance[truth]), doubt, off))
            if energy.low is not None and np.isfinite(off):
                share_within[kind].append(energy.low <= labels["formation_energy_per_atom"] <= energy.high)
    figures = {}
    for kind, of_kind in answers.items():
        ranked, true, losses, doubts, off = (np.array(column) for column in zip(*of_kind, strict=True))
        figures[kind] = {
            "crystal_system_accuracy": accuracy(ranked, true),
            "log_loss_bits": float(losses.mean()),
            "doubt_bits": float(doubts.mean()),
            "formation_energy_mae_mev": 1000 * float(np.nanmean(np.abs(off))),
            "formation_energy_within": float(np.mean(share_within[kind])) if share_within[kind] else None,
        }
    return figures


COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "crystal_system_accuracy": ("crystal system, right first", "{:.1%}".format),
    "log_loss_bits": ("log-loss [bit]", "{:.2f}".format),
    "doubt_bits": ("stated doubt [bit]", "{:.2f}".format),
    "formation_energy_mae_mev": ("formation energy, MAE [meV/atom]", "{:.0f}".format),
    "formation_energy_within": ("truth within its interval", "{:.0%}".format),
}


def to_table(figures: dict[str, dict[str, float | None]]) -> str:
    """A Markdown table, a row for each kind of knowledge."""
    lines = ["| what is known | " + " | ".join(label for label, _ in COLUMNS.values()) + " |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    for kind, label in KINDS.items():
        values = {name: figures[kind][name] for name in COLUMNS}
        cells = ["" if value is None else COLUMNS[name][1](value) for name, value in values.items()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the table unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "set" if arguments.quick else arguments.dataset
        is_there = (folder / "manifest.json").is_file()
        table = read_dataset(folder) if is_there else read_or_build(folder, quick=arguments.quick)
    rows = 20 if arguments.quick else arguments.rows
    figures = measure(Predictor.load(), table, rows=rows)
    print(to_table(figures))
    if not arguments.quick:
        head = (
            f"# Partial compositions\n\n{rows} materials of the test split, distorted patterns, the shipped model. A "
        )
        head += "log-loss above the stated doubt means too much confidence. "
        head += "Made by `benchmarks/quality/compositions.py`.\n\n"
        head += provenance_to_line(provenance(table_digest=table.digest, seeds=[0])) + "\n\n"
        RESULTS.write_text(head + to_table(figures) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
