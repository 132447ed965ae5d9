"""Candidates → the few that agree best with a measured pattern, each with its cell fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.database import KnownMaterials
from xxact_core.search_match.fit import Fit, Lines, Profile, refine, search, sticks_to_lines
from xxact_core.search_match.strain_modes import free_cell

WIDTHS = (1.0, 1.5, 2.2, 3.3)
"""Widths of lines that are tried, as multiples of `line_axis.WIDTH`: small crystals have wide lines."""

SCALED, FREED = 40, 15
"""Candidates whose size is fitted, and of these the ones whose whole cell is. Ours: a second of work in all."""

COST_OF_A_STRAIN = 0.003
"""Score that a fit loses for each strain beyond the first. Ours: a structure of lower symmetry can imitate every one of
higher symmetry, and on measured patterns it gains up to 0.002 by doing so."""

COST_OF_AN_ELEMENT = 0.02
"""Score that a material loses for each of the given elements that it lacks. Ours: they must be somewhere."""

_TOLD = 20
"""Candidates between two words on how far it is."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A known material beside the measured pattern.

    row: of the references. score: of the fit, less what strains and missing elements cost. space_group: None where it
    is not looked for or not found.
    """

    row: int
    sticks: Sticks
    lines: Lines
    fit: Fit
    score: float
    space_group: int | None = None


def rows_to_candidates(
    references: KnownMaterials,
    rows: Sequence[int] | np.ndarray,
    profile: Profile,
    *,
    elements: Sequence[str] = (),
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Candidate]:
    """Every row that scatters, at the best of a grid of shifts and scales, best first.

    tell: called with how many of how many are done.
    """
    wanted = set(elements)
    found = []
    for number, row in enumerate(map(int, rows)):
        if number % _TOLD == 0:
            tell(number, len(rows))
        try:
            sticks = references.sticks(row)
        except StructureError:
            continue
        lines = sticks_to_lines(sticks)
        fit = search(profile, lines)
        missing = len(wanted - set(references.symbols(row)))
        found.append(Candidate(row, sticks, lines, fit, fit.merit - COST_OF_AN_ELEMENT * missing))
    return _best_first(found)


def fit_best(references: KnownMaterials, candidates: Sequence[Candidate], profile: Profile) -> list[Candidate]:
    """The first candidates with their size, width and cell fitted, best first; the others are left out."""
    scaled = _best_first([fit_width(candidate, profile) for candidate in candidates[:SCALED]])
    return _best_first([_free(references, candidate, profile) for candidate in scaled[:FREED]])


def fit_width(candidate: Candidate, profile: Profile) -> Candidate:
    """The candidate with shift, strains and width of its lines fitted; widths rise as long as that helps."""
    best, fit = candidate, candidate.fit
    cost = candidate.fit.merit - candidate.score
    for width in WIDTHS:
        lines = replace(candidate.lines, width=width)
        fit = refine(profile, lines, fit)
        if fit.merit - cost <= best.score and width > WIDTHS[0]:
            break
        best = replace(candidate, lines=lines, fit=fit, score=fit.merit - cost)
    return best


def _best_first(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -candidate.score)


def _free(references: KnownMaterials, candidate: Candidate, profile: Profile) -> Candidate:
    """The candidate with its symmetry, and every strain that this allows fitted."""
    try:
        space_group, rotations = references.symmetry(candidate.row)
    except StructureError:
        return candidate
    assert candidate.sticks.hkl is not None
    lines = free_cell(
        candidate.lines, hkl=candidate.sticks.hkl, cell=references.cell[candidate.row], rotations=rotations
    )
    further = len(lines.change) - 1
    strain = np.concatenate([candidate.fit.strain, np.zeros(further)])
    fit = refine(profile, lines, replace(candidate.fit, strain=strain))
    freed = replace(candidate, lines=lines, fit=fit, score=candidate.score + fit.merit - candidate.fit.merit)
    freed = fit_width(freed, profile)
    return replace(freed, score=freed.score - COST_OF_A_STRAIN * further, space_group=space_group)
