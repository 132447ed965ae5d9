"""Lines of a figure in its legend and tooltip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from bokeh.core.properties import value
from bokeh.models import GlyphRenderer, HoverTool, Legend, LegendItem
from bokeh.plotting import figure

from xxact_core.errors import shorten


@contextmanager
def at_once(plot: figure, *, when: bool) -> Iterator[None]:
    """Add or remove several models at once, since Bokeh traverses the whole document after each change."""
    with plot.document.models.freeze() if when and plot.document is not None else nullcontext():
        yield


def list_lines(hover: HoverTool, legend: Legend, lines: Sequence[GlyphRenderer]) -> None:
    """List these lines in tooltip and legend; `name_lines` names them."""
    if len(legend.items) != len(lines):
        hover.renderers = lines
        legend.items = [LegendItem(renderers=[line]) for line in lines]


def name_lines(legend: Legend, names: Sequence[str], *, longest: int = 30) -> None:
    """Name the lines of a legend, without adding or removing models."""
    for item, name in zip(legend.items, names, strict=True):
        label = value(shorten(name, limit=longest))
        if item.label != label:
            item.label = label
