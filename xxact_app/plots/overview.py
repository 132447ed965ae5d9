"""A small plot of one pattern over its whole range, which sets the range of the plot above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import BoxAnnotation, ColumnDataSource, Range1d, RangeTool
from bokeh.plotting import figure

from xxact_app.plots.axes import send

OVERVIEW_POINTS = 1_500


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
