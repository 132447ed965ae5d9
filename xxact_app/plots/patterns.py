"""Bokeh figures of patterns and probabilities, built once; then only their data sources and properties change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CustomJSTickFormatter,
    FactorRange,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    LabelSet,
    Line,
    Range1d,
    VArea,
)
from bokeh.plotting import figure

from xxact_app.plots.axes import MOST_POINTS, label_intensity, log_floor, send, set_range, set_x_range, thin, to_scale
from xxact_app.plots.legends import at_once
from xxact_app.ui.formatting import high_probability, percent

__all__ = ["MOST_POINTS", "thin", "to_scale"]

MOST_TOOLTIPS = 3
"""Number of curves up to which the tooltip lists all; above, only the one under the mouse."""

LEFT_BORDER = 84
"""Width [px] of the vertical axis, the same in all plots so that they are aligned."""

WATERFALL_STEP = 0.3
"""Vertical offset between the curves of a waterfall plot, as a share of their height."""

DASHES = ("solid", "dashed", "dotted", "dotdash")
"""Dash patterns that tell curves of one colour apart, each for as many curves as there are colours."""

_HOVER = [("", "$name"), ("2θ", "@two_theta{0.000}°"), ("d", "@d{0.0000} Å"), ("I", "@intensity{0,0.[00]}")]


@dataclass(frozen=True)
class Curve:
    """A pattern to draw; arrays of shape (points,) unless stated otherwise."""

    name: str
    colour: str
    x: np.ndarray
    """Positions on the selected axis."""
    two_theta: np.ndarray
    """Angles [deg], for the tooltip."""
    d: np.ndarray
    """Lattice spacings [Å], for the tooltip."""
    intensity: np.ndarray
    background: np.ndarray | None = None
    """Fitted background, if it is shown."""
    hidden: np.ndarray | None = None
    """Windows that are masked for the model, shape (windows,)."""
    calculated: np.ndarray | None = None
    """Calculated intensity, drawn over the measured one."""
    calculated_colour: str = ""
    """Colour of the calculated curve; empty for that of the curve."""
    background_colour: str = ""
    """Colour of the background; empty for that of the curve."""
    dash: str = "solid"
    """Dash pattern of the line, one of `DASHES`."""


@dataclass(frozen=True)
class PatternFigure:
    """The figure of several patterns and its renderers; those of the place of a curve are added when first needed."""

    plot: figure
    lines: list[GlyphRenderer]
    areas: dict[int, GlyphRenderer]
    backgrounds: dict[int, GlyphRenderer]
    calculated: dict[int, GlyphRenderer]
    windows: ColumnDataSource
    gaps: ColumnDataSource
    hover: HoverTool


def pattern_figure(*, height: int = 430) -> PatternFigure:
    """An empty figure for patterns."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_range=Range1d(5, 90),
        y_range=Range1d(0, 1),
        tools="xpan,xwheel_zoom,box_zoom,reset,save",
        active_drag="box_zoom",
        active_scroll=None,
        toolbar_location="above",
        output_backend="canvas",
    )
    plot.toolbar.logo = None
    plot.min_border_left = LEFT_BORDER
    plot.yaxis.minor_tick_line_color = None
    windows = ColumnDataSource({name: [] for name in ("left", "right", "bottom", "top")})
    gaps = ColumnDataSource({name: [] for name in ("left", "right", "bottom", "top")})
    plot.quad(source=windows, level="underlay", fill_color=None, line_color="gray", line_alpha=0.35, line_dash="dotted")
    plot.quad(
        source=gaps, level="underlay", fill_color="gray", fill_alpha=0.14, line_color=None,
        hatch_pattern="right_diagonal_line", hatch_color="gray", hatch_alpha=0.4, hatch_scale=10, hatch_weight=1,
    )  # fmt: skip
    hover = HoverTool(renderers=[], tooltips=_HOVER, mode="mouse", line_policy="nearest")
    plot.add_tools(hover)
    return PatternFigure(plot, [], {}, {}, {}, windows, gaps, hover)


def draw_patterns(
    target: PatternFigure,
    curves: Sequence[Curve],
    *,
    scale: str,
    offset: float,
    x_label: str,
    unit: str,
    window_edges: np.ndarray | None,
    keep_range: bool,
    ground: str = "",
) -> None:
    """Draw curves in place of the previous ones; a legend beside the plot names them (`legends.legend_html`).

    Args:
        target: the figure.
        curves: the patterns.
        scale: `linear`, `root` or `log`.
        offset: vertical distance of stacked curves, the first lowest, as a share of their height. With 0 they are not
            stacked and share one scale: the intensity of a single curve, the percentage of each maximum for several.
        x_label: label of the horizontal axis.
        unit: unit of the intensity of a single curve.
        window_edges: edges of the windows of the model on the horizontal axis, shape (windows + 1,); None for none.
        keep_range: whether to keep the horizontal range that the user selected.
        ground: background colour of the plot, for a waterfall, in which stacked curves are close together and those in
            front cover those behind; empty for none.
    """
    relative, waterfall = len(curves) > 1, bool(offset and ground)
    ordered = curves[::-1] if offset else curves  # the topmost is drawn behind the others
    add_renderers(
        target, lines=len(curves), areas=range(len(curves) if waterfall else 0),
        backgrounds=[slot for slot, curve in enumerate(ordered) if curve.background is not None],
        calculated=[slot for slot, curve in enumerate(ordered) if curve.calculated is not None],
    )  # fmt: skip
    _empty(target, since=len(curves))
    tops = []
    for slot, curve in enumerate(ordered):
        number = len(curves) - 1 - slot if offset else slot
        line = target.lines[slot]
        line.visible = True
        largest = float(np.nanmax(curve.intensity))
        factor = 100 / largest if relative and largest > 0 else 1.0
        heights = to_scale(curve.intensity * factor, scale=scale)
        stretch = 1 / (float(np.nanmax(heights)) or 1.0) if offset else 1.0
        base = number * offset
        kept = thin(heights)
        drawn = {
            "x": curve.x[kept],
            "y": heights[kept] * stretch + base,
            "two_theta": curve.two_theta[kept],
            "d": curve.d[kept],
            "intensity": curve.intensity[kept],
        }
        send(line.data_source, drawn)
        line.name = curve.name
        line.glyph.line_dash = curve.dash
        _colour(target, slot, curve)
        if slot in target.areas:
            target.areas[slot].visible = waterfall
        if waterfall:
            area = target.areas[slot]
            tail = {"x": drawn["x"], "top": np.nan_to_num(drawn["y"], nan=base), "low": np.full(kept.size, base)}
            send(area.data_source, tail)
            area.glyph.fill_color = ground
        for renderers, values in ((target.backgrounds, curve.background), (target.calculated, curve.calculated)):
            if slot not in renderers:
                continue
            renderer = renderers[slot]
            renderer.visible = values is not None
            fitted = np.full(kept.size, np.nan) if values is None else values[kept] * factor
            send(renderer.data_source, {"x": curve.x[kept], "y": to_scale(fitted, scale=scale) * stretch + base})
        highest = float(np.nanmax(heights))
        if curve.calculated is not None and not offset:
            highest = max(highest, float(np.nanmax(to_scale(curve.calculated * factor, scale=scale))))
        tops.append(highest * stretch + base)
    top = max(tops, default=1.0) * 1.04 or 1.0
    target.hover.mode = "vline" if len(curves) <= MOST_TOOLTIPS else "mouse"
    label_intensity(
        target.plot, scale=scale, stacked=stacking_text(offset) if offset else "",
        unit="% of each maximum" if relative else unit,
    )  # fmt: skip
    target.plot.xaxis.axis_label = x_label
    floor = log_floor([curve.intensity for curve in curves], relative=relative) if scale == "log" else 0.0
    set_range(target.plot.y_range, 0.0 if offset else floor, top)
    if curves:
        finite = [curve.x[np.isfinite(curve.x)] for curve in curves]
        set_x_range(target.plot.x_range, min(map(np.min, finite)), max(map(np.max, finite)), keep=keep_range)
    rows = 0.0 if waterfall else offset
    _draw_windows(target, curves, edges=window_edges, offset=rows, top=top, bottom=target.plot.y_range.start)


def stacking_text(offset: float) -> str:
    """How curves are stacked, for the label of the vertical axis."""
    return f"each scaled to its maximum, offset {percent(offset)}"


def distinct_styles(wanted: Sequence[int], *, colours: int) -> list[tuple[int, str]]:
    """Index of the colour and dash pattern of each curve, so that no two of them look alike.

    Args:
        wanted: number of each curve, by which it has the same style whichever others are drawn, where that is free.
        colours: number of colours.
    """
    styles = [(number, dash) for dash in DASHES for number in range(colours)]
    free = dict.fromkeys(styles)
    chosen = []
    for number in wanted:
        own = styles[number % colours]
        style = own if own in free else next(iter(free), styles[number % len(styles)])
        free.pop(style, None)
        chosen.append(style)
    return chosen


def recolour(target: PatternFigure, curves: Sequence[Curve], *, offset: bool) -> None:
    """Draw the same curves in other colours; `offset` says whether they are stacked."""
    for slot, curve in enumerate(curves[::-1] if offset else curves):
        _colour(target, slot, curve)


def _colour(target: PatternFigure, slot: int, curve: Curve) -> None:
    target.lines[slot].glyph.line_color = curve.colour
    if slot in target.backgrounds:
        target.backgrounds[slot].glyph.line_color = curve.background_colour or curve.colour
    if slot in target.calculated:
        target.calculated[slot].glyph.line_color = curve.calculated_colour or curve.colour


def _empty(target: PatternFigure, *, since: int) -> None:
    """Hide the renderers of all places from this one on."""
    for renderers in (dict(enumerate(target.lines)), target.areas, target.backgrounds, target.calculated):
        for slot, renderer in renderers.items():
            if slot >= since:
                renderer.visible = False
                renderer.data_source.data = {key: [] for key in renderer.data_source.column_names}


def probability_figure(*, height: int) -> tuple[figure, ColumnDataSource]:
    """An empty figure with horizontal bars for probabilities, and its data source."""
    source = ColumnDataSource({"label": [], "probability": [], "text": []})
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_range=Range1d(0, 1.3),
        y_range=FactorRange(factors=[]),
        tools="",
        toolbar_location=None,
    )
    plot.hbar(y="label", right="probability", height=0.68, source=source, line_color=None, name="bars")
    plot.add_layout(
        LabelSet(
            x="probability",
            y="label",
            text="text",
            source=source,
            x_offset=6,
            text_baseline="middle",
            text_font_size="13px",
            name="values",
        )
    )
    plot.xaxis.ticker = FixedTicker(ticks=[0, 0.25, 0.5, 0.75, 1])
    plot.xaxis.formatter = CustomJSTickFormatter(code="return Math.round(100 * tick) + ' %'")
    plot.xaxis.axis_label = "Probability"
    plot.ygrid.grid_line_color = None
    return plot, source


def draw_probabilities(
    plot: figure,
    source: ColumnDataSource,
    labels: Sequence[str],
    probabilities: Sequence[float],
    *,
    colour: str,
    text_colour: str,
) -> None:
    """Draw probabilities as bars, the first on top."""
    plot.y_range.factors = list(reversed(labels))
    source.data = {
        "label": list(labels),
        "probability": list(probabilities),
        "text": [high_probability(value) for value in probabilities],
    }
    plot.select_one({"name": "bars"}).glyph.fill_color = colour
    plot.select_one({"name": "values"}).text_color = text_colour


def add_renderers(
    target: PatternFigure,
    *,
    lines: int,
    areas: Sequence[int] = (),
    backgrounds: Sequence[int] = (),
    calculated: Sequence[int] = (),
) -> None:
    """Add the renderers that are missing, and list as many lines in the tooltip.

    Args:
        target: the figure.
        lines: number of curves.
        areas: places of the curves that cover those behind.
        backgrounds: places of the curves with a background.
        calculated: places of the curves with calculated intensities.
    """
    more = range(len(target.lines), lines)
    covering, fitted, added = (
        [slot for slot in wanted if slot not in known]
        for wanted, known in (
            (areas, target.areas), (backgrounds, target.backgrounds), (calculated, target.calculated)
        )
    )  # fmt: skip
    missing = bool(more or covering or fitted or added)
    with at_once(target.plot, when=missing or len(target.hover.renderers) != lines):
        target.lines.extend(_line(target, "two_theta", "d", "intensity") for _ in more)
        for slot in covering:
            source = ColumnDataSource({name: [] for name in ("x", "top", "low")})
            target.areas[slot] = target.plot.add_glyph(source, VArea(x="x", y1="low", y2="top", fill_alpha=0.9))
        for slot in fitted:
            target.backgrounds[slot] = _line(target, line_width=1.4, line_dash="dashed", line_alpha=0.8)
        for slot in added:
            target.calculated[slot] = _line(target)
        if missing:
            _order(target)
        if len(target.hover.renderers) != lines:
            target.hover.renderers = target.lines[:lines]


def _line(target: PatternFigure, *more: str, **style: object) -> GlyphRenderer:
    """A line with the columns x, y and more.

    Not by `figure.line`, which makes three glyphs for each: with many patterns that is most of the time of the plot.
    """
    source = ColumnDataSource({name: [] for name in ("x", "y", *more)})
    return target.plot.add_glyph(source, Line(x="x", y="y", **{"line_width": 1.3, "line_join": "round", **style}))


def _order(target: PatternFigure) -> None:
    """Put what belongs to one curve together, so that an area covers the curves behind it and no other."""
    groups = (target.areas, dict(enumerate(target.lines)), target.backgrounds, target.calculated)
    curves = [group[slot] for slot in range(len(target.lines)) for group in groups if slot in group]
    others = [renderer for renderer in target.plot.renderers if renderer not in curves]
    target.plot.renderers = [*others, *curves]


def _draw_windows(
    target: PatternFigure,
    curves: Sequence[Curve],
    *,
    edges: np.ndarray | None,
    offset: float,
    top: float,
    bottom: float,
) -> None:
    """Outline the windows and hatch masked ones: per curve where stacked, else those masked in all curves."""
    outlines: list[tuple[float, ...]] = []
    gaps: list[tuple[float, ...]] = []
    hidden = [curve.hidden for curve in curves if curve.hidden is not None]
    if edges is not None and hidden:
        spans = list(zip(np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:]), strict=True))
        outlines = [(left, right, bottom, top) for left, right in spans]
        if offset:
            rows = [(curve.hidden, row * offset, (row + 1) * offset) for row, curve in enumerate(curves)]
        else:
            rows = [(np.all(hidden, axis=0), bottom, top)]
        gaps = [
            (*span, low, high)
            for flags, low, high in rows
            if flags is not None
            for span, flag in zip(spans, flags, strict=True)
            if flag
        ]
    for source, quads in ((target.windows, outlines), (target.gaps, gaps)):
        columns = zip(*quads, strict=True) if quads else ([], [], [], [])
        source.data = dict(zip(("left", "right", "bottom", "top"), map(list, columns), strict=True))
