"""How much accuracy is lost where the composition is known in part only?

    python benchmarks/quality/compositions.py [--rows ROWS]    # writes docs/results/compositions.md
    python benchmarks/quality/compositions.py --quick          # 20 materials, writes nothing

The shipped model predicts from augmented patterns of test materials, with less and less knowledge of the composition.
"Taken as exact" gives the model measured fractions as they are; "errors given" gives them with their standard errors,
or with the elements that may be present, and averages over samples (`xxact_core.compositions.sampling`). Measured
fractions are the true ones with normal errors.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import argument_parser, finish, markdown_table, standard_dataset
from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.partial import PartialComposition
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.metrics import accuracy
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.prediction.predictor import Predictor
from xxact_core.quantities import CRYSTAL_SYSTEMS

LIGHT = ("H", "Li", "C", "O")
KNOWLEDGE = {
    "exact": "formula",
    "off_5": "fractions with errors of 5 %, taken as exact",
    "off_5_said": "fractions with errors of 5 %, errors given",
    "off_20": "fractions with errors of 20 %, taken as exact",
    "off_20_said": "fractions with errors of 20 %, errors given",
    "no_light": "without H, Li, C and O, the rest taken as complete",
    "no_light_said": "without H, Li, C and O, those present given as possible",
    "elements": "elements only",
    "nothing": "nothing",
}
Known = Composition | PartialComposition


def measured(composition: Composition, *, spread: float, generator: np.random.Generator) -> tuple[Known, Known]:
    """Fractions with a normal relative error: taken as exact, and with their standard errors."""
    off = composition.fractions * np.maximum(1 + spread * generator.standard_normal(len(composition.symbols)), 0.05)
    errors = tuple(float(error) for error in spread * off)
    amounts = tuple(float(amount) for amount in off)
    return Composition(composition.symbols, amounts), PartialComposition(composition.symbols, amounts, errors)


def without_light(composition: Composition) -> tuple[Known, Known]:
    """Heavy elements only, and with the light ones as possible; unchanged where all elements or none are light."""
    known = dict(zip(composition.symbols, composition.amounts, strict=True))
    heavy = {symbol: amount for symbol, amount in known.items() if symbol not in LIGHT}
    light = tuple(symbol for symbol in composition.symbols if symbol in LIGHT)
    if not heavy or not light:
        return composition, composition
    symbols, amounts = tuple(heavy), tuple(heavy.values())
    return Composition(symbols, amounts), PartialComposition(symbols, amounts, maybe=light)


def partial_compositions(composition: Composition, generator: np.random.Generator) -> dict[str, Known]:
    """A composition as known in each case of `KNOWLEDGE`."""
    off_5, off_5_said = measured(composition, spread=0.05, generator=generator)
    off_20, off_20_said = measured(composition, spread=0.2, generator=generator)
    no_light, no_light_said = without_light(composition)
    elements, nothing = PartialComposition(composition.symbols), PartialComposition()
    return dict(
        zip(
            KNOWLEDGE,
            (composition, off_5, off_5_said, off_20, off_20_said, no_light, no_light_said, elements, nothing),
            strict=True,
        )
    )


def draw_rows(table: StickTable, *, rows: int, split: str) -> np.ndarray:
    """Random rows of a split (seed 0)."""
    return np.random.default_rng(0).permutation(table.rows(split))[:rows]


def materials(
    table: StickTable, *, rows: int, split: str = "test"
) -> list[tuple[GriddedPattern, Composition, dict[str, float]]]:
    """Augmented patterns, compositions and labels of the materials of `draw_rows`."""
    chosen = draw_rows(table, rows=rows, split=split)
    maker = BatchMaker(table, device=torch.device("cpu"), augmentation=replace(AugmentationConfig(), share=1.0))
    found = []
    for first in range(0, len(chosen), 100):
        batch = maker.batch(chosen[first : first + 100], seed=first)
        for row in range(len(batch)):
            present = batch.fractions[row] > 0
            symbols = tuple(SYMBOLS[number - 1] for number in batch.atomic_numbers[row][present].tolist())
            composition = Composition(symbols, tuple(batch.fractions[row][present].tolist()))
            coverage = ~np.repeat(batch.window_mask[row].numpy(), GRID.window_points)
            intensity = np.where(coverage, batch.intensity[row].numpy(), 0)
            pattern = GriddedPattern(100 * intensity / intensity.max(), coverage)
            found.append((pattern, composition, {name: float(of[row]) for name, of in batch.targets.items()}))
    return found


def measure(predictor: Predictor, table: StickTable, *, rows: int) -> dict[str, dict[str, float | None]]:
    """For each case: accuracy, log-loss and entropy [bit] of the crystal system; errors of the formation energy."""
    generator = np.random.default_rng(0)
    answers: dict[str, list[tuple[int, int, float, float, float]]] = {kind: [] for kind in KNOWLEDGE}
    covered: dict[str, list[bool]] = {kind: [] for kind in KNOWLEDGE}
    for pattern, composition, labels in materials(table, rows=rows):
        truth = CRYSTAL_SYSTEMS[int(labels["crystal_system"])]
        for kind, known in partial_compositions(composition, generator).items():
            prediction = predictor.predict(pattern, known)
            chance = {entry.label: entry.probability for entry in prediction.crystal_system}
            entropy = -sum(value * np.log2(value) for value in chance.values() if value > 0)
            energy = prediction.formation_energy_per_atom
            off = energy.value - labels["formation_energy_per_atom"]
            ranked = CRYSTAL_SYSTEMS.index(prediction.crystal_system[0].label)
            answers[kind].append((ranked, int(labels["crystal_system"]), -np.log2(chance[truth]), entropy, off))
            if energy.low is not None and np.isfinite(off):
                covered[kind].append(energy.low <= labels["formation_energy_per_atom"] <= energy.high)
    figures = {}
    for kind, of_kind in answers.items():
        ranked, true, losses, entropies, off = (np.array(column) for column in zip(*of_kind, strict=True))
        figures[kind] = {
            "crystal_system_accuracy": accuracy(ranked, true),
            "log_loss_bits": float(losses.mean()),
            "doubt_bits": float(entropies.mean()),
            "formation_energy_mae_mev": 1000 * float(np.nanmean(np.abs(off))),
            "formation_energy_within": float(np.mean(covered[kind])) if covered[kind] else None,
        }
    return figures


COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "crystal_system_accuracy": ("crystal system, top-1 accuracy", "{:.1%}".format),
    "log_loss_bits": ("log-loss [bit]", "{:.2f}".format),
    "doubt_bits": ("mean entropy of the prediction [bit]", "{:.2f}".format),
    "formation_energy_mae_mev": ("formation energy, MAE [meV/atom]", "{:.0f}".format),
    "formation_energy_within": ("true value within the 90 % interval", "{:.0%}".format),
}


def to_table(figures: dict[str, dict[str, float | None]]) -> str:
    """A Markdown table, one row per case."""
    rows = []
    for case, label in KNOWLEDGE.items():
        values = {name: figures[case][name] for name in COLUMNS}
        rows.append([label, *("" if value is None else COLUMNS[name][1](value) for name, value in values.items())])
    return markdown_table(["what is known", *(label for label, _ in COLUMNS.values())], rows)


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--rows", type=int, default=500, help="test materials (20 with --quick)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = 20 if arguments.quick else arguments.rows
    with standard_dataset(arguments) as folder:
        table = read_dataset(folder)
    figures = measure(Predictor.load(), table, rows=rows)
    finish(
        __file__,
        to_table(figures),
        figures,
        quick=arguments.quick,
        title="Partial compositions",
        introduction=f"{rows} materials of the test split, augmented patterns, the shipped model. A log-loss above "
        "the mean entropy means that the model is overconfident.",
        data_digest=table.digest,
    )


if __name__ == "__main__":
    main()
