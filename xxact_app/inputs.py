"""How files come in: dropped anywhere, chosen, or the examples; and the list of what could not be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from xxact_app.escaping import plain_markdown, safe_text
from xxact_app.session import Session
from xxact_app.store import Store
from xxact_app.theme import ALERT_STYLE

_HERE = Path(__file__).parent
_MEGABYTE = 1024 * 1024
LARGEST_FILE = 64 * _MEGABYTE
LARGEST_DROP = 256 * _MEGABYTE
MOST_FILES = 200
"""Limits of one drop, held on the server: of one file [bytes], of all together [bytes], and of their number."""


class FileDrop(pn.custom.JSComponent):
    """Where files are dropped.

    Not `panel_material_ui.FileInput`: that one never tells the server of an empty file, keeps no limit on the server,
    and takes only what is dropped exactly on its button.
    """

    label = param.String("Drop diffractograms here, or choose files")
    hint = param.String("XRDML, RAW, BRML, RAS, RASX, CIF, XY, XYE, CSV … stay on this machine")
    largest_file = param.Integer(LARGEST_FILE)

    _esm = _HERE / "file_drop.js"
    _stylesheets = [_HERE / "file_drop.css"]  # noqa: RUF012 - as Panel declares it

    def __init__(
        self,
        *,
        on_files: Callable[[list[tuple[str, bytes]]], None],
        on_refusal: Callable[[str], None],
        **params: object,
    ) -> None:
        super().__init__(**params)
        self._on_files = on_files
        self._on_refusal = on_refusal
        self._files: list[tuple[str, bytes]] = []
        self._name = ""
        self._parts: list[bytes] = []
        self._size = self._total = 0
        self._refused = False

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Collect what the browser sends; nothing in a message is trusted, its sizes least of all."""
        kind = msg.get("kind")
        if kind == "begin":
            self._name, self._parts, self._size, self._refused = str(msg.get("name", "")), [], 0, False
            self._check(int(msg.get("size", 0)))
        elif kind == "chunk" and not self._refused:
            content = bytes(msg["data"])
            self._size += len(content)
            self._total += len(content)
            self._check(self._size)
            if not self._refused:
                self._parts.append(content)
        elif kind == "unreadable":
            self._refuse("the browser could not read it; is it a folder?")
        elif kind == "end" and not self._refused:
            self._files.append((self._name, b"".join(self._parts)))
            self._parts = []
        elif kind == "done":
            self._finish()

    def _check(self, size: int) -> None:
        if size > self.largest_file:
            self._refuse(f"is over {self.largest_file // _MEGABYTE} MB, the most that a file may have")
        elif self._total > LARGEST_DROP:
            self._refuse(f"is too much at once; drop at most {LARGEST_DROP // _MEGABYTE} MB together")
        elif len(self._files) >= MOST_FILES:
            self._refuse(f"is one too many; drop at most {MOST_FILES} files together")

    def _refuse(self, reason: str) -> None:
        self._refused, self._parts = True, []
        self._on_refusal(f"{safe_text(self._name)}: {reason}")

    def _finish(self) -> None:
        files, self._files, self._total = self._files, [], 0
        try:
            self._on_files(files)
        finally:
            self._send_msg({"kind": "done"})


class Inputs:
    """The strip above every screen: drop zone, examples, and the problems, each of which can be put away."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.drop = FileDrop(
            on_files=self.take_files, on_refusal=store.add_problem, sizing_mode="stretch_width", margin=0,
            css_classes=["area-drop"],
        )  # fmt: skip
        self.examples = pmui.Button(
            label="Load example data", icon="science", variant="outlined", margin=0, height=56,
            css_classes=["area-examples"], on_click=self.take_examples,
        )  # fmt: skip
        self.problems = pn.Column(sizing_mode="stretch_width", margin=0, css_classes=["area-problems"], visible=False)
        store.param.watch(self._show_problems, "problems")
        self._show_problems()

    def take_files(self, files: list[tuple[str, bytes]]) -> None:
        """Read files and take up those that could be read."""
        with pn.io.hold():
            self.session.add(self.store.read_files(files))

    def take_examples(self, _event: object = None) -> None:
        """Read the examples and take them up with what is known of them."""
        with pn.io.hold():
            keys, formulas, wavelengths = self.store.read_examples()
            self.session.add(keys, formulas=formulas, wavelengths=wavelengths)
            self.session.chosen = self.store.first_predictable(keys) or self.session.chosen

    def _show_problems(self, _event: object = None) -> None:
        shown = {alert.name: alert for alert in self.problems}
        alerts = []
        for problem in self.store.problems:
            alert = shown.get(problem.key)
            if alert is None:
                alert = pmui.Alert(
                    name=problem.key, object=plain_markdown(problem.text), severity="error", closeable=True,
                    variant="outlined", sizing_mode="stretch_width", margin=(0, 0, 6, 0),
                    sx=ALERT_STYLE,
                )  # fmt: skip
                alert.param.watch(self._dismiss, "closed")
            alerts.append(alert)
        self.problems.objects = alerts
        self.problems.visible = bool(alerts)

    def _dismiss(self, event: param.parameterized.Event) -> None:
        if event.new:
            self.session.dismissed = [*self.session.dismissed, event.obj.name]
