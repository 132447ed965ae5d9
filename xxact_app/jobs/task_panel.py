"""A button that starts a background task, its progress, and a button that stops it."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from xxact_app.jobs.progress import Progress
from xxact_app.jobs.tasks import BackgroundTask
from xxact_app.ui.theme import PROGRESS_STYLE, TEXT_CSS
from xxact_app.ui.timer import Timer, from_any_thread

PERIOD = 300
"""Polling interval of the task [ms]."""


class TaskPanel:
    """`panel` shows a button, and while the task is active its progress.

    Args:
        label: of the button.
        start: starts the task.
        current: the task that is active or has ended, if there is one.
        when_done: called once at the end of the task.
        meanwhile: called at each poll of an active task.
        stop: called by the button that stops the task; by default it is cancelled.
        variant: of the button, as in Material UI.
    """

    def __init__(
        self,
        *,
        label: str,
        start: Callable[[], None],
        current: Callable[[], BackgroundTask | None],
        when_done: Callable[[], None],
        meanwhile: Callable[[], None] = lambda: None,
        stop: Callable[[], None] | None = None,
        variant: str = "contained",
    ) -> None:
        self._start, self._current, self._when_done, self._meanwhile = start, current, when_done, meanwhile
        self._stop = stop
        self._watched: BackgroundTask | None = None
        self._followed: BackgroundTask | None = None
        self._timer = Timer(self.look, period=PERIOD)
        self.button = pmui.Button(label=label, variant=variant, size="small", margin=0, on_click=self._begin)
        self.stop = pmui.Button(
            label="Stop", variant="outlined", size="small", margin=0, visible=False, on_click=self._cancel
        )
        self.bar = pmui.LinearProgress(
            value=0,
            variant="determinate",
            label="Progress",
            sx=PROGRESS_STYLE,
            sizing_mode="stretch_width",
            visible=False,
            margin=(8, 0),
        )
        self.status = pn.pane.HTML(
            "<p aria-live='polite'></p>", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0
        )
        self.panel = pn.Column(
            pn.FlexBox(self.button, self.stop, gap="8px", margin=0), self.bar, self.status,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    def look(self) -> None:
        """Show the progress; called by a timer, and when the panel is shown again."""
        task = self._current()
        active = task is not None and task.active
        with pn.io.hold():
            self.button.disabled = self.stop.visible = self.bar.visible = active
            progress = Progress() if task is None else task.progress
            self.bar.value = round(100 * (progress.share or 0))
            text = str(progress) if task is not None and (active or task.reason) else ""
            self.status.object = f"<p aria-live='polite'>{text}</p>"
            if task is not None and active:
                if task is not self._followed:
                    task.call_at_end(from_any_thread(self.look))  # rather than at the next poll
                self._watched = self._followed = task
                self._meanwhile()
                self._timer.start()
            elif task is not None and task is self._watched:
                self._watched = self._followed = None
                self._timer.stop()
                self._when_done()
            else:
                self._timer.stop()

    def _begin(self, _event: object = None) -> None:
        self._start()
        self._watched = self._current()
        self.look()

    def _cancel(self, _event: object = None) -> None:
        task = self._current()
        if self._stop is not None:
            self._stop()
        elif task is not None:
            task.cancel()
