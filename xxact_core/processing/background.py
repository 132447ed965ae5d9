"""The background under the peaks: estimated and subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
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

_ARPLS_TOLERANCE = 1e-3
"""Relative change of the weights at which arPLS has converged."""

_LARGEST_EXPONENT = 700.0
"""exp of more overflows; a weight of e⁻⁷⁰⁰ is 0 in effect."""

SNIP_HALF_WINDOW = 50
"""Half window of snip in samples of 0.02° (1°): wider ones distort the ends of a scan.

Source: Morháč et al., NIM A 401 (1997) 113, the method."""

POINT_REACH = 0.25
"""Half width [deg 2θ] of the range from which the height of a background point without one is taken. Ours."""

_POINT_QUANTILE = 0.2
"""Quantile of the intensities in that range: below a peak beside the point, above the lowest noise. Ours."""

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
    if method == "arpls":
        return scale * _arpls(intensity / scale, stiffness=stiffness)
    from pybaselines import Baseline  # noqa: PLC0415 - importing it takes a second, and only this method needs it

    widest = min(half_window, (intensity.size - 1) // 2)
    fitter = Baseline(check_finite=True)
    curve, _ = fitter.snip(intensity / scale, max_half_window=widest, decreasing=True, smooth_half_window=3)
    background: np.ndarray = scale * np.asarray(curve, dtype=np.float64)
    return background


def _arpls(intensity: np.ndarray, *, stiffness: float) -> np.ndarray:
    """Asymmetrically reweighted penalized least squares: (W + λDᵀD) z = Wy, W from the residuals below the curve.

    The numbers of pybaselines, which takes a second to import. Source: Baek et al., Analyst 140 (2015) 250.
    """
    from scipy.linalg import solveh_banded  # noqa: PLC0415 - slow to import

    system = _second_difference_penalty(intensity.size, stiffness)
    penalty, weights = system[0].copy(), np.ones_like(intensity)
    curve = intensity
    for _ in range(ARPLS_ITERATIONS + 1):
        system[0] = penalty + weights
        curve = solveh_banded(system, weights * intensity, lower=True)
        residual = intensity - curve
        below = residual[residual < 0]
        if below.size < 2:  # noqa: PLR2004 - no spread
            break
        deviation = max(float(below.std(ddof=1)), np.finfo(np.float64).tiny)
        exponent = (2 / deviation) * (residual - (2 * deviation - below.mean()))
        latest = 1 / (1 + np.exp(np.minimum(exponent, _LARGEST_EXPONENT)))
        change = np.linalg.norm(latest - weights) / np.linalg.norm(weights)
        weights = latest
        if change < _ARPLS_TOLERANCE:
            break
    return np.asarray(curve, dtype=np.float64)


def _second_difference_penalty(points: int, stiffness: float) -> np.ndarray:
    """λDᵀD of second differences D as lower bands, shape (3, points)."""
    bands = np.empty((3, points))
    bands[0], bands[1], bands[2] = 6.0, -4.0, 1.0
    bands[0, :2], bands[0, -2:] = (1.0, 5.0), (5.0, 1.0)
    bands[1, 0] = bands[1, -2] = -2.0
    bands[1, -1] = bands[2, -2] = bands[2, -1] = 0.0
    return stiffness * bands


def points_to_baseline(two_theta: np.ndarray, intensity: np.ndarray, **settings: Any) -> np.ndarray:  # noqa: ANN401 - those of `baseline`
    """Background of measured points at their own angles [deg], in their own unit, shape (points,), float64.

    The fit is made on samples 0.02° apart, because the stiffness of arpls depends on the step, and interpolated back.
    """
    first, last = two_theta[0], two_theta[-1]
    uniform = np.linspace(first, last, max(2, round((last - first) / GRID.step) + 1))
    curve = baseline(np.interp(uniform, two_theta, intensity), **settings)
    background: np.ndarray = np.interp(two_theta, uniform, curve)
    return background


def points_to_curve(
    two_theta: np.ndarray, intensity: np.ndarray, *, points: Sequence[tuple[float, float | None]]
) -> np.ndarray:
    """Background through points that a user chose, shape (points,), float64.

    Between them the curve is a monotone cubic (PCHIP), which never swings beyond its points; outside it is constant.

    Args:
        two_theta: angles of the pattern [deg], ascending, shape (points,).
        intensity: of the pattern, shape (points,).
        points: angle [deg 2θ] and height of each; without a height, that of the pattern around the angle.
    """
    heights: dict[float, float] = {}
    for angle, height in sorted(points, key=lambda point: point[0]):
        if height is None:
            near = intensity[np.abs(two_theta - angle) <= POINT_REACH]
            if not near.size:
                continue
            height = float(np.quantile(near, _POINT_QUANTILE))  # noqa: PLW2901 - the height it has
        heights[angle] = height
    if not heights:
        return np.zeros_like(intensity, dtype=np.float64)
    places, values = np.array(list(heights)), np.array(list(heights.values()))
    if places.size == 1:
        return np.full(two_theta.shape, values[0])
    from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 - slow to import

    inside = np.clip(two_theta, places[0], places[-1])
    curve: np.ndarray = np.asarray(PchipInterpolator(places, values)(inside), dtype=np.float64)
    return curve


def suggest_points(
    two_theta: np.ndarray, intensity: np.ndarray, *, count: int = 12, with_heights: bool = True
) -> tuple[tuple[float, float | None], ...]:
    """Background points to begin with, one in each of `count` equal ranges.

    It is where the pattern is nearest to its arPLS background, and has the height of that curve.

    Args:
        two_theta: angles of the pattern [deg], ascending, shape (points,).
        intensity: of the pattern, shape (points,).
        count: number of ranges.
        with_heights: whether the points have heights, or take them from the pattern that they are applied to.
    """
    curve = points_to_baseline(two_theta, intensity)
    edges = np.linspace(two_theta[0], two_theta[-1], count + 1)
    chosen = []
    for low, high in pairwise(edges.tolist()):
        inside = np.flatnonzero((two_theta >= low) & (two_theta <= high))
        if inside.size:
            best = inside[np.argmin(np.abs(intensity[inside] - curve[inside]))]
            height = float(f"{curve[best]:.5g}") if with_heights else None
            chosen.append((round(float(two_theta[best]), 3), height))
    return tuple(dict(chosen).items())


def estimate_background(pattern: Pattern, *, method: str = "arpls") -> np.ndarray:
    """Background of a measured pattern, shape (points,), float64; see `points_to_baseline`.

    Raises:
        ValueError: the method is not one of `BACKGROUND_METHODS`.
    """
    return points_to_baseline(pattern.two_theta, pattern.intensity, method=method)


def subtract_background(pattern: Pattern, *, method: str = "arpls") -> Pattern:
    """The pattern without its background; noise around the background stays, so values below 0 occur."""
    return replace(pattern, intensity=pattern.intensity - estimate_background(pattern, method=method))
