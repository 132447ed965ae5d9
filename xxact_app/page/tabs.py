"""The tabs of the screens; a screen is built when its tab is first opened, and updates only while it is visible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import panel as pn
import panel_material_ui as pmui

from xxact_app.screens.screen import Screen
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import plain_markdown, safe_message
from xxact_app.ui.theme import NARROW
from xxact_core.errors import InputError

_TABS = {
    f"@media (max-width: {NARROW // 2}px)": {
        "& .MuiTab-root": {"minWidth": 0, "padding": "12px 5px", "fontSize": "0.78rem"},
    },
}  # fmt: skip
"""All five tabs fit on a phone."""


class ScreenTabs:
    """The tabs of all screens; `panel` holds them.

    Screens are built late because a page with few models loads faster, and because Bokeh traverses the whole document
    whenever a model is added or removed.

    Args:
        session: knows which screen is open.
        makers: screens in the order of their tabs, each with the function that builds it. Where that fails, the tab
            shows the error, and the screen is built again when the tab is opened next.
    """

    def __init__(self, session: Session, makers: Mapping[type[Screen], Callable[[], Screen]]) -> None:
        self.session = session
        self._makers = {screen.KEY: make for screen, make in makers.items()}
        self._keys = list(self._makers)
        self._made: dict[str, Screen] = {}
        self._places = {name: pn.Column(sizing_mode="stretch_width", margin=0) for name in self._keys}
        self.panel = pmui.Tabs(
            *((screen.TITLE, self._places[screen.KEY]) for screen in makers),
            active=self._keys.index(session.screen), sx=_TABS, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.panel.param.watch(lambda event: session.param.update(screen=self._keys[event.new]), "active")
        session.param.watch(self._open, "screen")
        self._open()

    def _open(self, _event: object = None) -> None:
        name = self.session.screen
        try:
            screen = self._made.get(name) or self._makers[name]()
            shown = [screen.panel]
            self._made[name] = screen
        except InputError as error:
            shown = [pmui.Alert(object=plain_markdown(safe_message(error)), severity="error", margin=16)]
        for other, made in self._made.items():
            made.come_to_front(in_front=other == name)  # draw before the screen is added to the page, which is faster
        if self._places[name].objects != shown:
            self._places[name].objects = shown
        self.panel.active = self._keys.index(name)
