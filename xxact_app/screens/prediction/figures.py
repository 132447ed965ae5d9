"""Bokeh figures of a pattern with its phases, and of the attention map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    FactorRange,
    HoverTool,
    Legend,
    LinearColorMapper,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from xxact_app.plots.crosshair import Crosshair, add_crosshair, set_crosshair
from xxact_app.plots.difference import DifferenceFigure, difference_figure, draw_difference
from xxact_app.plots.patterns import LEFT_BORDER, Curve, PatternFigure, add_renderers, draw_patterns, pattern_figure
from xxact_app.plots.reflections import ReflectionFigure, ReflectionRow, draw_reflections, reflection_figure
from xxact_app.ui.theme import Palette

SCALE_SUFFIXES = {"linear": "", "root": ", √ scale", "log": ", log scale"}
_DIFFERENCE = 70
"""Height of the difference [px]."""
_ROW = 26
_AXES_HEIGHT = 96
"""Height [px] of a row of the attention map, and of its axis and margins."""


@dataclass(frozen=True)
class AnswerFigure:
    """A measured pattern with the calculated one over it, the reflections of the phases, and the difference."""

    pattern: PatternFigure
    reflections: ReflectionFigure
    difference: DifferenceFigure
    crosshair: Crosshair
    legend: Legend
    """Names the curves; a click on a name hides its curve."""


@dataclass(frozen=True)
class AttentionFigure:
    """The attention map: windows against elements; the data source and the colour scale change."""

    plot: figure
    cells: ColumnDataSource
    mapper: LinearColorMapper
    bar: ColorBar


def answer_figure() -> AnswerFigure:
    """An empty figure of an answer; the pattern takes the height that the others leave."""
    pattern = pattern_figure()
    pattern.plot.update(sizing_mode="stretch_both", min_border_bottom=4)
    shared = pattern.plot.x_range
    assert isinstance(shared, Range1d)
    reflections = reflection_figure(shared, left_border=LEFT_BORDER)
    difference = difference_figure(shared, left_border=LEFT_BORDER, height=_DIFFERENCE)
    add_renderers(pattern, lines=1, backgrounds=[0], calculated=[0])
    curves = {
        "measured": pattern.lines[0], "calculated": pattern.calculated[0], "background": pattern.backgrounds[0]
    }  # fmt: skip
    legend = Legend(
        items=[(name, [drawn]) for name, drawn in curves.items()], location="top_right", click_policy="hide",
        padding=4, margin=2, visible=False,
    )  # fmt: skip
    pattern.plot.add_layout(legend)
    return AnswerFigure(pattern, reflections, difference, add_crosshair(pattern.plot, reflections.lines), legend)


def draw_answer(
    target: AnswerFigure,
    curve: Curve,
    rows: Sequence[ReflectionRow],
    *,
    difference: np.ndarray | None,
    axis: str,
    axis_label: str,
    scale: str,
    wavelength: float | None,
    colours: Palette,
    keep_range: bool,
) -> None:
    """Draw a pattern with its phases.

    Args:
        target: the figure.
        curve: the measured pattern, with the calculated one where there is one.
        rows: reflections of the phases.
        difference: measured less calculated intensity, shape (points,); None where nothing was fitted.
        axis: the horizontal axis, `two_theta`, `q` or `d`.
        axis_label: its label.
        scale: `linear`, `root` or `log`.
        wavelength: of the angles [Å]; None where it is unknown.
        colours: of the theme.
        keep_range: whether to keep the horizontal range that the user selected.
    """
    draw_patterns(
        target.pattern, [curve], scale=scale, offset=0.0, x_label=axis_label, unit="counts", window_edges=None,
        keep_range=keep_range,
    )  # fmt: skip
    target.legend.items[2].visible = curve.background is not None
    target.legend.update(  # here, since the theme of the page replaces what is set before
        visible=curve.calculated is not None, background_fill_alpha=0.7, label_text_font_size="12px", spacing=0
    )  # fmt: skip
    draw_reflections(target.reflections, rows)
    shown = np.empty(0) if difference is None else difference
    draw_difference(target.difference, x=curve.x[: shown.size], difference=shown, colour=colours.muted)
    set_crosshair(target.crosshair, axis=axis, wavelength=wavelength)


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
