"""The browser side of the page: keyboard shortcuts and their list, page address, skip link and notifications."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import panel as pn
import param

from xxact_app.page.shortcuts import BY_KEY, SHORTCUTS, ShortcutContext
from xxact_app.session.session import SCREENS
from xxact_app.session.url_state import IN_ADDRESS

_HERE = files(__package__)


class PageKeyboard(pn.custom.JSComponent):
    """Handles keyboard shortcuts, except while the user types, and keeps the page address up to date.

    Opening a screen adds an entry to the browser history, so that “Back” leads to the screen before; other settings
    replace the present entry.
    """

    shortcuts = param.List(
        [
            {"keys": list(one.keys), "words": one.description, "group": one.group, "clicks": one.clicks}
            for one in SHORTCUTS
        ],
        item_type=dict,
    )
    query = param.String(doc="Query of the page address.")
    names = param.List(list(IN_ADDRESS), doc="Arguments of the page address that the app sets.")
    editing = param.Boolean(default=False, doc="Whether a cell of a table is being edited.")
    screens = param.List(list(SCREENS), item_type=str, doc="The screens; the first one is open where none is named.")
    notice = param.Dict({"number": 0, "text": ""}, doc="Last notification; the number distinguishes equal texts.")

    _esm = _HERE / "keyboard.js"
    _stylesheets = [_HERE / "keyboard.css"]  # noqa: RUF012 - as Panel declares it

    def __init__(self, *, context: ShortcutContext, **params: object) -> None:
        super().__init__(**params)
        self._context = context
        self.param.watch(lambda event: context.session.param.update(editing=event.new), "editing")

    def notify(self, text: str) -> None:
        """Show a notification for a few seconds, also to screen readers."""
        if text:
            self.notice = {"number": self.notice["number"] + 1, "text": text}

    def show_list(self) -> None:
        """Show the list of shortcuts."""
        self._send_msg({"kind": "list"})

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Run the shortcut of a pressed key, or open the screen of “Back”; anything unknown is ignored."""
        if msg.get("screen") in SCREENS:
            with pn.io.hold():
                self._context.session.screen = str(msg["screen"])
            return
        shortcut = BY_KEY.get(str(msg.get("key")))
        if shortcut is not None and shortcut.act is not None:
            with pn.io.hold():
                self.notify(shortcut.act(self._context))
