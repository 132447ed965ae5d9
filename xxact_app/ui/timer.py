"""Functions that a page calls again and again, a little later, or when another thread asks for it."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
from bokeh.document import Document


class Timer:
    """Calls a function periodically while it is running, in the page in which it was started.

    In place of `pn.state.add_periodic_callback`: until the browser reports that the page is ready, that one reschedules
    itself without a pause, and each of its calls marks the server as busy on the pages of all visitors.

    Args:
        call: the function.
        period: time between two calls [ms].
    """

    def __init__(self, call: Callable[[], object], *, period: int) -> None:
        self._call, self._period = call, period
        self._document: Document | None = None
        self._callback: object = None
        self.running = False

    def start(self) -> None:
        """Start, unless it is running; without a page nothing is called."""
        if self.running:
            return
        self.running, self._document = True, pn.state.curdoc
        if self._document is not None:
            self._callback = self._document.add_periodic_callback(self._call, self._period)

    def stop(self) -> None:
        """Stop, if it is running."""
        if self.running and self._document is not None:
            self._document.remove_periodic_callback(self._callback)
        self.running, self._document, self._callback = False, None, None


def soon(call: Callable[[], None]) -> None:
    """Call a function once the present changes are on their way to the browser; at once where there is no page."""
    if pn.state.curdoc is None:
        call()
    else:
        pn.state.curdoc.add_next_tick_callback(call)


def from_any_thread(call: Callable[[], None]) -> Callable[[], object]:
    """A function for any thread, which calls this one in the present page; not where there is none or it closed."""
    document = pn.state.curdoc
    if document is None:
        return lambda: None
    served = document.session_context is not None

    def ask() -> None:
        context = document.session_context
        if not served or (context is not None and not context.destroyed):
            document.add_next_tick_callback(call)

    return ask
