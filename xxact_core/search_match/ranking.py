"""Scanned phases → those that match a measured pattern best, each with its cell fitted and its probability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.coarse_scan import Scan
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.fit import (
    CalculatedReflections,
    Fit,
    IntensityDistribution,
    refine,
    sticks_to_calculated_reflections,
    strong_reflections,
)
from xxact_core.search_match.strain_modes import free_cell

WIDTHS = (1.0, 1.5, 2.2, 3.3)
"""Peak widths to fit, in multiples of the width of `peak_axis`; small crystallites give wide peaks."""

FREED = 15
"""Number of candidates whose whole cell is refined. Ours: a tenth of a second in all."""

_WIDTH_FROM = 3
"""Candidates from which the peak width of the pattern is taken."""

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
    space_group: int | None = None
    """Number, 1-230; None where it was not determined."""


def scan_to_candidates(
    references: ReferenceDatabase,
    scan: Scan,
    measured: IntensityDistribution,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Candidate]:
    """Every scanned phase with its isotropic strain refined, best first; those without reflections are left out.

    Args:
        references: the database.
        scan: the phases to fit, best first, with the strain and shift where the fit starts.
        measured: pattern to fit.
        progress: progress callback (done, total).
    """
    found: list[Candidate] = []
    width = WIDTHS[0]
    for number, (row, strain, shift) in enumerate(zip(scan.rows.tolist(), scan.strain, scan.shift, strict=True)):
        if number % _REPORT_EVERY == 0:
            progress(number, len(scan.rows))
        try:
            sticks = references.sticks(row)
        except StructureError:
            continue
        reflections = sticks_to_calculated_reflections(sticks, experimental=bool(references.experimental[row]))
        start = Candidate(row, sticks, reflections, Fit(0.0, float(shift), np.array([strain])))
        if len(found) < _WIDTH_FROM:
            found.append(fit_width(start, measured))
            width = max(found, key=lambda candidate: candidate.fit.merit).reflections.width
        else:
            found.append(_fit(start, measured, width=width))
    return _best_first(found)


def fit_best(
    references: ReferenceDatabase, candidates: Sequence[Candidate], measured: IntensityDistribution
) -> list[Candidate]:
    """The candidates with width and cell refined, best first."""
    return _best_first([_free(references, candidate, measured) for candidate in candidates])


def fit_width(candidate: Candidate, measured: IntensityDistribution) -> Candidate:
    """The candidate with shift, strains and peak width refined; the width is changed as long as the merit rises."""
    first = WIDTHS.index(candidate.reflections.width)
    best = _fit(candidate, measured, width=WIDTHS[first])
    for further in (WIDTHS[first + 1 :], WIDTHS[:first][::-1]):
        before = best
        for width in further:
            tried = _fit(best, measured, width=width)
            if tried.fit.merit <= best.fit.merit:
                break
            best = tried
        if best is not before:
            break
    return best


def _fit(candidate: Candidate, measured: IntensityDistribution, *, width: float) -> Candidate:
    """The candidate refined with this peak width."""
    reflections = replace(candidate.reflections, width=width)
    return replace(
        candidate, reflections=reflections, fit=refine(measured, strong_reflections(reflections), candidate.fit)
    )


def _best_first(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -candidate.fit.merit)


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
    strain = np.concatenate([candidate.fit.strain, np.zeros(len(reflections.change) - 1)])
    start = replace(
        candidate, reflections=reflections, fit=replace(candidate.fit, strain=strain), space_group=space_group
    )
    return fit_width(start, measured)
