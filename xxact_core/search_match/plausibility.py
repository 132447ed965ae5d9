"""Phases and their fits → how likely each is, and how likely it is that the database lacks the phase."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import astuple, dataclass
from functools import cache

import numpy as np

from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.structures.space_groups import space_group_name


@dataclass(frozen=True)
class PlausibilityWeights:
    """Log-odds of a phase: a weight for each column of `phase_features`, in this order."""

    merit: float
    """For each hundredth of the merit of the fit, or of the agreement of the scan."""
    strains: float
    """For each free strain of the cell beyond the first: a cell of low symmetry can imitate one of high symmetry."""
    experimental: float
    """For a measured cell."""
    known: float
    """For a calculated cell of a phase that was found in experiments."""
    disordered: float
    """For mixed or partly occupied sites."""
    volume: float
    """For each factor e in the volume of the primitive cell."""
    missing: float
    """For each required element that the phase lacks."""


@dataclass(frozen=True)
class NoMatchWeights:
    """Log-odds that the database lacks the phase: a weight for each property of the most probable match."""

    constant: float
    """If the merit of its fit is 0."""
    merit: float
    """For each hundredth of the merit of its fit."""
    certainty: float
    """For each factor e of its probability, if the database has the phase."""
    experimental: float
    """For a measured cell."""
    disordered: float
    """For mixed or partly occupied sites."""


SCAN_WEIGHTS = PlausibilityWeights(
    merit=0.8, strains=0.0, experimental=2.0, known=1.0, disordered=-2.5, volume=-0.3, missing=-0.5
)
"""For the phases that are worth fitting."""

FIT_WEIGHTS = PlausibilityWeights(
    merit=1.1, strains=-1.1, experimental=3.2, known=0.5, disordered=-2.8, volume=-0.1, missing=-3.1
)
"""For fitted phases, with elements given."""

FIT_WEIGHTS_OF_ALL = PlausibilityWeights(
    merit=2.2, strains=-1.0, experimental=4.2, known=0.5, disordered=-4.8, volume=0.0, missing=-2.0
)
"""For fitted phases, without elements."""

NO_MATCH = NoMatchWeights(constant=15.1, merit=-0.16, certainty=-0.9, experimental=-2.6, disordered=2.1)
NO_MATCH_OF_ALL = NoMatchWeights(constant=11.1, merit=-0.12, certainty=-0.8, experimental=-2.0, disordered=1.6)
"""With elements given, and without.

Source of all weights: benchmarks/studies/ranking_weights.py, the likelihood of measured patterns of known phases.
"""


def phase_features(
    references: ReferenceDatabase,
    rows: np.ndarray,
    *,
    merit: np.ndarray,
    strains: np.ndarray | int = 1,
    missing: np.ndarray | int = 0,
) -> np.ndarray:
    """Properties on which the probability of a phase depends, in the order of `PlausibilityWeights`.

    Args:
        references: the database.
        rows: of the phases, shape (phases,).
        merit: of the fits, or agreement of the scan, shape (phases,).
        strains: number of free strains of each fit, shape (phases,).
        missing: number of required elements that each phase lacks, shape (phases,).

    Returns:
        Shape (phases, features), float64.
    """
    experimental = references.experimental[rows]
    volume = references.cell_volume[rows] / _lattice_points()[references.space_group[rows]]
    columns = (
        100 * merit,
        strains - 1,
        experimental,
        references.known[rows] & ~experimental,
        references.disordered[rows],
        np.log(np.maximum(volume, 1.0)),
        missing,
    )
    return np.stack([np.broadcast_to(column, rows.shape).astype(np.float64) for column in columns], axis=1)


def features_to_log_odds(features: np.ndarray, weights: PlausibilityWeights) -> np.ndarray:
    """Log-odds of phases up to a constant, shape (phases,)."""
    log_odds: np.ndarray = features @ np.array(astuple(weights))
    return log_odds


def best_of_each(keys: Sequence[Hashable], log_odds: np.ndarray) -> np.ndarray:
    """Places of the most likely phase of each key, the most likely first.

    Databases hold several entries of one phase, which is as likely as the best of them.
    """
    best: dict[Hashable, int] = {}
    for place in np.argsort(-log_odds, kind="stable").tolist():
        best.setdefault(keys[place], place)
    return np.array(list(best.values()), dtype=np.intp)


def log_odds_to_probabilities(
    log_odds: np.ndarray, features: np.ndarray, weights: NoMatchWeights
) -> tuple[np.ndarray, float]:
    """Probability of each phase, and the probability that the database lacks the phase; together 1.

    Args:
        log_odds: of the phases, the most likely first, shape (phases,).
        features: of the phases, as of `phase_features`, shape (phases, features).
        weights: of the odds that the database lacks the phase.
    """
    if not len(log_odds):
        return np.zeros(0), 1.0
    odds = np.exp(log_odds - log_odds.max())
    within = odds / odds.sum()
    no_match = 1 / (1 + np.exp(-no_match_features(within, features) @ np.array(astuple(weights))))
    return within * (1 - no_match), float(no_match)


def no_match_features(within: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Properties of the most probable match in the order of `NoMatchWeights`, shape (5,).

    Args:
        within: probability of each phase if the database has the phase, the most likely first, shape (phases,).
        features: of the phases, as of `phase_features`, shape (phases, features).
    """
    merit, _, experimental, _, disordered, *_ = features[0]
    return np.array([1.0, merit, np.log(within[0]), experimental, disordered])


@cache
def _lattice_points() -> np.ndarray:
    """Lattice points in the conventional cell of each space group, 1 for an unknown one; shape (231,)."""
    points = {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "R": 3, "F": 4}
    return np.array([1, *(points[space_group_name(str(number))[0]] for number in range(1, 231))])
