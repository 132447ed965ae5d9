"""Points of a scan → points of the shared grid, and which of them were measured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from xxact_core.patterns.grid import TwoThetaGrid

MAX_GAP = 0.15
"""Points further apart than this [deg], and than `GAP_STEPS` median steps, have an uncovered gap between them."""

GAP_STEPS = 2.5
"""Median steps; see `MAX_GAP`."""

MIN_POINTS = 10
"""Fewest points of a scan."""


def widest_step(angles: np.ndarray) -> float:
    """Distance of neighbouring angles [deg] above which nothing was measured between them; at least two angles."""
    return max(MAX_GAP, GAP_STEPS * float(np.median(np.diff(angles))))


def angles_to_coverage(angles: np.ndarray, *, grid: TwoThetaGrid) -> np.ndarray:
    """Grid points between measured points without a gap, or within half a grid step of one, shape (points,), bool."""
    if angles.size < MIN_POINTS:
        return np.zeros(grid.points, dtype=np.bool_)
    steps = np.diff(angles)
    gap = widest_step(angles)
    tolerance = grid.step / 2
    right = np.searchsorted(angles, grid.two_theta)
    near = np.abs(angles[np.clip(right, 0, angles.size - 1)] - grid.two_theta) <= tolerance
    near |= np.abs(angles[np.clip(right - 1, 0, angles.size - 1)] - grid.two_theta) <= tolerance
    inside = (right > 0) & (right < angles.size)
    bridged = np.zeros(grid.points, dtype=np.bool_)
    bridged[inside] = steps[right[inside] - 1] <= gap
    covered: np.ndarray = bridged | near
    return covered


def points_to_grid(angles: np.ndarray, intensity: np.ndarray, *, grid: TwoThetaGrid) -> np.ndarray:
    """Intensity at the grid points, shape (points,): linear interpolation, or its mean over each cell of the grid.

    The mean is taken where the measured step is finer than the grid's.
    """
    if np.median(np.diff(angles)) >= 0.99 * grid.step:
        interpolated: np.ndarray = np.interp(grid.two_theta, angles, intensity)
        return interpolated
    edges = np.append(grid.two_theta - grid.step / 2, grid.two_theta[-1] + grid.step / 2)
    knots = np.union1d(angles, edges)
    heights = np.interp(knots, angles, intensity)
    area = np.append(0, np.cumsum(np.diff(knots) * (heights[1:] + heights[:-1]) / 2))
    means: np.ndarray = np.diff(area[np.searchsorted(knots, edges)]) / np.diff(edges)
    return means


def coverage_to_stretches(coverage: np.ndarray) -> list[slice]:
    """Runs of covered points, as slices."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], coverage.astype(np.int8), [0]))))
    return [slice(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def angles_to_stretches(angles: np.ndarray) -> list[slice]:
    """Runs of measured angles without a gap, as slices."""
    if angles.size < 2:  # noqa: PLR2004 - one point has no neighbour
        return [slice(0, angles.size)] if angles.size else []
    ends = np.flatnonzero(np.diff(angles) > widest_step(angles)) + 1
    edges = [0, *ends.tolist(), angles.size]
    return [slice(first, last) for first, last in pairwise(edges)]
