"""The tabs of the screens; a screen is built when its tab is first opened, and updates only while it is visible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import panel as pn
import panel_material_ui as pmui

from xxact_app.session.session import SCREENS, Session
from xxact_app.ui.safe_text import plain_markdown, safe_message
from xxact_app.ui.theme import NARROW
from xxact_core.errors import InputError

_TABS = {
    f"@media (max-width: {NARROW // 2}px)": {
        "& .MuiTab-root": {"minWidth": 0, "padding": "12px 5px", "fontSize": "0.78rem"},
    },
}  # fmt: skip
"""All five tabs fit on a phone."""


class Screen(Protocol):
    """The interface of a screen."""

    panel: pn.viewable.Viewable

    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible."""


class ScreenTabs:
    """The tabs of all screens; `panel` holds them.

    Screens are built late because a page with few models loads faster, and because Bokeh traverses the whole document
    whenever a model is added or removed.

    makers: name of a screen → function that builds it. Where that fails, the tab shows the error, and the screen is
    built again when the tab is opened next.
    """

    def __init__(self, session: Session, makers: Mapping[str, Callable[[], Screen]]) -> None:
        self.session, self._makers = session, dict(makers)
        self._made: dict[str, Screen] = {}
        self._places = {name: pn.Column(sizing_mode="stretch_width", margin=0) for name in SCREENS}
        self.panel = pmui.Tabs(
            *((name.capitalize(), place) for name, place in self._places.items()),
            active=SCREENS.index(session.screen), sx=_TABS, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.panel.param.watch(lambda event: session.param.update(screen=SCREENS[event.new]), "active")
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
        self.panel.active = SCREENS.index(name)
