"""Prediction + known materials that agree with the pattern → a prediction that listens to both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.partial import PartialComposition, possible_symbols
from xxact_core.compositions.partial_text import parse_composition
from xxact_core.errors import FormulaError
from xxact_core.prediction.prediction import (
    Prediction,
    RankedLabel,
    doubt_in_words,
    likely_labels,
    rank_classes,
    ranked_to_probabilities,
)
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SYSTEM_OF_GROUP

if TYPE_CHECKING:
    from xxact_core.search_match.identify import Neighbour


@dataclass(frozen=True)
class Weights:
    """How much known materials may say of one target beside the model.

    steepness: β, how fast a material gains weight with its score. threshold: τ, the score at which it doubles the odds
    of its class. distance: γ, what the score loses where all atoms would have to be others. in_set: probability from
    which on a class is in the set that holds the true one nine of ten times.
    """

    steepness: float
    threshold: float
    distance: float
    in_set: float


SYSTEM_WEIGHTS = Weights(steepness=29.8, threshold=0.831, distance=2.85, in_set=0.342)
GROUP_WEIGHTS = Weights(steepness=57.0, threshold=0.861, distance=1.52, in_set=0.039)
"""Of the crystal system, and of the space group within it, for the shipped model and candidates of given elements.

Source: benchmarks/studies/combination_weights.py on simulated patterns, half of whose phases are in the table
(docs/results/known_materials.md). To weigh the model's logarithm, too, or to bound what a material can say, made new
patterns no likelier.
"""

LEAST = 1e-12
"""Probability that is taken for smaller ones, so that materials can speak for a class that the model rules out."""


@dataclass(frozen=True, eq=False)
class Witnesses:
    """What known materials have to say: index of the space group, score, and distance of the composition, all (n,)."""

    group: np.ndarray
    score: np.ndarray
    distance: np.ndarray


def weigh_known(prediction: Prediction, neighbours: Sequence[Neighbour]) -> Prediction:
    """The prediction with crystal system and space group from the model and from known materials that agree.

    Materials that agree poorly leave the model's odds as they are; energies stay the model's. Where no material was
    found, or the model answers neither target, all does.

    Args:
        prediction: of a composition of which at least the elements are known.
        neighbours: of the same pattern, found with these elements; best first.
    """
    known, before = parse_composition(prediction.formula), prediction.crystal_system
    witnesses = to_witnesses(known, [(one.formula, one.space_group, one.score) for one in neighbours])
    if not len(witnesses.group) or not (before or prediction.space_group):
        return prediction
    groups = ranked_to_probabilities(prediction.space_group, SPACE_GROUP)
    systems = ranked_to_probabilities(before, CRYSTAL_SYSTEM) if before else sum_by_system(groups)
    systems = weigh_systems(systems, witnesses, SYSTEM_WEIGHTS)
    groups = weigh_groups(groups, witnesses, GROUP_WEIGHTS, systems=systems)
    ranked = rank_classes(CRYSTAL_SYSTEM, systems) if before else ()
    ranked_groups = rank_classes(SPACE_GROUP, groups) if prediction.space_group else ()
    kept = (warning for warning in prediction.warnings if warning not in doubt_in_words(before))
    return replace(
        prediction,
        crystal_system=ranked,
        space_group=ranked_groups,
        crystal_system_set=prediction.crystal_system_set and likely_labels(ranked, SYSTEM_WEIGHTS.in_set),
        space_group_set=prediction.space_group_set and likely_labels(ranked_groups, GROUP_WEIGHTS.in_set),
        warnings=(*kept, *doubt_in_words(ranked), _in_words(neighbours[0], before, ranked)),
    )


def prediction_to_elements(prediction: Prediction) -> tuple[str, ...]:
    """All elements that the composition of a prediction allows: those of which known materials are looked for.

    Raises:
        FormulaError: nothing is known of it, so that known materials cannot be weighed.
    """
    known = parse_composition(prediction.formula)
    if not known.symbols:
        msg = "known materials are weighed by their elements; expected a composition that names some, not '?'"
        raise FormulaError(msg, code="E_FORMULA")
    return possible_symbols(known)


def to_witnesses(known: Composition | PartialComposition, found: Sequence[tuple[str, int | None, float]]) -> Witnesses:
    """Formula, space group (1-230) and score of materials, seen from the composition that is given.

    Materials whose space group is not known are left out.
    """
    told = [(formula, group, score) for formula, group, score in found if group is not None]
    return Witnesses(
        group=np.array([group - 1 for _, group, _ in told], dtype=np.int64),
        score=np.array([score for *_, score in told], dtype=np.float64),
        distance=np.array([composition_distance(known, parse_formula(formula)) for formula, *_ in told]),
    )


def composition_distance(known: Composition | PartialComposition, other: Composition) -> float:
    """Share of the atoms (0-1) that would have to be others, ½ Σ |x - y|, over the elements whose amounts are known.

    As much as an amount's error is forgiven; where no amounts are known the distance is 0.
    """
    if not known.amounts:
        return 0.0
    total = sum(known.amounts)
    theirs = dict(zip(other.symbols, other.amounts, strict=True))
    there = np.array([theirs.get(symbol, 0.0) for symbol in known.symbols])
    if not there.any():
        return 1.0
    errors = np.array(known.errors) / total if isinstance(known, PartialComposition) else 0.0
    return float(np.clip(np.abs(np.array(known.amounts) / total - there / there.sum()) - errors, 0, None).sum() / 2)


def weigh_systems(systems: np.ndarray, witnesses: Witnesses, weights: Weights) -> np.ndarray:
    """Probabilities of the crystal systems, shape (7,), P(c) ∝ p(c) · (1 + exp(β (m(c) - τ))).

    p is the model's probability, m the largest score, less γ times its distance, of a material of the class.
    """
    return _normalised(_odds(systems, np.array(SYSTEM_OF_GROUP)[witnesses.group], witnesses, weights))


def weigh_groups(groups: np.ndarray, witnesses: Witnesses, weights: Weights, *, systems: np.ndarray) -> np.ndarray:
    """Probabilities of the space groups, shape (230,): the same within each crystal system, times P(system).

    So the two never contradict each other, as in `model.answers.class_probabilities`.
    """
    odds = _odds(groups, witnesses.group, witnesses, weights)
    return (systems / sum_by_system(odds))[list(SYSTEM_OF_GROUP)] * odds


def sum_by_system(groups: np.ndarray) -> np.ndarray:
    """What the space groups of each crystal system have together, shape (7,)."""
    return np.bincount(SYSTEM_OF_GROUP, weights=groups)


def _odds(probabilities: np.ndarray, classes: np.ndarray, witnesses: Witnesses, weights: Weights) -> np.ndarray:
    merit = witnesses.score - weights.distance * witnesses.distance
    gained = np.zeros(len(probabilities))
    np.maximum.at(gained, classes, np.exp(weights.steepness * (merit - weights.threshold)))
    return np.maximum(probabilities, LEAST) * (1 + gained)


def _normalised(odds: np.ndarray) -> np.ndarray:
    return odds / odds.sum()


def _in_words(best: Neighbour, before: tuple[RankedLabel, ...], after: tuple[RankedLabel, ...]) -> str:
    said = f"known materials had their say; the best, {best.formula} ({best.id}), agrees to {best.score:.2f} of 1"
    if not before:
        return said
    alone = next(entry.probability for entry in before if entry.label == after[0].label)
    return f"{said}; {after[0].label} has {after[0].probability:.0%} so, {alone:.0%} from the model alone"
