"""Plots below the patterns that share their horizontal axis: reflections of references, and an overview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    CustomJS,
    FixedTicker,
    HoverTool,
    LabelSet,
    Range1d,
    RangeTool,
    TapTool,
)
from bokeh.plotting import figure

from xxact_app.plots.axes import send
from xxact_core.errors import shorten

WEAKEST_DRAWN = 0.2
"""Intensity [% of the strongest] below which a reflection is not drawn."""

OVERVIEW_POINTS = 1_500
SHORTEST_STICK = 0.08
"""Height of the shortest stick, as a share of the row, so that weak reflections can be seen and hovered over."""

_ROW = 46
_SHOW_TAPPED = """
const of = (column) => lines.selected.indices.map((i) => lines.data[column][i])
tapped.data = {x: of("x"), y: of("high"), text: of("hkl")}
"""
_LINE_COLUMNS = ("x", "low", "high", "two_theta", "d", "intensity", "hkl", "name", "colour")
_HOVER = [
    ("", "@name"), ("hkl", "@hkl"), ("2θ", "@two_theta{0.000}°"), ("d", "@d{0.0000} Å"), ("I", "@intensity{0.[0]} %"),
]  # fmt: skip


@dataclass(frozen=True)
class ReferenceSticks:
    """Reflections of one reference on the selected axis, all of shape (reflections,)."""

    name: str
    colour: str
    x: np.ndarray
    """Positions on the selected axis."""
    two_theta: np.ndarray
    """Angles [deg]."""
    d: np.ndarray
    """Lattice spacings [Å]."""
    intensity: np.ndarray
    """Intensities [% of the strongest]."""
    hkl: Sequence[str]
    """Miller indices as text."""


@dataclass(frozen=True)
class StickFigure:
    """The figure of the references and its data sources."""

    plot: figure
    lines: ColumnDataSource
    names: ColumnDataSource
    tapped: ColumnDataSource


def stick_figure(shared: Range1d, *, left_border: int) -> StickFigure:
    """An empty stick figure with a shared horizontal range; tapping a stick labels it with its hkl."""
    plot = figure(
        height=_ROW, sizing_mode="stretch_width", x_range=shared, y_range=Range1d(0, 1), tools="",
        toolbar_location=None, min_border_left=left_border, output_backend="canvas", visible=False,
    )  # fmt: skip
    plot.xaxis.visible = False
    plot.yaxis.ticker = FixedTicker(ticks=[])
    plot.grid.grid_line_color = None
    lines = ColumnDataSource({name: [] for name in _LINE_COLUMNS})
    names = ColumnDataSource({"x": [], "y": [], "text": [], "colour": []})
    sticks = plot.segment(
        "x", "low", "x", "high", source=lines, line_color="colour", line_width=2, nonselection_line_alpha=0.7
    )
    plot.add_layout(
        LabelSet(
            x="x", y="y", text="text", source=names, text_color="colour", text_font_size="12px", x_units="screen",
            x_offset=6, text_baseline="top",
        )
    )  # fmt: skip
    plot.add_tools(HoverTool(renderers=[sticks], tooltips=_HOVER, mode="vline", limit=4))
    plot.add_tools(TapTool(renderers=[sticks]))
    tapped = ColumnDataSource({"x": [], "y": [], "text": []})
    plot.add_layout(LabelSet(x="x", y="y", text="text", source=tapped, text_font_size="12px", text_align="center"))
    lines.selected.js_on_change("indices", CustomJS(args={"lines": lines, "tapped": tapped}, code=_SHOW_TAPPED))
    return StickFigure(plot, lines, names, tapped)


def draw_sticks(target: StickFigure, rows: Sequence[ReferenceSticks]) -> None:
    """Draw references, one row each, the first on top."""
    kept = [row.intensity >= WEAKEST_DRAWN for row in rows]
    columns: dict[str, list[object]] = {name: [] for name in _LINE_COLUMNS}
    for index, (row, drawn) in enumerate(zip(rows, kept, strict=True)):
        base = float(len(rows) - 1 - index)
        heights = base + SHORTEST_STICK + (0.7 - SHORTEST_STICK) * row.intensity[drawn] / 100
        columns["x"] += row.x[drawn].tolist()
        columns["low"] += [base] * int(drawn.sum())
        columns["high"] += heights.tolist()
        for name in ("two_theta", "d", "intensity"):
            columns[name] += getattr(row, name)[drawn].tolist()
        columns["hkl"] += [row.hkl[number] for number in np.flatnonzero(drawn).tolist()]
        columns["name"] += [row.name] * int(drawn.sum())
        columns["colour"] += [row.colour] * int(drawn.sum())
    target.lines.selected.indices = []
    target.tapped.data = {"x": [], "y": [], "text": []}
    target.lines.data = columns
    target.names.data = {
        "x": [0] * len(rows),
        "y": [float(len(rows) - index) for index in range(len(rows))],
        "text": [shorten(row.name, limit=40) for row in rows],
        "colour": [row.colour for row in rows],
    }
    target.plot.y_range.update(start=0, end=max(1, len(rows)))
    target.plot.update(visible=bool(rows), height=max(1, len(rows)) * _ROW)


@dataclass(frozen=True)
class Overview:
    """One pattern over its whole range, with a draggable box for the range of the plot above."""

    plot: figure
    line: ColumnDataSource


def overview_figure(shown: Range1d, *, left_border: int) -> Overview:
    """An empty overview that controls a range."""
    plot = figure(
        height=64, sizing_mode="stretch_width", x_range=Range1d(5, 90), y_range=Range1d(0, 1.05), tools="",
        toolbar_location=None, min_border_left=left_border, output_backend="canvas", visible=False,
    )  # fmt: skip
    plot.yaxis.visible = False
    plot.grid.grid_line_color = None
    line = ColumnDataSource({"x": [], "y": []})
    plot.line("x", "y", source=line, line_color="gray", line_width=1)
    overlay = BoxAnnotation(fill_color="#0072B2", fill_alpha=0.18, line_color="#0072B2", line_alpha=0.8)
    plot.add_tools(RangeTool(x_range=shown, overlay=overlay))
    return Overview(plot, line)


def draw_overview(target: Overview, *, x: np.ndarray, intensity: np.ndarray, low: float, high: float) -> None:
    """Draw a pattern over the range from `low` to `high`; without points the overview is hidden."""
    target.plot.visible = bool(x.size)
    if not x.size:
        return
    heights = np.sqrt(np.clip(np.nan_to_num(intensity), 0, None))
    ends = np.linspace(0, x.size, min(x.size, OVERVIEW_POINTS) + 1).astype(int)
    tallest = np.maximum.reduceat(heights, ends[:-1])
    send(target.line, {"x": x[ends[:-1]], "y": tallest / (tallest.max() or 1.0)})
    target.plot.x_range.update(start=low, end=high)
