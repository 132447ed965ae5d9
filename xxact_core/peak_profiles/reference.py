"""Sticks → gridded pattern: the reference implementation that every faster one must equal."""

from __future__ import annotations

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import CU_K_ALPHA, change_wavelength
from xxact_core.patterns.grid import GRID, TwoThetaGrid
from xxact_core.patterns.pattern import GriddedPattern, Sticks
from xxact_core.peak_profiles.shapes import (
    PeakShape,
    gaussian,
    heights_of_equal_area,
    lorentzian,
    sigma_to_fwhm,
    split_doublet,
)

SIGMA = 0.1
"""Standard deviation of the Gaussian [deg 2θ]. Source: XxaCT-NN section 3.3 (σ = 0.1, read as degrees 2θ)."""

GAUSSIANS = PeakShape()
"""Gaussian peaks of one width."""

_BLOCK = 256
"""Sticks summed at once: bounds memory at 256 × 4250 float64 (9 MB)."""


def broaden_sticks(
    sticks: Sticks, *, sigma: float = SIGMA, shape: PeakShape = GAUSSIANS, grid: TwoThetaGrid = GRID
) -> GriddedPattern:
    """Sum of one peak per stick, in float64 and without truncation, scaled to a maximum of 100; covers the whole grid.

    Peaks are Gaussians of one width, I(2θ) = Σ Iₖ exp(-(2θ - 2θₖ)² / 2σ²), the "smearing" of XxaCT-NN, unless `shape`
    sets angle-dependent widths, pseudo-Voigt peaks η L + (1 - η) G of one width at half maximum, or a Kα doublet.

    Sticks of another wavelength are converted to Cu Kα through q; their intensities keep the Lorentz and polarisation
    factors of their own wavelength, and a warning says so.

    Source: of the pseudo-Voigt form, Thompson, Cox & Hastings (1987), J. Appl. Cryst. 20, 79-83.

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
        positions = change_wavelength(positions, measured=sticks.wavelength, target=CU_K_ALPHA)
        warnings = (f"sticks converted from {sticks.wavelength:g} Å to Cu Kα; their intensities were kept",)
    heights = sticks.intensity
    if shape.anode is not None:
        positions, heights = split_doublet(positions, heights, anode=shape.anode)
    kept = np.isfinite(positions) & (heights > 0)
    positions, heights = positions[kept], heights[kept]
    if not ((positions >= grid.start) & (positions < grid.stop)).any():
        msg = f"no reflection lies within {grid.start:g}-{grid.stop:g}° 2θ at Cu Kα"
        raise PatternError(msg, code="E_RANGE")
    widths = shape.sigma(positions, sigma=sigma)
    if shape.equal_area:
        heights = heights_of_equal_area(heights, sigma=widths, reference=sigma)
    total = sum_peaks(positions, heights, widths, lorentzian_share=shape.lorentzian, grid=grid)
    if total.max() <= 0:
        msg = f"σ = {sigma:g}° is so narrow that no reflection contributes to a grid point"
        raise PatternError(msg, code="E_RANGE")
    return GriddedPattern(
        intensity=100 * (total / total.max()),
        coverage=np.ones(grid.points, dtype=np.bool_),
        grid=grid,
        name="broadened sticks",
        warnings=warnings,
    )


def sum_peaks(
    positions: np.ndarray,
    heights: np.ndarray,
    sigma: np.ndarray,
    *,
    lorentzian_share: float | np.ndarray = 0.0,
    grid: TwoThetaGrid = GRID,
) -> np.ndarray:
    """Sum of peaks at `positions` [deg] of width `sigma` [deg], each at every point of the grid, float64, not scaled.

    All arrays of shape (peaks,); result of shape (grid.points,). The fast sums of many patterns must equal it.
    """
    total = np.zeros(grid.points)
    shares = np.broadcast_to(lorentzian_share, positions.shape)
    for first in range(0, positions.size, _BLOCK):
        block = slice(first, first + _BLOCK)
        distance = grid.two_theta[:, None] - positions[None, block]
        fwhm = sigma_to_fwhm(sigma[block])
        total += gaussian(distance, fwhm=fwhm) @ ((1 - shares[block]) * heights[block])
        if shares[block].any():
            total += lorentzian(distance, fwhm=fwhm) @ (shares[block] * heights[block])
    return total
