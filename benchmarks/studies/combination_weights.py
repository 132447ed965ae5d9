"""With which weights are predictions combined with matching reference materials, and what is gained?

    python benchmarks/studies/combination_weights.py [--collection FOLDER] [--found FILE] [--reference TABLE]
    python benchmarks/studies/combination_weights.py --quick    # on some patterns, writes nothing

The answer are the constants of `xxact_core.search_match.combine`, to be fitted again whenever the shipped model or the
probabilities of matches change. Patterns, searches and FILE are those of `benchmarks/studies/ranking_weights.py`, with
elements given. Where the table has the phase, it is also taken out; these count so that the table lacks a fifth of all
phases. Weights are chosen by the log-loss of the crystal system. Without --quick, docs/results/known_materials.md is
written.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.harness import REPOSITORY, argument_parser, finish, markdown_table
from benchmarks.quality.search_match import SHARED, SinglePhase, read_singles
from benchmarks.studies.ranking_weights import FOUND, HELD, QUICK, Case, search_all, to_case
from xxact_core.compositions.formula import parse_formula
from xxact_core.evaluation.metrics import expected_calibration_error
from xxact_core.prediction.prediction import ranked_to_probabilities
from xxact_core.prediction.predictor import Predictor
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SYSTEM_OF_GROUP
from xxact_core.search_match.combine import (
    DISTANCE,
    GROUP_IN_SET,
    MODEL_EXPONENT,
    SYSTEM_IN_SET,
    MatchEvidence,
    combine_groups,
    matches_to_evidence,
    sum_by_system,
)
from xxact_core.search_match.identify import Identifier
from xxact_core.search_match.plausibility import FIT_WEIGHTS, NO_MATCH, best_of_each, log_odds_to_probabilities

DISTANCES, EXPONENTS = (0.0, 2.0, 5.0, 10.0, 20.0), (0.0, 0.25, 0.5, 0.75, 1.0)
MATCHES = 10
COVERAGE = 0.9


@dataclass(frozen=True, eq=False)
class Outcome:
    """The model's prediction for one pattern, its matches, and the truth."""

    systems: np.ndarray
    """The model's probabilities of the crystal systems, shape (7,)."""
    groups: np.ndarray
    """The model's probabilities of the space groups, shape (230,)."""
    evidence: MatchEvidence
    group: int
    """Index of the true space group."""
    held: bool
    """Whether the true phase is among the matches."""

    @property
    def system(self) -> int:
        """Index of the true crystal system."""
        return int(SYSTEM_OF_GROUP[self.group])


def to_evidence(case: Case) -> MatchEvidence:
    """The matches that a search returns for fitted phases."""
    log_odds = case.features @ np.array(astuple(FIT_WEIGHTS))
    best = best_of_each(case.keys, log_odds)
    probabilities, _ = log_odds_to_probabilities(log_odds[best], case.features[best], NO_MATCH)
    found = [(*case.keys[place], float(probability)) for place, probability in zip(best, probabilities, strict=True)]
    return matches_to_evidence(parse_formula(case.formula), found[:MATCHES])


def to_outcomes(
    stored: Sequence[dict[str, Any]], phases: Sequence[SinglePhase], predictor: Predictor
) -> tuple[list[Outcome], list[Outcome]]:
    """Outcomes with the whole table, and those without the true phase where the table has it."""
    pattern = {phase.name: phase for phase in phases}
    whole, without = [], []
    for one in stored:
        if not one["given"]:
            continue
        prediction = predictor.predict(pattern[one["name"]].pattern, one["formula"], override_coverage=True)
        systems = ranked_to_probabilities(prediction.crystal_system, CRYSTAL_SYSTEM)
        groups = ranked_to_probabilities(prediction.space_group, SPACE_GROUP)
        case = to_case(one)
        held = bool(case.right.any())
        true = one["space_group"] - 1
        whole.append(Outcome(systems, groups, to_evidence(case), true, held))
        if held and len((rest := case.without()).right):
            without.append(Outcome(systems, groups, to_evidence(rest), true, held=False))
    return whole, without


def figures_of(outcomes: Sequence[Outcome], groups: Sequence[np.ndarray]) -> dict[str, float]:
    """Accuracies, log-loss [bit] and calibration error of probabilities of the space groups."""
    systems = np.stack([sum_by_system(one) for one in groups])
    true = np.array([one.system for one in outcomes])
    of_true = systems[np.arange(len(true)), true]
    return {
        "system_top1": float((systems.argmax(axis=1) == true).mean()),
        "log_loss_bits": float(-np.log2(np.maximum(of_true, 1e-6)).mean()),
        "calibration_error": float(expected_calibration_error(systems, true)),
        "group_top1": float(
            np.mean([one.argmax() == outcome.group for one, outcome in zip(groups, outcomes, strict=True)])
        ),
    }


def combined(outcomes: Sequence[Outcome], *, distance: float, exponent: float) -> list[np.ndarray]:
    """Combined probabilities of the space groups, one array of shape (230,) for each outcome."""
    return [
        combine_groups(one.groups, one.evidence, distance=distance, exponent=exponent)
        if len(one.evidence.group)
        else one.groups
        for one in outcomes
    ]


def weighted_loss(whole: Sequence[Outcome], without: Sequence[Outcome], *, distance: float, exponent: float) -> float:
    """Log-loss of the crystal system, the whole table counting `HELD`."""
    losses = [
        figures_of(part, combined(part, distance=distance, exponent=exponent))["log_loss_bits"]
        for part in (whole, without)
    ]
    return HELD * losses[0] + (1 - HELD) * losses[1]


def thresholds(whole: Sequence[Outcome], without: Sequence[Outcome]) -> tuple[float, float]:
    """Probabilities above which 90 % of the true crystal systems and space groups lie."""
    of_true: list[list[float]] = [[], []]
    importance: list[float] = []
    for part, share in ((whole, HELD), (without, 1 - HELD)):
        for one, groups in zip(part, combined(part, distance=DISTANCE, exponent=MODEL_EXPONENT), strict=True):
            of_true[0].append(float(sum_by_system(groups)[one.system]))
            of_true[1].append(float(groups[one.group]))
            importance.append(share / len(part))
    found = []
    for values in of_true:
        order = np.argsort(values)
        below = np.cumsum(np.array(importance)[order])
        found.append(float(np.array(values)[order][np.searchsorted(below, 1 - COVERAGE)]))
    return found[0], found[1]


def main() -> None:
    """Search, predict, choose, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    default = Path(os.environ.get(SHARED, REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--collection", type=Path, default=default, metavar="FOLDER", help="measured patterns")
    parser.add_argument("--found", type=Path, default=FOUND, metavar="FILE", help="where fitted phases are stored")
    parser.add_argument(
        "--reference", type=Path, metavar="TABLE", help="reference phases; by default the shipped table"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    collection = arguments.collection if (arguments.collection / "experimental" / "labels.csv").is_file() else None
    development = arguments.collection / "experimental_dev"
    phases = read_singles(collection, development if (development / "labels.csv").is_file() else None)
    phases = phases[:QUICK] if arguments.quick else phases
    identifier = Identifier.load(arguments.reference)
    stored = search_all(phases, identifier, None if arguments.quick else arguments.found)
    whole, without = to_outcomes(stored, phases, Predictor.load())
    losses = {
        (distance, exponent): weighted_loss(whole, without, distance=distance, exponent=exponent)
        for distance in DISTANCES
        for exponent in EXPONENTS
    }
    best = min(losses, key=losses.__getitem__)
    limits = thresholds(whole, without)
    print(f"best: distance, exponent = {best}; now {DISTANCE, MODEL_EXPONENT}; sets: {limits}; "
          f"now {SYSTEM_IN_SET, GROUP_IN_SET}", file=sys.stderr)  # fmt: skip
    rows, figures = [], {"best": best, "sets": limits}
    parts = {
        "in the table": [one for one in whole if one.held],
        "not in the table": [one for one in whole if not one.held],
        "taken out of the table": without,
        "all, nothing taken out": whole,
    }
    for label, part in parts.items():
        if not part:
            continue
        for name, groups in (
            ("model", [one.groups for one in part]),
            ("combined", combined(part, distance=DISTANCE, exponent=MODEL_EXPONENT)),
        ):
            one = figures_of(part, groups)
            figures[f"{label}, {name}"] = one
            rows.append([label, str(len(part)), name, f"{one['system_top1']:.1%}", f"{one['log_loss_bits']:.2f}",
                         f"{one['calibration_error']:.3f}", f"{one['group_top1']:.1%}"])  # fmt: skip
    header = ["phase", "patterns", "prediction", "crystal system, top-1 accuracy"]
    header += ["log-loss [bit]", "calibration error", "space group, top-1 accuracy"]
    text = (
        f"A match of which a fraction x of the atoms differs from the composition keeps exp(-{DISTANCE:g} x) of its "
        f"probability; matches are weighted against each other by the model's probability to the power "
        f"{MODEL_EXPONENT:g}. The 90 % prediction sets hold crystal systems above {SYSTEM_IN_SET:g} and space groups "
        f"above {GROUP_IN_SET:g}."
    )
    finish(
        __file__,
        f"{markdown_table(header, rows)}\n\n{text}",
        figures,
        quick=arguments.quick,
        title="Combining predictions with reference materials",
        introduction=f"{len(whole)} measured single phases with their formulas, the shipped model, and a reference "
        f"table of {len(identifier.references):,} phases.",
        data_digest=identifier.references.digest,
        page="known_materials",
    )


if __name__ == "__main__":
    main()
