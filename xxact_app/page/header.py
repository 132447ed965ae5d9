"""The buttons of the header: undo, redo, save the session, and list of shortcuts."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from xxact_app.page.keyboard import PageKeyboard
from xxact_app.page.session_file import ENDING, LARGEST_CONTENT, session_to_file
from xxact_app.page.shortcuts import redo, undo
from xxact_app.samples.store import Store
from xxact_app.session.history import History
from xxact_app.session.session import Session
from xxact_app.ui.downloads import download_button
from xxact_app.ui.theme import NARROW

_LOOK = {
    "color": "white",
    "&.Mui-disabled": {"color": "rgba(255, 255, 255, 0.5)"},
    f"@media (max-width: {NARROW}px)": {
        "fontSize": 0, "minWidth": 40, "padding": "8px",
        "& .MuiButton-startIcon": {"margin": 0, "fontSize": "22px"},
    },
}  # fmt: skip
"""White on the header; on narrow pages only the icons are visible, and screen readers still read the labels."""


class HeaderButtons:
    """The buttons of the header; `panel` holds them."""

    def __init__(self, session: Session, store: Store, history: History, keys: PageKeyboard) -> None:
        self.session, self.store, self.history, self.keys = session, store, history, keys
        self.undo = _button("Undo", "undo", lambda: keys.notify(undo(history)))
        self.redo = _button("Redo", "redo", lambda: keys.notify(redo(history)))
        self.save = download_button(
            "Save session", f"session{ENDING}", lambda: session_to_file(session, store), icon="save", variant="text",
            sx=_LOOK, description=_SAVE_TOOLTIP,
        )  # fmt: skip
        self.list = _button("Shortcuts", "keyboard", keys.show_list)
        self.panel = pn.Row(
            self.undo,
            self.redo,
            self.save,
            self.list,
            margin=(0, 8, 0, 0),
            styles={"margin-left": "auto"},
            align="center",
        )
        history.param.watch(self._update, ["can_undo", "can_redo"])
        store.param.watch(self._update, "samples")
        self._update()

    def _update(self, *_events: object) -> None:
        self.undo.disabled, self.redo.disabled = not self.history.can_undo, not self.history.can_redo
        size = sum(len(sample.content) for sample in self.store.samples.values())
        too_large = size > LARGEST_CONTENT
        self.save.param.update(disabled=too_large, label="Too large to save" if too_large else "Save session")


_SAVE_TOOLTIP = "Save session: all files and settings in one file. Drop it on the page to restore the session."


def _button(label: str, icon: str, action: Callable[[], None]) -> pmui.Button:
    return pmui.Button(
        label=label, icon=icon, variant="text", size="small", margin=0, sx=_LOOK, on_click=lambda _event: action()
    )
