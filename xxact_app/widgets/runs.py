"""The widget of trainings: their journals, followed while they grow."""

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
from xxact_app.widgets.display import Choice, MimeBundle, NotebookWidget

LOOK_MILLISECONDS = 500


class RunMonitor(NotebookWidget):
    """Follows the journals of one training or several, wherever they run; several are compared.

    `state`, `step`, `steps` and `metrics` are those of the first.
    """

    dark = Choice()

    def __init__(self, *folders: str | Path) -> None:
        """Take run folders of `xxact train`, which may come later.

        Raises:
            RecipeError: none is given, or two have one name.
        """
        self.runs = FollowedRuns([Path(folder) for folder in folders])
        session = Session(compared=list(self.runs.folders))
        self.curves = training_curves.CurvesPanel(session, self.runs)
        self.progress = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
        self.stop = pmui.Button(
            label="Stop", icon="stop", variant="outlined", size="small", margin=(8, 0),
            description="Ends after this step and saves", on_click=self._stop,
        )  # fmt: skip
        self._timer: pn.io.PeriodicCallback | None = None
        self.look()
        self.show_panel(
            session, pn.Column(self.progress, self.stop, self.curves.panel, sizing_mode="stretch_width", margin=0)
        )

    def look(self) -> None:
        """Show what is new."""
        rows = self.runs.rows()
        with pn.io.hold():
            self.progress.object = "".join(training_text.progress(row, log="") for row in rows)
            self.stop.disabled = not any(row.can_stop for row in rows)
            self.curves.draw()

    def cancel(self) -> None:
        """Ask the runs to end after their step, with a snapshot; the same command goes on from there.

        Raises:
            RecipeError: one of them is not running.
        """
        for name in self.runs.folders:
            self.runs.stop(name)
        self.look()

    def wait(self, *, seconds: float = 3600.0) -> str:
        """Follow the runs until they have ended, at most so long [s]; the state of the first."""
        deadline = time.monotonic() + seconds
        while not self._ended and time.monotonic() < deadline:
            self._follow()
            time.sleep(LOOK_MILLISECONDS / 1000)
        self._follow()
        return self.state

    @property
    def state(self) -> str:
        """`running`, `finished`, `cancelled` or `diverged`; empty before it has begun."""
        return self._first.state

    @property
    def step(self) -> int:
        """The step that the first run is at."""
        return self._first.step

    @property
    def steps(self) -> int | None:
        """Steps that the first run takes in all; None before it has begun."""
        return self._first.steps

    @property
    def metrics(self) -> dict[str, float]:
        """What the last validation of the first run has measured."""
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
        self.look()

    def _follow(self) -> None:
        """Show what is new, here and in the page; after the end there is nothing more to look for."""
        self.look()
        self.push()
        if self._ended and self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> MimeBundle:
        if self._timer is None and not self._ended:
            self._timer = pn.state.add_periodic_callback(self._follow, period=LOOK_MILLISECONDS)
        return super()._repr_mimebundle_(include, exclude)
