"""Sticks → gridded pattern: the reference smear that every faster version must equal."""

from __future__ import annotations

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import CU_K_ALPHA, change_wavelength
from xxact_core.patterns.grid import GRID, TwoThetaGrid
from xxact_core.patterns.pattern import GriddedPattern, Sticks

SIGMA = 0.1
"""Standard deviation of the Gaussian [deg 2θ]. Source: XxaCT-NN section 3.3 (σ = 0.1, read as degrees 2θ)."""

_BLOCK = 256
"""Sticks summed at once: bounds memory at 256 × 4250 float64 (9 MB)."""


def smear(sticks: Sticks, *, sigma: float = SIGMA, grid: TwoThetaGrid = GRID) -> GriddedPattern:
    """Sum of one Gaussian a stick, I(2θ) = Σ Iₖ exp(-(2θ - 2θₖ)² / 2σ²), in float64 and without a window.

    The sum is scaled to a maximum of 100 and covers the whole grid. Sticks of another wavelength are moved to Cu Kα
    through q; their intensities keep the Lorentz and polarisation factors of the wavelength they were made for, and
    a warning says so.

    Raises:
        PatternError: no stick with an intensity above 0 lies on the grid (E_RANGE).
        ValueError: sigma is not a positive number.
    """
    if not (np.isfinite(sigma) and sigma > 0):
        msg = f"sigma is {sigma}; expected a positive number of degrees 2θ"
        raise ValueError(msg)
    warnings: tuple[str, ...] = ()
    positions = sticks.two_theta
    if not np.isclose(sticks.wavelength, CU_K_ALPHA, atol=1e-6):
        positions = change_wavelength(positions, measured=sticks.wavelength, wanted=CU_K_ALPHA)
        warnings = (f"sticks moved from {sticks.wavelength:g} Å to Cu Kα; their intensities were kept",)
    kept = np.isfinite(positions) & (sticks.intensity > 0)
    positions, heights = positions[kept], sticks.intensity[kept]
    if not ((positions >= grid.start) & (positions < grid.stop)).any():
        msg = f"no reflection lies within {grid.start:g}-{grid.stop:g}° 2θ at Cu Kα"
        raise PatternError(msg, code="E_RANGE")
    total = np.zeros(grid.points)
    for first in range(0, positions.size, _BLOCK):
        block = slice(first, first + _BLOCK)
        distance = (grid.two_theta[:, None] - positions[None, block]) / sigma
        total += np.exp(-0.5 * distance**2) @ heights[block]
    if total.max() <= 0:
        msg = f"σ = {sigma:g}° is so narrow that no reflection touches a grid point"
        raise PatternError(msg, code="E_RANGE")
    return GriddedPattern(
        intensity=100 * (total / total.max()),
        coverage=np.ones(grid.points, dtype=np.bool_),
        grid=grid,
        name="smeared sticks",
        warnings=warnings,
    )
