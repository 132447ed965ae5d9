"""The table of patterns: range, points, step, wavelength, format and warnings."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import NumberFormatter
from panel.models.tabulator import CellClickEvent

from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_app.ui.theme import TEXT_CSS

_COLUMNS = ["drawn", "name", "range", "points", "step", "wavelength", "format", "notes"]
_TITLES = {
    "drawn": "Show", "name": "File", "range": "Range [° 2θ]", "points": "Points", "step": "Step [°]",
    "wavelength": "Wavelength", "format": "Format", "notes": "Notes",
}  # fmt: skip
_WIDTHS = {
    "drawn": 62, "name": 190, "range": 116, "points": 68, "step": 74, "wavelength": 114, "format": 96, "notes": 150,
}  # fmt: skip
"""Widths of columns [px], which fit beside the settings at 1280 px; the notes have the rest of a wider page."""

_SEVERAL_SCANS = re.compile(r"holds \d+ scans")

_CSS = """
.tabulator .tabulator-header .tabulator-col .tabulator-col-content { padding: 8px 6px !important; }
.tabulator .tabulator-row .tabulator-cell { padding: 8px 6px !important; white-space: pre-wrap; overflow-wrap: anywhere;
  line-height: 1.3; }
"""

DRAWN = {"type": "tickCross", "tickElement": "<span>☑</span>", "crossElement": "<span>☐</span>"}


class PatternList:
    """The table of the patterns of a session; `panel` holds it and its buttons."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self._in_front, self._stale = True, False
        self.table = pn.widgets.Tabulator(
            self._rows(), show_index=False, titles=_TITLES, widths=_WIDTHS, layout="fit_data_stretch",
            theme="materialize", selectable="checkbox", sortable=False, disabled=True, max_height=460,
            sizing_mode="stretch_width", margin=0, stylesheets=[_CSS],
            formatters={
                "drawn": DRAWN, "points": NumberFormatter(format="0,0"),
                **{column: {"type": "textarea"} for column in ("name", "wavelength", "format", "notes")},
            },
            label="Patterns",
        )  # fmt: skip
        self.remove = pmui.Button(
            label="Remove selected", icon="delete", variant="outlined", size="small", color="error", margin=0,
            on_click=self._remove, disabled=True,
        )  # fmt: skip
        self.show_all = pmui.Button(label="Show all", variant="text", size="small", margin=0, on_click=self._show_all)
        self.show_selected = pmui.Button(
            label="Show selected only", variant="text", size="small", margin=0, on_click=self._show_selected,
            disabled=True,
        )  # fmt: skip
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Patterns</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 4, 0)),
            pn.FlexBox(self.show_all, self.show_selected, self.remove, gap="8px", margin=(0, 0, 8, 0)),
            self.table, sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        session.watch(self._update, ["files", "visible", "wavelength", "scan"])
        self.table.on_click(self._clicked, column="drawn")
        self.table.param.watch(self._selected, "selection")
        self._update()

    def _rows(self) -> pd.DataFrame:
        rows = [self._row(key) for key in self.session.files if key in self.store.samples]
        return pd.DataFrame(rows, columns=_COLUMNS)

    def _row(self, key: str) -> list[object]:
        sample, wavelength = self.store.samples[key], self.store.wavelength(key)
        pattern = sample.pattern
        step = float(np.median(np.diff(pattern.two_theta))) if pattern.two_theta.size > 1 else float("nan")
        text = "missing" if wavelength is None else f"{wavelength:.5g} Å"
        origin = " (entered)" if self.session.sample(key).wavelength is not None else ""
        split = bool(self.session.sample(key).label)  # then the other scans of the file are in the list, too
        warnings = [text for text in pattern.warnings if not (split and _SEVERAL_SCANS.match(text))]
        notes = safe_message("; ".join(warnings)) if warnings else ""
        return [
            self.session.sample(key).visible, sample.name, f"{pattern.two_theta[0]:.2f}–{pattern.two_theta[-1]:.2f}",
            pattern.two_theta.size, f"{step:.4g}", text + origin, safe_message(pattern.format), notes,
        ]  # fmt: skip

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

    def _keys(self) -> list[str]:
        return [key for key in self.session.files if key in self.store.samples]

    def _clicked(self, event: CellClickEvent) -> None:
        """Show or hide the pattern of the clicked row."""
        key = self._keys()[event.row]
        self.session.change([key], visible=not self.session.sample(key).visible)

    def _selected(self, _event: object = None) -> None:
        self.remove.disabled = self.show_selected.disabled = not self.table.selection

    def _remove(self, _event: object = None) -> None:
        keys = self._keys()
        selected = [keys[number] for number in self.table.selection if number < len(keys)]
        self.table.selection = []
        self.session.remove(selected)

    def _show_all(self, _event: object = None) -> None:
        self.session.show_only(self.session.files)

    def _show_selected(self, _event: object = None) -> None:
        keys = self._keys()
        self.session.show_only(keys[number] for number in self.table.selection if number < len(keys))
