"""A drop zone for files, with limits enforced on the server."""

from __future__ import annotations

import math
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
"""Limits of one drop: size of a file [bytes], total size [bytes], and number of files."""


class FileDrop(pn.custom.JSComponent):
    """A drop zone for files.

    Unlike `panel_material_ui.FileInput`, it reports empty files, enforces its limits on the server, and takes files
    dropped anywhere on the page.
    """

    label = param.String("Drop diffractograms here, or choose files")
    hint = param.String(
        "XRDML, RAW, BRML, RAS, RASX, CIF, XY, XYE, CSV … or a saved session; files stay on this server"
    )
    largest_file = param.Integer(LARGEST_FILE)
    anywhere = param.Boolean(default=True, doc="Also take files dropped elsewhere on the page.")

    _esm = _HERE / "file_drop.js"
    _stylesheets = [_HERE / "file_drop.css"]  # noqa: RUF012 - as Panel declares it

    def __init__(
        self,
        *,
        on_files: Callable[[list[tuple[str, bytes]]], None],
        on_refusal: Callable[[str], None],
        most_files: int | Callable[[], int] = MOST_FILES,
        **params: object,
    ) -> None:
        super().__init__(**params)
        self._on_files = on_files
        self._on_refusal = on_refusal
        self._most_files = most_files if callable(most_files) else lambda: most_files
        self._largest_file = self.largest_file  # the parameter can be changed in the browser
        self._files: list[tuple[str, bytes]] = []
        self._name = ""
        self._parts: list[bytes] = []
        self._size = self._total = 0
        self._refused = False

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Collect the chunks that the browser sends; sizes in messages are not trusted."""
        kind, size, data = msg.get("kind"), msg.get("size", 0), msg.get("data", b"")
        if kind == "begin":
            self._name, self._parts, self._size, self._refused = str(msg.get("name", "")), [], 0, False
            self._check(int(size) if isinstance(size, int | float) and 0 <= size < math.inf else self._largest_file + 1)
        elif kind == "chunk" and not self._refused:
            # A number would become as many zeros.
            content = bytes(data) if isinstance(data, bytes | bytearray | memoryview) else b""
            self._size += len(content)
            self._total += len(content)
            self._check(self._size)
            if not self._refused:
                self._parts.append(content)
        elif kind == "unreadable":
            self._refuse("the browser could not read it (folders cannot be dropped)")
        elif kind == "end" and not self._refused:
            self._files.append((self._name, b"".join(self._parts)))
            self._parts = []
        elif kind == "done":
            self._finish()

    def _check(self, size: int) -> None:
        if size > self._largest_file:
            self._refuse(f"is larger than {self._largest_file // _MEGABYTE} MB")
        elif self._total > LARGEST_DROP:
            self._refuse(f"not read; drop at most {LARGEST_DROP // _MEGABYTE} MB at a time")
        elif len(self._files) >= self._most_files():
            self._refuse(f"not read; drop at most {self._most_files()} files at a time")

    def _refuse(self, reason: str) -> None:
        self._refused, self._parts = True, []
        self._on_refusal(f"{safe_text(self._name)}: {reason}")

    def _finish(self) -> None:
        files, self._files, self._total = self._files, [], 0
        try:
            self._on_files(files)
        finally:
            self._send_msg({"kind": "done"})
