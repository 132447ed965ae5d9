"""The connection between page and server: banner while it is gone, warning before leaving, and who the visitor is."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import panel as pn
import param

_HERE = files(__package__)


class PageConnection(pn.custom.JSComponent):
    """Shows a banner while the server cannot be reached, and reloads the page once it can be again.

    Bokeh can reconnect by itself, but only while the server still has the session, and it replaces the document under
    a page that is one component. So the page is loaded anew, and the saved session is restored.

    Args:
        on_hello: called with the random key of the browser, the id of its tab, and whether the tab had the page before.
    """

    saved = param.Number(default=0.0, doc="Time at which the session was last saved [s since 1970]; 0 before.")
    at_risk = param.String(doc="What leaving the page would lose; empty where that is nothing.")

    _esm = _HERE / "connection.js"
    _stylesheets = [_HERE / "connection.css"]  # noqa: RUF012 - as Panel declares it

    def __init__(self, *, on_hello: Callable[[str, str, bool], object], **params: object) -> None:
        super().__init__(**params)
        self._on_hello = on_hello

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        """Answer a ping, or take who the visitor is."""
        if msg.get("kind") == "ping":
            self._send_msg({"kind": "pong"})
        elif msg.get("kind") == "hello":
            self._on_hello(str(msg.get("visitor")), str(msg.get("tab")), msg.get("again") is True)
