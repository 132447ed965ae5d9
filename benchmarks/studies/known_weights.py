"""How much the known materials may say beside the model: fitted and measured on simulated laboratory patterns.

    python benchmarks/studies/known_weights.py [--rows ROWS] [--dataset DATASET] [--found FILE] [--quick]

Materials of the validation split, their patterns distorted as a laboratory would; DATASET is also the table of known
materials. Of a random half, every row of the same formula and space group is taken out of the table, so that it is seen
what a best score looks like where the phase is not held. Of another random half, the formula is given as if it were
measured: each fraction is off by a normal error of 5 %. The materials that the table finds are kept in FILE, and a
rerun goes on where it ended. Every other material fits the weights of `xxact_core.search_match.combine`; on the others
they are measured. The last line printed is a JSON object: the fitted weights, and the figures of the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from benchmarks.quality.compositions import draw_rows, materials, measured
from benchmarks.quality.shipped_checkpoint import read_or_build
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.dataset.table import StickTable
from xxact_core.errors import PatternError
from xxact_core.evaluation.calibration import conformal_threshold
from xxact_core.evaluation.metrics import accuracy, expected_calibration_error, top_k_accuracy
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.prediction.prediction import ranked_to_probabilities
from xxact_core.prediction.predictor import Predictor
from xxact_core.prediction.reliability import class_sets
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SYSTEM_OF_GROUP
from xxact_core.search_match.combine import (
    GROUP_WEIGHTS,
    LEAST,
    SYSTEM_WEIGHTS,
    Weights,
    Witnesses,
    to_witnesses,
    weigh_groups,
    weigh_systems,
)
from xxact_core.search_match.dataset_database import KnownDataset
from xxact_core.search_match.identify import Identifier

REPOSITORY = Path(__file__).resolve().parents[2]
DATASET = REPOSITORY / "build" / "materials_project"
RESULTS = REPOSITORY / "docs" / "results" / "known_materials.md"
FOUND = REPOSITORY / "build" / "known_weights.jsonl"


@dataclass(frozen=True)
class Without(KnownDataset):
    """A data set as if it had no material of one formula and space group."""

    formula_left_out: str
    group_left_out: float

    def rows_within(self, elements: Any) -> np.ndarray:  # noqa: ANN401 - as the class that it narrows
        """The others of these elements."""
        rows = super().rows_within(elements)
        same = self.table.targets["space_group"][rows] == self.group_left_out
        gone = [row for row in rows[same] if self.formula(int(row)) == self.formula_left_out]
        return np.setdiff1d(rows, gone)


def find(row: int, pattern: GriddedPattern, table: StickTable) -> dict[str, Any]:
    """The known materials nearest to one pattern, as plain values."""
    composition, group = parse_formula(str(table.formula[row])), table.targets["space_group"][row]
    held = bool(np.random.default_rng([1, row]).integers(2))
    references = KnownDataset(table) if held else Without(table, format_formula(composition), group)
    told = {"row": row, "held": held, "neighbours": []}
    try:
        found = Identifier(references).identify(pattern, elements=composition.symbols)
    except PatternError as error:
        return {**told, "failed": str(error)}
    return {**told, "neighbours": [[one.formula, one.space_group, one.score] for one in found.neighbours]}


def find_all(file: Path, drawn: Sequence[tuple[int, GriddedPattern]], table: StickTable) -> list[dict[str, Any]]:
    """The same of every pattern; what is kept already is taken from there."""
    told = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as to:
        for row, pattern in drawn[len(told) :]:
            told.append(find(row, pattern, table))
            to.write(json.dumps(told[-1]) + "\n")
            to.flush()
    assert [one["row"] for one in told[: len(drawn)]] == [row for row, _ in drawn], f"{file} is of other materials"
    return told[: len(drawn)]


@dataclass(frozen=True, eq=False)
class Asked:
    """One pattern, ready to be weighed: probabilities of the model, and true classes."""

    held: bool
    systems: np.ndarray
    groups: np.ndarray
    witnesses: Witnesses
    system: int
    group: int

    def weighed(self, weights: tuple[Weights, Weights]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of crystal systems and space groups that listen to both."""
        systems = weigh_systems(self.systems, self.witnesses, weights[0])
        return systems, weigh_groups(self.groups, self.witnesses, weights[1], systems=systems)


def to_asked(told: dict[str, Any], pattern: GriddedPattern, predictor: Predictor, table: StickTable) -> Asked:
    """What the model says of a pattern, beside the materials that were found."""
    row = told["row"]
    composition, generator = parse_formula(str(table.formula[row])), np.random.default_rng([2, row])
    if generator.integers(2):
        off, _ = measured(composition, spread=0.05, generator=generator)
        composition = Composition(off.symbols, off.amounts)
    prediction = predictor.predict(pattern, composition, override_coverage=True)
    return Asked(
        held=told["held"],
        systems=ranked_to_probabilities(prediction.crystal_system, CRYSTAL_SYSTEM),
        groups=ranked_to_probabilities(prediction.space_group, SPACE_GROUP),
        witnesses=to_witnesses(composition, told["neighbours"]),
        system=int(table.targets["crystal_system"][row]),
        group=int(table.targets["space_group"][row]),
    )


def fit(asked: list[Asked]) -> tuple[Weights, Weights]:
    """The weights that make the true classes most likely: first of the crystal system, then of the group within it."""
    systems = _fit_target(lambda weights: [one.weighed((weights, GROUP_WEIGHTS))[0][one.system] for one in asked])
    groups = _fit_target(lambda weights: [one.weighed((systems, weights))[1][one.group] for one in asked])
    weighed = [one.weighed((systems, groups)) for one in asked]
    thresholds = [
        conformal_threshold(np.stack([both[target] for both in weighed]), np.array(true))
        for target, true in enumerate(zip(*((one.system, one.group) for one in asked), strict=True))
    ]
    systems, groups = (
        replace(of_target, in_set=float(np.floor(1000 * threshold) / 1000))
        for of_target, threshold in zip((systems, groups), thresholds, strict=True)
    )
    return systems, groups


def _fit_target(of_true: Callable[[Weights], list[float]]) -> Weights:
    """Nelder-Mead from several starts; three digits are kept."""

    def to_weights(free: np.ndarray) -> Weights:
        steepness, threshold, distance = np.exp(free).tolist()
        return Weights(steepness=steepness, threshold=threshold, distance=distance, in_set=0.0)

    def loss(free: np.ndarray) -> float:
        return -float(np.log(of_true(to_weights(free))).mean())

    starts = [(steepness, threshold, 1.0) for steepness in (30.0, 100.0) for threshold in (0.85, 0.95)]
    found = [minimize(loss, np.log(start), method="Nelder-Mead", options={"maxiter": 300}) for start in starts]
    best = min(found, key=lambda one: one.fun)
    steepness, threshold, distance = (float(f"{value:.3g}") for value in np.exp(best.x))
    return Weights(steepness=steepness, threshold=threshold, distance=distance, in_set=0.0)


def figures_of(asked: list[Asked], weights: tuple[Weights, Weights]) -> dict[str, dict[str, float | None]]:
    """Accuracies, log-loss [bit] and calibration error of the model alone, the known materials alone, and both."""
    system, group = (np.array([getattr(one, name) for one in asked]) for name in ("system", "group"))
    weighed = [one.weighed(weights) for one in asked]
    found = {
        "model": (np.stack([one.systems for one in asked]), np.stack([one.groups for one in asked])),
        "both": (np.stack([systems for systems, _ in weighed]), np.stack([groups for _, groups in weighed])),
    }
    figures: dict[str, dict[str, float | None]] = {}
    for name, (systems, groups) in found.items():
        figures[name] = {
            "top1": accuracy(systems.argmax(axis=1), system),
            "top2": top_k_accuracy(systems, system, k=2),
            "log_loss_bits": -float(np.log2(np.maximum(systems[np.arange(len(asked)), system], LEAST)).mean()),
            "calibration_error": expected_calibration_error(systems, system),
            "group_top1": accuracy(groups.argmax(axis=1), group),
            "group_log_loss_bits": -float(np.log2(np.maximum(groups[np.arange(len(asked)), group], LEAST)).mean()),
        }
    both, both_groups = found["both"]
    sets = class_sets(both, weights[0].in_set), class_sets(both_groups, weights[1].in_set)
    for name, held, true in (("set", sets[0], system), ("group_set", sets[1], group)):
        figures["both"] |= {f"{name}_coverage": float(held[np.arange(len(asked)), true].mean())}
        figures["both"] |= {f"{name}_size": float(held.sum(axis=1).mean())}
    first = np.array([one.witnesses.group[0] if len(one.witnesses.group) else -1 for one in asked])
    of_first = np.where(first < 0, -1, np.array(SYSTEM_OF_GROUP)[first])
    figures["known"] = {"top1": accuracy(of_first, system), "group_top1": accuracy(first, group)}
    return figures


LABELS = {"model": "the model", "known": "the first known material", "both": "both"}
PARTS = {"held": "held by the table", "not_held": "not held", "all": "all"}
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "top1": ("crystal system, right first", "{:.1%}".format),
    "top2": ("among the first two", "{:.1%}".format),
    "log_loss_bits": ("log-loss [bit]", "{:.2f}".format),
    "calibration_error": ("calibration error", "{:.3f}".format),
    "group_top1": ("space group, right first", "{:.1%}".format),
    "group_log_loss_bits": ("log-loss [bit]", "{:.2f}".format),
}


LIMITS = (
    "Where a phase is not held, a material of the same formula whose lines are nearly the same can make the answer "
    "surer than it should be. Where the table holds one structure twice, once a little distorted, both agree equally "
    "well and share what is gained."
)


def to_page(figures: dict[str, dict[str, dict[str, float]]], weights: tuple[Weights, Weights]) -> str:
    """The page's tables."""
    lines = ["| phase | answer of | " + " | ".join(label for label, _ in COLUMNS.values()) + " |"]
    lines.append("|---" * (len(COLUMNS) + 2) + "|")
    for part, of_part in figures.items():
        for name, label in LABELS.items():
            values = [(of_part[name].get(column), form) for column, (_, form) in COLUMNS.items()]
            cells = " | ".join("" if value is None else form(value) for value, form in values)
            lines.append(f"| {PARTS[part]} | {label} | {cells} |")
    both = figures["all"]["both"]
    lines += ["", LIMITS, ""]
    lines.append(
        f"The sets that are meant to hold the true class nine of ten times hold the crystal system for "
        f"{both['set_coverage']:.0%} with {both['set_size']:.1f} labels in the mean, the space group for "
        f"{both['group_set_coverage']:.0%} with {both['group_set_size']:.1f}."
    )
    lines += [
        "",
        "| weights | steepness β | threshold τ | distance γ | in the set from |",
        "|---|---|---|---|---|",
    ]
    for label, of_target in zip(("crystal system", "space group within it"), weights, strict=True):
        lines.append(f"| {label} | " + " | ".join(f"{value:.3g}" for value in asdict(of_target).values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Ask, fit, measure, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--found", type=Path, default=FOUND)
    parser.add_argument("--quick", action="store_true", help="of 600 materials, write no page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.quick:
            arguments.dataset, arguments.found = Path(scratch) / "dataset", Path(scratch) / "found.jsonl"
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """The same with the arguments at hand."""
    table = read_or_build(arguments.dataset, quick=arguments.quick)
    rows = draw_rows(table, rows=arguments.rows, split="validation")
    patterns = [pattern for pattern, *_ in materials(table, rows=arguments.rows, split="validation")]
    found = find_all(arguments.found, list(zip(rows.tolist(), patterns, strict=True)), table)
    predictor = Predictor.load()
    asked = [
        to_asked(one, pattern, predictor, table)
        for one, pattern in zip(found, patterns, strict=True)
        if not one.get("failed")
    ]
    weights, rest = fit(asked[::2]), asked[1::2]
    parts = {
        "held": [one for one in rest if one.held],
        "not_held": [one for one in rest if not one.held],
        "all": rest,
    }
    figures = {name: figures_of(part, weights) for name, part in parts.items()}
    page = to_page(figures, weights)
    print(page)
    if weights != (SYSTEM_WEIGHTS, GROUP_WEIGHTS):
        print(f"xxact_core.search_match.combine has other weights than {weights}")
    if not arguments.quick:
        head = "# The model and the known materials\n\n"
        head += f"{len(asked)} materials of the validation split, laboratory-distorted patterns, the shipped model. "
        head += "For half of them, all of the same formula and space group are taken out of the table; for half, the "
        head += f"formula is given with fractions 5 % off. Weights are fitted to {len(asked) - len(rest)} of them and "
        head += f"measured on the other {len(rest)}, of which the table holds {len(parts['held'])}. Made by "
        head += "`benchmarks/studies/known_weights.py`.\n\n"
        head += provenance_to_line(provenance(table_digest=table.digest, seeds=[0])) + "\n\n"
        RESULTS.write_text(head + page + "\n", encoding="utf-8")
    print(json.dumps({"weights": [asdict(one) for one in weights], **figures}))


if __name__ == "__main__":
    main()
