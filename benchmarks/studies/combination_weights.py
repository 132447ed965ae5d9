"""With which weights are predictions combined with matching reference materials, and what is gained?

    python benchmarks/studies/combination_weights.py [--rows ROWS] [--dataset DATASET] [--found FILE]
    python benchmarks/studies/combination_weights.py --quick    # on 600 materials, writes nothing

The answer are the constants `SYSTEM_WEIGHTS` and `GROUP_WEIGHTS` of `xxact_core.search_match.combine`, to be fitted
again whenever the shipped model changes. Patterns are augmented ones of the validation split; DATASET is also the
reference table. For a random half of them, all materials of the same formula and space group are left out of the table,
which shows the best score where the phase is missing. For another random half, the formula is given with normal errors
of 5 %. Matches are stored in FILE, so that an interrupted run continues. Every other material is used to fit the
weights; the rest evaluates them. Without --quick, docs/results/known_materials.md is written.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from benchmarks.harness import REPOSITORY, argument_parser, finish, markdown_table, standard_dataset
from benchmarks.quality.compositions import draw_rows, materials, measured
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import PatternError
from xxact_core.evaluation.calibration import conformal_threshold
from xxact_core.evaluation.metrics import accuracy, expected_calibration_error, top_k_accuracy
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.prediction.prediction import ranked_to_probabilities
from xxact_core.prediction.predictor import Predictor
from xxact_core.prediction.reliability import class_sets
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SYSTEM_OF_GROUP
from xxact_core.search_match.combine import (
    GROUP_WEIGHTS,
    SMALLEST_PROBABILITY,
    SYSTEM_WEIGHTS,
    CombinationWeights,
    MatchEvidence,
    combine_groups,
    combine_systems,
    matches_to_evidence,
)
from xxact_core.search_match.dataset_database import DatasetReferences
from xxact_core.search_match.identify import Identifier

FOUND = REPOSITORY / "build" / "combination_weights.jsonl"


@dataclass(frozen=True)
class Without(DatasetReferences):
    """A dataset without the materials of one formula and space group."""

    formula_left_out: str
    group_left_out: float

    def rows_within(self, elements: Any) -> np.ndarray:  # noqa: ANN401 - as the class that it narrows
        """Rows within these elements, less those left out."""
        rows = super().rows_within(elements)
        same = self.table.targets["space_group"][rows] == self.group_left_out
        gone = [row for row in rows[same] if self.formula(int(row)) == self.formula_left_out]
        return np.setdiff1d(rows, gone)


def find(row: int, pattern: GriddedPattern, table: StickTable) -> dict[str, Any]:
    """The best matching reference materials of one pattern, as plain values."""
    composition, group = parse_formula(str(table.formula[row])), table.targets["space_group"][row]
    held = bool(np.random.default_rng([1, row]).integers(2))
    references = DatasetReferences(table) if held else Without(table, format_formula(composition), group)
    outcome = {"row": row, "held": held, "neighbours": []}
    try:
        found = Identifier(references).identify(pattern, elements=composition.symbols)
    except PatternError as error:
        return {**outcome, "failed": str(error)}
    return {**outcome, "neighbours": [[one.formula, one.space_group, one.score] for one in found.matches]}


def find_all(file: Path, drawn: Sequence[tuple[int, GriddedPattern]], table: StickTable) -> list[dict[str, Any]]:
    """The same for every pattern; outcomes stored in the file are not computed again."""
    stored = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as to:
        for row, pattern in drawn[len(stored) :]:
            stored.append(find(row, pattern, table))
            to.write(json.dumps(stored[-1]) + "\n")
            to.flush()
    assert [one["row"] for one in stored[: len(drawn)]] == [row for row, _ in drawn], f"{file} is for other materials"
    return stored[: len(drawn)]


@dataclass(frozen=True, eq=False)
class Case:
    """One pattern: predicted probabilities, matching reference materials, and true classes."""

    held: bool
    systems: np.ndarray
    groups: np.ndarray
    evidence: MatchEvidence
    system: int
    group: int

    def combined(self, weights: tuple[CombinationWeights, CombinationWeights]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of crystal systems and space groups, combined from both."""
        systems = combine_systems(self.systems, self.evidence, weights[0])
        return systems, combine_groups(self.groups, self.evidence, weights[1], systems=systems)


def to_case(stored: dict[str, Any], pattern: GriddedPattern, predictor: Predictor, table: StickTable) -> Case:
    """The model's prediction for a pattern, with the reference materials that were found."""
    row = stored["row"]
    composition, generator = parse_formula(str(table.formula[row])), np.random.default_rng([2, row])
    if generator.integers(2):
        off, _ = measured(composition, spread=0.05, generator=generator)
        composition = Composition(off.symbols, off.amounts)
    prediction = predictor.predict(pattern, composition, override_coverage=True)
    return Case(
        held=stored["held"],
        systems=ranked_to_probabilities(prediction.crystal_system, CRYSTAL_SYSTEM),
        groups=ranked_to_probabilities(prediction.space_group, SPACE_GROUP),
        evidence=matches_to_evidence(composition, stored["neighbours"]),
        system=int(table.targets["crystal_system"][row]),
        group=int(table.targets["space_group"][row]),
    )


def fit(cases: list[Case]) -> tuple[CombinationWeights, CombinationWeights]:
    """Maximum-likelihood weights: first for the crystal system, then for the space group within it."""
    systems = _fit_target(lambda weights: [one.combined((weights, GROUP_WEIGHTS))[0][one.system] for one in cases])
    groups = _fit_target(lambda weights: [one.combined((systems, weights))[1][one.group] for one in cases])
    combined = [one.combined((systems, groups)) for one in cases]
    thresholds = [
        conformal_threshold(np.stack([both[target] for both in combined]), np.array(true))
        for target, true in enumerate(zip(*((one.system, one.group) for one in cases), strict=True))
    ]
    systems, groups = (
        replace(of_target, in_set=float(np.floor(1000 * threshold) / 1000))
        for of_target, threshold in zip((systems, groups), thresholds, strict=True)
    )
    return systems, groups


def _fit_target(of_true: Callable[[CombinationWeights], list[float]]) -> CombinationWeights:
    """Nelder-Mead from several starts, rounded to three digits."""

    def to_weights(free: np.ndarray) -> CombinationWeights:
        steepness, threshold, distance = np.exp(free).tolist()
        return CombinationWeights(steepness=steepness, threshold=threshold, distance=distance, in_set=0.0)

    def loss(free: np.ndarray) -> float:
        return -float(np.log(of_true(to_weights(free))).mean())

    starts = [(steepness, threshold, 1.0) for steepness in (30.0, 100.0) for threshold in (0.85, 0.95)]
    found = [minimize(loss, np.log(start), method="Nelder-Mead", options={"maxiter": 300}) for start in starts]
    best = min(found, key=lambda one: one.fun)
    steepness, threshold, distance = (float(f"{value:.3g}") for value in np.exp(best.x))
    return CombinationWeights(steepness=steepness, threshold=threshold, distance=distance, in_set=0.0)


def figures_of(
    cases: list[Case], weights: tuple[CombinationWeights, CombinationWeights]
) -> dict[str, dict[str, float | None]]:
    """Accuracies, log-loss [bit] and calibration error of the model, the best match, and both combined."""
    system, group = (np.array([getattr(one, name) for one in cases]) for name in ("system", "group"))
    combined = [one.combined(weights) for one in cases]
    found = {
        "model": (np.stack([one.systems for one in cases]), np.stack([one.groups for one in cases])),
        "both": (np.stack([systems for systems, _ in combined]), np.stack([groups for _, groups in combined])),
    }
    figures: dict[str, dict[str, float | None]] = {}
    for name, (systems, groups) in found.items():
        figures[name] = {
            "top1": accuracy(systems.argmax(axis=1), system),
            "top2": top_k_accuracy(systems, system, k=2),
            "log_loss_bits": -float(
                np.log2(np.maximum(systems[np.arange(len(cases)), system], SMALLEST_PROBABILITY)).mean()
            ),
            "calibration_error": expected_calibration_error(systems, system),
            "group_top1": accuracy(groups.argmax(axis=1), group),
            "group_log_loss_bits": -float(
                np.log2(np.maximum(groups[np.arange(len(cases)), group], SMALLEST_PROBABILITY)).mean()
            ),
        }
    both, both_groups = found["both"]
    sets = class_sets(both, weights[0].in_set), class_sets(both_groups, weights[1].in_set)
    for name, held, true in (("set", sets[0], system), ("group_set", sets[1], group)):
        figures["both"] |= {f"{name}_coverage": float(held[np.arange(len(cases)), true].mean())}
        figures["both"] |= {f"{name}_size": float(held.sum(axis=1).mean())}
    first = np.array([one.evidence.group[0] if len(one.evidence.group) else -1 for one in cases])
    of_first = np.where(first < 0, -1, np.array(SYSTEM_OF_GROUP)[first])
    figures["known"] = {"top1": accuracy(of_first, system), "group_top1": accuracy(first, group)}
    return figures


LABELS = {"model": "model", "known": "best match", "both": "combined"}
PARTS = {"held": "in the table", "not_held": "not in the table", "all": "all"}
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "top1": ("crystal system, top-1 accuracy", "{:.1%}".format),
    "top2": ("top-2 accuracy", "{:.1%}".format),
    "log_loss_bits": ("log-loss [bit]", "{:.2f}".format),
    "calibration_error": ("calibration error", "{:.3f}".format),
    "group_top1": ("space group, top-1 accuracy", "{:.1%}".format),
    "group_log_loss_bits": ("log-loss [bit]", "{:.2f}".format),
}
LIMITS = (
    "Where the phase is not in the table, a material of the same formula with almost the same reflections can make the "
    "combined prediction overconfident. Where the table has one structure twice, once slightly distorted, both match "
    "equally well and share the gain."
)


def to_page(
    figures: dict[str, dict[str, dict[str, float]]], weights: tuple[CombinationWeights, CombinationWeights]
) -> str:
    """The tables of the page."""
    rows = []
    for part, of_part in figures.items():
        for name, label in LABELS.items():
            values = [(of_part[name].get(column), form) for column, (_, form) in COLUMNS.items()]
            rows.append([PARTS[part], label, *("" if value is None else form(value) for value, form in values)])
    both = figures["all"]["both"]
    of_targets = zip(("crystal system", "space group within it"), weights, strict=True)
    return "\n\n".join(
        [
            markdown_table(["phase", "prediction", *(label for label, _ in COLUMNS.values())], rows),
            LIMITS,
            (
                f"The 90 % prediction sets contain the true crystal system for {both['set_coverage']:.0%} of the "
                f"patterns with {both['set_size']:.1f} labels on average, and the true space group for "
                f"{both['group_set_coverage']:.0%} with {both['group_set_size']:.1f}."
            ),
            markdown_table(
                ["weights", "steepness β", "threshold τ", "distance γ", "smallest probability in the set"],
                [[label, *(f"{value:.3g}" for value in asdict(weight).values())] for label, weight in of_targets],
            ),
        ]
    )


def main() -> None:
    """Search, fit, evaluate, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--rows", type=int, default=600, help="materials of the validation split")
    parser.add_argument("--found", type=Path, default=FOUND, metavar="FILE", help="where matches are stored")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "found.jsonl" if arguments.quick else arguments.found
        with standard_dataset(arguments) as folder:
            table = read_dataset(folder)
        measure(table, file, rows=arguments.rows, quick=arguments.quick)


def measure(table: StickTable, file: Path, *, rows: int, quick: bool) -> None:
    """Fit and evaluate the weights on materials of the validation split, with matches stored in a file."""
    chosen = draw_rows(table, rows=rows, split="validation")
    patterns = [pattern for pattern, *_ in materials(table, rows=rows, split="validation")]
    found = find_all(file, list(zip(chosen.tolist(), patterns, strict=True)), table)
    predictor = Predictor.load()
    cases = [
        to_case(one, pattern, predictor, table)
        for one, pattern in zip(found, patterns, strict=True)
        if not one.get("failed")
    ]
    weights, rest = fit(cases[::2]), cases[1::2]
    parts = {
        "held": [one for one in rest if one.held],
        "not_held": [one for one in rest if not one.held],
        "all": rest,
    }
    figures = {name: figures_of(part, weights) for name, part in parts.items()}
    if weights != (SYSTEM_WEIGHTS, GROUP_WEIGHTS):
        print(f"the weights in xxact_core.search_match.combine differ from {weights}", file=sys.stderr)
    finish(
        __file__,
        to_page(figures, weights),
        {"weights": [asdict(one) for one in weights], **figures},
        quick=quick,
        title="Combining predictions with reference materials",
        introduction=f"{len(cases)} augmented patterns of the validation split, the shipped model. For half of them, "
        "all materials of the same formula and space group are left out of the reference table; for half, the "
        f"formula is given with errors of 5 %. Weights are fitted to {len(cases) - len(rest)} patterns and evaluated "
        f"on the other {len(rest)}, of which the table has {len(parts['held'])}.",
        data_digest=table.digest,
        page="known_materials",
    )


if __name__ == "__main__":
    main()
