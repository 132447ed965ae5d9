"""The table of predictions of all patterns, in which compositions are edited and a pattern is selected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.models import NumberFormatter, StringFormatter
from panel.models.tabulator import TableEditEvent

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.screens.prediction import export as files
from xxact_app.screens.prediction.composition_column import read_compositions
from xxact_app.screens.prediction.conclusion import Conclusion
from xxact_app.screens.prediction.phases_store import PhasesStore, SearchResult
from xxact_app.screens.prediction.store import BatchRow, PredictionStore
from xxact_app.session.session import Session
from xxact_app.ui.downloads import download_row
from xxact_app.ui.file_drop import FileDrop
from xxact_app.ui.safe_text import plain_markdown, safe_message, safe_text
from xxact_app.ui.theme import ALERT_STYLE, TEXT_CSS
from xxact_core.errors import InputError

_WIDTHS = {
    "File": 140, "Composition": 106, "Verdict": 102, "Phases": 185, "Weights": 78, "Purity": 72, "Crystal system": 96,
    "Probability": 98, "Space group": 92, "Energy": 90, "Gap": 60,
}  # fmt: skip
"""Widths of columns [px]; the notes have the rest of the width."""

_EDITOR_DELAY = 300
"""Time [ms] in which the browser reports that a click opened an editor."""

_SEVERAL_LINES = ("File", "Composition", "Phases", "Weights", "Space group", "Notes")
"""Columns whose text wraps; the formatter shows markup in it as text."""

_FORMATS = {"Purity": "0.0", "Probability": "0 %", "Energy": "0.00", "Gap": "0.00"}
_CSS = """
.tabulator .tabulator-cell, .tabulator .tabulator-col-title { font-size: 13px !important; }
.tabulator .tabulator-header .tabulator-col .tabulator-col-title { white-space: normal !important;
  padding-right: 12px !important; line-height: 1.2; }
.tabulator .tabulator-header .tabulator-col .tabulator-col-content { padding: 4px 6px !important; }
.tabulator .tabulator-row .tabulator-cell:not(:last-child) { padding: 4px 6px !important; line-height: 1.3;
  overflow-wrap: anywhere; }
.tabulator .tabulator-row .tabulator-cell[tabulator-field="Notes"] { display: -webkit-inline-box !important;
  -webkit-box-orient: vertical; -webkit-line-clamp: 3; max-height: 56px; overflow: hidden; }
"""
"""All columns fit into 1280 px; long texts take several lines, notes at most three. The last cell is an empty one."""

_HELP = (
    "<p class='muted'>Click a composition to edit it, a row to show its prediction above and its whole note below the "
    "table, a column title to sort. "
    "Patterns marked “not run” are predicted, and those marked “prediction only” are identified, with the buttons "
    "below or when they are selected.</p>"
)


class BatchTable:
    """The table of all patterns; `panel` holds it and its buttons.

    Args:
        session: the session.
        predictions: predictions of all patterns.
        search: searches of their phases.
        conclude: the answer for a pattern, given by key, from its prediction and its phases.
    """

    def __init__(
        self,
        session: Session,
        predictions: PredictionStore,
        search: PhasesStore,
        *,
        conclude: Callable[[str, Answer | Missing, SearchResult], Conclusion],
    ) -> None:
        self.session, self.predictions, self.search, self._conclude = session, predictions, search, conclude
        self._concluded: dict[str, tuple[Answer | Missing, SearchResult, Conclusion]] = {}
        self._rows = self.rows()
        self._late = False
        self._selected: list[int] = []
        columns = list(files.COLUMNS)
        self.table = pn.widgets.Tabulator(
            files.to_table(self._rows), show_index=False, selectable=1, theme="materialize", layout="fit_columns",
            stylesheets=[_CSS], titles=files.TITLES, widths=_WIDTHS, pagination="local", page_size=20,
            sizing_mode="stretch_width", margin=0, label="Predictions for all patterns",
            editors={**dict.fromkeys(columns), "Composition": "input"},
            formatters={
                **{name: StringFormatter() for name in columns if name not in files.NUMBERS},
                **{name: {"type": "textarea"} for name in _SEVERAL_LINES},
                **{name: NumberFormatter(format=text, nan_format="–") for name, text in _FORMATS.items()},
            },
        )  # fmt: skip
        self.task = TaskPanel(
            label="Predict all patterns", start=predictions.start, current=predictions.batch, when_done=self._patch,
            meanwhile=self._patch,
        )  # fmt: skip
        self.identify = TaskPanel(
            label="Identify the phases of all patterns", start=self._identify, current=search.task_of_all,
            when_done=self._patch, meanwhile=self._patch, variant="outlined",
        )  # fmt: skip
        self.downloads = download_row(
            {
                "Table as CSV": ("predictions.csv", lambda: files.to_csv(self.rows())),
                "Table as HDF5": ("predictions.h5", self._hdf5),
            }
        )
        self.compositions = pmui.TextAreaInput(
            label="Compositions of all patterns", rows=2, sizing_mode="stretch_width", size="small",
            margin=(8, 0, 0, 0),
            placeholder="One per line in the order of the table, or two columns: file and composition",
        )  # fmt: skip
        self.apply = pmui.Button(
            label="Apply compositions", variant="outlined", size="small", margin=(8, 0),
            on_click=lambda _: self.apply_compositions(self.compositions.value_input or self.compositions.value or ""),
        )  # fmt: skip
        drop = FileDrop(
            label="Or drop a CSV file with the columns file and composition", hint="", anywhere=False, most_files=1,
            on_files=self._read_file, on_refusal=self._say, sizing_mode="stretch_width", margin=(8, 0, 0, 0),
        )  # fmt: skip
        self.message = pmui.Alert(
            severity="info", object="", visible=False, sizing_mode="stretch_width", sx=ALERT_STYLE, margin=(8, 0)
        )
        self.note = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(4, 0))
        self.panel = pn.Column(
            pn.pane.HTML("<h2>All patterns</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0)),
            pn.pane.HTML(_HELP, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0),
            pn.Row(self.compositions, pn.Spacer(width=12), drop, sizing_mode="stretch_width", margin=0),
            self.apply, self.message,
            pn.Row(
                self.task.panel, pn.Spacer(width=12), self.identify.panel, sizing_mode="stretch_width",
                margin=(0, 0, 8, 0),
            ),
            self.table, self.note, self.downloads, sizing_mode="stretch_width", margin=16, visible=False,
        )  # fmt: skip
        self.table.on_edit(self._edited)
        self.table.param.watch(self._choose, "selection")
        session.param.watch(self._end_editing, "editing")

    def rows(self) -> list[BatchRow]:
        """All patterns in order, with predictions and phases so far."""
        rows = self.predictions.rows()
        found = self.search.found_each(row.sample.key for row in rows)
        self._concluded = {key: kept for key, kept in self._concluded.items() if key in found}
        return [replace(row, conclusion=self._conclusion(row, found[row.sample.key])) for row in rows]

    def _conclusion(self, row: BatchRow, found: SearchResult | None) -> Conclusion | None:
        if row.answer is None or found is None:
            return None
        kept = self._concluded.get(row.sample.key)
        if kept is None or kept[0] is not row.answer or kept[1] is not found:
            kept = (row.answer, found, self._conclude(row.sample.key, row.answer, found))
            self._concluded[row.sample.key] = kept
        return kept[2]

    def show(self) -> None:
        """Show the loaded patterns and their predictions so far; not while a cell is edited, which would close it."""
        if self.session.editing:
            self._late = True
            return
        self._late = False
        rows = self.rows()
        same = [row.sample.key for row in rows] == [row.sample.key for row in self._rows]
        self.panel.visible = bool(rows)
        if same:
            self._patch()
        else:
            self._rows = rows
            self.table.value = files.to_table(rows)
        self._selected = [number for number, row in enumerate(rows) if row.sample.key == self.session.chosen]
        self.table.selection = self._selected
        self._show_note()
        self.task.look()
        self.identify.look()

    def _patch(self) -> None:
        """Update changed rows only, which keeps the order, the scroll position and a cell being edited."""
        if self.session.editing:
            self._late = True
            return
        rows = self.rows()
        changed = [
            number
            for number, (new, old) in enumerate(zip(rows, self._rows, strict=False))
            if new.answer is not old.answer or new.formula != old.formula or new.conclusion is not old.conclusion
        ]
        self._rows = rows
        self._show_note()
        cells = {number: files.table_row(rows[number]) for number in changed}
        if cells and not self.table._models:  # noqa: SLF001 - patches before the first drawing do not reach the browser
            self.table.value = files.to_table(rows)
        elif cells:
            self.table.patch(
                {
                    name: [(number, row[place]) for number, row in cells.items()]
                    for place, name in enumerate(files.COLUMNS)
                }
            )

    def _show_note(self) -> None:
        """The whole note of the selected pattern, of which the table shows three lines."""
        row = next((row for row in self._rows if row.sample.key == self.session.chosen), None)
        text = "" if row is None else safe_message(files.note(row))
        named = "" if row is None else safe_text(row.sample.name)
        self.note.object = f"<p><b>Notes on {named}:</b> {text}</p>" if text else ""

    def _end_editing(self, _event: object = None) -> None:
        """Show what has changed while a cell was edited."""
        if not self.session.editing and self._late:
            self.show()

    # ----------------------------------------------------------------------------------------------- what the user does
    def _edited(self, event: TableEditEvent) -> None:
        """Store the composition typed in a row, and predict that row."""
        if event.column != "Composition" or event.row >= len(self._rows):
            return
        key = self._rows[event.row].sample.key
        self.session.change([key], formula=str(event.value or "").strip())
        self.predictions.ask(key)
        self._patch()

    def _identify(self) -> None:
        """Predict every pattern and search its phases, where that was not done yet."""
        self.search.start_all([row.sample.key for row in self.rows()], before=self._predict)

    def _predict(self, key: str) -> None:
        if not self.predictions.is_known(key):
            self.predictions.ask(key)

    def apply_compositions(self, text: str) -> None:
        """Set the compositions of a pasted column or table; predictions follow with the button, or one by one."""
        samples = [row.sample for row in self.predictions.rows()]
        try:
            column = read_compositions(text, [sample.name for sample in samples])
        except InputError as error:
            self._say(safe_message(error))
            return
        if column.ordered and self.table.sorters:
            self._undo_sorting()
            return
        with param.parameterized.batch_call_watchers(self.session):  # drawn once, and one action to undo
            for number, formula in column.formulas.items():
                self.session.change([samples[number].key], formula=formula)
        count = len(column.formulas)
        said = f"{count} composition{'' if count == 1 else 's'} set."
        if column.unknown:
            named, others = column.unknown[:5], len(column.unknown[5:])
            said += f" No pattern is called {', '.join(named)}" + (f" or {others} more." if others else ".")
        if column.unreadable:
            wrong = column.unreadable[0]
            further = f" and {len(column.unreadable) - 1} more" if len(column.unreadable) > 1 else ""
            said += f" Not a composition: {column.formulas[wrong]!r} of {samples[wrong].name}{further}."
        warned = bool(column.unknown or column.unreadable)
        self._say(safe_message(said), severity="warning" if warned else "success")
        self.show()

    def _undo_sorting(self) -> None:
        """Show the patterns in the order in which they were loaded, which is that of compositions without names."""
        self.table.sorters = []
        self.table.value = files.to_table(self._rows)
        self._say(
            "The table was sorted, and nothing was set. It is in the order of loading again: check that the "
            "compositions have the same order and apply them again, or paste two columns, file and composition.",
            severity="warning",
        )

    def _read_file(self, dropped: list[tuple[str, bytes]]) -> None:
        self.apply_compositions(dropped[0][1].decode("utf-8-sig", errors="replace"))

    def _say(self, text: str, *, severity: str = "error") -> None:
        self.message.param.update(object=plain_markdown(text), severity=severity, visible=True)

    def _choose(self, _event: object = None) -> None:
        """Select the pattern of a clicked row, once the browser has said whether the click opened an editor."""
        rows = self.table.selection
        if not rows or rows == self._selected or rows[0] >= len(self._rows):
            return  # not a click: the row of the chosen pattern, which may be another one by then
        clicked = self._rows[rows[0]].sample.key
        if pn.state.curdoc is None:
            self.session.chosen = clicked
        else:
            pn.state.curdoc.add_timeout_callback(lambda: self._open(clicked), _EDITOR_DELAY)

    def _open(self, key: str) -> None:
        if key in self.session.files:
            self.session.chosen = key

    def _hdf5(self) -> bytes:
        model = self.predictions.model()
        about = {
            "model": "" if model is None else model.label, "model_sha256": "" if model is None else model.digest,
            "versions": self.predictions.versions(),
        }  # fmt: skip
        return files.to_hdf5(self.rows(), about=about)
