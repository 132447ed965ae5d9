"""Reflections beside a measured pattern: shift, scale and free cells are found, and the derivatives are right."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from xxact_core.patterns.pattern import GriddedPattern, Sticks
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.search_match.coarse_scan import LineIndex
from xxact_core.search_match.database import StrongestLines, sticks_to_lines
from xxact_core.search_match.fit import (
    CalculatedReflections,
    Fit,
    IntensityDistribution,
    calculate,
    pattern_to_distribution,
    refine,
    reflections_to_two_theta,
    score_fit,
    sticks_to_calculated_reflections,
)
from xxact_core.search_match.peak_axis import bin_count, bins_to_two_theta, spread, two_theta_to_bins
from xxact_core.search_match.strain_modes import free_cell
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure

CELLS = {
    "cubic": ((4.2, 4.2, 4.2, 90, 90, 90), 1),
    "tetragonal": ((4.6, 4.6, 3.0, 90, 90, 90), 2),
    "hexagonal": ((3.2, 3.2, 5.2, 90, 90, 120), 2),
    "orthorhombic": ((4.0, 5.1, 6.3, 90, 90, 90), 3),
    "monoclinic": ((4.0, 5.1, 6.3, 90, 103, 90), 4),
    "triclinic": ((4.0, 5.1, 6.3, 82, 103, 95), 6),
}


def crystal(cell: tuple[float, ...]) -> Structure:
    """One heavy atom in a cell."""
    return Structure("made", np.array(cell), np.array([40]), np.zeros((1, 3)), np.ones(1))


def simulate(structure: Structure) -> Sticks:
    return arrays_to_sticks(
        cell=structure.cell, atomic_numbers=structure.atomic_numbers, frac_coords=structure.frac_coords
    )


@dataclass(frozen=True)
class OnePhase:
    """What a scan needs of a database, for one phase."""

    calculated: Sticks
    experimental: np.ndarray

    def __len__(self) -> int:
        return 1

    def lines_of(self, rows: np.ndarray) -> StrongestLines:
        return sticks_to_lines(lambda _row: self.calculated, len(rows))


def scan(measured: IntensityDistribution, sticks: Sticks, *, experimental: bool = False) -> Fit:
    """Where the fit of a phase starts."""
    found = LineIndex(OnePhase(sticks, np.array([experimental]))).scan(measured)
    return Fit(0.0, float(found.shift[0]), found.strain)


def measure(sticks: Sticks, *, shift: float = 0.0) -> IntensityDistribution:
    moved = replace(sticks, two_theta=sticks.two_theta + shift, hkl=None)
    return pattern_to_distribution(broaden_sticks(moved, sigma=0.05))


@pytest.fixture(scope="module")
def sticks() -> Sticks:
    return simulate(crystal(CELLS["orthorhombic"][0]))


def test_a_pattern_agrees_with_its_own_lines(sticks: Sticks) -> None:
    reflections = sticks_to_calculated_reflections(sticks, experimental=True)
    fit = refine(measure(sticks), reflections, scan(measure(sticks), sticks, experimental=True))
    assert fit.score > 0.985
    assert abs(fit.shift) < 0.03
    assert abs(fit.strain[0]) < 1e-3


@pytest.mark.parametrize(("shift", "strain"), [(0.15, -0.004), (-0.1, -0.02), (0.0, -0.012)])
def test_shift_and_scale_are_found(shift: float, strain: float) -> None:
    original = simulate(crystal(CELLS["tetragonal"][0]))
    reflections = sticks_to_calculated_reflections(original)
    grown = [1 / np.sqrt(1 - 2 * strain) * length for length in CELLS["tetragonal"][0][:3]]
    sticks = simulate(crystal((*grown, 90, 90, 90)))
    measured = measure(sticks, shift=shift)
    fit = refine(measured, reflections, scan(measured, original))
    # Unlikely shifts and strains cost a little, so that each is fitted a little short; the reflections hardly move.
    assert fit.shift + fit.displacement == pytest.approx(shift, abs=0.07)
    assert fit.strain[0] == pytest.approx(strain, abs=2e-3)
    shared = min(len(sticks.two_theta), len(reflections.height))
    placed = reflections_to_two_theta(reflections, fit)[:shared]
    np.testing.assert_allclose(placed, sticks.two_theta[:shared] + shift, atol=0.15)


def test_a_displaced_sample_is_told_from_a_zero_shift() -> None:
    original = simulate(crystal(CELLS["cubic"][0]))
    theta = np.radians(original.two_theta / 2)
    moved = replace(original, two_theta=original.two_theta + 0.1 * np.cos(theta), hkl=None)
    measured = pattern_to_distribution(broaden_sticks(moved, sigma=0.05))
    reflections = sticks_to_calculated_reflections(original, experimental=True)
    fit = refine(measured, reflections, scan(measured, original, experimental=True))
    assert fit.displacement > 0.01
    np.testing.assert_allclose(reflections_to_two_theta(reflections, fit)[:8], moved.two_theta[:8], atol=0.03)


def test_foreign_lines_and_missing_ones_lower_the_score(sticks: Sticks) -> None:
    reflections, nothing = sticks_to_calculated_reflections(sticks), Fit(0.0, 0.0, np.zeros(1))
    whole = score_fit(measure(sticks), reflections, nothing)
    half = np.arange(len(sticks.two_theta)) % 2 == 0
    fewer = Sticks(sticks.two_theta[half], sticks.intensity[half], sticks.wavelength)
    assert score_fit(measure(fewer), reflections, nothing) < whole - 0.05
    assert score_fit(measure(sticks), sticks_to_calculated_reflections(fewer), nothing) < whole - 0.05


def test_what_was_not_measured_does_not_count(sticks: Sticks) -> None:
    pattern = broaden_sticks(sticks, sigma=0.05)
    seen = pattern.grid.two_theta > 45
    part = np.where(seen, pattern.intensity, 0)
    partial = GriddedPattern(100 * part / part.max(), seen)
    fit = Fit(0.0, 0.0, np.zeros(1))
    assert score_fit(pattern_to_distribution(partial), sticks_to_calculated_reflections(sticks), fit) > 0.97


@pytest.mark.parametrize("system", CELLS)
def test_a_cell_has_the_strains_that_its_system_allows(system: str) -> None:
    cell, strains = CELLS[system]
    assert len(free(crystal(cell)).change) == strains


def free(structure: Structure) -> CalculatedReflections:
    sticks = simulate(structure)
    assert sticks.hkl is not None
    rotations = find_symmetry(structure).rotations
    return free_cell(sticks_to_calculated_reflections(sticks), hkl=sticks.hkl, cell=structure.cell, rotations=rotations)


def test_a_primitive_cell_is_as_free_as_its_conventional_one() -> None:
    edge = 4.2 / np.sqrt(2)
    assert len(free(crystal((edge, edge, edge, 60, 60, 60))).change) == 1


def test_a_strain_moves_lines_as_a_strained_cell_does() -> None:
    structure = crystal(CELLS["hexagonal"][0])
    reflections = free(structure)
    fit = Fit(0.0, 0.0, np.array([0.0, 1e-4]))
    moved = reflections_to_two_theta(reflections, fit) - reflections_to_two_theta(
        reflections, replace(fit, strain=np.zeros(2))
    )
    a, _, c, *angles = structure.cell
    # A traceless strain of norm √3 along the axis: ±(-1, -1, 2) / √2 times its size.
    sizes = (1e-4 / 2**0.5, -1e-4 / 2**0.5)
    strained = [simulate(crystal((a * (1 - size), a * (1 - size), c * (1 + 2 * size), *angles))) for size in sizes]
    original = simulate(structure)
    expected = [other.two_theta - original.two_theta for other in strained]
    error = min(np.abs(moved - one).max() for one in expected)
    assert error < 0.02 * np.abs(moved).max()


def test_a_free_cell_fits_what_a_scaled_one_cannot() -> None:
    structure = crystal(CELLS["hexagonal"][0])
    a, _, c, *angles = structure.cell
    measured = measure(simulate(crystal((a * 0.985, a * 0.985, c * 1.01, *angles))))
    scaled = sticks_to_calculated_reflections(simulate(structure))
    fit = refine(measured, scaled, scan(measured, simulate(structure)))
    freed = refine(measured, free(structure), replace(fit, strain=np.append(fit.strain, 0.0)))
    assert freed.score > 0.98 > fit.score


@pytest.mark.parametrize("system", ["cubic", "monoclinic"])
def test_derivatives_of_the_calculated_pattern_are_those_of_its_values(system: str) -> None:
    reflections = free(crystal(CELLS[system][0]))
    measured = measure(simulate(crystal(CELLS["orthorhombic"][0])))
    roots = np.sqrt(measured.density)
    place = np.array([0.07, 0.02, *np.linspace(-0.006, 0.004, len(reflections.change))])
    derivative = calculate(measured, roots, reflections, place).derivative @ roots
    for number, step in enumerate(np.diag([1e-6, 1e-6, *[1e-8] * len(reflections.change)])):
        ends = [calculate(measured, roots, reflections, place + sign * step).score for sign in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * step[number]) == pytest.approx(derivative[number], rel=2e-3, abs=1e-3)


def test_the_axis_keeps_weights_and_knows_its_angles() -> None:
    angles = np.array([10.0, 33.3, 61.7, 80.0])
    places, density = two_theta_to_bins(angles)
    assert spread(places, np.array([1.0, 2.0, 3.0, 4.0])).sum() == pytest.approx(10, abs=1e-6)
    np.testing.assert_allclose(np.interp(places, np.arange(bin_count()), bins_to_two_theta()), angles, atol=1e-3)
    assert (np.diff(density) < 0).all()  # the higher the angle, the less certain a calculated line
    outside, _ = two_theta_to_bins(np.array([4.9, 90.1, np.nan]))
    assert np.isnan(outside).all()
