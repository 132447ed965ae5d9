"""A button that begins what takes a while, its progress, and the way to stop it."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from xxact_app.jobs.tasks import UnderWay
from xxact_app.ui.theme import TEXT_CSS

PERIOD = 300
"""Milliseconds between two looks at what is under way."""


class MakingPanel:
    """`panel` shows a button, and while something is under way its progress.

    `meanwhile` is called at each look while it is under way, `when_done` once at its end.
    """

    def __init__(
        self,
        *,
        label: str,
        start: Callable[[], None],
        current: Callable[[], UnderWay | None],
        when_done: Callable[[], None],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._start, self._current, self._when_done, self._meanwhile = start, current, when_done, meanwhile
        self._watched: UnderWay | None = None
        self._timer: pn.io.PeriodicCallback | None = None
        self.button = pmui.Button(label=label, variant="contained", size="small", margin=0, on_click=self._begin)
        self.stop = pmui.Button(
            label="Stop", variant="outlined", size="small", margin=0, visible=False, on_click=self._cancel
        )
        self.bar = pmui.LinearProgress(
            value=0, variant="determinate", label="Progress", sizing_mode="stretch_width", visible=False, margin=(8, 0)
        )
        self.words = pn.pane.HTML(
            "<p aria-live='polite'></p>", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0
        )
        self.panel = pn.Column(
            pn.FlexBox(self.button, self.stop, gap="8px", margin=0), self.bar, self.words,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    def look(self) -> None:
        """Show how far it is; called by a timer, and by whoever shows this panel anew."""
        making = self._current()
        under_way = making is not None and not making.finished
        with pn.io.hold():
            self.button.disabled = self.stop.visible = self.bar.visible = under_way
            self.bar.value = round(100 * making.share) if making is not None else 0
            text = making.text if making is not None and (under_way or making.error) else ""
            self.words.object = f"<p aria-live='polite'>{text}</p>"
            if under_way:
                self._watched = making
                self._meanwhile()
                self._keep_looking()
            elif making is not None and making is self._watched:
                self._watched = None
                self._stop_looking()
                self._when_done()
            else:
                self._stop_looking()

    def _begin(self, _event: object = None) -> None:
        self._start()
        self._watched = self._current()
        self.look()

    def _cancel(self, _event: object = None) -> None:
        making = self._current()
        if making is not None:
            making.cancel()

    def _keep_looking(self) -> None:
        if self._timer is None and pn.state.curdoc is not None:
            self._timer = pn.state.add_periodic_callback(self.look, period=PERIOD)

    def _stop_looking(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
