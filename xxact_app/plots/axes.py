"""Intensities → heights on a scale, and the axes that say which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, Range1d
from bokeh.plotting import figure

MOST_POINTS = 20_000
"""Points of one drawn line; longer ones keep the smallest and largest value of each stretch."""


def thin(heights: np.ndarray, *, limit: int = MOST_POINTS) -> np.ndarray:
    """Indices of at most `limit` points that keep the lowest and the highest of each stretch, in order."""
    if heights.size <= limit:
        return np.arange(heights.size)
    stretches = np.array_split(np.nan_to_num(heights), limit // 2)
    starts = np.cumsum([0, *(part.size for part in stretches[:-1])])
    lowest = starts + [int(part.argmin()) for part in stretches]
    highest = starts + [int(part.argmax()) for part in stretches]
    return np.unique(np.concatenate([lowest, highest]))


def to_scale(intensity: np.ndarray, *, scale: str) -> np.ndarray:
    """Heights to draw: the intensity, its square root, or its decimal logarithm (values below 0.01 count as 0.01)."""
    if scale == "root":
        return np.sqrt(np.maximum(intensity, 0))
    if scale == "log":
        return np.log10(np.maximum(intensity, 0.01))
    return intensity


def label_intensity(plot: figure, *, scale: str, stacked: str, unit: str) -> None:
    """Name the vertical axis; `stacked` says how the curves stand on one another, and is empty where they do not."""
    quantity = f"Intensity ({unit})"
    names = {"linear": quantity, "root": f"{quantity}, √ scale", "log": f"{quantity}, log scale"}
    plot.yaxis.axis_label = f"Intensity ({stacked})" if stacked else names[scale]
    codes = {"linear": "return tick", "root": "return tick * tick", "log": "return Math.pow(10, tick)"}
    shorter = "const v = (() => {%s})(); return Math.abs(v) >= 1e5 ? v.toExponential(1) : +v.toPrecision(3) + ''"
    code = shorter % codes[scale]
    if isinstance(plot.yaxis[0].formatter, CustomJSTickFormatter):
        plot.yaxis[0].formatter.code = code  # a new model would make the document look through all of its models
    else:
        plot.yaxis.formatter = CustomJSTickFormatter(code=code)
    plot.yaxis.major_label_text_alpha = 0.0 if stacked else 1.0


def log_floor(intensities: Sequence[np.ndarray], *, relative: bool) -> float:
    """Lower end of a logarithmic axis: a little under the weakest intensity above 0, at most five decades down."""
    weakest = []
    for intensity in intensities:
        largest = float(np.nanmax(intensity))
        factor = 100 / largest if relative and largest > 0 else 1.0
        above = intensity[intensity > 0] * factor
        if above.size:
            weakest.append(max(np.log10(above.min()), np.log10(above.max()) - 5))
    return min(weakest, default=0.0) - 0.1


def set_range(axis: Range1d, start: float, end: float) -> None:
    """Show this range, and come back to it on reset; one without width gets the width 1."""
    end = end if end > start else start + 1
    axis.update(start=start, end=end, reset_start=start, reset_end=end)


def send(source: ColumnDataSource, columns: Mapping[str, np.ndarray]) -> None:
    """Give a source these columns, all of one length; what it has already is not sent to the browser again."""
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
        source.data = dict(columns)
