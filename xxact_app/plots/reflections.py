"""Calculated reflections as rows of ticks below the patterns whose horizontal range they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    FixedTicker,
    HoverTool,
    LabelSet,
    Range1d,
    TapTool,
)
from bokeh.plotting import figure

from xxact_core.errors import shorten

WEAKEST_DRAWN = 0.2
"""Intensity [% of the strongest] below which a reflection is not drawn."""

SHORTEST_STICK, LONGEST_STICK = 0.08, 0.6
"""Heights of the shortest and the longest stick as shares of the row: weak reflections can be seen and hovered over,
and strong ones stay below the name of the phase."""

_ROW, _LATER_ROW = 46, 32
"""Height of a single row, and of each of several [px]."""

_SAME = 5e-4
"""Relative difference of the spacings of two reflections below which one line is seen."""

_SHOW_TAPPED = """
const of = (column) => lines.selected.indices.map((i) => lines.data[column][i])
tapped.data = {x: of("x"), y: of("high"), text: of("hkl")}
"""
_LINE_COLUMNS = ("x", "low", "high", "two_theta", "d", "intensity", "hkl", "name", "colour")
_HOVER = [
    ("", "@name"), ("hkl", "@hkl"), ("2θ", "@two_theta{0.000}°"), ("d", "@d{0.0000} Å"), ("I", "@intensity{0.[0]} %"),
]  # fmt: skip


@dataclass(frozen=True)
class ReflectionRow:
    """Reflections of one phase on the selected axis, all of shape (reflections,)."""

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
class ReflectionFigure:
    """The figure of the reflections and its data sources."""

    plot: figure
    lines: ColumnDataSource
    names: ColumnDataSource
    tapped: ColumnDataSource


def reflection_figure(shared: Range1d, *, left_border: int) -> ReflectionFigure:
    """An empty figure of reflections with a shared horizontal range; tapping a stick labels it with its hkl."""
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
    return ReflectionFigure(plot, lines, names, tapped)


def draw_reflections(target: ReflectionFigure, rows: Sequence[ReflectionRow]) -> None:
    """Draw phases, one row each, the first on top."""
    kept = [row.intensity >= WEAKEST_DRAWN for row in rows]
    columns: dict[str, list[object]] = {name: [] for name in _LINE_COLUMNS}
    for index, (row, drawn) in enumerate(zip(rows, kept, strict=True)):
        base = float(len(rows) - 1 - index)
        heights = base + SHORTEST_STICK + (LONGEST_STICK - SHORTEST_STICK) * row.intensity[drawn] / 100
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
    target.plot.update(visible=bool(rows), height=max(_ROW, len(rows) * _LATER_ROW))


@dataclass(frozen=True)
class StrongLine:
    """A line of a calculated pattern: all reflections at one place."""

    hkl: str
    """Miller indices, those of overlapping reflections behind one another."""
    two_theta: float
    """Angle [deg]."""
    d: float
    """Lattice spacing [Å]."""
    intensity: float
    """Sum of the intensities [% of the strongest line]."""


def strongest_lines(row: ReflectionRow, *, count: int) -> list[StrongLine]:
    """The strongest lines of a phase in order of falling d; reflections with equal spacings are one line."""
    order = np.argsort(-row.d, kind="stable")
    if not order.size:
        return []
    spacing, strength = row.d[order], row.intensity[order]
    starts = np.flatnonzero(np.diff(spacing, prepend=np.inf) < -_SAME * spacing)
    total = np.add.reduceat(strength, starts)
    ends = [*starts[1:].tolist(), order.size]
    lines = []
    for number in np.sort(np.argsort(-total, kind="stable")[:count]).tolist():
        members = order[starts[number] : ends[number]]
        strongest = members[np.argmax(row.intensity[members])]
        indices = [row.hkl[member] for member in members[np.argsort(-row.intensity[members], kind="stable")].tolist()]
        lines.append(
            StrongLine(
                ", ".join(dict.fromkeys(text for text in indices if text)), float(row.two_theta[strongest]),
                float(row.d[strongest]), float(100 * total[number] / (total.max() or 1.0)),
            )
        )  # fmt: skip
    return lines
