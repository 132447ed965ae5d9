"""Numbers as text."""

from __future__ import annotations


def percent(share: float, *, digits: int = 0) -> str:
    """A share (0-1) in percent, with a space before the sign at which no line breaks: `79 %`."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"
