"""Candidates → those that match a measured pattern best, each with its cell fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.fit import (
    CalculatedReflections,
    Fit,
    IntensityDistribution,
    grid_search,
    refine,
    sticks_to_calculated_reflections,
)
from xxact_core.search_match.strain_modes import free_cell

WIDTHS = (1.0, 1.5, 2.2, 3.3)
"""Peak widths to fit, in multiples of the width of `peak_axis`; small crystallites give wide peaks."""

SCALED, FREED = 40, 15
"""Number of candidates whose isotropic strain is refined, and of these whose whole cell is. Ours: one second in all."""

STRAIN_PENALTY = 0.003
"""Penalty on the score for each strain beyond the first. Ours: a structure of lower symmetry can imitate one of higher
symmetry, and gains up to 0.002 on measured patterns by doing so."""

ELEMENT_PENALTY = 0.02
"""Penalty on the score for each given element that the phase lacks. Ours."""

_REPORT_EVERY = 20
"""Candidates between two calls of the progress callback."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A reference phase with its fit to the measured pattern."""

    row: int
    """Row of the database."""
    sticks: Sticks
    """Calculated stick pattern."""
    reflections: CalculatedReflections
    """Reflections with the strains and the width that are fitted."""
    fit: Fit
    """The best fit so far."""
    score: float
    """Merit of the fit, less the penalties for strains and missing elements."""
    space_group: int | None = None
    """Number, 1-230; None where it was not determined."""


def rows_to_candidates(
    references: ReferenceDatabase,
    rows: Sequence[int] | np.ndarray,
    measured: IntensityDistribution,
    *,
    elements: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Candidate]:
    """Every row with reflections at its best fit of the grid search, best first.

    Args:
        references: the database.
        rows: of the phases to compare.
        measured: pattern to compare with.
        elements: elements given; each that a phase lacks lowers its score.
        progress: progress callback (done, total).
    """
    required = set(elements)
    found = []
    for number, row in enumerate(map(int, rows)):
        if number % _REPORT_EVERY == 0:
            progress(number, len(rows))
        try:
            sticks = references.sticks(row)
        except StructureError:
            continue
        reflections = sticks_to_calculated_reflections(sticks)
        fit = grid_search(measured, reflections)
        missing = len(required - set(references.symbols(row)))
        found.append(Candidate(row, sticks, reflections, fit, fit.merit - ELEMENT_PENALTY * missing))
    return _best_first(found)


def fit_best(
    references: ReferenceDatabase, candidates: Sequence[Candidate], measured: IntensityDistribution
) -> list[Candidate]:
    """The first candidates with width and cell refined, best first; the others are dropped."""
    scaled = _best_first([fit_width(candidate, measured) for candidate in candidates[:SCALED]])
    return _best_first([_free(references, candidate, measured) for candidate in scaled[:FREED]])


def fit_width(candidate: Candidate, measured: IntensityDistribution) -> Candidate:
    """The candidate with shift, strains and peak width refined; the width is increased as long as the score rises."""
    best, fit = candidate, candidate.fit
    penalty = candidate.fit.merit - candidate.score
    for width in WIDTHS:
        reflections = replace(candidate.reflections, width=width)
        fit = refine(measured, reflections, fit)
        if fit.merit - penalty <= best.score and width > WIDTHS[0]:
            break
        best = replace(candidate, reflections=reflections, fit=fit, score=fit.merit - penalty)
    return best


def _best_first(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -candidate.score)


def _free(references: ReferenceDatabase, candidate: Candidate, measured: IntensityDistribution) -> Candidate:
    """The candidate with its space group, and every strain that its symmetry allows refined."""
    try:
        space_group, rotations = references.symmetry(candidate.row)
    except StructureError:
        return candidate
    assert candidate.sticks.hkl is not None
    reflections = free_cell(
        candidate.reflections, hkl=candidate.sticks.hkl, cell=references.cell[candidate.row], rotations=rotations
    )
    further = len(reflections.change) - 1
    strain = np.concatenate([candidate.fit.strain, np.zeros(further)])
    fit = refine(measured, reflections, replace(candidate.fit, strain=strain))
    freed = replace(
        candidate, reflections=reflections, fit=fit, score=candidate.score + fit.merit - candidate.fit.merit
    )
    freed = fit_width(freed, measured)
    return replace(freed, score=freed.score - STRAIN_PENALTY * further, space_group=space_group)
