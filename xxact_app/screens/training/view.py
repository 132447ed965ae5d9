"""The Training screen: datasets, new trainings, and the progress and curves of runs."""

from __future__ import annotations

from typing import ClassVar

import panel as pn

from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.screens.training import export
from xxact_app.screens.training.curves_view import CurvesPanel
from xxact_app.screens.training.dataset_form import DatasetForm
from xxact_app.screens.training.recipe_form import TrainingForm
from xxact_app.screens.training.run_list import RunList
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.theme import grid_css

POLL_MILLISECONDS = 300
_LAYOUT = grid_css("minmax(0, 1fr) 320px", ("main side",), narrow=("main", "side"))


class TrainingScreen:
    """Lists, starts and compares trainings; `panel` is the screen. It polls the disk only while it is visible."""

    KEY: ClassVar[str] = "training"
    TITLE: ClassVar[str] = "Training"

    def __init__(self, session: Session, store: TrainingStore) -> None:
        self.runs = RunList(session, store)
        self.curves = CurvesPanel(session, store)
        self.data = DatasetForm(session, store, built=self._refresh)
        self.form = TrainingForm(
            session, store, dataset=lambda: self.data.dataset.value or "", started=self._show_started
        )
        self.python = PythonCode()
        self.exports = pn.Column(
            download_row(standard_files(self, "curves")), self.python.panel, sizing_mode="stretch_width", margin=0,
            visible=False,
        )  # fmt: skip
        self._timer: pn.io.PeriodicCallback | None = None
        self.panel = pn.Column(
            pn.Column(
                self.runs.panel, self.curves.panel, self.exports, css_classes=["area-main"],
                sizing_mode="stretch_width", margin=0,
            ),
            pn.Column(
                self.data.panel, self.form.panel, css_classes=["area-side"], sizing_mode="stretch_width", margin=0
            ),
            stylesheets=[_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    def come_to_front(self, *, in_front: bool) -> None:
        """Poll while the screen is visible."""
        if in_front and self._timer is None:
            self._refresh()
            self._timer = pn.state.add_periodic_callback(self.poll, period=POLL_MILLISECONDS)
        elif not in_front and self._timer is not None:
            self._timer.stop()
            self._timer = None

    def poll(self) -> None:
        """Show changes."""
        with pn.io.hold():
            if self.runs.poll():
                self._update_choices()
            self.curves.draw()
            self.exports.visible = self.curves.panel.visible
            self.python.show(self.python_code())
            self.form.poll()

    # -------------------------------------------------------------------------------------------------------- the files
    def to_csv(self) -> bytes:
        """All curves of the selected runs."""
        runs = self.curves.runs()
        return export.to_csv(runs) if runs else b""

    def to_picture(self, kind: PictureKind) -> bytes:
        """Loss and validation metric of the selected runs."""
        return export.to_picture(self.curves.lines(), kind=kind) if self.curves.runs() else b""

    def python_code(self) -> str:
        """A program that reads the losses of the selected runs."""
        return export.python_code({name: run.folder for name, run in self.curves.runs().items()})

    def _refresh(self) -> None:
        self._update_choices()
        self.poll()

    def _update_choices(self) -> None:
        """Update the lists of datasets and runs."""
        self.data.refresh()
        self.form.offer_runs()

    def _show_started(self, key: str) -> None:
        self._refresh()
        self.runs.select(key)
