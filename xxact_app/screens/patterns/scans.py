"""The form for the scan of a file with several scans."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui

from xxact_app.samples.scans import MOST_SPLIT
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.theme import TEXT_CSS

_MOST_OFFERED = 500


class ScanForm:
    """Selects the scan of a file with several; `panel` is the form, hidden where no file has several scans."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self._writing = False
        field = {"sizing_mode": "stretch_width", "size": "small", "margin": (8, 0)}
        self.target = pmui.Select(label="File with several scans", options={}, **field)
        self.scan = pmui.Select(label="Scan", options={}, **field)
        self.split = pmui.Button(
            label="Load every scan as a pattern", variant="outlined", size="small", margin=(4, 0, 0, 0),
            on_click=self._split,
        )  # fmt: skip
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Scans</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 0, 0)), self.target, self.scan,
            self.split, sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        session.watch(self._update, ["files", "scan", "chosen"])
        self.target.param.watch(self._show_scan, "value")
        self.scan.param.watch(self._choose, "value")
        self._update()

    def _update(self, *events: object) -> None:
        samples = {key: self.store.samples[key] for key in self.session.files if key in self.store.samples}
        whole = {key: sample for key, sample in samples.items() if not self.session.sample(key).label}
        several = {sample.name: key for key, sample in whole.items() if sample.scans > 1}
        wanted = self.session.chosen if any(getattr(event, "name", "") == "chosen" for event in events) else ""
        value = next((key for key in (wanted, self.target.value) if key in several.values()), None)
        with pn.io.hold():
            self.target.param.update(options=several, value=value or next(iter(several.values()), None))
            self.panel.visible = bool(several)
            self._show_scan()

    def _show_scan(self, _event: object = None) -> None:
        key = self.target.value
        count = self.store.samples[key].scans if key in self.store.samples else 0
        options: dict[str, int | str] = {
            f"{number + 1} of {count}": number for number in range(min(count, _MOST_OFFERED))
        }
        if count > 1:
            options["sum of all scans"] = "sum"
            options["ranges joined"] = "join"
        self.split.visible = 1 < count <= MOST_SPLIT
        self._writing = True
        self.scan.param.update(options=options, value=self.session.sample(key).scan if options else None)
        self._writing = False

    def _split(self, _event: object = None) -> None:
        if self.target.value in self.store.samples:
            self.store.split_scans(self.target.value)

    def _choose(self, _event: object = None) -> None:
        if not self._writing and self.target.value is not None:
            self.session.change([self.target.value], scan=self.scan.value)
            self._show_scan()
