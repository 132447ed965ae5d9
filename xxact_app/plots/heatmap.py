"""Many patterns as a heat map: position × pattern, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LinearColorMapper, Range1d
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from xxact_app.plots.axes import set_range, set_x_range, to_scale
from xxact_app.plots.patterns import Curve

COLUMNS = 1500
"""Number of columns of the image; of the points in a column the highest is drawn, so that no peak is lost."""

_FINER = 4
_MOST_TICKS = 14
_DECADES = 3.0
"""Decades below the maximum that a logarithmic colour scale covers."""


@dataclass(frozen=True)
class HeatMap:
    """The figure of a heat map and its data source."""

    plot: figure
    rows: ColumnDataSource


@dataclass(frozen=True)
class HeatMapRows:
    """The rows of a heat map, the lowest first."""

    order: list[int]
    """Index of the curve of each row."""
    labels: list[str]
    """Tick label of each row: the value of a series, or the number of the pattern."""
    title: str
    """Quantity of the labels with its unit."""


def heatmap_figure(shared: Range1d, *, left_border: int, height: int = 360) -> HeatMap:
    """An empty heat map with a shared horizontal range."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=shared, y_range=Range1d(-0.5, 0.5),
        tools="xpan,xwheel_zoom,box_zoom,reset,save", active_drag="box_zoom", active_scroll=None,
        toolbar_location="above", output_backend="canvas", min_border_left=left_border, visible=False,
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.grid.visible = False
    plot.yaxis.minor_tick_line_color = None
    rows = ColumnDataSource({name: [] for name in ("image", "x", "y", "width", "name", "label")})
    mapper = LinearColorMapper(palette=Cividis256, low=0, high=1, nan_color="rgba(128, 128, 128, 0.15)")
    drawn = plot.image("image", x="x", y="y", dw="width", dh=1, source=rows, color_mapper=mapper)
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@name"), ("position", "$x{0.000}")]))
    return HeatMap(plot, rows)


def curves_to_image(curves: Sequence[Curve], *, scale: str) -> tuple[np.ndarray, float, float]:
    """Image of curves, shape (curves, COLUMNS), 0-1 of the maximum of each on a scale, and its first and last position.

    NaN where a curve was not measured.
    """
    finite = [curve.x[np.isfinite(curve.x)] for curve in curves]
    low, high = float(min(map(np.min, finite))), float(max(map(np.max, finite)))
    fine = np.linspace(low, high, COLUMNS * _FINER)
    image = np.full((len(curves), COLUMNS), np.nan)
    for row, curve in zip(image, curves, strict=True):
        order = np.argsort(curve.x)
        order = order[np.isfinite(curve.x[order])]
        heights = np.interp(fine, curve.x[order], curve.intensity[order], left=np.nan, right=np.nan)
        row[:] = _highest(heights.reshape(COLUMNS, _FINER))
        largest = np.nanmax(row, initial=0.0)
        relative = np.clip(row / largest, 0, None) if largest > 0 else row
        if scale == "log":
            row[:] = 1 + np.log10(np.maximum(relative, 10**-_DECADES)) / _DECADES
        else:
            row[:] = to_scale(relative, scale=scale)
    return image, low, high


def _highest(values: np.ndarray) -> np.ndarray:
    """The largest number of each row, NaN where there is none, shape (rows, columns) → (rows,)."""
    known = np.isfinite(values)
    highest: np.ndarray = np.where(known, values, -np.inf).max(axis=1)
    return np.where(known.any(axis=1), highest, np.nan)


def draw_heatmap(
    target: HeatMap, curves: Sequence[Curve], rows: HeatMapRows, *, scale: str, x_label: str, keep_range: bool
) -> None:
    """Draw curves as rows of a heat map, each scaled to its maximum; arguments as for `patterns.draw_patterns`."""
    ordered = [curves[number] for number in rows.order]
    if not ordered:
        target.rows.data = {name: [] for name in target.rows.column_names}
        return
    image, low, high = curves_to_image(ordered, scale=scale)
    count = len(ordered)
    target.rows.data = {
        "image": [row[np.newaxis].astype(np.float32) for row in image], "x": [low] * count,
        "y": [number - 0.5 for number in range(count)], "width": [high - low] * count,
        "name": [curve.name for curve in ordered], "label": rows.labels,
    }  # fmt: skip
    every = -(-count // _MOST_TICKS)
    shown = list(range(0, count, every))
    target.plot.yaxis.ticker = FixedTicker(ticks=shown)
    target.plot.yaxis.major_label_overrides = {number: rows.labels[number] for number in shown}
    target.plot.yaxis.axis_label = rows.title
    target.plot.xaxis.axis_label = x_label
    set_range(target.plot.y_range, -0.5, count - 0.5)
    set_x_range(target.plot.x_range, low, high, keep=keep_range)
