"""Which windows of the pattern look at which element: a map, and a table beside it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
import panel as pn

from xxact_app.samples.store import WINDOW_EDGES
from xxact_app.screens.prediction.figures import attention_figure, draw_attention
from xxact_app.session.session import Session
from xxact_app.ui.theme import TEXT_CSS, palette

if TYPE_CHECKING:
    from xxact_core.evaluation.attention import WindowAttention

WHOLE = "whole composition"
_CAPTION = (
    "<p class='muted'>How each window of the pattern shares out its attention among the elements and the composition "
    "as a whole, as a mean over the model's heads and layers. It tells where the model looks, not why it "
    "decides.</p>"
)


class WindowsView:
    """`panel` shows where the model looks for the present answer."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.figure = attention_figure(edges=WINDOW_EDGES)
        self.words, self.table = _text(), _text()
        self.plot = pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0)
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Where the model looks</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0)),
            self.words, self.plot, self.table, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    def show(self, found: WindowAttention | str) -> None:
        """Show this attention, or in safe words why there is none."""
        self.plot.visible = self.table.visible = not isinstance(found, str)
        if isinstance(found, str):
            self.words.object = f"<p class='muted'>Not to be told here: {html.escape(found)}.</p>"
            return
        self.words.object = _CAPTION
        names, shares = [*found.symbols, WHOLE], np.vstack([found.shares, found.whole])
        draw_attention(
            self.figure, edges=WINDOW_EDGES, names=names, shares=shares, colours=palette(dark=self.session.dark)
        )
        self.table.object = attention_table(names, shares)


def attention_table(names: list[str], shares: np.ndarray) -> str:
    """The shares as a table, a row a window; safe HTML."""
    head = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in ("Window [° 2θ]", *names))
    rows = []
    for low, high, column in zip(WINDOW_EDGES[:-1], WINDOW_EDGES[1:], shares.T, strict=True):
        cells = "".join(f"<td>{'not measured' if np.isnan(share) else f'{share:.1%}'}</td>" for share in column)
        rows.append(f"<tr><th scope='row'>{low:g}–{high:g}</th>{cells}</tr>")
    return (
        "<details><summary>As a table</summary><div style='overflow-x:auto'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _text() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
