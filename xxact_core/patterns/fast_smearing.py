"""Lines of many patterns → profiles on a grid: what `smearing.smear` does, compiled for the processor.

Written as a plain function over arrays, which numba compiles at the first call. Two ideas make it quick:

- exp(-t) for 0 ≤ t ≤ T is p(t / 32)³², p a polynomial of degree 4. That is arithmetic alone, which a compiler does for
  many points at once, and it is right for any width.
- The tails of a Lorentzian reach over the whole grid but are smooth. In the box of points around a line and in the two
  beside it the line is summed point by point; in all other boxes at a few Chebyshev nodes only, from which one
  interpolation for all lines makes the points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from xxact_core.patterns.grid import GRID, TwoThetaGrid
from xxact_core.patterns.line_shapes import FWHM_OF_SIGMA

REACH = 5.0
"""A Gaussian is summed within this many σ; beyond it is below 4e-6 of its height."""

BOX = 64
"""Points of a box of the tails."""

NODES = 8
"""Chebyshev nodes of a box: interpolation is then right to 1e-6 of a line's height."""

FARTHEST = 1e6
"""Lines farther off the grid than this [grid steps] stand there: what they add is nothing."""

_LANES = 16
_SQUARINGS = 5
_LIMIT = np.float32(REACH**2 / 2 / 2**_SQUARINGS)
# exp(-t) on 0..25/64, from np.polynomial.Chebyshev.interpolate; relative error 2e-7.
_C0, _C1, _C2, _C3, _C4 = tuple(
    np.float32(value) for value in (0.999999874, -0.999983852, 0.499666985, -0.164242623, 0.034328579)
)
_PART_OF_HALF = np.float32(2 / FWHM_OF_SIGMA)


def smear_arrays(
    two_theta: np.ndarray,
    intensity: np.ndarray,
    sample: np.ndarray,
    out: np.ndarray,
    *,
    sigma: np.ndarray,
    lorentzian: np.ndarray | None = None,
    each_line: bool = False,
    grid: TwoThetaGrid = GRID,
) -> None:
    """Write the sum of lines of height `intensity` into `out`, shape (batch, grid.points), float32, not scaled.

    The first call compiles, some ten seconds; the result is kept beside this module or in numba's cache folder. One
    thread, and the same sums in the same order at every run; the interpreter is free meanwhile, so that several
    batches can be made side by side.

    Args:
        two_theta: positions [deg], shape (peaks,); one that is not finite adds nothing.
        intensity: heights, shape (peaks,).
        sample: row of `out` of each line, shape (peaks,), in any order.
        out: overwritten.
        sigma: widths above 0 [deg], shape (batch,).
        lorentzian: pseudo-Voigt share η (0-1), shape as sigma; None for Gaussians.
        each_line: sigma and lorentzian have shape (peaks,), an entry for each line.
        grid: of the points.

    Raises:
        ImportError: numba is not installed.
        ValueError: a sample that `out` does not have, a width that is not a positive number, or shapes that disagree.
    """
    entries = len(two_theta) if each_line else len(out)
    shares = np.empty(0, dtype=np.float32) if lorentzian is None else lorentzian
    expected = [
        ("intensity", intensity, len(two_theta)), ("sample", sample, len(two_theta)), ("sigma", sigma, entries),
        ("lorentzian", shares, entries if lorentzian is not None else 0),
    ]  # fmt: skip
    for name, array, length in expected:
        if array.shape != (length,):
            msg = f"{name} has shape {array.shape}; expected ({length},)"
            raise ValueError(msg)
    if out.shape[1:] != (grid.points,):
        msg = f"out has shape {out.shape}; expected (batch, {grid.points})"
        raise ValueError(msg)
    order_lines, sum_lines = compile_kernels()
    start, order = order_lines(sample, len(out))
    if start[-1] < len(sample):
        msg = f"sample runs from {sample.min()} to {sample.max()}; expected patterns 0 to {len(out) - 1}"
        raise ValueError(msg)
    nodes, weights = box_nodes()
    if not sum_lines(
        two_theta, intensity, start, order, out, sigma, shares, each_line, grid.start, 1 / grid.step, nodes, weights
    ):
        msg = "sigma holds a width that is not a positive number of degrees 2θ"
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


@cache
def compile_kernels() -> tuple[Callable[..., tuple[np.ndarray, np.ndarray]], Callable[..., bool]]:
    """`_order_lines` and `_sum_lines`, compiled, and kept on disk where there is a folder that can be written to.

    Raises:
        ImportError: numba is not installed.
    """
    import numba  # noqa: PLC0415 - takes half a second, and tensors can be smeared without

    # Not the flags that take NaN and infinity for impossible: positions may be NaN.
    flags = {"contract", "reassoc", "nsz", "arcp"}
    try:
        compiler = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=flags)
        return compiler(_order_lines), compiler(_sum_lines)
    except RuntimeError:  # no folder to keep them in: compiled once a process
        compiler = numba.njit(nogil=True, error_model="numpy", fastmath=flags)
        return compiler(_order_lines), compiler(_sum_lines)


def _order_lines(sample: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pattern's lines start in `order`, shape (batch + 1,), and lines by pattern; empty if in order already.

    A counting sort. The last start is less than the number of lines where a sample is none of the batch.
    """
    start = np.zeros(batch + 1, dtype=np.int64)
    in_order = True
    for line in range(len(sample)):
        pattern = sample[line]
        if pattern < 0 or pattern >= batch:
            return np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64)
        start[pattern + 1] += 1
        if line and pattern < sample[line - 1]:
            in_order = False
    for pattern in range(batch):
        start[pattern + 1] += start[pattern]
    order = np.empty(0 if in_order else len(sample), dtype=np.int64)
    if not in_order:
        following = start[:-1].copy()
        for line in range(len(sample)):
            order[following[sample[line]]] = line
            following[sample[line]] += 1
    return start, order


def _sum_lines(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop nest, compiled with its arrays as arguments
    two_theta: np.ndarray,
    intensity: np.ndarray,
    start: np.ndarray,
    order: np.ndarray,
    out: np.ndarray,
    sigma: np.ndarray,
    lorentzian: np.ndarray,
    each_line: bool,  # noqa: FBT001 - compiled functions take arguments by place
    grid_start: float,
    per_step: float,
    nodes: np.ndarray,
    weights: np.ndarray,
) -> bool:
    batch, points = out.shape
    has_tails = len(lorentzian) > 0
    boxes = (points + BOX - 1) // BOX
    tails = np.zeros(boxes * NODES if has_tails else 0, dtype=np.float32)
    node_places = np.empty(len(tails), dtype=np.float32)
    for node in range(len(tails)):
        node_places[node] = (node // NODES) * BOX + nodes[node % NODES]
    # One row that stays in the processor's cache, longer than the grid so that no vector needs a remainder.
    row = np.zeros(max(boxes * BOX, points + _LANES), dtype=np.float32)
    for pattern in range(batch):
        row[:] = 0
        tails[:] = 0
        for entry in range(start[pattern], start[pattern + 1]):
            line = order[entry] if len(order) else entry
            own = line if each_line else pattern
            width = np.float64(sigma[own]) * per_step
            if not (width > 0 and width < np.inf):
                return False
            exact = (np.float64(two_theta[line]) - grid_start) * per_step
            if not abs(exact) < np.inf:
                continue
            place = min(max(exact, -FARTHEST), FARTHEST)
            height = np.float32(intensity[line])
            if has_tails:
                peak = height * np.float32(lorentzian[own])
                height -= peak
                per_half = np.float32(_PART_OF_HALF / width)
                box = math.floor(place / BOX)
                first, last = max(min(box - 1, boxes), 0), max(min(box + 2, boxes), 0)
                middle = np.float32(place - first * BOX)
                near = row[first * BOX : last * BOX]
                for point in range(np.int32(len(near))):
                    distance = (np.float32(np.int32(point)) - middle) * per_half
                    near[point] += peak / (np.float32(1) + distance * distance)
                middle = np.float32(place)
                for side in range(2):
                    begin, end = (0, first * NODES) if side == 0 else (last * NODES, len(tails))
                    far, far_places = tails[begin:end], node_places[begin:end]
                    for node in range(len(far)):
                        distance = (far_places[node] - middle) * per_half
                        far[node] += peak / (np.float32(1) + distance * distance)
            low = math.ceil(max(place - REACH * width, 0.0))
            high = math.floor(min(place + REACH * width, points - 1.0))
            if low > high:
                continue
            count = ((int(high) - int(low)) // _LANES + 1) * _LANES
            scale = 1 / (width * math.sqrt(2.0 * 2**_SQUARINGS))
            offset, per_point = np.float32((low - place) * scale), np.float32(scale)
            stretch = row[int(low) : int(low) + count]
            for point in range(np.int32(count)):
                distance = offset + per_point * np.float32(np.int32(point))
                t = min(distance * distance, _LIMIT)
                value = _C0 + t * (_C1 + t * (_C2 + t * (_C3 + t * _C4)))
                value *= value
                value *= value
                value *= value
                value *= value
                value *= value
                stretch[point] += height * value
        for node in range(len(tails)):
            stretch, weight, tail = row[(node // NODES) * BOX :], weights[node % NODES], tails[node]
            for point in range(BOX):
                stretch[point] += tail * weight[point]
        out[pattern] = row[:points]
    return True
