"""Phases and their fits → how likely each is, and how likely it is that the database lacks the phase."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.structures.space_groups import space_group_name


@dataclass(frozen=True)
class PlausibilityWeights:
    """Log-odds of a phase, as a sum over its properties and the quality of its fit."""

    merit: float
    """For each unit of the merit of the fit, or of the agreement of the scan."""
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
    strains: float = 0.0
    """For each free strain of the cell."""
    no_match: float = 0.0
    """That the database lacks the phase."""


SCAN_WEIGHTS = PlausibilityWeights(merit=54.6, experimental=4.0, known=2.0, disordered=-2.5, volume=-0.6, missing=-0.5)
FIT_WEIGHTS = PlausibilityWeights(
    merit=150.0, experimental=2.0, known=1.0, disordered=-2.0, volume=-0.5, missing=-1.0, strains=-0.5, no_match=130.0
)


def phase_log_odds(
    references: ReferenceDatabase, rows: np.ndarray, missing: np.ndarray, weights: PlausibilityWeights
) -> np.ndarray:
    """Log-odds of phases before the pattern is seen, up to a constant, shape (rows,).

    Args:
        references: the database.
        rows: of the phases, shape (rows,).
        missing: number of required elements that each phase lacks, shape (rows,).
        weights: of the properties.
    """
    experimental = references.experimental[rows]
    lattice_points = _lattice_points()[references.space_group[rows]]
    volume = np.maximum(references.cell_volume[rows] / lattice_points, 1.0)
    log_odds: np.ndarray = (
        weights.experimental * experimental
        + weights.known * (references.known[rows] & ~experimental)
        + weights.disordered * references.disordered[rows]
        + weights.volume * np.log(volume)
        + weights.missing * missing
    )
    return log_odds


def fits_to_probabilities(
    log_odds: np.ndarray, merit: np.ndarray, strains: np.ndarray, weights: PlausibilityWeights
) -> tuple[np.ndarray, float]:
    """Probability that each phase is present, and that the database lacks the phase; together 1.

    Args:
        log_odds: of the phases, as of `phase_log_odds`, shape (phases,).
        merit: of their fits, shape (phases,).
        strains: number of free strains of each fit, shape (phases,).
        weights: of the fits.
    """
    logits = np.append(log_odds + weights.merit * merit + weights.strains * strains, weights.no_match)
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    return odds[:-1], float(odds[-1])


@cache
def _lattice_points() -> np.ndarray:
    """Lattice points in the conventional cell of each space group, 1 for an unknown one; shape (231,)."""
    points = {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "R": 3, "F": 4}
    return np.array([1, *(points[space_group_name(str(number))[0]] for number in range(1, 231))])
