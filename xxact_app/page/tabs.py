"""The tabs of the screens; a screen is built when its tab is first opened, and updates only while it is visible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import panel as pn
import panel_material_ui as pmui
from bokeh.model import DataModel

from xxact_app.screens.screen import Screen, TakesFiles
from xxact_app.session.session import Session
from xxact_app.ui.file_drop import MOST_FILES
from xxact_app.ui.safe_text import plain_markdown, safe_message
from xxact_app.ui.theme import NARROW
from xxact_core.errors import InputError

_OPENING = """
:host { display: block; }
p { margin: 0; padding: 48px 16px; text-align: center; color: var(--panel-on-background-color); }
p::before { content: ""; display: inline-block; width: 1.1em; height: 1.1em; margin-right: 0.6em;
  vertical-align: -0.2em; border: 3px solid color-mix(in srgb, currentColor 25%, transparent);
  border-top-color: currentColor; border-radius: 50%; animation: turn 1s linear infinite; }
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) { p::before { animation: none; } }
"""
"""Style of what a tab shows until its screen is built."""

_SENDING_MILLISECONDS = 20
"""Time for the choice of a tab to be sent before its screen is built [ms]."""

_TABS = {
    f"@media (max-width: {NARROW // 2}px)": {
        "& .MuiTab-root": {"minWidth": 0, "padding": "12px 5px", "fontSize": "0.78rem"},
    },
}  # fmt: skip
"""All five tabs fit on a phone."""


class ScreenTabs:
    """The tabs of all screens; `panel` holds them.

    Screens are built late because a page with few models loads faster, and because Bokeh traverses the whole document
    whenever a model is added or removed. Until then a tab shows that it is being opened, at once.

    Args:
        session: knows which screen is open.
        later: calls a function after a time [ms]; at once where there is no page.
        when_drawn: calls a function once the browser has drawn the page; at once where there is no page.
        makers: screens in the order of their tabs, each with the function that builds it. Where that fails, the tab
            shows the error, and the screen is built again when the tab is opened next.
    """

    def __init__(
        self,
        session: Session,
        makers: Mapping[type[Screen], Callable[[], Screen]],
        *,
        later: Callable[[Callable[[], None], int], object] = lambda call, _milliseconds: call(),
        when_drawn: Callable[[Callable[[], None]], object] = lambda call: call(),
    ) -> None:
        self.session, self._later = session, later
        self._makers = {screen.KEY: make for screen, make in makers.items()}
        self._keys = list(self._makers)
        self._made: dict[str, Screen] = {}
        self._places = {
            screen.KEY: pn.Column(_opening(screen.TITLE), sizing_mode="stretch_width", margin=0) for screen in makers
        }
        self.panel = pmui.Tabs(
            *((screen.TITLE, self._places[screen.KEY]) for screen in makers),
            active=self._keys.index(session.screen), sx=_TABS, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        # With each change, Panel marks all models inside with the page they belong to, to remove them later, which
        # took 0.14 s for each tab that was chosen; parts of a screen do so themselves when they are made.
        self.panel._patch_datamodel_ref = _mark_alone  # noqa: SLF001 - the only way: the browser knows no subclass
        self.panel.param.watch(lambda event: session.param.update(screen=self._keys[event.new]), "active")
        session.param.watch(self._choose, "screen")
        when_drawn(self._open)  # so that the page is there in half of the time

    def take_files(self, files: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Offer dropped files to the open screen; returns those that it has no use for."""
        screen = self._made.get(self.session.screen)
        return screen.take_files(files) if isinstance(screen, TakesFiles) else files

    def most_files(self) -> int:
        """Number of files that may be dropped on the open screen at a time."""
        screen = self._made.get(self.session.screen)
        return screen.MOST_FILES if isinstance(screen, TakesFiles) else MOST_FILES

    def _choose(self, _event: object = None) -> None:
        """Show the chosen tab; a screen that is not built yet is built once the page shows that it is being opened."""
        name = self.session.screen
        self.panel.active = self._keys.index(name)
        if name in self._made:
            self._open()
        else:
            self._later(self._open, _SENDING_MILLISECONDS)

    def _open(self) -> None:
        name = self.session.screen
        with pn.io.hold():
            try:
                screen = self._made.get(name) or self._makers[name]()
                shown = [screen.panel]
                self._made[name] = screen
            except InputError as error:
                shown = [pmui.Alert(object=plain_markdown(safe_message(error)), severity="error", margin=16)]
            for other, made in self._made.items():
                made.come_to_front(in_front=other == name)  # draw before the screen is added, which is faster
            if self._places[name].objects != shown:
                self._places[name].objects = shown


def _opening(title: str) -> pn.pane.HTML:
    """What a tab shows until its screen is built."""
    return pn.pane.HTML(
        f"<p role='status'>Opening {title} …</p>", stylesheets=[_OPENING], sizing_mode="stretch_width", margin=0
    )


def _mark_alone(props: DataModel, ref: str) -> None:
    """Mark the model of the tabs with the page it belongs to, but not the models inside."""
    mark = f"__ref:{ref}"
    if mark not in props.tags:
        props.tags.append(mark)
