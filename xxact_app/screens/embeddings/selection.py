"""The materials selected on the map: a table, and the patterns of some of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import StringFormatter

from xxact_app.plots.legends import LEGEND_CSS, legend_html
from xxact_app.plots.patterns import Curve, draw_patterns, pattern_figure, recolour
from xxact_app.screens.embeddings import text as words
from xxact_app.screens.embeddings.store import EmbeddingMap, EmbeddingStore
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_text
from xxact_app.ui.theme import TEXT_CSS, palette
from xxact_core.errors import InputError

MOST_PATTERNS = 5
_PAGE = 10


class SelectionPanel:
    """The selected materials; ticking rows of the table selects the patterns drawn. `panel` holds both."""

    def __init__(self, session: Session, embeddings: EmbeddingStore) -> None:
        self.session, self.embeddings = session, embeddings
        self._map: EmbeddingMap | None = None
        self._numbers: list[int] = []
        self._curves: list[Curve] = []
        self.find = pmui.TextInput(
            label="Find by formula, ID or crystal system", placeholder="TiO2, mp-149, cubic …",
            sizing_mode="stretch_width", size="small", margin=(8, 0),
        )  # fmt: skip
        self.find.param.watch(self._find, ["value", "enter_pressed"])
        self.summary = _text()
        self.table = pn.widgets.Tabulator(
            None, show_index=False, pagination="remote", page_size=_PAGE, disabled=True, selectable="checkbox",
            theme="materialize", layout="fit_data", sizing_mode="stretch_width", margin=0,
            label="Selected materials",
            formatters={name: StringFormatter() for name in words.TEXT_COLUMNS},
        )  # fmt: skip
        self.pattern_note = _text()
        self.figure = pattern_figure(height=300)
        plot = pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0)
        self.legend = pn.pane.HTML("", stylesheets=[TEXT_CSS, LEGEND_CSS], sizing_mode="stretch_width", margin=(4, 0))
        self.details = pn.Column(
            self.table, self.pattern_note, plot, self.legend, sizing_mode="stretch_width", margin=0, visible=False
        )
        heading = pn.pane.HTML("<h2>Selected materials</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 4, 0))
        self.panel = pn.Column(heading, self.find, self.summary, self.details, sizing_mode="stretch_width", margin=0)
        self.table.param.watch(self._draw, "selection")

    def show(self, shown: EmbeddingMap, numbers: list[int]) -> None:
        """Show materials of the map, by index."""
        self._map, self._numbers = shown, numbers
        self.summary.object = words.selection_summary(shown, numbers)
        self.details.visible = bool(numbers)
        if numbers:
            self.table.param.update(value=words.selection_rows(shown, numbers), selection=[], page=1)
        self._draw()

    def _find(self, _event: object = None) -> None:
        """Select the materials that match the typed text."""
        if self._map is not None:
            self.session.map_selected = words.find_materials(self._map, self.find.value_input or self.find.value or "")

    def recolour(self) -> None:
        """Redraw in the colours of the theme."""
        colours = palette(dark=self.session.dark).series
        self._curves = [replace(curve, colour=colour) for curve, colour in zip(self._curves, colours, strict=False)]
        recolour(self.figure, self._curves, offset=True)
        self._show_legend()

    def _show_legend(self) -> None:
        self.legend.object = legend_html([(one.name, one.colour, one.dash) for one in reversed(self._curves)])

    def _draw(self, _event: object = None) -> None:
        """Draw the patterns of the ticked rows, or of the first rows."""
        if self._map is None:
            return
        rows = self.table.selection or range(len(self._numbers))
        numbers = [self._numbers[row] for row in rows if row < len(self._numbers)][:MOST_PATTERNS]
        colours, curves = palette(dark=self.session.dark).series, []
        try:
            for colour, number in zip(colours, numbers, strict=False):
                pattern = self.embeddings.pattern(self._map, number)
                if pattern is not None:
                    name = safe_text(words.material_label(self._map.embedded, number), limit=40)
                    angles = pattern.grid.two_theta
                    unknown = np.full(angles.shape, np.nan)
                    curves.append(Curve(name, colour, angles, angles, unknown, pattern.intensity.astype(float)))
            note = _pattern_note(len(curves), len(self._numbers))
        except InputError as error:
            note = f"<p>The patterns cannot be drawn: {safe_text(error)}</p>"
        self._curves = curves
        self.pattern_note.object = note
        draw_patterns(
            self.figure, curves, scale="root", offset=1.0, unit="maximum 100", x_label="2θ (Cu Kα) [°]",
            window_edges=None, keep_range=False,
        )  # fmt: skip
        self.figure.plot.visible = bool(curves)
        self._show_legend()


def _pattern_note(drawn: int, selected: int) -> str:
    if drawn:
        return (
            f"<p class='muted'>Patterns of {drawn:,} of {words.count_of_materials(selected)}, √ scale. Tick rows to "
            "show others.</p>"
        )
    return "<p class='muted'>No patterns: the dataset of these materials is not in the workspace.</p>" * bool(selected)


def _text() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
