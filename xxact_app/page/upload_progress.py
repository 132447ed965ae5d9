"""Reading of many files in slices, so that the page stays responsive, with progress, time left and a stop button."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

import panel as pn
import panel_material_ui as pmui

from xxact_app.jobs.progress import Progress
from xxact_app.ui.theme import PROGRESS_STYLE, TEXT_CSS
from xxact_core.errors import InputError

SLICE = 0.3
"""Time [s] of work between two event loop iterations."""


@dataclass(frozen=True)
class _Work:
    """Steps that yield how many of `total` files are done; `what` is the beginning of the status text."""

    steps: Generator[int, None, None]
    total: int
    what: str
    began: float


class UploadProgress:
    """Works through uploads one after another; `panel` is visible while one takes longer than a slice."""

    def __init__(self, *, on_error: Callable[[InputError], None]) -> None:
        self._on_error = on_error
        self._queue: deque[_Work] = deque()
        self._waiting = False
        self.bar = pmui.LinearProgress(
            value=0,
            variant="determinate",
            label="Progress",
            sx=PROGRESS_STYLE,
            sizing_mode="stretch_width",
            margin=(8, 0),
        )
        self.status = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
        self.stop = pmui.Button(label="Stop", variant="outlined", size="small", margin=(4, 0), on_click=self._stop)
        self.panel = pn.Column(
            self.bar, self.status, self.stop, sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip

    def begin(self, steps: Generator[int, None, None], *, total: int, what: str) -> None:
        """Queue steps; they start at once where the queue is empty."""
        self._queue.append(_Work(steps, total, what, time.monotonic()))
        if not self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        """Work for one slice, or to the end where there is no page."""
        self._waiting, document = False, pn.state.curdoc
        until = time.monotonic() + SLICE if document is not None else float("inf")
        with pn.io.hold():
            while self._queue:
                work = self._queue.popleft()
                done = self._advance(work, until=until)
                if done is not None:
                    self._queue.appendleft(work)
                    self._show(work, done)
                    self._waiting = True
                    document.add_next_tick_callback(self._go_on)
                    return
            self.panel.visible = False

    def _advance(self, work: _Work, *, until: float) -> int | None:
        """Work until a time; returns how many files are done, or None where all are."""
        try:
            for done in work.steps:
                if time.monotonic() > until:
                    return done
        except InputError as error:
            self._on_error(error)
        return None

    def _show(self, work: _Work, done: int) -> None:
        spent = time.monotonic() - work.began
        share = done / work.total
        progress = Progress(share, f"{work.what} {done} of {work.total} files", spent / share - spent)
        self.bar.value = round(100 * share)
        self.status.object = f"<p role='status'>{progress}</p>"
        self.panel.visible = True

    def _stop(self, _event: object = None) -> None:
        """Stop the current work and everything queued."""
        with pn.io.hold():
            for work in self._queue:
                work.steps.close()
            self._queue.clear()
            self.panel.visible = False
