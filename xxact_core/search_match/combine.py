"""Prediction and matching reference phases → a prediction that combines both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.partial import PartialComposition, parse_composition, possible_symbols
from xxact_core.errors import FormulaError
from xxact_core.prediction.prediction import (
    Prediction,
    RankedLabel,
    likely_labels,
    rank_classes,
    ranked_to_probabilities,
    uncertainty_warning,
)
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SYSTEM_OF_GROUP
from xxact_core.search_match.match import Match


@dataclass(frozen=True)
class CombinationWeights:
    """Weight of matching reference phases relative to the model, for one target."""

    steepness: float
    """β: how fast the weight of a phase grows with its score."""
    threshold: float
    """τ: score at which a phase doubles the odds of its class."""
    distance: float
    """γ: penalty on the score of a phase of which all atoms differ from the composition."""
    in_set: float
    """Probability above which a class belongs to the 90 % prediction set, 0-1."""


SYSTEM_WEIGHTS = CombinationWeights(steepness=29.8, threshold=0.831, distance=2.85, in_set=0.342)
GROUP_WEIGHTS = CombinationWeights(steepness=57.0, threshold=0.861, distance=1.52, in_set=0.039)
"""Weights for the crystal system, and for the space group within it, with the shipped model and known elements.

Source: benchmarks/studies/combination_weights.py on simulated patterns, half of whose phases are in the database
(docs/results/known_materials.md). A weight on the model's log-probability, or an upper bound on the weight of a phase,
did not raise the likelihood of patterns left out of the fit.
"""

SMALLEST_PROBABILITY = 1e-12
"""Lower bound on the model's probabilities, so that reference phases can support a class that the model rules out."""


@dataclass(frozen=True, eq=False)
class MatchEvidence:
    """Matching reference phases, as arrays of shape (matches,)."""

    group: np.ndarray
    """Index of the space group, 0-229."""
    score: np.ndarray
    """Score, at most 1."""
    distance: np.ndarray
    """Fraction of atoms that differ from the given composition, 0-1."""


def combine_with_matches(prediction: Prediction, matches: Sequence[Match]) -> Prediction:
    """Combine the model's crystal system and space group with the reference phases that match the pattern.

    Phases that match poorly leave the model's odds unchanged; energies are those of the model. Without a match, or with
    a model that predicts neither target, the prediction is returned as it is.

    Args:
        prediction: for a composition of which at least the elements are known.
        matches: reference phases for the same pattern, found with these elements; best match first.
    """
    composition, before = parse_composition(prediction.formula), prediction.crystal_system
    evidence = matches_to_evidence(composition, [(match.formula, match.space_group, match.score) for match in matches])
    if not len(evidence.group) or not (before or prediction.space_group):
        return prediction
    groups = ranked_to_probabilities(prediction.space_group, SPACE_GROUP)
    systems = ranked_to_probabilities(before, CRYSTAL_SYSTEM) if before else sum_by_system(groups)
    systems = combine_systems(systems, evidence, SYSTEM_WEIGHTS)
    groups = combine_groups(groups, evidence, GROUP_WEIGHTS, systems=systems)
    ranked = rank_classes(CRYSTAL_SYSTEM, systems) if before else ()
    ranked_groups = rank_classes(SPACE_GROUP, groups) if prediction.space_group else ()
    kept = (warning for warning in prediction.warnings if warning not in uncertainty_warning(before))
    return replace(
        prediction,
        crystal_system=ranked,
        space_group=ranked_groups,
        crystal_system_set=prediction.crystal_system_set and likely_labels(ranked, SYSTEM_WEIGHTS.in_set),
        space_group_set=prediction.space_group_set and likely_labels(ranked_groups, GROUP_WEIGHTS.in_set),
        warnings=(*kept, *uncertainty_warning(ranked), _describe(matches[0], before, ranked)),
    )


def prediction_to_elements(prediction: Prediction) -> tuple[str, ...]:
    """All elements that the composition of a prediction allows, to which the search is restricted.

    Raises:
        FormulaError: nothing is known of the composition.
    """
    known = parse_composition(prediction.formula)
    if not known.symbols:
        msg = "reference phases are searched by their elements; expected a composition with at least one element, "
        msg += "not '?'"
        raise FormulaError(msg, code="E_FORMULA")
    return possible_symbols(known)


def matches_to_evidence(
    known: Composition | PartialComposition, found: Sequence[tuple[str, int | None, float]]
) -> MatchEvidence:
    """Evidence from matches given as (formula, space group 1-230, score); those without a space group are left out."""
    with_group = [(formula, group, score) for formula, group, score in found if group is not None]
    return MatchEvidence(
        group=np.array([group - 1 for _, group, _ in with_group], dtype=np.int64),
        score=np.array([score for *_, score in with_group], dtype=np.float64),
        distance=np.array([composition_distance(known, parse_formula(formula)) for formula, *_ in with_group]),
    )


def composition_distance(known: Composition | PartialComposition, other: Composition) -> float:
    """Fraction of atoms that differ, ½ Σ |x - y|, over the elements whose amounts are known; 0-1.

    Differences within the error of an amount do not count; the distance is 0 where no amounts are known.
    """
    if not known.amounts:
        return 0.0
    total = sum(known.amounts)
    others = dict(zip(other.symbols, other.amounts, strict=True))
    amounts = np.array([others.get(symbol, 0.0) for symbol in known.symbols])
    if not amounts.any():
        return 1.0
    errors = np.array(known.errors) / total if isinstance(known, PartialComposition) else 0.0
    differences = np.abs(np.array(known.amounts) / total - amounts / amounts.sum())
    return float(np.clip(differences - errors, 0, None).sum() / 2)


def combine_systems(systems: np.ndarray, evidence: MatchEvidence, weights: CombinationWeights) -> np.ndarray:
    """Probabilities of the crystal systems, shape (7,), P(c) ∝ p(c) · (1 + exp(β (m(c) - τ))).

    p is the model's probability, m the largest score of a match of the class, less γ times its distance.
    """
    odds = _odds(systems, np.array(SYSTEM_OF_GROUP)[evidence.group], evidence, weights)
    probabilities: np.ndarray = odds / odds.sum()
    return probabilities


def combine_groups(
    groups: np.ndarray, evidence: MatchEvidence, weights: CombinationWeights, *, systems: np.ndarray
) -> np.ndarray:
    """Probabilities of the space groups, shape (230,): as `combine_systems` within each system, times P(system).

    So the two are consistent, as in `model.inference.class_probabilities`.
    """
    odds = _odds(groups, evidence.group, evidence, weights)
    probabilities: np.ndarray = (systems / sum_by_system(odds))[list(SYSTEM_OF_GROUP)] * odds
    return probabilities


def sum_by_system(groups: np.ndarray) -> np.ndarray:
    """Values of the space groups, shape (230,), summed for each crystal system, shape (7,)."""
    return np.bincount(SYSTEM_OF_GROUP, weights=groups)


def _odds(
    probabilities: np.ndarray, classes: np.ndarray, evidence: MatchEvidence, weights: CombinationWeights
) -> np.ndarray:
    merit = evidence.score - weights.distance * evidence.distance
    gain = np.zeros(len(probabilities))
    np.maximum.at(gain, classes, np.exp(weights.steepness * (merit - weights.threshold)))
    odds: np.ndarray = np.maximum(probabilities, SMALLEST_PROBABILITY) * (1 + gain)
    return odds


def _describe(best: Match, before: tuple[RankedLabel, ...], after: tuple[RankedLabel, ...]) -> str:
    text = f"combined with matching reference phases; best match {best.label}, score {best.score:.2f}"
    if not before:
        return text
    alone = next(entry.probability for entry in before if entry.label == after[0].label)
    return f"{text}; {after[0].label} {after[0].probability:.0%}, model alone {alone:.0%}"
