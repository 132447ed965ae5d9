"""Lines of a figure that come and go: together, and named in its legend and hover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from bokeh.core.properties import value
from bokeh.models import GlyphRenderer, HoverTool, Legend, LegendItem
from bokeh.plotting import figure

from xxact_core.errors import shorten


@contextmanager
def at_once(plot: figure, *, when: bool) -> Iterator[None]:
    """Let models come and go together: one by one, Bokeh would go through its whole document for each of them."""
    with plot.document.models.freeze() if when and plot.document is not None else nullcontext():
        yield


def tell_lines(hover: HoverTool, legend: Legend, lines: Sequence[GlyphRenderer]) -> None:
    """Let hover and legend tell about these lines, which `name_lines` names."""
    if len(legend.items) != len(lines):
        hover.renderers = lines
        legend.items = [LegendItem(renderers=[line]) for line in lines]


def name_lines(legend: Legend, names: Sequence[str], *, longest: int = 30) -> None:
    """Name the lines of a legend: cheap, because no model comes or goes."""
    for item, name in zip(legend.items, names, strict=True):
        label = value(shorten(name, limit=longest))
        if item.label != label:
            item.label = label
