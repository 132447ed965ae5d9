"""The table of predictions of all patterns, in which compositions are edited and a pattern is selected."""

from __future__ import annotations

import panel as pn
from bokeh.models import NumberFormatter, StringFormatter
from panel.models.tabulator import TableEditEvent

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.screens.prediction import export as files
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.session.session import Session
from xxact_app.ui.downloads import download_row
from xxact_app.ui.theme import TEXT_CSS

_WIDTHS = {"File": 210, "Composition": 140, "Notes": 420, "Verdict": 190}
_FORMATS = {"Probability": "0 %", "Group probability": "0 %", "Energy": "0.00", "Gap": "0.00"}
_HELP = (
    "<p class='muted'>Click a composition to edit it, a row to show its prediction above, a column title to sort. "
    "Patterns marked “not run” are predicted with the button below or when they are selected.</p>"
)


class BatchTable:
    """The table of all patterns; `panel` holds it and its buttons."""

    def __init__(self, session: Session, predictions: PredictionStore) -> None:
        self.session, self.predictions = session, predictions
        self._rows = predictions.rows()
        columns = list(files.COLUMNS)
        self.table = pn.widgets.Tabulator(
            files.to_table(self._rows), show_index=False, selectable=1, theme="materialize", layout="fit_data",
            titles=files.TITLES, widths=_WIDTHS, pagination="local", page_size=20, sizing_mode="stretch_width",
            margin=0, label="Predictions for all patterns",
            editors={**dict.fromkeys(columns), "Composition": "input"},
            formatters={
                **{name: StringFormatter() for name in columns if name not in files.NUMBERS},
                **{name: NumberFormatter(format=text, nan_format="–") for name, text in _FORMATS.items()},
            },
        )  # fmt: skip
        self.task = TaskPanel(
            label="Predict all patterns", start=predictions.start, current=predictions.batch, when_done=self._patch,
            meanwhile=self._patch,
        )  # fmt: skip
        self.downloads = download_row(
            {
                "Table as CSV": ("predictions.csv", lambda: files.to_csv(self.predictions.rows())),
                "Table as HDF5": ("predictions.h5", self._hdf5),
            }
        )
        self.panel = pn.Column(
            pn.pane.HTML("<h2>All patterns</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0)),
            pn.pane.HTML(_HELP, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0),
            self.task.panel, self.table, self.downloads, sizing_mode="stretch_width", margin=16, visible=False,
        )  # fmt: skip
        self.table.on_edit(self._edited)
        self.table.param.watch(self._choose, "selection")

    def show(self) -> None:
        """Show the loaded patterns and their predictions so far."""
        rows = self.predictions.rows()
        same = [row.sample.key for row in rows] == [row.sample.key for row in self._rows]
        self.panel.visible = bool(rows)
        if same:
            self._patch()
        else:
            self._rows = rows
            self.table.value = files.to_table(rows)
        self.table.selection = [number for number, row in enumerate(rows) if row.sample.key == self.session.chosen]
        self.task.look()

    def _patch(self) -> None:
        """Update changed rows only, which keeps the order, the scroll position and a cell being edited."""
        rows = self.predictions.rows()
        changed = [
            number
            for number, (new, old) in enumerate(zip(rows, self._rows, strict=False))
            if new.answer is not old.answer or new.formula != old.formula
        ]
        self._rows = rows
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

    # ----------------------------------------------------------------------------------------------- what the user does
    def _edited(self, event: TableEditEvent) -> None:
        """Store the composition typed in a row, and predict that row."""
        if event.column != "Composition" or event.row >= len(self._rows):
            return
        key = self._rows[event.row].sample.key
        self.session.change([key], formula=str(event.value or "").strip())
        self.predictions.ask(key)
        self._patch()

    def _choose(self, _event: object = None) -> None:
        if self.table.selection and self.table.selection[0] < len(self._rows):
            self.session.chosen = self._rows[self.table.selection[0]].sample.key

    def _hdf5(self) -> bytes:
        model = self.predictions.model()
        about = {
            "model": "" if model is None else model.label, "model_sha256": "" if model is None else model.digest,
            "versions": self.predictions.versions(),
        }  # fmt: skip
        return files.to_hdf5(self.predictions.rows(), about=about)
