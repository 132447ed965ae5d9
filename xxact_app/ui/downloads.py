"""Download buttons, and the Python code of a screen."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping

import panel as pn
import panel_material_ui as pmui

from xxact_app.ui.theme import TEXT_CSS

_CODE_CSS = """
pre { overflow-x: auto; padding: 10px 12px; border: 1px solid var(--border-color); border-radius: 8px; margin: 0; }
"""


def download_row(files: Mapping[str, tuple[str, Callable[[], bytes]]]) -> pn.FlexBox:
    """Download buttons: label → (file name, function that writes the content)."""
    buttons = [_button(label, name, write) for label, (name, write) in files.items()]
    return pn.FlexBox(*buttons, gap="8px", margin=(8, 0))


def _button(label: str, name: str, write: Callable[[], bytes]) -> pmui.FileDownload:
    return pmui.FileDownload(
        callback=lambda: io.BytesIO(write()), filename=name, label=label, variant="outlined", size="small", margin=0
    )


class PythonCode:
    """The Python code of what a screen shows, in a collapsed section."""

    def __init__(self) -> None:
        self.panel = pn.pane.HTML("", stylesheets=[TEXT_CSS, _CODE_CSS], sizing_mode="stretch_width", margin=(8, 0))
        self.text = ""

    def show(self, text: str) -> None:
        """Show Python code; an empty text hides the section."""
        self.text = text
        program = f"<pre><code>{html.escape(text)}</code></pre>"
        self.panel.object = f"<details><summary>Python code</summary>{program}</details>"
        self.panel.visible = bool(text)
