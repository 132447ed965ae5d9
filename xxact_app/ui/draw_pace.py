"""The pace at which a page draws: updates that can wait are sent once the browser has drawn those before."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import panel as pn
import param

_HERE = files(__package__)

LEAST_SECONDS = 1.0
"""Time between two live updates [s]."""

LOST_SECONDS = 10.0
"""Time after which an update counts as drawn although the browser has not said so [s]."""


class DrawPace(pn.custom.JSComponent):
    """Asks the browser to say when it has drawn an update, so that updates never queue up before the user's clicks.

    Args:
        clock: time [s].
    """

    asked = param.Integer(default=0, doc="Number of the last update.")

    _esm = _HERE / "draw_pace.js"

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, **params: object) -> None:
        super().__init__(**params)
        self._clock = clock
        self._drawn = 0
        self._since = float("-inf")
        self._waiting: dict[int, Callable[[], None]] = {}

    @property
    def ready(self) -> bool:
        """Whether another update may be sent; always where there is no page."""
        if pn.state.curdoc is None:
            return True
        spent = self._clock() - self._since
        return spent >= (LEAST_SECONDS if self._drawn >= self.asked else LOST_SECONDS)

    def sent(self) -> None:
        """An update was sent."""
        self._since = self._clock()
        self.asked += 1

    def when_drawn(self, call: Callable[[], None]) -> None:
        """Call a function once the browser has drawn the present changes; at once where there is no page."""
        document = pn.state.curdoc
        if document is None:
            call()
            return
        number = self.asked + 1
        self._waiting[number] = call
        document.add_timeout_callback(lambda: self._go_on(number), round(1000 * LOST_SECONDS))
        self.sent()

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Take the number of the update that the browser has drawn."""
        number = msg.get("drawn")
        if type(number) is int and self._drawn < number <= self.asked:
            self._drawn = number
            self._go_on(number)

    def _go_on(self, number: int) -> None:
        """Call the functions that wait for an update up to this one."""
        for waiting in sorted(self._waiting):
            if waiting <= number:
                self._waiting.pop(waiting)()
