"""Where files are dropped: a component that holds the limits on the server."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import panel as pn
import param

from xxact_app.ui.safe_text import safe_text

_HERE = files(__package__)
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
    hint = param.String(
        "XRDML, RAW, BRML, RAS, RASX, CIF, XY, XYE, CSV … or a saved session; they stay on this machine"
    )
    largest_file = param.Integer(LARGEST_FILE)
    anywhere = param.Boolean(default=True, doc="Take also what is dropped elsewhere on the page.")

    _esm = _HERE / "file_drop.js"
    _stylesheets = [_HERE / "file_drop.css"]  # noqa: RUF012 - as Panel declares it

    def __init__(
        self,
        *,
        on_files: Callable[[list[tuple[str, bytes]]], None],
        on_refusal: Callable[[str], None],
        most_files: int = MOST_FILES,
        **params: object,
    ) -> None:
        super().__init__(**params)
        self._on_files = on_files
        self._on_refusal = on_refusal
        self._most_files = most_files
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
        elif len(self._files) >= self._most_files:
            self._refuse(f"is one too many; drop at most {self._most_files} files together")

    def _refuse(self, reason: str) -> None:
        self._refused, self._parts = True, []
        self._on_refusal(f"{safe_text(self._name)}: {reason}")

    def _finish(self) -> None:
        files, self._files, self._total = self._files, [], 0
        try:
            self._on_files(files)
        finally:
            self._send_msg({"kind": "done"})
