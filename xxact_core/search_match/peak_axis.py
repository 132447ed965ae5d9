"""2θ → an axis on which all peak positions are equally uncertain, on which two patterns are compared.

The error of a calculated cell, some tenths of a percent in each direction, moves a peak in proportion to tan θ; the
instrument adds a constant width. On the axis u with du = d2θ / √(a² + (b tan θ)²) both together are a Gaussian of width
1 everywhere, and a pattern takes a thousand numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from xxact_core.patterns.grid import GRID

WIDTH = 0.12
"""a: peak width of a diffractometer [deg 2θ]. Ours."""

CELL_ERROR = 0.004
"""Relative error of a calculated cell after its volume is fitted; b is twice that, in degrees. Ours."""

BINS_PER_WIDTH = 4
_FINE = 0.005


@cache
def _axis() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2θ in small steps [deg], u there in bins from the lower end of the grid, and bins per degree."""
    two_theta = np.linspace(GRID.start, GRID.stop, round((GRID.stop - GRID.start) / _FINE) + 1)
    slope = np.degrees(2 * CELL_ERROR) * np.tan(np.radians(two_theta / 2))
    density = BINS_PER_WIDTH / np.hypot(WIDTH, slope)
    bins = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2) * _FINE])
    return two_theta, bins, density


def bin_count() -> int:
    """Number of bins of the axis."""
    return int(_axis()[1][-1]) + 1


def two_theta_to_bins(two_theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions on the axis [bins], NaN outside the grid, and bins per degree there; same shape, float64."""
    angles, bins, density = _axis()
    steps = (two_theta - angles[0]) / _FINE
    inside = (steps >= 0) & (steps < len(angles) - 1)
    lower = np.where(inside, steps, 0).astype(np.int64)
    positions = bins[lower] + (steps - lower) * (bins[lower + 1] - bins[lower])
    return np.where(inside, positions, np.nan), density[lower]


def bins_to_two_theta() -> np.ndarray:
    """2θ of the lower edge of each bin [deg], shape (bins,)."""
    angles, bins, _ = _axis()
    edges: np.ndarray = np.interp(np.arange(bin_count()), bins, angles)
    return edges


def spread(positions: np.ndarray, weights: np.ndarray, *, width: float = 1.0) -> np.ndarray:
    """Density of Gaussian peaks at `positions` [bins, NaN for none] with these weights and width, shape (bins,)."""
    inside = np.isfinite(positions)
    positions, weights = positions[inside], weights[inside]
    lower = positions.astype(np.int64)
    upper_share = positions - lower
    bins = bin_count()
    density = np.bincount(lower, weights * (1 - upper_share), minlength=bins + 1)
    density += np.bincount(lower + 1, weights * upper_share, minlength=bins + 1)
    return widen(density[:bins], width=width)


def widen(density: np.ndarray, *, width: float = 1.0) -> np.ndarray:
    """Convolve a density with a Gaussian of this width; a symmetric operator."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    convolved: np.ndarray = gaussian_filter1d(density, width * BINS_PER_WIDTH, mode="constant", truncate=3.5)
    return convolved
