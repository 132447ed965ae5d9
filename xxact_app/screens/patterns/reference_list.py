"""The table of reference structures, whose reflections are drawn below the patterns."""

from __future__ import annotations

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from panel.models.tabulator import CellClickEvent

from xxact_app.samples.store import Store
from xxact_app.screens.patterns.sample_list import DRAWN
from xxact_app.session.session import Session
from xxact_app.ui.formatting import display_formula
from xxact_app.ui.safe_text import safe_text
from xxact_app.ui.theme import TEXT_CSS, palette
from xxact_core.structures.space_groups import space_group_name

_COLUMNS = ["drawn", "colour", "name", "formula", "space_group", "lines"]
_TITLES = {
    "drawn": "Show", "colour": "Colour", "name": "File", "formula": "Formula", "space_group": "Space group",
    "lines": "Reflections",
}  # fmt: skip
_WIDTHS = {"drawn": 62, "colour": 74, "name": 230, "formula": 150, "space_group": 130, "lines": 120}


class ReferenceList:
    """The table of the references of a session; `panel` holds it and its buttons."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self._in_front, self._stale = True, False
        self.table = pn.widgets.Tabulator(
            self._rows(), show_index=False, titles=_TITLES, widths=_WIDTHS, layout="fit_data", theme="materialize",
            selectable="checkbox", sortable=False, disabled=True, max_height=300, sizing_mode="stretch_width", margin=0,
            formatters={"drawn": DRAWN, "colour": {"type": "color"}}, label="References",
        )  # fmt: skip
        self.remove = pmui.Button(
            label="Remove selected", icon="delete", variant="outlined", size="small", color="error", margin=0,
            on_click=self._remove, disabled=True,
        )  # fmt: skip
        hint = "<p class='muted'>Structures from CIF files; their calculated reflections are drawn below.</p>"
        self.panel = pn.Column(
            pn.pane.HTML(f"<h2>References</h2>{hint}", stylesheets=[TEXT_CSS], margin=(12, 0, 4, 0)),
            pn.FlexBox(self.remove, margin=(0, 0, 8, 0)), self.table, sizing_mode="stretch_width", margin=0,
            visible=False,
        )  # fmt: skip
        session.param.watch(self._update, ["references", "hidden_references", "dark"])
        self.table.on_click(self._clicked, column="drawn")
        self.table.param.watch(self._selected, "selection")
        self._update()

    def _rows(self) -> pd.DataFrame:
        colours = reference_colours(self.session)
        rows = [
            [
                key not in self.session.hidden_references, colours[key], reference.name,
                safe_text(display_formula(reference.lines.formula)), space_group_name(str(reference.lines.space_group)),
                reference.lines.d.size,
            ]
            for key, reference in self.store.references.items()
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=_COLUMNS)

    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the table is visible: the library fails to draw the rows of a hidden one."""
        self._in_front = in_front
        if self._stale:
            self._update()

    def _update(self, *_events: object) -> None:
        self._stale = not self._in_front
        if self._stale:
            return
        with pn.io.hold():
            self.table.value = self._rows()
            self.table.selection = [number for number in self.table.selection if number < len(self.table.value)]
            self.panel.visible = bool(len(self.table.value))

    def _clicked(self, event: CellClickEvent) -> None:
        """Show or hide the reflections of the clicked row."""
        key, hidden = list(self.store.references)[event.row], self.session.hidden_references
        others = [other for other in hidden if other != key]
        self.session.hidden_references = others if key in hidden else [*hidden, key]

    def _selected(self, _event: object = None) -> None:
        self.remove.disabled = not self.table.selection

    def _remove(self, _event: object = None) -> None:
        keys = list(self.store.references)
        selected = {keys[number] for number in self.table.selection if number < len(keys)}
        self.table.selection = []
        self.session.references = [key for key in self.session.references if key not in selected]


def reference_colours(session: Session) -> dict[str, str]:
    """Colour of each reference, from the end of the series whose beginning the patterns use."""
    series = palette(dark=session.dark).series
    return {key: series[-1 - number % len(series)] for number, key in enumerate(session.references)}
