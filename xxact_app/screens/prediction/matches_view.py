"""The single reference phases that were compared: a table in which one is selected for comparison in the plot."""

from __future__ import annotations

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import NumberFormatter, StringFormatter

from xxact_app.screens.prediction.phases_store import PhasesStore, SearchResult
from xxact_app.session.session import Session
from xxact_app.ui.theme import TEXT_CSS
from xxact_core.structures.space_groups import space_group_name

_COLUMNS = ("Formula", "Mineral", "Space group", "ID", "Probability", "Score", "Shift", "Scale")
_TITLES = {"Score": "Score (1 = perfect)", "Shift": "Shift [° 2θ]", "Scale": "Cell scale"}
_NUMBERS = {"Probability": "0 %", "Score": "0.000", "Shift": "+0.00", "Scale": "0.0000"}
_HELP = "Click a row to draw its reflections below the pattern, click it again to remove them."
_WIDE = {"sizing_mode": "stretch_width", "margin": 0}


class MatchesTable:
    """The reference phases compared one at a time; `panel` holds the table and the choice of the database."""

    def __init__(self, session: Session, search: PhasesStore) -> None:
        self.session, self.search = session, search
        self._shown: tuple[str, SearchResult] | None = None
        self.tables = pmui.Select(label="Reference database", options={}, size="small", width=260, margin=(8, 0))
        self.caption = pn.pane.HTML("", stylesheets=[TEXT_CSS], **_WIDE)
        self.table = pn.widgets.Tabulator(
            pd.DataFrame([], columns=list(_COLUMNS)), show_index=False, disabled=True, selectable="toggle",
            theme="materialize", titles=_TITLES, layout="fit_data_stretch", label="Reference materials compared",
            formatters={
                **{name: StringFormatter() for name in ("Formula", "Mineral", "Space group", "ID")},
                **{name: NumberFormatter(format=text) for name, text in _NUMBERS.items()},
            },
            **_WIDE,
        )  # fmt: skip
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Other reference materials compared</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0)),
            self.tables, self.caption, self.table, **_WIDE,
        )  # fmt: skip
        self.tables.param.watch(self._choose_table, "value")
        self.table.param.watch(self._choose, "selection")

    def show(self, key: str, found: SearchResult | None) -> None:
        """Show the reference phases compared with a pattern."""
        tables, table = self.search.tables(), self.search.table()
        self.tables.param.update(
            options={one.label: one.key for one in tables}, value=None if table is None else table.key,
            visible=len(tables) > 1,
        )  # fmt: skip
        self.panel.visible = found is not None or len(tables) != 1
        self.table.visible = found is not None and bool(found.matches)
        if found is None:
            self._shown = None
            self.caption.object = "" if tables else (
                "<p>No reference materials are available: the installation lacks them. Reinstall XxaCT, or build a "
                "dataset on the Training screen.</p>"
            )  # fmt: skip
            return
        self.caption.object = (
            f"<p class='muted'>{found.candidates:,} reference materials were compared, each alone; probabilities are "
            f"for a specimen of one phase. {_HELP}</p>"
        )
        if self._shown is None or self._shown[1] is not found:
            self._shown = None  # the selection that follows is no choice of the user
            rows = [
                [
                    one.formula, one.name or "", space_group_name(str(one.space_group or "unknown")), one.id,
                    one.probability, one.score, one.shift, one.scale,
                ]
                for one in found.matches
            ]  # fmt: skip
            self.table.value = pd.DataFrame(rows, columns=list(_COLUMNS))
        chosen = self.search.chosen(key, found)
        self.table.selection = [found.matches.index(one) for one in (chosen,) if one is not None]
        self._shown = (key, found)

    def _choose_table(self, _event: object = None) -> None:
        self.session.known_materials = self.tables.value or ""

    def _choose(self, _event: object = None) -> None:
        if self._shown is None:
            return
        key, found = self._shown
        selected = self.table.selection[-1:]
        phase = found.matches[selected[0]].id or found.matches[selected[0]].source_id if selected else ""
        if phase != self.session.sample(key).phase:
            self.session.change([key], phase=phase)
