"""Compositions of several patterns from a pasted column or a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from xxact_core.compositions.partial import parse_composition
from xxact_core.errors import FormulaError, InputError, shorten

_TITLES = frozenset({"composition", "compositions", "formula", "formulas"})
_DELIMITERS = "\t;,"


@dataclass(frozen=True)
class CompositionColumn:
    """Compositions by the number of their pattern."""

    formulas: dict[int, str]
    """Number of a pattern → its composition."""

    unknown: tuple[str, ...]
    """Names in the text that no pattern has."""

    ordered: bool = False
    """Whether the compositions were assigned in the order of the patterns, not by name."""

    @property
    def unreadable(self) -> list[int]:
        """Numbers of the patterns whose composition is none."""
        return [number for number, formula in self.formulas.items() if not _is_readable(formula)]


def read_compositions(text: str, names: Sequence[str]) -> CompositionColumn:
    """Compositions of the patterns of these names.

    The text is one composition a line, in the order of the patterns, where an empty line leaves a pattern as it is; or
    a table with the columns file and composition, separated by tabs, semicolons or commas, in any order of its lines.
    Files are found by their names, with or without extension and folder. A line of titles may come first. Commas within
    compositions (`Ti,O`) separate no columns, as far as they come last in a line.

    Raises:
        InputError: the text is empty, has another number of lines than there are patterns, or names none of them.
    """
    lines = text.strip("\r\n").splitlines()
    if not any(line.strip() for line in lines):
        msg = "there are no compositions: paste one per line, or two columns, file and composition"
        raise InputError(msg, code="E_COMPOSITION")
    delimiter = next((mark for mark in _DELIMITERS if any(mark in line for line in lines)), None)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter or "\t")]
    titled = any(cell.lower() in _TITLES for cell in rows[0]) if rows[0] else False
    titles, rows = (rows[0], rows[1:]) if titled else ([], rows)
    if delimiter is None:
        return _by_order([row[0] if row else "" for row in rows], names)
    try:
        return _by_name([row for row in rows if any(row)], titles, names, joined=delimiter == ",")
    except InputError:
        formulas = [",".join(row) for row in rows]
        if delimiter != "," or len(titles) > 1 or not all(map(_is_readable, formulas)):
            raise
        return _by_order(formulas, names)


def _by_order(formulas: list[str], names: Sequence[str]) -> CompositionColumn:
    if len(formulas) != len(names):
        given = f"{len(formulas)} composition{'' if len(formulas) == 1 else 's'}"
        msg = f"{given} for {len(names)} patterns: expected one line per pattern, in the order of "
        msg += "the table, or two columns, file and composition"
        raise InputError(msg, code="E_COMPOSITION")
    return CompositionColumn({number: text for number, text in enumerate(formulas) if text}, (), ordered=True)


def _by_name(rows: list[list[str]], titles: list[str], names: Sequence[str], *, joined: bool) -> CompositionColumn:
    """Compositions by the names of files; `joined`: the cells after the last column belong to a composition in it."""
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        for key in {_plain(name), _plain(name).rpartition(".")[0]} - {""}:
            places.setdefault(key, []).append(number)
    width = max(map(len, rows), default=0)
    matches = [sum(_plain(row[column]) in places for row in rows if column < len(row)) for column in range(width)]
    if not any(matches):
        first = shorten(rows[0][0]) if rows else ""
        msg = f"no pattern is called {first!r}, and none has another name of the list; expected the columns file and "
        msg += "composition"
        raise InputError(msg, code="E_COMPOSITION")
    of_file = matches.index(max(matches))
    titled = [column for column, title in enumerate(titles) if title.lower() in _TITLES]
    of_formula = titled[0] if titled else next(column for column in (*range(width), 0) if column != of_file)
    joined = joined and of_formula == (len(titles) - 1 if titles else of_file + 1)
    formulas: dict[int, str] = {}
    unknown = []
    for row in rows:
        name = row[of_file] if of_file < len(row) else ""
        formula = ",".join(row[of_formula:] if joined else row[of_formula : of_formula + 1])
        if (found := places.get(_plain(name))) is None:
            unknown.append(name)
        elif formula:
            formulas |= dict.fromkeys(found, formula)
    return CompositionColumn(formulas, tuple(unknown))


def _is_readable(text: str) -> bool:
    """Whether a text is a composition, or empty."""
    try:
        parse_composition(text or "?")
    except FormulaError:
        return False
    return True


def _plain(name: str) -> str:
    """A file name without folder, in lower case."""
    return name.replace("\\", "/").rpartition("/")[2].strip().lower()
