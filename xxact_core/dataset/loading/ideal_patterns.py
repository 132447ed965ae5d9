"""Reflections of a batch → ideal patterns on a CPU, by compiled loops.

Ideal patterns need only positions, one width and a scale, so a few patterns at a time are computed within the cache of
the CPU, without arrays of all peaks or points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from xxact_core.dataset.store import INTENSITY_STEP
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.fast import box_nodes
from xxact_core.peak_profiles.peak_sums import compile_loops

_TOGETHER = 32
"""Patterns computed together: half a megabyte, which fits into the cache."""


@cache
def compile_stick_loops() -> tuple[Callable[..., None], Callable[..., None]]:
    """`_place_peaks` and `_scale_rows`, compiled, and cached on disk where possible.

    Raises:
        ImportError: numba is not installed.
    """
    import numba  # noqa: PLC0415 - takes half a second, and machines with a GPU do without

    flags = {"contract", "reassoc", "nsz", "arcp"}
    try:
        compiler = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=flags)
        return compiler(_place_peaks), compiler(_scale_rows)
    except (OSError, RuntimeError):  # no cache folder: compiled once per process
        compiler = numba.njit(nogil=True, error_model="numpy", fastmath=flags)
        return compiler(_place_peaks), compiler(_scale_rows)


def sticks_to_patterns(
    hkl: np.ndarray,
    intensity: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    metric: np.ndarray,
    out: np.ndarray,
    *,
    wavelength: float,
    sigma: float,
    threads: int = 1,
) -> None:
    """Write the patterns of some rows into `out`, shape (batch, points), float32, the strongest point of each at 100.

    Within 0.01 of `peak_profiles.reference.broaden_sticks`, and the same for any number of threads.

    Args:
        hkl: Miller indices of all reflections, shape (peaks, 3), int8 or int16.
        intensity: of all reflections, shape (peaks,), uint16.
        start: offset of each material's reflections, shape (materials + 1,).
        rows: materials to make, shape (batch,).
        metric: reciprocal metric of each of them as of `cell_to_reciprocal_metric` [Å⁻²], shape (batch, 6).
        out: overwritten; contiguous.
        wavelength: of the radiation [Å].
        sigma: Gaussian width [deg].
        threads: number of threads.

    Raises:
        ImportError: numba is not installed.
    """
    compile_loops(), compile_stick_loops()
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    metric = np.ascontiguousarray(metric * (wavelength / 2) ** 2)

    def make(first: int, last: int) -> None:
        part = slice(first, last)
        _make_patterns(hkl, intensity, start, rows[part], metric[part], out[part], sigma=sigma)

    edges = np.linspace(0, len(rows), min(threads, max(len(rows) // _TOGETHER, 1)) + 1).astype(int)
    if len(edges) == 2:  # noqa: PLR2004 - one part, made here
        make(0, len(rows))
        return
    with ThreadPoolExecutor(len(edges) - 1) as pool:
        list(pool.map(make, edges[:-1], edges[1:]))


def _make_patterns(
    hkl: np.ndarray,
    intensity: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    metric: np.ndarray,
    out: np.ndarray,
    *,
    sigma: float,
) -> None:
    (_, sum_peaks), (place_peaks, scale_rows) = compile_loops(), compile_stick_loops()
    counts = start[rows + 1] - start[rows]
    room = int(np.add.reduceat(counts, np.arange(0, len(counts), _TOGETHER)).max(initial=0)) if len(counts) else 0
    per_peak = False
    angles, heights = np.empty(room), np.empty(room, dtype=np.float32)
    starts = np.zeros(_TOGETHER + 1, dtype=np.int64)
    widths = np.full(_TOGETHER, sigma, dtype=np.float32)
    in_order, no_shares = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    nodes, weights = box_nodes()
    for first in range(0, len(rows), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        profile = out[part]
        place_peaks(hkl, intensity, start, rows[part], metric[part], angles, heights, starts)
        sum_peaks(
            angles, heights, starts, in_order, profile, widths, no_shares, per_peak,
            GRID.start, 1 / GRID.step, nodes, weights,
        )  # fmt: skip
        scale_rows(profile)


def _place_peaks(  # noqa: PLR0917 - compiled functions take arguments by place
    hkl: np.ndarray,
    intensity: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    metric: np.ndarray,
    two_theta: np.ndarray,
    height: np.ndarray,
    starts: np.ndarray,
) -> None:
    """Angles 2 asin √(hᵀ G* h λ²/4) [deg], in double precision because of the steep flanks of peaks."""
    place = 0
    for row in range(len(rows)):
        g11, g22, g33 = metric[row, 0], metric[row, 1], metric[row, 2]
        g12, g13, g23 = 2 * metric[row, 3], 2 * metric[row, 4], 2 * metric[row, 5]
        for peak in range(start[rows[row]], start[rows[row] + 1]):
            h, k, ell = float(hkl[peak, 0]), float(hkl[peak, 1]), float(hkl[peak, 2])
            squared = h * (g11 * h + g12 * k + g13 * ell) + k * (g22 * k + g23 * ell) + g33 * ell * ell
            two_theta[place] = math.degrees(2 * math.asin(math.sqrt(squared)))
            height[place] = intensity[peak] * INTENSITY_STEP
            place += 1
        starts[row + 1] = place


def _scale_rows(profile: np.ndarray) -> None:
    """Scale each row to a maximum of 100; a row of zeros is unchanged."""
    for row in range(len(profile)):
        strongest = np.float32(0)
        for point in range(profile.shape[1]):
            strongest = max(strongest, profile[row, point])
        factor = np.float32(100) / max(strongest, np.float32(1e-12))
        for point in range(profile.shape[1]):
            profile[row, point] *= factor
