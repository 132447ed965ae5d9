"""The training monitor widget."""

from __future__ import annotations

import time
from pathlib import Path

import panel as pn
import panel_material_ui as pmui

from xxact_app.screens.training import curves_view as training_curves
from xxact_app.screens.training import text as training_text
from xxact_app.screens.training.followed_runs import ENDED, FollowedRuns
from xxact_app.screens.training.run_curves import RunCurves
from xxact_app.session.session import Session
from xxact_app.ui.theme import TEXT_CSS
from xxact_app.widgets.display import MimeBundle, NotebookWidget, SessionSetting

POLL_MILLISECONDS = 500


class RunMonitor(NotebookWidget):
    """Progress and curves of one or more trainings, wherever they run.

    `state`, `step`, `steps` and `metrics` are those of the first run.
    """

    dark = SessionSetting()

    def __init__(self, *folders: str | Path) -> None:
        """Monitor run folders of `xxact train`, which need not exist yet.

        Raises:
            RecipeError: no folder is passed, or two have the same name.
        """
        self.runs = FollowedRuns([Path(folder) for folder in folders])
        session = Session(compared=list(self.runs.folders))
        self.curves = training_curves.CurvesPanel(session, self.runs)
        self.progress = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
        self.stop = pmui.Button(
            label="Stop", icon="stop", variant="outlined", size="small", margin=(8, 0),
            description="Stops after the current step and saves", on_click=self._stop,
        )  # fmt: skip
        self._timer: pn.io.PeriodicCallback | None = None
        self.refresh()
        self.show_panel(
            session, pn.Column(self.progress, self.stop, self.curves.panel, sizing_mode="stretch_width", margin=0)
        )

    def refresh(self) -> None:
        """Show new journal entries."""
        rows = self.runs.rows()
        with pn.io.hold():
            self.progress.object = "".join(training_text.progress(row, log="") for row in rows)
            self.stop.disabled = not any(row.can_stop for row in rows)
            self.curves.draw()

    def cancel(self) -> None:
        """Ask the runs to end after their current step with a snapshot, from which the same command continues.

        Raises:
            RecipeError: one of them is not running.
        """
        for name in self.runs.folders:
            self.runs.stop(name)
        self.refresh()

    def wait(self, *, seconds: float = 3600.0) -> str:
        """Wait until the runs have ended, at most `seconds`; returns the state of the first."""
        deadline = time.monotonic() + seconds
        while not self._ended and time.monotonic() < deadline:
            self._follow()
            time.sleep(POLL_MILLISECONDS / 1000)
        self._follow()
        return self.state

    @property
    def state(self) -> str:
        """`running`, `finished`, `cancelled` or `diverged`; empty before the start."""
        return self._first.state

    @property
    def step(self) -> int:
        """Current step of the first run."""
        return self._first.step

    @property
    def steps(self) -> int | None:
        """Total number of steps of the first run; None before the start."""
        return self._first.steps

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the last validation of the first run."""
        return {name: points[-1][1] for name, points in self._first.metrics.items()}

    @property
    def _first(self) -> RunCurves:
        return self.runs.curves(next(iter(self.runs.folders)))

    @property
    def _ended(self) -> bool:
        return all(self.runs.curves(name).state in ENDED for name in self.runs.folders)

    def _stop(self, _event: object = None) -> None:
        for row in self.runs.rows():
            if row.can_stop:
                self.runs.stop(row.key)
        self.refresh()

    def _follow(self) -> None:
        """Show new entries on the page, and stop polling after the end."""
        self.refresh()
        self.push()
        if self._ended and self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> MimeBundle:
        if self._timer is None and not self._ended:
            self._timer = pn.state.add_periodic_callback(self._follow, period=POLL_MILLISECONDS)
        return super()._repr_mimebundle_(include, exclude)
