"""Weight fractions and cells of the phases of a series, as two plots with one horizontal axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.plotting import figure

from xxact_app.plots.axes import set_range

_POINTS = ("x", "y", "low", "high", "colour", "name", "file", "text")
_LINES = ("xs", "ys", "colour", "dash")
_DASHES = ("solid", "dashed", "dotted")


@dataclass(frozen=True)
class SeriesCurve:
    """A number of one phase over the frames of a series; arrays of shape (frames,), NaN where it is unknown."""

    name: str
    colour: str
    y: np.ndarray
    error: np.ndarray
    texts: Sequence[str]
    """The number with its uncertainty, for the tooltip."""
    dash: str = "solid"


@dataclass(frozen=True)
class SeriesPlot:
    """A plot over the frames of a series and its data sources."""

    plot: figure
    points: ColumnDataSource
    lines: ColumnDataSource


def series_plot(shared: Range1d, *, left_border: int, y_label: str, height: int = 240) -> SeriesPlot:
    """An empty plot with a shared horizontal range."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=shared, y_range=Range1d(0, 1), min_border_left=left_border,
        tools="xpan,box_zoom,reset,save", active_drag="box_zoom", toolbar_location="above", output_backend="canvas",
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.yaxis.axis_label = y_label
    points = ColumnDataSource({name: [] for name in _POINTS})
    lines = ColumnDataSource({name: [] for name in _LINES})
    plot.multi_line("xs", "ys", source=lines, line_color="colour", line_dash="dash", line_width=1.5)
    plot.segment("x", "low", "x", "high", source=points, line_color="colour", line_width=1)
    drawn = plot.scatter("x", "y", source=points, size=6, fill_color="colour", line_color=None)
    tips = [("", "@name"), ("file", "@file"), ("value", "@text")]
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
    return SeriesPlot(plot, points, lines)


def draw_series_plot(
    target: SeriesPlot, curves: Sequence[SeriesCurve], *, x: np.ndarray, files: Sequence[str], x_label: str
) -> None:
    """Draw curves over the positions of the frames, in place of the previous ones."""
    columns: dict[str, list[object]] = {name: [] for name in _POINTS}
    for curve in curves:
        known = np.flatnonzero(np.isfinite(curve.y))
        error = np.nan_to_num(curve.error[known])
        columns["x"] += x[known].tolist()
        columns["y"] += curve.y[known].tolist()
        columns["low"] += (curve.y[known] - error).tolist()
        columns["high"] += (curve.y[known] + error).tolist()
        columns["colour"] += [curve.colour] * known.size
        columns["name"] += [curve.name] * known.size
        columns["file"] += [files[number] for number in known.tolist()]
        columns["text"] += [curve.texts[number] for number in known.tolist()]
    target.points.data = columns
    target.lines.data = {
        "xs": [x.tolist() for _ in curves], "ys": [curve.y.tolist() for curve in curves],
        "colour": [curve.colour for curve in curves], "dash": [curve.dash for curve in curves],
    }  # fmt: skip
    target.plot.xaxis.axis_label = x_label
    values = np.array([*columns["low"], *columns["high"]], dtype=np.float64)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.5
    set_range(target.plot.y_range, low - room, high + room)
    if x.size:
        room = 0.03 * float(x.max() - x.min()) or 0.5
        set_range(target.plot.x_range, float(x.min()) - room, float(x.max()) + room)


def dash_of(number: int) -> str:
    """Dash pattern of the first, second or third cell length of a phase."""
    return _DASHES[number % len(_DASHES)]
