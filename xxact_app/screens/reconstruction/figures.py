"""Bokeh figures of a pattern with reconstructed windows, and of the error of each window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, HoverTool, Legend, Range1d
from bokeh.plotting import figure

from xxact_app.ui.theme import Palette

_BOX = ("left", "right", "bottom", "top")
_CODES = {"linear": "return tick", "root": "return +(tick * tick).toPrecision(3)"}


@dataclass(frozen=True)
class WindowFigure:
    """The pattern with its windows; the data sources change."""

    plot: figure
    measured: ColumnDataSource
    expected: ColumnDataSource
    windows: ColumnDataSource
    masked: ColumnDataSource
    unmeasured: ColumnDataSource
    legend: Legend


@dataclass(frozen=True)
class ErrorFigure:
    """The errors of the windows; the data source changes."""

    plot: figure
    bars: ColumnDataSource


def window_figure(*, edges: np.ndarray, height: int = 360) -> WindowFigure:
    """An empty figure over windows with these edges [deg 2θ]."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=Range1d(edges[0], edges[-1]), y_range=Range1d(0, 105),
        tools="xpan,xwheel_zoom,box_zoom,tap,reset,save", active_drag=None, active_scroll=None, active_tap="tap",
        toolbar_location="above", output_backend="canvas",
    )  # fmt: skip
    plot.toolbar.logo = None
    windows, masked, unmeasured = (ColumnDataSource({name: [] for name in _BOX}) for _ in range(3))
    plot.quad(
        left="left", right="right", bottom="bottom", top="top", source=windows, level="underlay",
        fill_alpha=0, line_color="gray", line_alpha=0.35, line_dash="dotted",
    )  # fmt: skip
    plot.quad(
        left="left", right="right", bottom="bottom", top="top", source=masked, level="underlay", fill_alpha=0.16,
        line_color=None, name="masked",
    )  # fmt: skip
    plot.quad(
        left="left", right="right", bottom="bottom", top="top", source=unmeasured, level="underlay",
        fill_color="gray", fill_alpha=0.14, line_color=None, hatch_pattern="right_diagonal_line", hatch_color="gray",
        hatch_alpha=0.4, hatch_scale=10, hatch_weight=1,
    )  # fmt: skip
    measured = ColumnDataSource({"x": [], "y": [], "intensity": []})
    expected = ColumnDataSource({"x": [], "y": [], "intensity": []})
    lines = [
        plot.line("x", "y", source=measured, line_width=1.2, line_join="round", name="measured"),
        plot.line("x", "y", source=expected, line_width=1.8, line_join="round", name="expected"),
    ]
    tips = [("2θ", "@x{0.00}°"), ("I", "@intensity{0.00} % of the maximum")]
    plot.add_tools(HoverTool(renderers=lines, tooltips=tips, mode="mouse", line_policy="nearest"))
    legend = Legend(items=[("measured", [lines[0]]), ("reconstructed", [lines[1]])], location="top_right")
    plot.add_layout(legend)
    plot.xaxis.axis_label = "2θ (Cu Kα) [°]"
    return WindowFigure(plot, measured, expected, windows, masked, unmeasured, legend)


def draw_windows(
    target: WindowFigure,
    *,
    edges: np.ndarray,
    two_theta: np.ndarray,
    measured: np.ndarray,
    expected: np.ndarray | None,
    masked: np.ndarray,
    unmeasured: np.ndarray,
    root: bool,
    colours: Palette,
) -> None:
    """Draw a pattern and its reconstruction.

    Args:
        target: the figure.
        edges: edges of the windows [deg 2θ], shape (windows + 1,).
        two_theta: angles [deg], shape (points,).
        measured: intensities 0-100, NaN where nothing was measured, shape (points,).
        expected: reconstructed intensities, NaN outside of masked windows, shape (points,); None for none.
        masked: windows masked by the user, shape (windows,).
        unmeasured: windows masked because too little of them was measured, shape (windows,).
        root: whether the vertical axis is on a square-root scale.
        colours: of the theme.
    """
    if expected is None:
        expected = np.full_like(measured, np.nan)
    for source, values in ((target.measured, measured), (target.expected, expected)):
        heights = np.sqrt(np.maximum(values, 0)) if root else values
        source.data = {"x": two_theta, "y": heights, "intensity": values}
    tallest = max(float(np.nanmax(values, initial=0)) for values in (measured, expected))
    top = 1.05 * (np.sqrt(tallest) if root else tallest) or 1.0
    target.plot.y_range.update(start=0, end=top, reset_start=0, reset_end=top)
    for source, flags in (
        (target.windows, np.ones_like(masked)), (target.masked, masked), (target.unmeasured, unmeasured)
    ):  # fmt: skip
        numbers = np.flatnonzero(flags)
        source.data = {
            "left": edges[numbers], "right": edges[numbers + 1],
            "bottom": np.zeros(len(numbers)), "top": np.full(len(numbers), top),
        }  # fmt: skip
    target.plot.yaxis.axis_label = "Intensity (maximum 100" + (", √ scale)" if root else ")")
    target.plot.yaxis.formatter = CustomJSTickFormatter(code=_CODES["root" if root else "linear"])
    target.plot.select_one({"name": "measured"}).glyph.line_color = colours.muted
    target.plot.select_one({"name": "expected"}).glyph.line_color = colours.series[1]
    target.plot.select_one({"name": "masked"}).glyph.fill_color = colours.series[0]


def error_figure(*, edges: np.ndarray, height: int = 200) -> ErrorFigure:
    """An empty figure with a bar for the error of each window, and markers for the error on the test split."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=Range1d(edges[0], edges[-1]), y_range=Range1d(0, 1),
        tools="", toolbar_location=None,
    )  # fmt: skip
    names = ("left", "right", "middle", "error", "empty", "set_error", "set_empty", "window")
    bars = ColumnDataSource({name: [] for name in names})
    plot.quad(
        left="left", right="right", bottom=0, top="error", source=bars, line_color=None, fill_alpha=0.8, name="error",
    )  # fmt: skip
    markers = {"size": 9, "source": bars}
    plot.scatter(
        "middle", "empty", marker="dash", line_width=2, line_color="gray", name="empty", size=22, source=bars,
    )  # fmt: skip
    plot.scatter("middle", "set_error", marker="diamond", name="set", **markers)
    plot.scatter(
        "middle", "set_empty", marker="diamond", fill_color=None, line_color="gray", name="set_empty", **markers,
    )  # fmt: skip
    plot.xaxis.axis_label = "2θ (Cu Kα) [°]"
    plot.yaxis.axis_label = "Error [%]"
    return ErrorFigure(plot, bars)


def draw_errors(target: ErrorFigure, *, edges: np.ndarray, columns: dict[str, np.ndarray], colours: Palette) -> None:
    """Draw errors of shape (windows,): `error` and `empty` (pattern), `set_error` and `set_empty` (test split)."""
    middle = (edges[:-1] + edges[1:]) / 2
    margin = 0.1 * (edges[1] - edges[0])
    target.bars.data = {
        "left": edges[:-1] + margin, "right": edges[1:] - margin, "middle": middle,
        "window": np.arange(1, len(edges)), **columns,
    }  # fmt: skip
    top = 1.1 * max((float(np.nanmax(values, initial=0)) for values in columns.values()), default=1.0) or 1.0
    target.plot.y_range.update(start=0, end=top)
    target.plot.select_one({"name": "error"}).glyph.fill_color = colours.series[1]
    target.plot.select_one({"name": "set"}).glyph.update(fill_color=colours.series[0], line_color=colours.series[0])
