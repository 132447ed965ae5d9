"""Combines the layouts of the page that one message of the server would cause."""

from __future__ import annotations

from importlib.resources import files

import panel as pn


class LayoutPace(pn.custom.JSComponent):
    """Makes the browser lay the page out once after all changes of a message, rather than after each of them."""

    _esm = files(__package__) / "layout_pace.js"
