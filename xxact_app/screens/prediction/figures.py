"""Bokeh figures of a pattern with the reflections of a reference phase, and of the attention map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    FactorRange,
    GlyphRenderer,
    HoverTool,
    LinearColorMapper,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from xxact_app.plots.patterns import thin, to_scale
from xxact_app.ui.theme import Palette

SCALE_SUFFIXES = {"linear": "", "root": ", √ scale", "log": ", log scale"}
_BOX = ("left", "right", "bottom", "top")
_ROW = 26
_AXES_HEIGHT = 96
"""Height [px] of a row of the attention map, and of its axis and margins."""


@dataclass(frozen=True)
class MatchFigure:
    """A gridded pattern with its windows and the reflections of a reference phase; the data sources change."""

    plot: figure
    measured: ColumnDataSource
    lines: ColumnDataSource
    windows: ColumnDataSource
    hidden: ColumnDataSource


@dataclass(frozen=True)
class AttentionFigure:
    """The attention map: windows against elements; the data source and the colour scale change."""

    plot: figure
    cells: ColumnDataSource
    mapper: LinearColorMapper
    bar: ColorBar


def match_figure(*, edges: np.ndarray, height: int = 320) -> MatchFigure:
    """An empty figure over windows with these edges [deg 2θ]."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=Range1d(edges[0], edges[-1]), y_range=Range1d(0, 105),
        tools="xpan,xwheel_zoom,box_zoom,reset,save", active_drag="box_zoom", active_scroll=None,
        toolbar_location="above", output_backend="canvas",
    )  # fmt: skip
    plot.toolbar.logo = None
    windows, hidden = (ColumnDataSource({name: [] for name in _BOX}) for _ in range(2))
    box = {name: name for name in _BOX}
    plot.quad(
        **box, source=windows, level="underlay", fill_alpha=0, line_color="gray", line_alpha=0.35, line_dash="dotted"
    )
    plot.quad(
        **box, source=hidden, level="underlay", fill_color="gray", fill_alpha=0.14, line_color=None,
        hatch_pattern="right_diagonal_line", hatch_color="gray", hatch_alpha=0.4, hatch_scale=10, hatch_weight=1,
    )  # fmt: skip
    measured = ColumnDataSource({"x": [], "y": [], "intensity": []})
    lines = ColumnDataSource({"x": [], "y": [], "base": [], "intensity": []})
    curve = plot.line("x", "y", source=measured, line_width=1.2, line_join="round", name="measured")
    sticks = plot.segment("x", "base", "x", "y", source=lines, line_width=2, line_alpha=0.85, name="lines")
    for renderer, what in ((curve, "measured"), (sticks, "calculated")):
        tips = [(what, ""), ("2θ", "@x{0.00}°"), ("I", "@intensity{0.0} % of the maximum")]
        plot.add_tools(HoverTool(renderers=[renderer], tooltips=tips, line_policy="nearest", description=what))
    plot.xaxis.axis_label = "2θ (Cu Kα) [°]"
    plot.yaxis.major_label_text_alpha = 0.0
    return MatchFigure(plot, measured, lines, windows, hidden)


def draw_match(
    target: MatchFigure,
    *,
    edges: np.ndarray,
    two_theta: np.ndarray,
    intensity: np.ndarray,
    hidden: np.ndarray,
    line_two_theta: np.ndarray,
    line_intensity: np.ndarray,
    scale: str,
    colours: Palette,
) -> None:
    """Draw a pattern and reflections.

    Args:
        target: the figure.
        edges: edges of the windows [deg 2θ], shape (windows + 1,).
        two_theta: angles of the pattern [deg], shape (points,).
        intensity: 0-100, NaN where nothing was measured, shape (points,).
        hidden: which windows are masked for the model, shape (windows,).
        line_two_theta: angles of the reflections [deg], shape (reflections,).
        line_intensity: intensities of the reflections, 0-100, shape (reflections,).
        scale: `linear`, `root` or `log`.
        colours: of the theme.
    """
    base, top = to_scale(np.array([0.0, 100.0]), scale=scale)
    kept = thin(intensity)
    heights = to_scale(intensity, scale=scale)
    target.measured.data = {"x": two_theta[kept], "y": heights[kept], "intensity": intensity[kept]}
    inside = (line_two_theta >= edges[0]) & (line_two_theta <= edges[-1])
    angles, strengths = line_two_theta[inside], line_intensity[inside]
    target.lines.data = {
        "x": angles, "y": to_scale(strengths, scale=scale), "base": np.full(len(angles), base),
        "intensity": strengths,
    }  # fmt: skip
    end = top + 0.05 * (top - base)
    target.plot.y_range.update(start=base, end=end, reset_start=base, reset_end=end)
    for source, flags in ((target.windows, np.ones_like(hidden)), (target.hidden, hidden)):
        numbers = np.flatnonzero(flags)
        source.data = {
            "left": edges[numbers], "right": edges[numbers + 1],
            "bottom": np.full(len(numbers), base), "top": np.full(len(numbers), end),
        }  # fmt: skip
    target.plot.yaxis.axis_label = f"Intensity (maximum 100{SCALE_SUFFIXES[scale]})"
    _renderer(target.plot, "measured").glyph.line_color = colours.muted
    _renderer(target.plot, "lines").glyph.line_color = colours.series[1]


def attention_figure(*, edges: np.ndarray) -> AttentionFigure:
    """An empty map over windows with these edges [deg 2θ]."""
    mapper = LinearColorMapper(palette=Cividis256, low=0, high=1, nan_color="rgba(128, 128, 128, 0.15)")
    cells = ColumnDataSource({name: [] for name in ("middle", "element", "share", "window")})
    plot = figure(
        height=_AXES_HEIGHT, sizing_mode="stretch_width", x_range=Range1d(edges[0], edges[-1]), y_range=FactorRange(),
        tools="", toolbar_location=None,
    )  # fmt: skip
    drawn = plot.rect(
        "middle", "element", width=edges[1] - edges[0], height=1, source=cells, line_color=None,
        fill_color={"field": "share", "transform": mapper},
    )  # fmt: skip
    tips = [("", "@element"), ("window", "@window"), ("attention", "@share{0.0 %}")]
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
    bar = ColorBar(color_mapper=mapper, width=10, formatter=NumeralTickFormatter(format="0 %"), background_fill_alpha=0)
    plot.add_layout(bar, "right")
    plot.grid.visible = False
    plot.xaxis.axis_label = "Window, 2θ (Cu Kα) [°]"
    return AttentionFigure(plot, cells, mapper, bar)


def draw_attention(
    target: AttentionFigure, *, edges: np.ndarray, names: Sequence[str], shares: np.ndarray, colours: Palette
) -> None:
    """Draw attention (0-1) of shape (names, windows), the first name on top; NaN marks masked windows."""
    windows = [f"{low:g}–{high:g}°" for low, high in pairwise(edges)]
    target.plot.y_range.factors = list(reversed(names))
    target.plot.height = _AXES_HEIGHT + _ROW * len(names)
    target.mapper.high = float(np.nanmax(shares, initial=0.01))
    count = len(names)
    target.cells.data = {
        "middle": np.tile((edges[:-1] + edges[1:]) / 2, count), "window": windows * count,
        "element": np.repeat(np.array(names, dtype=object), len(windows)).tolist(), "share": shares.ravel(),
    }  # fmt: skip
    target.bar.major_label_text_color = colours.text


def _renderer(plot: figure, name: str) -> GlyphRenderer:
    return plot.select_one({"name": name})
