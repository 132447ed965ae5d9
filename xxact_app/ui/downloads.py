"""Download buttons, and the Python code of a screen."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping

import panel as pn
import panel_material_ui as pmui

from xxact_app.ui.theme import TEXT_CSS
from xxact_app.ui.timer import soon
from xxact_core.errors import InputError

_CODE_CSS = """
pre { overflow-x: auto; padding: 10px 12px; border: 1px solid var(--border-color); border-radius: 8px; margin: 0; }
"""


def download_row(files: Mapping[str, tuple[str, Callable[[], bytes]]]) -> pn.FlexBox:
    """Download buttons: label → (file name, function that writes the content)."""
    buttons = [download_button(label, name, write) for label, (name, write) in files.items()]
    return pn.FlexBox(*buttons, gap="8px", margin=(8, 0))


def download_button(label: str, name: str, write: Callable[[], bytes], **look: object) -> pmui.FileDownload:
    """A button that downloads what a function writes, at every click.

    Where the function raises `InputError` or writes nothing, nothing is downloaded, and the page shows why.

    The library downloads content that differs from that of the click before. So the content is forgotten once it is on
    its way to the browser, which also spares the memory of the server.
    """

    def to_file() -> io.BytesIO:
        content = write()
        if not content:
            msg = f"{button.filename} was not written: there is nothing to write yet"
            raise InputError(msg)
        return io.BytesIO(content)

    usual = {"variant": "outlined", "size": "small", "margin": 0}
    button = pmui.FileDownload(callback=to_file, filename=name, label=label, **{**usual, **look})
    button.param.watch(lambda _event: soon(lambda: button.param.update(data=None)), "_transfers")
    return button


class PythonCode:
    """The Python code of what a screen shows, in a collapsed section."""

    def __init__(self) -> None:
        self.panel = pn.pane.HTML("", stylesheets=[TEXT_CSS, _CODE_CSS], sizing_mode="stretch_width", margin=(8, 0))
        self.text = ""

    def show(self, text: str) -> None:
        """Show Python code; an empty text empties the section, as Panel fails to show an undrawn pane."""
        self.text = text
        program = f"<pre><code>{html.escape(text)}</code></pre>"
        self.panel.object = f"<details><summary>Python code</summary>{program}</details>" if text else ""
