"""Bokeh figures of training curves, built once; then only their data sources and properties change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    GlyphRenderer,
    HoverTool,
    Legend,
    Range1d,
)
from bokeh.plotting import figure

from xxact_app.plots.legends import at_once, list_lines, name_lines

_MOST_NAMES = 14
"""Number of curves up to which a legend names them."""

_NAMES_A_ROW, _ROW = 2, 26
"""Names in a row of the legend, and its height [px]."""

_MARGIN = 0.06
_SPARSE = 60


@dataclass(frozen=True)
class Line:
    """One curve: name, colour, steps and values."""

    name: str
    colour: str
    steps: Sequence[float]
    values: Sequence[float]
    dash: str = "solid"
    """Dash pattern, which tells curves of one colour apart."""


@dataclass(frozen=True)
class CurveFigure:
    """A figure of curves over training steps and its renderers."""

    plot: figure
    height: int
    """Height without the legend [px]."""
    lines: list[GlyphRenderer]
    points: list[GlyphRenderer]
    hover: HoverTool
    legend: Legend


def curve_figure(title: str, *, height: int = 280) -> CurveFigure:
    """An empty figure over training steps; `title` labels the vertical axis."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=Range1d(0, 1), y_range=Range1d(0, 1),
        tools="xpan,xwheel_zoom,box_zoom,reset,save", active_drag="box_zoom", active_scroll=None,
        toolbar_location="above", output_backend="canvas",
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.xaxis.axis_label, plot.yaxis.axis_label = "Step", title
    plot.yaxis.formatter = BasicTickFormatter(precision=3, power_limit_low=-3, power_limit_high=5)
    plot.yaxis.minor_tick_line_color = None
    hover = HoverTool(renderers=[], tooltips=[("", "@name"), ("step", "@x{0,0}"), ("", "@y{0.[00000]}")], mode="mouse")
    plot.add_tools(hover)
    legend = Legend(
        items=[], orientation="horizontal", ncols=_NAMES_A_ROW, padding=2, margin=4, border_line_color=None,
    )  # fmt: skip
    plot.add_layout(legend, "below")
    return CurveFigure(plot, height, [], [], hover, legend)


def draw_curves(target: CurveFigure, lines: Sequence[Line], *, steps: int) -> None:
    """Draw curves in place of the previous ones; the horizontal axis ends at `steps`."""
    with at_once(target.plot, when=len(target.legend.items) != len(lines)):
        while len(target.lines) < len(lines):
            source = ColumnDataSource({"x": [], "y": [], "name": []})
            target.lines.append(target.plot.line("x", "y", source=source, line_width=1.6))
            target.points.append(target.plot.scatter("x", "y", source=source, size=5))
        list_lines(target.hover, target.legend, target.lines[: len(lines)])
    for number, (line, points) in enumerate(zip(target.lines, target.points, strict=True)):
        shown = lines[number] if number < len(lines) else None
        line.visible = shown is not None
        points.visible = shown is not None and len(shown.steps) <= _SPARSE
        x = np.array([] if shown is None else shown.steps, dtype=np.float64)
        y = np.array([] if shown is None else shown.values, dtype=np.float64)
        if shown is not None:
            line.glyph.line_dash = shown.dash
            line.glyph.line_color = points.glyph.line_color = points.glyph.fill_color = shown.colour
        line.data_source.data = {"x": x, "y": y, "name": [shown.name if shown else ""] * len(x)}
    name_lines(target.legend, [line.name for line in lines], longest=34)
    named = 1 < len(lines) <= _MOST_NAMES
    target.plot.height = target.height + (_ROW * ceil(len(lines) / _NAMES_A_ROW) if named else 0)
    target.legend.visible = named
    values = np.concatenate([np.asarray(line.values, dtype=np.float64) for line in lines] or [np.zeros(0)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = _MARGIN * (high - low) or abs(high) * _MARGIN or 1.0
    last = max([steps, 1, *(max(line.steps, default=1) for line in lines)])
    _set_range(target.plot.y_range, low - margin, high + margin)
    _set_range(target.plot.x_range, 0, float(last))


def _set_range(axis: Range1d, start: float, end: float) -> None:
    """Set a range, unless the user has zoomed in."""
    if (axis.start, axis.end) in {(axis.reset_start, axis.reset_end), (0, 1)}:
        axis.update(start=start, end=end)
    axis.update(reset_start=start, reset_end=end)
