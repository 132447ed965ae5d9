"""The background under the peaks: estimated and subtracted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Pattern

BackgroundMethod = Literal["arpls", "snip", "none"]
BACKGROUND_METHODS: tuple[BackgroundMethod, ...] = get_args(BackgroundMethod)

ARPLS_STIFFNESS = 1e6
"""λ of arpls on samples 0.02° apart; the same curve on another step needs λ · (0.02 / step)⁴.

Source: Baek et al., Analyst 140 (2015) 250, the method; λ measured on powder patterns (RMSE 0.0013 of the peak).
"""

ARPLS_ITERATIONS = 20
"""Measured scans converge within 15-50 iterations and differ by under 1 % of the peak after 20. The background of
a curve without noise does not converge: it decreases by 0.6 % of the peak after 20 iterations and 3 % after 50."""

SNIP_HALF_WINDOW = 50
"""Half window of snip in samples of 0.02° (1°): wider ones distort the ends of a scan.

Source: Morháč et al., NIM A 401 (1997) 113, the method."""

_MIN_SAMPLES = 25
"""The background of shorter runs (0.5°) is their minimum: there is no shape to fit."""


def baseline(
    intensity: np.ndarray,
    *,
    method: str = "arpls",
    stiffness: float = ARPLS_STIFFNESS,
    half_window: int = SNIP_HALF_WINDOW,
) -> np.ndarray:
    """Background of samples 0.02° apart (the step of the shared grid), shape (points,) → (points,), float64.

    stiffness: λ of arpls. half_window: of snip, in samples.

    Raises:
        ValueError: the method is not one of `BACKGROUND_METHODS`.
    """
    if method not in BACKGROUND_METHODS:
        msg = f"background {method!r} is not known; expected one of {', '.join(BACKGROUND_METHODS)}"
        raise ValueError(msg)
    intensity = np.asarray(intensity, dtype=np.float64)
    if method == "none":
        return np.zeros_like(intensity)
    if intensity.size < _MIN_SAMPLES:
        return np.full_like(intensity, intensity.min(initial=np.inf) if intensity.size else 0)
    scale = float(np.abs(intensity).max())
    if scale == 0:
        return np.zeros_like(intensity)
    from pybaselines import Baseline  # noqa: PLC0415 - importing it takes a second, and not every use needs it

    fitter = Baseline(check_finite=True)
    if method == "arpls":
        curve, _ = fitter.arpls(intensity / scale, lam=stiffness, max_iter=ARPLS_ITERATIONS)
    else:
        widest = min(half_window, (intensity.size - 1) // 2)
        curve, _ = fitter.snip(intensity / scale, max_half_window=widest, decreasing=True, smooth_half_window=3)
    background: np.ndarray = scale * np.asarray(curve, dtype=np.float64)
    return background


def points_to_baseline(two_theta: np.ndarray, intensity: np.ndarray, **settings: Any) -> np.ndarray:  # noqa: ANN401 - those of `baseline`
    """Background of measured points at their own angles [deg], in their own unit, shape (points,), float64.

    The fit is made on samples 0.02° apart, because the stiffness of arpls depends on the step, and interpolated back.
    """
    first, last = two_theta[0], two_theta[-1]
    uniform = np.linspace(first, last, max(2, round((last - first) / GRID.step) + 1))
    curve = baseline(np.interp(uniform, two_theta, intensity), **settings)
    background: np.ndarray = np.interp(two_theta, uniform, curve)
    return background


def estimate_background(pattern: Pattern, *, method: str = "arpls") -> np.ndarray:
    """Background of a measured pattern, shape (points,), float64; see `points_to_baseline`.

    Raises:
        ValueError: the method is not one of `BACKGROUND_METHODS`.
    """
    return points_to_baseline(pattern.two_theta, pattern.intensity, method=method)


def subtract_background(pattern: Pattern, *, method: str = "arpls") -> Pattern:
    """The pattern without its background; noise around the background stays, so values below 0 occur."""
    return replace(pattern, intensity=pattern.intensity - estimate_background(pattern, method=method))
