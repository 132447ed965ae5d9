"""The Training screen: datasets, new trainings, and the progress and curves of runs."""

from __future__ import annotations

import panel as pn

from xxact_app.screens.training.curves_view import CurvesPanel
from xxact_app.screens.training.dataset_form import DatasetForm
from xxact_app.screens.training.recipe_form import TrainingForm
from xxact_app.screens.training.run_list import RunList
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_app.ui.theme import grid_css

POLL_MILLISECONDS = 300
_LAYOUT = grid_css("minmax(0, 1fr) 320px", ("main side",), narrow=("main", "side"))


class TrainingScreen:
    """Lists, starts and compares trainings; `panel` is the screen. It polls the disk only while it is visible."""

    def __init__(self, session: Session, store: TrainingStore) -> None:
        self.runs = RunList(session, store)
        self.curves = CurvesPanel(session, store)
        self.data = DatasetForm(session, store, built=self._refresh)
        self.form = TrainingForm(
            session, store, dataset=lambda: self.data.dataset.value or "", started=self._show_started
        )
        self._timer: pn.io.PeriodicCallback | None = None
        self.panel = pn.Column(
            pn.Column(
                self.runs.panel, self.curves.panel, css_classes=["area-main"], sizing_mode="stretch_width", margin=0
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
            self.form.poll()

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
