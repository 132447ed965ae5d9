"""Peaks of many patterns → profiles on a grid: `reference.sum_peaks` compiled for the CPU.

Gaussians are summed within a window. The tails of a Lorentzian extend over the whole grid but are smooth: in the box of
points around a peak and in its two neighbours, the peak is summed point by point; in all other boxes only at a few
Chebyshev nodes, from which the points are interpolated once for all peaks.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np

from xxact_core.patterns.grid import GRID, TwoThetaGrid
from xxact_core.peak_profiles.peak_sums import BOX, NODES, compile_loops


def broaden_arrays(
    two_theta: np.ndarray,
    intensity: np.ndarray,
    sample: np.ndarray,
    out: np.ndarray,
    *,
    sigma: np.ndarray,
    lorentzian: np.ndarray | None = None,
    per_peak: bool = False,
    grid: TwoThetaGrid = GRID,
) -> None:
    """Write the sum of peaks of height `intensity` into `out`, shape (batch, grid.points), float32, not scaled.

    The first call compiles for some ten seconds; the result is cached beside this module or in numba's cache folder.
    Runs on one thread, sums in the same order at every run, and releases the interpreter lock.

    Args:
        two_theta: positions [deg], shape (peaks,); non-finite ones are ignored.
        intensity: heights, shape (peaks,).
        sample: row of `out` of each peak, shape (peaks,), in any order.
        out: overwritten; float32, contiguous.
        sigma: widths above 0 [deg], shape (batch,).
        lorentzian: Lorentzian fraction η of pseudo-Voigt peaks (0-1), shape as sigma; None for Gaussians.
        per_peak: sigma and lorentzian have shape (peaks,), one entry per peak.
        grid: positions of the points.

    Raises:
        ImportError: numba is not installed.
        ValueError: a sample outside `out`, a width that is not a positive number, or shapes that disagree.
    """
    check_shapes(two_theta, intensity, sample, out, sigma=sigma, lorentzian=lorentzian, per_peak=per_peak, grid=grid)
    order_peaks, sum_peaks = compile_loops()
    if out.dtype != np.float32 or not out.flags.c_contiguous:
        msg = f"out is {out.dtype} with strides {out.strides}; expected contiguous float32"
        raise ValueError(msg)
    sample = np.ascontiguousarray(sample, dtype=np.int64)
    start, order = order_peaks(sample, len(out))
    if start[-1] < len(sample):
        msg = f"sample runs from {sample.min()} to {sample.max()}; expected patterns 0 to {len(out) - 1}"
        raise ValueError(msg)
    nodes, weights = box_nodes()
    positions = np.ascontiguousarray(two_theta, dtype=np.float64)
    shares = np.empty(0) if lorentzian is None else lorentzian
    heights, widths, shares = (np.ascontiguousarray(array, dtype=np.float32) for array in (intensity, sigma, shares))
    if not sum_peaks(
        positions, heights, start, order, out, widths, shares, per_peak, grid.start, 1 / grid.step, nodes, weights
    ):
        msg = "sigma holds a width that is not a positive number of degrees 2θ"
        raise ValueError(msg)


class Shaped(Protocol):
    """An array or a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""


def check_shapes(
    two_theta: Shaped,
    intensity: Shaped,
    sample: Shaped,
    out: Shaped,
    *,
    sigma: Shaped,
    lorentzian: Shaped | None,
    per_peak: bool,
    grid: TwoThetaGrid = GRID,
) -> None:
    """Check that the shapes of peaks, widths and profiles agree; arrays and tensors alike.

    Raises:
        ValueError: the message names the array, its shape and what was expected.
    """
    peaks = int(np.prod(two_theta.shape))
    entries = peaks if per_peak else int(out.shape[0])
    expected: list[tuple[str, Shaped | None, tuple[int, ...]]] = [
        ("two_theta", two_theta, (peaks,)),
        ("intensity", intensity, (peaks,)),
        ("sample", sample, (peaks,)),
        ("out", out, (int(out.shape[0]), grid.points)),
        ("sigma", sigma, (entries,)),
        ("lorentzian", lorentzian, (entries,)),
    ]
    for name, array, shape in expected:
        if array is not None and tuple(array.shape) != shape:
            msg = f"{name} has shape {tuple(array.shape)}; expected {shape}"
            raise ValueError(msg)


@cache
def box_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes of a box [points from its first], shape (nodes,), and weights (nodes, BOX) that interpolate."""
    nodes = (BOX - 1) / 2 * (1 + np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES))
    points = np.arange(BOX)
    weights = np.empty((NODES, BOX))
    for place, node in enumerate(nodes):
        others = np.delete(nodes, place)
        weights[place] = np.prod((points[:, None] - others) / (node - others), axis=1)
    return nodes, weights.astype(np.float32)
