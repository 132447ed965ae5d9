"""The attention of the windows of a pattern to the elements, as a map and as a table."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
import panel as pn

from xxact_app.samples.processing import WINDOW_EDGES
from xxact_app.screens.prediction.figures import attention_figure, draw_attention
from xxact_app.session.session import Session
from xxact_app.ui.formatting import percent
from xxact_app.ui.theme import TEXT_CSS, palette

if TYPE_CHECKING:
    from xxact_core.evaluation.attention import WindowAttention

WHOLE = "whole composition"
_CAPTION = (
    "<p class='muted'>Attention of each window of the pattern to the elements and to the whole composition, as a mean "
    "over heads and layers. It shows which inputs are combined, but does not explain the prediction.</p>"
)


class AttentionPanel:
    """The attention map of a prediction; `panel` holds it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.figure = attention_figure(edges=WINDOW_EDGES)
        self.caption, self.table = _text(), _text()
        self.plot = pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0)
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Attention map</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0)),
            self.caption, self.plot, self.table, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    def show(self, attention: WindowAttention | str) -> None:
        """Show an attention map, or the reason why there is none, a safe text."""
        self.plot.visible = self.table.visible = not isinstance(attention, str)
        if isinstance(attention, str):
            self.caption.object = f"<p class='muted'>Not available: {html.escape(attention)}.</p>"
            return
        self.caption.object = _CAPTION
        names, shares = [*attention.symbols, WHOLE], np.vstack([attention.weights, attention.cls_weight])
        draw_attention(
            self.figure, edges=WINDOW_EDGES, names=names, shares=shares, colours=palette(dark=self.session.dark)
        )
        self.table.object = attention_table(names, shares)


def attention_table(names: list[str], shares: np.ndarray) -> str:
    """The attention as a table with one row per window; safe HTML."""
    head = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in ("Window [° 2θ]", *names))
    rows = []
    for low, high, column in zip(WINDOW_EDGES[:-1], WINDOW_EDGES[1:], shares.T, strict=True):
        cells = "".join(
            f"<td>{'not measured' if np.isnan(share) else percent(share, digits=1)}</td>" for share in column
        )
        rows.append(f"<tr><th scope='row'>{low:g}–{high:g}</th>{cells}</tr>")
    return (
        "<details><summary>As a table</summary><div style='overflow-x:auto'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _text() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
