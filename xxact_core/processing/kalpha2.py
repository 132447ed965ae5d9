"""Kα2 stripping."""

from __future__ import annotations

import numpy as np

from xxact_core.errors import WavelengthError
from xxact_core.patterns.conversions import WAVELENGTHS
from xxact_core.peak_profiles.shapes import doublet_wavelengths

ANODES = tuple(name.removesuffix("Ka") for name in WAVELENGTHS if name.endswith("Ka"))

_ROUNDING = 3e-4
"""Relative difference between tables of wavelengths, and between a written wavelength and the tabulated one."""


def wavelength_to_anode(wavelength: float) -> str:
    """The anode ("Cu", "Mo", ...) whose Kα1 or mean Kα a wavelength [Å] is.

    Raises:
        WavelengthError: it is neither of any anode, so that there is no doublet (E_WAVELENGTH).
    """
    for anode in ANODES:
        alpha_1, _, mean = doublet_wavelengths(anode)
        if (1 - _ROUNDING) * alpha_1 <= wavelength <= (1 + _ROUNDING) * mean:
            return anode
    msg = f"{wavelength:g} Å is no Kα radiation of {', '.join(ANODES)}; expected one of these, or no step strip_kalpha2"
    raise WavelengthError(msg, code="E_WAVELENGTH")


def strip_kalpha2(two_theta: np.ndarray, intensity: np.ndarray, *, anode: str, ratio: float) -> np.ndarray:
    """Intensity of Kα1 alone, at the angles [deg] of Kα1 and Kα2 together, shape (points,), float64.

    I(2θ) = I₁(2θ) + r I₁(2θ'), where sin θ' = sin θ λ₁/λ₂ is where Kα1 shows what Kα2 shows at θ: linear equations, and
    triangular, because θ' < θ. I₁ is interpolated between points and constant below the first one. An axis that was
    converted to another wavelength serves as well, because sin θ was only scaled.

    Source: Rachinger (1948), J. Sci. Instrum. 25, 254-255.

    Args:
        two_theta: increasing, shape (points,).
        intensity: with or without background, shape (points,).
        anode: of the tube, one of `ANODES`.
        ratio: r, intensity of Kα2 over that of Kα1, below 1.
    """
    from scipy.sparse import csc_array, eye_array  # noqa: PLC0415 - slow to import, and needed here only
    from scipy.sparse.linalg import splu  # noqa: PLC0415 - the same

    intensity = np.asarray(intensity, dtype=np.float64)
    if intensity.size < 2:  # noqa: PLR2004 - one point has nothing below it
        return intensity.copy()
    alpha_1, alpha_2, _ = doublet_wavelengths(anode)
    below = 2 * np.rad2deg(np.arcsin(np.sin(np.deg2rad(two_theta) / 2) * alpha_1 / alpha_2))
    below = np.clip(below, two_theta[0], np.maximum(two_theta, two_theta[0]))
    index = np.arange(two_theta.size)
    right = np.clip(np.searchsorted(two_theta, below), 1, np.maximum(index, 1))
    weight = (below - two_theta[right - 1]) / (two_theta[right] - two_theta[right - 1])
    entries = np.concatenate([ratio * weight, ratio * (1 - weight)])
    shape = (two_theta.size, two_theta.size)
    doubled = csc_array((entries, (np.tile(index, 2), np.concatenate([right, right - 1]))), shape=shape)
    factors = splu((eye_array(two_theta.size) + doubled).tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0)
    single: np.ndarray = factors.solve(intensity)
    return single
