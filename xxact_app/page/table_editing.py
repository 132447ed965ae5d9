"""Keeps the editors of tables open while the server changes the tables."""

from __future__ import annotations

from importlib.resources import files

import panel as pn


class TableEditing(pn.custom.JSComponent):
    """Makes tables wait with changes of the server until the cell that is edited is left."""

    _esm = files(__package__) / "table_editing.js"
