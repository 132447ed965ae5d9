"""Options of select widgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import panel_material_ui as pmui


def set_options(widget: pmui.Select | pmui.RadioBoxGroup, options: Mapping[str, Any], value: Any) -> None:  # noqa: ANN401 - any option
    """Set the options of a widget, by label, and its value.

    The browser knows a value by its label, which is not sent again where the value stays the same; without it, nothing
    would be selected once a label has changed.
    """
    relabelled = widget.value == value and dict(widget.options or {}) != dict(options)
    widget.param.update(options=dict(options), value=value)
    if relabelled:
        widget.param.trigger("value")
