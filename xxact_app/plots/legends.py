"""Legends: lines of a figure in its own legend and tooltip, and legends in HTML beside a figure."""

from __future__ import annotations

import html
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


LEGEND_CSS = """
ul { list-style: none; margin: 0; padding: 0; display: flex; flex-direction: column; gap: 4px; font-size: 13px; }
li { display: flex; gap: 8px; align-items: center; overflow-wrap: anywhere; line-height: 1.3; }
svg { flex: none; }
@media (max-width: 900px) { ul { flex-flow: row wrap; gap: 2px 16px; } }
"""
"""Style sheet of `legend_html`: a column, or rows where the page is narrow."""

_DASH_ARRAYS = {"solid": "", "dashed": "6 4", "dotted": "2 3", "dotdash": "2 3 6 3"}


def legend_html(entries: Sequence[tuple[str, str, str]], *, longest: int = 60) -> str:
    """A legend as safe HTML: name, colour and dash pattern of each line, from the top."""
    rows = "".join(
        f"<li><svg width='26' height='6' aria-hidden='true'><line x1='0' y1='3' x2='26' y2='3' stroke='{colour}' "
        f"stroke-width='3' stroke-dasharray='{_DASH_ARRAYS[dash]}'/></svg>"
        f"<span>{html.escape(shorten(name, limit=longest))}</span></li>"
        for name, colour, dash in entries
    )
    return f"<ul aria-label='Legend'>{rows}</ul>" if rows else ""
