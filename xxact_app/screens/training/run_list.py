"""The list of dataset builds and trainings, with progress and actions."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from xxact_app.library.models import SHIPPED, run_key
from xxact_app.screens.training import text as words
from xxact_app.screens.training.rows import RunRow
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_app.ui.formatting import duration, percent
from xxact_app.ui.safe_text import plain_markdown, safe_message
from xxact_app.ui.theme import ALERT_STYLE, TEXT_CSS
from xxact_core.errors import InputError

_TITLES = {"name": "Name", "kind": "Type", "state": "State", "share": "Done", "left": "Time left", "status": "Progress"}
_WIDTHS = {"name": 180, "kind": 90, "state": 100, "share": 70, "left": 100, "status": 420}
_KINDS = {"build": "dataset", "train": "training"}
_MOST_DETAILED = 4
_CSS = """
progress { appearance: none; width: 100%; height: 8px; border: 0; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, currentColor 18%, transparent); }
progress::-webkit-progress-bar { background: transparent; }
progress::-webkit-progress-value { background: var(--panel-primary-color); }
progress::-moz-progress-bar { background: var(--panel-primary-color); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; }
h3 { margin-top: 8px; }
"""


class RunList:
    """The table of builds and trainings, with its buttons; `panel` holds both."""

    def __init__(self, session: Session, store: TrainingStore) -> None:
        self.session, self.store = session, store
        self.rows: list[RunRow] = []
        self._keys: list[str] = []
        self.moved = False
        """Whether the last poll has shown anything new."""
        self.table = pn.widgets.Tabulator(
            _frame([]), show_index=False, titles=_TITLES, widths=_WIDTHS, layout="fit_data",
            theme="materialize", selectable="checkbox", sortable=False, disabled=True, max_height=320,
            sizing_mode="stretch_width", margin=0,
            label="Datasets and trainings", visible=False,
        )  # fmt: skip
        self.stop = self._button("Stop", "stop", self._stop)
        self.resume = self._button("Resume", "play_arrow", self._resume)
        self.use = self._button("Use this model", "check", self._use)
        self.remove = self._button("Delete", "delete", self._ask_to_remove, color="error")
        self.shipped = self._button("Use the shipped model", "undo", self._use_shipped)
        self.shipped.visible = False
        self.confirm = pmui.Button(
            label="Delete permanently",
            variant="contained",
            color="error",
            size="small",
            margin=0,
            on_click=self._remove,
        )
        self.cancel = pmui.Button(
            label="Cancel", variant="text", size="small", margin=0, on_click=self._hide_confirmation
        )
        self.confirmation = pn.FlexBox(self.confirm, self.cancel, gap="8px", margin=(8, 0), visible=False)
        self.message = pmui.Alert(
            severity="info", object="", visible=False, sizing_mode="stretch_width", sx=ALERT_STYLE, margin=(8, 0)
        )
        self.detail = pn.pane.HTML("", stylesheets=[TEXT_CSS, _CSS], sizing_mode="stretch_width", margin=(4, 0))
        self.buttons = pn.FlexBox(
            self.stop, self.resume, self.use, self.remove, self.shipped, gap="8px", margin=(8, 0), visible=False
        )
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Datasets and trainings</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 4, 0)),
            self.table,
            self.buttons,
            self.confirmation, self.message, self.detail, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.table.param.watch(self._selected, "selection")
        session.param.watch(self._show_model, "model")
        self._show_model()
        self._show_details()

    # ------------------------------------------------------------------------------------------------------------ shown
    def poll(self, *, live: bool = True) -> bool:
        """Show changes since the last call; returns whether a row was added, removed or changed its state.

        Progress alone is shown only where `live`; it would otherwise queue up in a slow browser.
        """
        rows = self.store.rows()
        states = [(row.key, row.state) for row in rows]
        self.moved = rows != self.rows and (live or states != [(row.key, row.state) for row in self.rows])
        if not self.moved:
            return False
        before = {row.key: row.state for row in self.rows}
        self.rows = rows
        keys = [row.key for row in rows]
        if keys != self._keys:
            first = not self._keys
            chosen = [self._keys[number] for number in self.table.selection if number < len(self._keys)]
            self._keys = keys
            self.table.param.update(value=_frame(rows), visible=bool(rows))
            self._select([key for key in chosen if key in keys] or (keys[:1] if first else []))
        elif not (frame := _frame(rows)).equals(self.table.value):
            self.table.value = frame  # whole: patching cells would clear the ticks for a moment
        self._show_details()
        return before != {row.key: row.state for row in rows}

    def select(self, key: str) -> None:
        """Select one row only."""
        if key in self._keys:
            self._select([key])

    @property
    def selected(self) -> list[RunRow]:
        """The selected rows."""
        return [self.rows[number] for number in self.table.selection if number < len(self.rows)]

    def _select(self, keys: list[str]) -> None:
        self.table.selection = [self._keys.index(key) for key in keys]
        self._selected()

    def _selected(self, _event: object = None) -> None:
        names = [row.run for row in self.selected if row.kind == "train"]
        if names != self.session.compared:
            self.session.compared = names
        self._hide_confirmation()
        self._show_details()

    def _show_details(self) -> None:
        rows = self.selected
        one = rows[0] if len(rows) == 1 else None
        self.buttons.visible = bool(self.rows)
        self.stop.disabled = not any(row.can_stop for row in rows)
        self.resume.disabled = one is None or not one.can_resume
        self.use.disabled = one is None or not one.can_use
        self.remove.disabled = one is None or not one.can_remove
        if not self.rows:
            self.detail.object = (
                "<p class='muted'>No trainings yet. Select or build a dataset, then start a training.</p>"
            )
            return
        details = [
            words.progress(row, log=self.store.log(row.key) if row.reason else "") for row in rows[:_MOST_DETAILED]
        ]
        hint = "<p class='muted'>Tick one or more rows to show and compare their curves.</p>"
        self.detail.object = "".join(details) or hint

    def _show_model(self, *_events: object) -> None:
        self.shipped.visible = self.session.model != SHIPPED

    # ------------------------------------------------------------------------------------------------------------- done
    def _act(self, action: Callable[[str], None], keys: list[str], *, done: str = "") -> None:
        try:
            for key in keys:
                action(key)
        except InputError as error:
            self._say(str(error), severity="error")
        else:
            self._say(done, severity="success")
        self.poll()

    def _say(self, text: str, *, severity: str) -> None:
        self.message.param.update(object=plain_markdown(safe_message(text)), severity=severity, visible=bool(text))

    def _stop(self, _event: object = None) -> None:
        self._act(self.store.stop, [row.key for row in self.selected if row.can_stop])

    def _resume(self, _event: object = None) -> None:
        self._act(self.store.resume, [row.key for row in self.selected])

    def _use(self, _event: object = None) -> None:
        for row in self.selected:
            self._act(self.store.use_model, [run_key(row.run)], done=f"The Answer screen now uses {row.name}.")

    def _use_shipped(self, _event: object = None) -> None:
        self._act(self.store.use_model, [SHIPPED], done="The Answer screen now uses the shipped model.")

    def _ask_to_remove(self, _event: object = None) -> None:
        for row in self.selected:
            content = "its snapshots and model" if row.kind == "train" else "the dataset"
            self._say(f"Delete {row.name} with {content}? This cannot be undone.", severity="warning")
            self.confirmation.visible = True

    def _remove(self, _event: object = None) -> None:
        self.confirmation.visible = False
        self._act(self.store.remove, [row.key for row in self.selected])

    def _hide_confirmation(self, _event: object = None) -> None:
        """Hide the confirmation of a deletion."""
        if self.confirmation.visible:
            self.confirmation.visible = self.message.visible = False

    @staticmethod
    def _button(label: str, icon: str, action: Callable[[object], None], *, color: str = "primary") -> pmui.Button:
        return pmui.Button(
            label=label, icon=icon, variant="outlined", size="small", color=color, margin=0, disabled=False,
            on_click=action,
        )  # fmt: skip


def _frame(rows: list[RunRow]) -> pd.DataFrame:
    cells = [
        [
            row.name, _KINDS[row.kind], words.STATES.get(row.state, row.state),
            "" if row.progress is None else percent(row.progress),
            "" if row.seconds_left is None else duration(row.seconds_left), row.reason or row.status,
        ]
        for row in rows
    ]  # fmt: skip
    return pd.DataFrame(cells, columns=list(_TITLES))
