"""The Training screen: datasets, new trainings, and the progress and curves of runs."""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar

import panel as pn

from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.screens.training import export
from xxact_app.screens.training.curves_view import CurvesPanel
from xxact_app.screens.training.dataset_form import MOST_DROPPED, DatasetForm
from xxact_app.screens.training.recipe_form import TrainingForm
from xxact_app.screens.training.run_list import RunList
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.draw_pace import DrawPace
from xxact_app.ui.theme import grid_css
from xxact_app.ui.timer import Timer, soon
from xxact_core.structures.source_files import file_kind

POLL_MILLISECONDS = 400
"""Polling interval of the states of jobs [ms]; curves and progress are drawn at the pace of the browser."""

_LAYOUT = grid_css("minmax(0, 1fr) 320px", ("main side",), narrow=("main", "side"))


class TrainingScreen:
    """Lists, starts and compares trainings; `panel` is the screen. It polls the disk only while it is visible."""

    KEY: ClassVar[str] = "training"
    TITLE: ClassVar[str] = "Training"
    MOST_FILES: ClassVar[int] = MOST_DROPPED

    def __init__(self, session: Session, store: TrainingStore, *, pace: DrawPace | None = None) -> None:
        self.pace = pace or DrawPace()
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
        self.side = pn.Column(css_classes=["area-side"], sizing_mode="stretch_width", margin=0)
        self.timer = Timer(self.poll, period=POLL_MILLISECONDS)
        self.panel = pn.Column(
            pn.Column(
                self.pace, self.runs.panel, self.curves.panel, self.exports, css_classes=["area-main"],
                sizing_mode="stretch_width", margin=0,
            ),
            self.side, stylesheets=[_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    def come_to_front(self, *, in_front: bool) -> None:
        """Poll while the screen is visible."""
        if in_front and not self.timer.running:
            self._refresh()
            self.timer.start()
            soon(self._complete)
        elif not in_front:
            self.timer.stop()

    def _complete(self) -> None:
        """Add the forms, once the runs are on their way to the browser."""
        if not self.side.objects:
            self.side.objects = [self.data.panel, self.form.panel]

    def poll(self) -> None:
        """Show new states of jobs at once, and progress once the browser has drawn the previous."""
        live = self.pace.ready
        with pn.io.hold():
            changed = self.runs.poll(live=live)
            if changed:
                self._update_choices()
            if changed or live:
                drawn = self.curves.draw()
                self.exports.visible = self.curves.panel.visible
                self.python.show(self.python_code())
                if drawn or self.runs.moved:
                    self.pace.sent()
            self.form.poll()

    def take_files(self, files: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Take structures for a new dataset; returns the other files."""
        others = [file for file in files if file_kind(PurePath(file[0])) is None]
        if len(others) < len(files):
            self.data.take_structures([file for file in files if file_kind(PurePath(file[0])) is not None])
        return others

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
