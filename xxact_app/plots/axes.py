"""Intensity scales and axes of plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, Range1d
from bokeh.plotting import figure

MOST_POINTS = 20_000
"""Number of points above which a line is thinned to the minimum and maximum of each interval."""


_POINTS_BESIDE = 2
"""Points on each side of a peak among which it is highest."""


def thin(heights: np.ndarray, *, limit: int = MOST_POINTS) -> np.ndarray:
    """Indices of at most `limit` points: the minimum and maximum of each interval, in order."""
    if heights.size <= limit:
        return np.arange(heights.size)
    stretches = np.array_split(np.nan_to_num(heights), limit // 2)
    starts = np.cumsum([0, *(part.size for part in stretches[:-1])])
    lowest = starts + [int(part.argmin()) for part in stretches]
    highest = starts + [int(part.argmax()) for part in stretches]
    return np.unique(np.concatenate([lowest, highest]))


def to_scale(intensity: np.ndarray, *, scale: str) -> np.ndarray:
    """The intensity on a scale: linear, square root, or decimal logarithm of at least 0.01."""
    if scale == "root":
        return np.sqrt(np.maximum(intensity, 0))
    if scale == "log":
        return np.log10(np.maximum(intensity, 0.01))
    return intensity


def heights_of_peaks(x: np.ndarray, heights: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Height of a curve at its peaks: that of the highest point near the fitted position, which lies between points.

    Args:
        x: horizontal positions of the curve, shape (points,), in any order.
        heights: its heights, shape (points,).
        peaks: positions of the peaks, shape (peaks,).
    """
    if not x.size:
        return np.full(peaks.size, np.nan)
    order = np.argsort(x)
    first = np.searchsorted(x[order], peaks) - _POINTS_BESIDE
    near = np.clip(first[:, None] + np.arange(2 * _POINTS_BESIDE), 0, x.size - 1)
    return np.max(heights[order][near], axis=1, initial=-np.inf)


def label_intensity(plot: figure, *, scale: str, stacked: str, unit: str) -> None:
    """Label the vertical axis; `stacked` describes how curves are stacked and is empty where they are not."""
    quantity = f"Intensity ({unit})"
    names = {"linear": quantity, "root": f"{quantity}, √ scale", "log": f"{quantity}, log scale"}
    plot.yaxis.axis_label = f"Intensity ({stacked})" if stacked else names[scale]
    codes = {"linear": "return tick", "root": "return tick * tick", "log": "return Math.pow(10, tick)"}
    shorter = "const v = (() => {%s})(); return Math.abs(v) >= 1e6 ? v.toExponential(1) : +v.toPrecision(3) + ''"
    code = shorter % codes[scale]
    if isinstance(plot.yaxis[0].formatter, CustomJSTickFormatter):
        plot.yaxis[0].formatter.code = code  # a new model would make Bokeh traverse the whole document
    else:
        plot.yaxis.formatter = CustomJSTickFormatter(code=code)
    plot.yaxis.major_label_text_alpha = 0.0 if stacked else 1.0


def log_floor(intensities: Sequence[np.ndarray], *, relative: bool) -> float:
    """Lower end of a logarithmic axis: just below the smallest positive intensity, at most five decades."""
    weakest = []
    for intensity in intensities:
        largest = float(np.nanmax(intensity))
        factor = 100 / largest if relative and largest > 0 else 1.0
        above = intensity[intensity > 0] * factor
        if above.size:
            weakest.append(max(np.log10(above.min()), np.log10(above.max()) - 5))
    return min(weakest, default=0.0) - 0.1


def set_range(axis: Range1d, start: float, end: float) -> None:
    """Set a range and its reset range; an empty range is extended to the width 1."""
    end = end if end > start else start + 1
    axis.update(start=start, end=end, reset_start=start, reset_end=end)


def set_x_range(axis: Range1d, start: float, end: float, *, keep: bool) -> None:
    """Set the horizontal range of a plot, or with `keep` only the one that its reset button restores."""
    if keep:
        axis.update(reset_start=start, reset_end=end)
    else:
        set_range(axis, start, end)


def send(source: ColumnDataSource, columns: Mapping[str, np.ndarray]) -> None:
    """Set columns of equal length of a data source; unchanged columns are not sent to the browser again.

    Numbers are sent in single precision, which is finer than a screen and halves what is sent, unless they exceed it.
    """
    columns = {name: _single(np.asarray(values)) for name, values in columns.items()}
    present = source.data
    changed = {
        name: values
        for name, values in columns.items()
        if len(present[name]) != len(values) or not np.array_equal(present[name], values, equal_nan=True)
    }
    if (
        changed
        and len(changed) < len(columns)
        and len(present[next(iter(columns))]) == len(next(iter(columns.values())))
    ):
        source.data.update(changed)
    elif changed:
        source.data = columns


def _single(values: np.ndarray) -> np.ndarray:
    largest = np.nanmax(np.abs(values), initial=0)
    return values.astype(np.float32) if largest <= np.finfo(np.float32).max else values
