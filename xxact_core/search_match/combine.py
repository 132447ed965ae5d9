"""Prediction and matching reference phases → a prediction that combines both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.partial import PartialComposition, maybe_symbols, parse_composition
from xxact_core.errors import FormulaError
from xxact_core.prediction.prediction import (
    UNLIKE,
    Prediction,
    RankedLabel,
    likely_labels,
    rank_classes,
    ranked_to_probabilities,
    uncertainty_warning,
)
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SYSTEM_OF_GROUP
from xxact_core.search_match.match import Match

DISTANCE = 5.0
"""γ: a phase of which a fraction x of the atoms differ from the composition keeps exp(-γ x) of its probability; the
rest is the model's."""

MODEL_EXPONENT = 1.0
"""α: exponent of the model's probability of the space group, by which matches are weighted against each other."""

SYSTEM_IN_SET, GROUP_IN_SET = 0.25, 0.03
"""Probabilities above which a crystal system and a space group belong to the 90 % prediction sets of a model whose
calibration does not depend on the similarity to its training materials; otherwise the thresholds of the model count,
which are lower for unknown kinds of materials, of which the table has none either.

Source of all four: ours, judged with benchmarks/studies/combination_weights.py on measured patterns and the shipped
model (docs/results/known_materials.md). The log-loss varies by a few hundredths of a bit with γ and α; the thresholds
lie below those that cover 90 % there (0.52 and 0.13), as phases that no table has are harder than phases taken out."""

RELIABLE_MATCH = 0.8
"""Probability of the matches together, with their distances, from which the model's doubt about a material of an
unknown kind no longer counts. Ours: of measured patterns that the model doubts, 91 % are then right."""

_ELEMENT = re.compile(r"([A-Z][a-z]?)([0-9]+(?:\.[0-9]+)?)?")
_DECIMALS = re.compile(rf"(?=.*\.)(?:{_ELEMENT.pattern})+")

SMALLEST_PROBABILITY = 1e-3
"""Lower bound on the model's probability of a space group where it weights a match, so that reference phases can
support one that the model rules out. Ours."""


@dataclass(frozen=True, eq=False)
class MatchEvidence:
    """Matching reference phases, as arrays of shape (matches,)."""

    group: np.ndarray
    """Index of the space group, 0-229."""
    probability: np.ndarray
    """Probability that the phase is the right one; what lacks to 1 is that of no match."""
    distance: np.ndarray
    """Fraction of atoms that differ from the given composition, 0-1."""


def combine_with_matches(prediction: Prediction, matches: Sequence[Match]) -> Prediction:
    """Combine the model's crystal system and space group with the reference phases that match the pattern.

    As far as the database probably lacks the phase, the model decides; energies are those of the model. Without a
    match, or with a model that predicts neither target, the prediction is returned as it is. A match without a
    probability counts as improbable.

    Args:
        prediction: for a composition of which at least the elements are known.
        matches: reference phases for the same pattern, found with these elements; best match first.
    """
    composition, before = parse_composition(prediction.formula), prediction.crystal_system
    evidence = matches_to_evidence(
        composition, [(match.formula, match.space_group, match.probability or 0.0) for match in matches]
    )
    if not len(evidence.group) or not (before or prediction.space_group):
        return prediction
    groups = (
        ranked_to_probabilities(prediction.space_group, SPACE_GROUP)
        if prediction.space_group
        else spread_over_groups(ranked_to_probabilities(before, CRYSTAL_SYSTEM))
    )
    reliable = min(float(reliabilities(evidence).sum()), 1.0)
    groups = combine_groups(groups, evidence)
    ranked = rank_classes(CRYSTAL_SYSTEM, sum_by_system(groups)) if before else ()
    ranked_groups = rank_classes(SPACE_GROUP, groups) if prediction.space_group else ()
    outdated = uncertainty_warning(before)
    kept = [
        warning
        for warning in prediction.warnings
        if warning not in outdated and not (UNLIKE in warning and reliable >= RELIABLE_MATCH)
    ]
    return with_ranked_classes(
        replace(prediction, warnings=(*kept, *uncertainty_warning(ranked), _describe(matches[0], before, ranked))),
        systems=ranked,
        groups=ranked_groups,
    )


def with_ranked_classes(
    prediction: Prediction, *, systems: tuple[RankedLabel, ...], groups: tuple[RankedLabel, ...]
) -> Prediction:
    """The prediction with other probabilities of crystal systems and space groups, and the 90 % sets of these.

    The rules of the model's calibration apply; without them, the thresholds `SYSTEM_IN_SET` and `GROUP_IN_SET`.

    Args:
        prediction: with the rules, and with sets where it was calibrated.
        systems: crystal systems, the most probable first.
        groups: space groups, likewise.
    """
    system_rule, group_rule = (
        (prediction.set_rules or {}).get(name, former)
        for name, former in ((CRYSTAL_SYSTEM.name, (SYSTEM_IN_SET, 0.0)), (SPACE_GROUP.name, (GROUP_IN_SET, 0.0)))
    )
    return replace(
        prediction,
        crystal_system=systems,
        space_group=groups,
        crystal_system_set=prediction.crystal_system_set
        and likely_labels(systems, system_rule[0], smallest_mass=system_rule[1]),
        space_group_set=prediction.space_group_set
        and likely_labels(groups, group_rule[0], smallest_mass=group_rule[1]),
    )


def prediction_to_elements(prediction: Prediction) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Elements of the composition of a prediction, to which the search is restricted: present, and possible besides.

    Raises:
        FormulaError: nothing is known of the composition.
    """
    known = parse_composition(prediction.formula)
    if not known.symbols:
        msg = "reference phases are searched by their elements; expected a composition with at least one element, "
        msg += "not '?'"
        raise FormulaError(msg, code="E_FORMULA")
    return known.symbols, maybe_symbols(known)


def matches_to_evidence(
    known: Composition | PartialComposition, found: Sequence[tuple[str, int | None, float]]
) -> MatchEvidence:
    """Evidence from matches (formula, space group 1-230, probability); those without a space group are left out."""
    with_group = [(formula, group, probability) for formula, group, probability in found if group is not None]
    return MatchEvidence(
        group=np.array([group - 1 for _, group, _ in with_group], dtype=np.int64),
        probability=np.array([probability for *_, probability in with_group], dtype=np.float64),
        distance=np.array([composition_distance(known, read_match_formula(formula)) for formula, *_ in with_group]),
    )


def read_match_formula(formula: str) -> Composition:
    """Composition of a match; decimals in it are amounts, as no match is a sum of formulas with a full stop.

    Raises:
        FormulaError: the formula cannot be read.
    """
    if not _DECIMALS.fullmatch(formula):
        return parse_formula(formula)
    amounts: dict[str, float] = {}
    for symbol, amount in _ELEMENT.findall(formula):
        amounts[symbol] = amounts.get(symbol, 0.0) + float(amount or 1)
    return Composition(tuple(amounts), tuple(amounts.values()))


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


def reliabilities(evidence: MatchEvidence, *, distance: float = DISTANCE) -> np.ndarray:
    """Pᵢ exp(-γ xᵢ) of each match, shape (matches,); see `combine_groups`."""
    reliable: np.ndarray = evidence.probability * np.exp(-distance * evidence.distance)
    return reliable


def combine_groups(
    groups: np.ndarray,
    evidence: MatchEvidence,
    *,
    distance: float = DISTANCE,
    exponent: float = MODEL_EXPONENT,
) -> np.ndarray:
    """Probabilities of the space groups, shape (230,), P(g) = (1 - R) p(g) + R q(g).

    p is the model's probability, and R = Σ Pᵢ exp(-γ xᵢ) with the probabilities P and distances x of the matches; q has
    the space groups gᵢ of the matches in proportion to Pᵢ exp(-γ xᵢ) p(gᵢ)^α.

    Args:
        groups: the model's probabilities, shape (230,).
        evidence: the matches.
        distance: γ.
        exponent: α.
    """
    reliable = reliabilities(evidence, distance=distance)
    weighted = reliable * np.maximum(groups[evidence.group], SMALLEST_PROBABILITY) ** exponent
    total = float(min(reliable.sum(), 1.0))
    probabilities: np.ndarray = (1 - total) * groups / groups.sum()
    if total > 0:
        np.add.at(probabilities, evidence.group, total * weighted / weighted.sum())
    return probabilities


def spread_over_groups(systems: np.ndarray) -> np.ndarray:
    """Probabilities of the space groups, shape (230,), if those of a crystal system, shape (7,), are equally likely."""
    spread: np.ndarray = (systems / np.bincount(SYSTEM_OF_GROUP))[list(SYSTEM_OF_GROUP)]
    return spread


def sum_by_system(groups: np.ndarray) -> np.ndarray:
    """Values of the space groups, shape (230,), summed for each crystal system, shape (7,)."""
    return np.bincount(SYSTEM_OF_GROUP, weights=groups)


def _describe(best: Match, before: tuple[RankedLabel, ...], after: tuple[RankedLabel, ...]) -> str:
    text = f"combined with matching reference phases; best match {best.label}, score {best.score:.2f}"
    if not before:
        return text
    alone = next(entry.probability for entry in before if entry.label == after[0].label)
    return f"{text}; {after[0].label} {after[0].probability:.0%}, model alone {alone:.0%}"
