"""The loops that sum peaks on a grid: plain functions over arrays, which numba compiles.

exp(-t) for 0 ≤ t ≤ T is p(t / 32)³², p a polynomial of degree 4. It is pure arithmetic, which
compilers vectorise, and accurate for any width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numba.core.typing.templates import Signature

REACH = 4.7
"""A Gaussian is summed within this many σ, 48 points at σ = 0.1°; beyond it is below 2e-5 of its height."""

BOX = 64
"""Points of a box of the tails of a Lorentzian."""

NODES = 8
"""Chebyshev nodes of a box: the interpolation is accurate to 1e-6 of the height of a peak."""

FARTHEST = 1e6
"""Peaks further off the grid than this [grid steps] are placed there: they contribute nothing."""

_LANES = 16
_SQUARINGS = 5
# exp(-t) on 0..25/64, from np.polynomial.Chebyshev.interpolate; relative error 2e-7. Beyond, at 5 σ, t stays there.
_LIMIT = np.float32(25 / 64)
_C0, _C1, _C2, _C3, _C4 = tuple(
    np.float32(value) for value in (0.999999874, -0.999983852, 0.499666985, -0.164242623, 0.034328579)
)
_SIGMA_OF_HALF = 1 / math.sqrt(2 * math.log(2))


@cache
def compile_loops() -> tuple[Callable[..., tuple[np.ndarray, np.ndarray]], Callable[..., bool]]:
    """`_order_peaks` and `_sum_peaks`, compiled, and cached on disk where a folder is writable.

    Raises:
        ImportError: numba is not installed.
    """
    import numba  # noqa: PLC0415 - takes half a second, and tensors are broadened without it

    integers, doubles, floats = (
        numba.types.Array(kind, 1, "C", readonly=True) for kind in (numba.int64, numba.float64, numba.float32)
    )
    rows = numba.types.Array(numba.float32, 2, "C", readonly=True)
    types: Any = numba.types  # without annotations
    ordering = types.UniTuple(numba.int64[::1], 2)(integers, numba.int64)
    summing = numba.boolean(
        doubles, floats, integers, integers, numba.float32[:, ::1], floats, floats, numba.boolean, numba.float64,
        numba.float64, doubles, rows,
    )  # fmt: skip

    def compiled(function: Callable[..., object], signature: Signature, *, kept: bool) -> Callable[..., Any]:
        # Not the flags that take NaN and infinity for impossible: positions may be NaN.
        flags = {"contract", "reassoc", "nsz", "arcp"}
        compiler = numba.njit(signature, cache=kept, nogil=True, error_model="numpy", fastmath=flags)
        return compiler(function)

    try:
        return compiled(_order_peaks, ordering, kept=True), compiled(_sum_peaks, summing, kept=True)
    except (OSError, RuntimeError):  # no writable folder: compiled once per process
        return compiled(_order_peaks, ordering, kept=False), compiled(_sum_peaks, summing, kept=False)


def _order_peaks(sample: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Start of each pattern's peaks in `order`, shape (batch + 1,), and peaks by pattern; empty if in order already.

    A counting sort. The last start is less than the number of peaks if a sample is outside the batch.
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


def _sum_peaks(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop nest, compiled with its arrays as arguments
    two_theta: np.ndarray,
    intensity: np.ndarray,
    start: np.ndarray,
    order: np.ndarray,
    out: np.ndarray,
    sigma: np.ndarray,
    lorentzian: np.ndarray,
    per_peak: bool,  # noqa: FBT001 - compiled functions take arguments by place
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
    # One row that stays in the CPU cache, longer than the grid so that no vector needs a remainder.
    row = np.zeros(max(boxes * BOX, points + _LANES), dtype=np.float32)
    for pattern in range(batch):
        row[:] = 0
        tails[:] = 0
        for entry in range(start[pattern], start[pattern + 1]):
            line = order[entry] if len(order) else entry
            own = line if per_peak else pattern
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
                per_half = np.float32(_SIGMA_OF_HALF / width)
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
