"""Numbers, durations and formulas as text."""

from __future__ import annotations

from functools import lru_cache

from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import FormulaError

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
"""Seconds."""


def percent(share: float, *, digits: int = 0) -> str:
    """A share (0-1) in percent, with a space before the sign at which no line breaks: `79 %`."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def short_probability(probability: float) -> str:
    """A probability (0-1) in whole percent; `< 1 %` where it is smaller, so that none appears as zero."""
    least = 0.01
    return percent(probability) if probability >= least else f"<\N{NO-BREAK SPACE}{percent(least)}"


def high_probability(probability: float) -> str:
    """A probability (0-1) in whole percent, never 0 or 100 %."""
    most = 0.99
    return f">\N{NO-BREAK SPACE}{percent(most)}" if probability > most else short_probability(probability)


def fine_probability(probability: float) -> str:
    """A probability (0-1) in tenths of a percent; none appears as 0 or 100 %."""
    least = 0.001
    if probability < least:
        return f"<\N{NO-BREAK SPACE}{percent(least, digits=1)}"
    if probability > 1 - least:
        return f">\N{NO-BREAK SPACE}{percent(1 - least, digits=1)}"
    return percent(probability, digits=1)


def duration(seconds: float) -> str:
    """A duration in the unit in which it is a small number."""
    if seconds < 1.5 * _MINUTE:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"
    return f"{seconds / _DAY:,.0f} days"


@lru_cache(maxsize=100_000)
def display_formula(formula: str) -> str:
    """A formula as chemists write it, with subscripts: `TiO₂`; text that is no formula is returned unchanged.

    The result is not escaped, since the text may be any.
    """
    try:
        return format_formula(formula, subscripts=True)
    except FormulaError:
        return formula


@lru_cache(maxsize=100_000)
def plain_formula(formula: str) -> str:
    """A formula as chemists write it, for files: `TiO2`; text that is no formula is returned unchanged."""
    try:
        return format_formula(formula)
    except FormulaError:
        return formula
