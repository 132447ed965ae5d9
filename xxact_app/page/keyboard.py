"""What belongs to the whole page: shortcuts and their list, the address, the way past the header, short messages."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import panel as pn
import param

from xxact_app.page.shortcuts import BY_KEY, SHORTCUTS, Reach
from xxact_app.session.url_state import IN_ADDRESS

_HERE = files(__package__)


class PageKeys(pn.custom.JSComponent):
    """Listens to the keyboard of the page, never while somebody types, and keeps the address up to date.

    The address is replaced and not added to, so that the way back leads out of the app and not through every choice.
    """

    shortcuts = param.List(
        [{"keys": list(one.keys), "words": one.words, "group": one.group, "clicks": one.clicks} for one in SHORTCUTS],
        item_type=dict,
    )
    query = param.String(doc="Query of the address.")
    names = param.List(list(IN_ADDRESS), doc="Arguments of the address that are ours.")
    said = param.Dict({"number": 0, "text": ""}, doc="What was done last; the number tells two equal texts apart.")

    _esm = _HERE / "keyboard.js"
    _stylesheets = [_HERE / "keyboard.css"]  # noqa: RUF012 - as Panel declares it

    def __init__(self, *, reach: Reach, **params: object) -> None:
        super().__init__(**params)
        self._reach = reach

    def say(self, text: str) -> None:
        """Show a short text for a moment, and have it read out."""
        if text:
            self.said = {"number": self.said["number"] + 1, "text": text}

    def show_list(self) -> None:
        """Show the list of shortcuts."""
        self._send_msg({"kind": "list"})

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """A key was pressed; one that nobody knows does nothing."""
        shortcut = BY_KEY.get(str(msg.get("key")))
        if shortcut is not None and shortcut.act is not None:
            with pn.io.hold():
                self.say(shortcut.act(self._reach))
