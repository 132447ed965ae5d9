"""The choice of the selected pattern, to which peaks, background points and steps of one file belong."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui

from xxact_app.samples.store import Store
from xxact_app.session.session import Session


class SampleChoice:
    """Selects a pattern of the session; `panel` is hidden where there is at most one."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.select = pmui.Select(
            label="Selected pattern", options={}, size="small", sizing_mode="stretch_width", margin=(0, 0, 12, 0)
        )
        self.panel = pn.Column(self.select, sizing_mode="stretch_width", margin=0, visible=False)
        session.watch(self._update, ["files", "chosen"])
        self.select.param.watch(self._choose, "value")
        self._update()

    def _update(self, *_events: object) -> None:
        names = {self.store.samples[key].name: key for key in self.session.files if key in self.store.samples}
        value = self.session.chosen if self.session.chosen in names.values() else None
        with pn.io.hold():
            self.select.param.update(options=names, value=value)
            self.panel.visible = len(names) > 1

    def _choose(self, _event: object = None) -> None:
        if self.select.value:
            self.session.chosen = self.select.value
