"""A periodic table in which elements have one of four states, for the mouse and the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

import panel as pn
import param

from xxact_core.compositions.element_table import ATOMIC_NUMBERS

_HERE = files(__package__)

STATES = ("must", "may", "one_of", "never")
"""What is known of an element: present, possible, one of several of which one is present, or absent."""


class PeriodicTable(pn.custom.JSComponent):
    """A periodic table; `states` says what is known of each element.

    Args:
        on_change: called with the symbol and its new state, empty where it was cleared.
    """

    states = param.Dict(default={}, doc="State by symbol; elements without one are not in it.")
    guessed = param.List(default=[], item_type=str, doc="Symbols whose state is a guess.")
    changed = param.Dict({"number": 0, "symbol": "", "state": ""}, doc="What the user changed last.")

    _esm = _HERE / "periodic_table.js"
    _stylesheets = [_HERE / "periodic_table.css"]  # noqa: RUF012 - as Panel declares it

    def __init__(self, *, on_change: Callable[[str, str], None], **params: object) -> None:
        super().__init__(**params)
        self._on_change = on_change
        self.param.watch(self._take, "changed")

    def _take(self, event: param.parameterized.Event) -> None:
        """Pass a change on; what the browser sends is not trusted."""
        symbol, state = event.new.get("symbol"), event.new.get("state")
        if symbol in ATOMIC_NUMBERS and (state == "" or state in STATES):
            self._on_change(symbol, state)
