"""The difference between a measured and a calculated pattern, below the plot whose horizontal range it shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, Range1d, Span
from bokeh.plotting import figure

from xxact_app.plots.axes import send, thin

HEIGHT = 84
"""Height of the plot [px]."""

_SHORT = "return Math.abs(tick) >= 1e6 ? tick.toExponential(0) : +tick.toPrecision(3) + ''"


@dataclass(frozen=True)
class DifferenceFigure:
    """The figure of a difference and its data source."""

    plot: figure
    line: ColumnDataSource


def difference_figure(shared: Range1d, *, left_border: int, height: int = HEIGHT) -> DifferenceFigure:
    """An empty figure of a difference with a shared horizontal range; hidden until something is drawn."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=shared, y_range=Range1d(-1, 1), tools="",
        toolbar_location=None, min_border_left=left_border, output_backend="canvas", visible=False,
    )  # fmt: skip
    plot.xaxis.visible = False
    plot.yaxis.axis_label = "Difference"
    plot.yaxis.formatter = CustomJSTickFormatter(code=_SHORT)
    plot.yaxis.minor_tick_line_color = None
    plot.yaxis[0].ticker.desired_num_ticks = 3
    plot.grid.grid_line_color = None
    plot.add_layout(Span(location=0, dimension="width", line_color="gray", line_width=1, line_alpha=0.7))
    line = ColumnDataSource({"x": [], "y": []})
    plot.line("x", "y", source=line, line_width=1, line_join="round", name="difference")
    return DifferenceFigure(plot, line)


def draw_difference(target: DifferenceFigure, *, x: np.ndarray, difference: np.ndarray, colour: str) -> None:
    """Draw measured minus calculated intensities, both of shape (points,); without points the plot is hidden.

    The vertical axis is symmetric about 0 and leaves the largest thousandth of the deviations outside, so that one
    badly fitted peak does not flatten all others.
    """
    finite = np.abs(difference[np.isfinite(difference)])
    target.plot.visible = bool(finite.size)
    if not finite.size:
        return
    kept = thin(difference)
    send(target.line, {"x": x[kept], "y": difference[kept]})
    reach = float(np.quantile(finite, 0.999)) * 1.1 or 1.0
    target.plot.y_range.update(start=-reach, end=reach, reset_start=-reach, reset_end=reach)
    target.plot.select_one({"name": "difference"}).glyph.line_color = colour
