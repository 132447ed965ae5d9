"""2θ → an axis on which every line is equally uncertain: what two patterns are compared on.

A calculated cell is off by some tenths of a percent in each direction, which moves a line the more the larger tan θ is,
and a diffractometer has a width of its own. On the axis u with du = d2θ / √(a² + (b tan θ)²) both together are one
Gaussian of width 1 everywhere, and a pattern is a thousand numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from xxact_core.patterns.grid import GRID

WIDTH = 0.12
"""a [deg 2θ]: of a line of a diffractometer. Ours."""

CELL_ERROR = 0.004
"""What remains of the relative error of a calculated cell once its size is right; b is twice that, in degrees. Ours."""

BINS_A_WIDTH = 4
_FINE = 0.005


@cache
def _axis() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2θ [deg] in small steps, u there in bins from the lower end of the grid, and bins a degree."""
    two_theta = np.linspace(GRID.start, GRID.stop, round((GRID.stop - GRID.start) / _FINE) + 1)
    slope = np.degrees(2 * CELL_ERROR) * np.tan(np.radians(two_theta / 2))
    density = BINS_A_WIDTH / np.hypot(WIDTH, slope)
    bins = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2) * _FINE])
    return two_theta, bins, density


def bin_count() -> int:
    """Bins of the axis."""
    return int(_axis()[1][-1]) + 1


def two_theta_to_bins(two_theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places on the axis in bins, NaN outside of the grid, and how many bins a degree is there; same shape, float64."""
    angles, bins, density = _axis()
    steps = (two_theta - angles[0]) / _FINE
    inside = (steps >= 0) & (steps < len(angles) - 1)
    lower = np.where(inside, steps, 0).astype(np.int64)
    places = bins[lower] + (steps - lower) * (bins[lower + 1] - bins[lower])
    return np.where(inside, places, np.nan), density[lower]


def bins_to_two_theta() -> np.ndarray:
    """2θ [deg] of the lower end of each bin, shape (bins,)."""
    angles, bins, _ = _axis()
    return np.interp(np.arange(bin_count()), bins, angles)


def spread(places: np.ndarray, weights: np.ndarray, *, width: float = 1.0) -> np.ndarray:
    """Weights at places (in bins, NaN for none) as a density of lines of a width, shape (bins,)."""
    inside = np.isfinite(places)
    places, weights = places[inside], weights[inside]
    lower = places.astype(np.int64)
    upper_share = places - lower
    bins = bin_count()
    density = np.bincount(lower, weights * (1 - upper_share), minlength=bins + 1)
    density += np.bincount(lower + 1, weights * upper_share, minlength=bins + 1)
    return widen(density[:bins], width=width)


def widen(density: np.ndarray, *, width: float = 1.0) -> np.ndarray:
    """A density of ideal lines as one of lines of a width; its own transpose."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    return gaussian_filter1d(density, width * BINS_A_WIDTH, mode="constant", truncate=3.5)
