"""Pattern → gridded pattern: a measurement, made comparable with smeared sticks."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.background import baseline
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS, change_wavelength, parse_wavelength
from xxact_core.patterns.grid import GRID, TwoThetaGrid
from xxact_core.patterns.pattern import GriddedPattern, Pattern, coverage_extent

LARGEST_GAP = 0.15
"""Measured points further apart than this [deg], and than `GAP_STEPS` median steps, leave the gap uncovered."""

GAP_STEPS = 2.5

LEAST_COVERAGE = 0.3
"""Share of the grid, from first to last measured point, below which nothing is predicted without an override."""

_FEWEST_POINTS = 10
_NOTED_SHIFT = 0.005
"""A wavelength further than this [Å] from Cu Kα is worth a note: Kα1 against the Kα mean is not."""


def put_on_grid(
    pattern: Pattern,
    *,
    wavelength: str | float | None = None,
    background: str = "arpls",
    zero_shift: float = 0.0,
    smearing: float = 0.0,
    override_coverage: bool = False,
    grid: TwoThetaGrid = GRID,
) -> GriddedPattern:
    """The pattern as if measured with Cu Kα on the shared grid: no background, at least 0, maximum 100.

    In this order: `zero_shift` [deg] is added to the measured angles; the angles are moved to Cu Kα through q; a
    finer measured step is averaged over each grid cell, a coarser one interpolated linearly; the background of every
    stretch without a gap is subtracted; a Gaussian of σ = `smearing` [deg] is laid over it; values below 0 become 0;
    the maximum becomes 100. Averaging and smearing come before the cut at 0, so that noise cancels rather than adds.

    A diffractometer's lines are narrower (σ about 0.03-0.06°) than the simulated ones (σ = 0.1°):
    `smearing=0.09` makes them alike for the eye and takes out two thirds of the noise. A trained model is better left
    without: it has seen narrow lines and white noise, and smeared noise looks like weak lines.

    wavelength: of the measurement, in Å or by name (`CuKa`); goes before what the file says.
    background: one of `background.BACKGROUND_METHODS`.

    Raises:
        WavelengthError: neither the pattern nor the call says the wavelength (E_WAVELENGTH).
        PatternError: no overlap with the grid (E_RANGE), spanning under 30 % of it and not overridden (E_COVERAGE), or
            nothing above the background (E_VALUES).
    """
    if not (np.isfinite(zero_shift) and np.isfinite(smearing) and smearing >= 0):
        msg = f"zero_shift and smearing must be finite and smearing at least 0, not {zero_shift} and {smearing}"
        raise ValueError(msg)
    measured = _wavelength_of(pattern, wavelength)
    angles = change_wavelength(pattern.two_theta + zero_shift, measured=measured, wanted=CU_K_ALPHA)
    reachable = np.isfinite(angles)
    angles, intensity = angles[reachable], pattern.intensity[reachable]
    coverage = _covered(angles, grid=grid)
    if not coverage.any() or angles.size < _FEWEST_POINTS:
        reach = f"{angles[0]:.2f}-{angles[-1]:.2f}°" if angles.size else "no angle"
        msg = f"{pattern.name}: covers {reach} at Cu Kα; nothing of it lies on the grid {grid.start:g}-{grid.stop:g}°"
        raise PatternError(msg, code="E_RANGE")
    warnings = [*pattern.warnings, *_notes(coverage, measured=measured, grid=grid)]
    extent = coverage_extent(coverage)
    if extent < LEAST_COVERAGE and not override_coverage:
        msg = (
            f"{pattern.name}: covers {extent:.0%} of {grid.start:g}-{grid.stop:g}° 2θ at Cu Kα; expected at "
            f"least {LEAST_COVERAGE:.0%}, or override_coverage=True"
        )
        raise PatternError(msg, code="E_COVERAGE")
    on_grid = _resampled(angles, intensity, grid=grid)
    values = np.zeros(grid.points)
    for run in _runs(coverage):
        stretch = on_grid[run] - baseline(on_grid[run], method=background)
        values[run] = gaussian_filter1d(stretch, smearing / grid.step, mode="nearest") if smearing > 0 else stretch
    values = np.clip(values, 0, None)
    if values.max() <= 0:
        msg = f"{pattern.name}: nothing rises above the background between {grid.start:g} and {grid.stop:g}°"
        raise PatternError(msg, code="E_VALUES")
    return GriddedPattern(
        intensity=100 * (values / values.max()),
        coverage=coverage,
        grid=grid,
        name=pattern.name,
        warnings=tuple(warnings),
    )


def _wavelength_of(pattern: Pattern, wavelength: str | float | None) -> float:
    chosen = pattern.wavelength if wavelength is None else parse_wavelength(wavelength)
    if chosen is None:
        msg = (
            f"{pattern.name}: the source does not say its wavelength; give one, a number in Å or one of "
            f"{', '.join(WAVELENGTHS)}"
        )
        raise WavelengthError(msg, code="E_WAVELENGTH")
    return chosen


def _covered(angles: np.ndarray, *, grid: TwoThetaGrid) -> np.ndarray:
    """Grid points between two measured points that are no gap apart, or half a grid step beside the ends."""
    if angles.size < _FEWEST_POINTS:
        return np.zeros(grid.points, dtype=np.bool_)
    steps = np.diff(angles)
    gap = max(LARGEST_GAP, GAP_STEPS * float(np.median(steps)))
    tolerance = grid.step / 2
    right = np.searchsorted(angles, grid.two_theta)
    near = np.abs(angles[np.clip(right, 0, angles.size - 1)] - grid.two_theta) <= tolerance
    near |= np.abs(angles[np.clip(right - 1, 0, angles.size - 1)] - grid.two_theta) <= tolerance
    inside = (right > 0) & (right < angles.size)
    bridged = np.zeros(grid.points, dtype=np.bool_)
    bridged[inside] = steps[right[inside] - 1] <= gap
    return bridged | near


def _resampled(angles: np.ndarray, intensity: np.ndarray, *, grid: TwoThetaGrid) -> np.ndarray:
    """Linear interpolation, or its mean over each grid cell where the measured step is the finer one."""
    if np.median(np.diff(angles)) >= 0.99 * grid.step:
        return np.interp(grid.two_theta, angles, intensity)
    edges = np.append(grid.two_theta - grid.step / 2, grid.two_theta[-1] + grid.step / 2)
    knots = np.union1d(angles, edges)
    heights = np.interp(knots, angles, intensity)
    area = np.append(0, np.cumsum(np.diff(knots) * (heights[1:] + heights[:-1]) / 2))
    return np.diff(area[np.searchsorted(knots, edges)]) / np.diff(edges)


def _runs(coverage: np.ndarray) -> list[slice]:
    """Stretches of covered points, as slices."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], coverage.astype(np.int8), [0]))))
    return [slice(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _notes(coverage: np.ndarray, *, measured: float, grid: TwoThetaGrid) -> list[str]:
    notes = []
    if abs(measured - CU_K_ALPHA) > _NOTED_SHIFT:
        notes.append(f"angles moved from {measured:g} Å to Cu Kα ({CU_K_ALPHA:g} Å) through q")
    if not coverage.all():
        stretches = ", ".join(
            f"{grid.two_theta[run.start]:.4g}-{grid.two_theta[run.stop - 1]:.4g}°" for run in _runs(coverage)[:4]
        )
        more = " ..." if len(_runs(coverage)) > 4 else ""  # noqa: PLR2004 - as many as fit a line
        notes.append(f"covers {stretches}{more} of {grid.start:g}-{grid.stop:g}°: the unmeasured windows are masked")
    return notes
