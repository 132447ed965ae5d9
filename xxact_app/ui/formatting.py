"""Numbers as text."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
"""Seconds."""


def percent(share: float, *, digits: int = 0) -> str:
    """A share (0-1) in percent, with a space before the sign at which no line breaks: `79 %`."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """A duration in the unit in which it is a small number."""
    if seconds < 1.5 * _MINUTE:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"
    return f"{seconds / _DAY:,.0f} days"
