"""Tables and figure data as Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError
from xxact_core.paper.measures import Measure
from xxact_core.paper.tables import Entry, Table

MISSING = "missing"
EMPTY = ""


def table_to_markdown(table: Table) -> str:
    """A page: title, table with the paper's columns beside ours, notes, and provenance."""
    rows = list(dict.fromkeys(entry.cell.row for entry in table.entries))
    columns = list(dict.fromkeys(entry.cell.column for entry in table.entries))
    of_paper = {entry.cell.column for entry in table.entries if entry.cell.paper is not None}
    head = ["", *(name for column in columns for name in [column, "paper"][: 1 + (column in of_paper)])]
    cells = {(entry.cell.row, entry.cell.column): entry for entry in table.entries}
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for row in rows:
        line = [row]
        for column in columns:
            entry = cells.get((row, column))
            ours = EMPTY if entry is None or entry.cell.run is None else _entry_to_text(entry)
            paper = EMPTY if entry is None or entry.cell.paper is None else f"{entry.cell.paper:g}"
            line += [ours, paper] if column in of_paper else [ours]
        lines.append(line)
    text = [f"# Table {table.number}: {table.title}", ""]
    text += ["| " + " | ".join(line) + " |" for line in lines]
    text += [
        "",
        "Values in brackets: 95 % interval over test materials, for a single run. ±: standard error over seeds.",
        *table.notes,
    ]
    text += ["", *(f"- {name.replace('_', ' ')}: {_plain(value)}" for name, value in table.about.items() if value)]
    return "\n".join(text) + "\n"


def table_to_rows(table: Table) -> list[dict[str, Any]]:
    """A row for each cell of the table; missing values are None."""
    rows = []
    for entry in table.entries:
        cell, measure = entry.cell, entry.measure
        rows.append(
            {
                "row": cell.row,
                "column": cell.column,
                "value": measure and measure.value,
                "low": measure and measure.low,
                "high": measure and measure.high,
                "standard_error": measure and measure.standard_error,
                "runs": measure.runs if measure else 0,
                "seeds": entry.seeds,
                "paper": cell.paper,
                "experiment": cell.run,
                "metric": cell.metric or None,
            }
        )
    return rows


def rows_to_text(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], *, suffix: str) -> str:
    """Rows as `.json`, or as `.csv`, with the provenance in lines that begin with #.

    Raises:
        InputError: the suffix is neither.
    """
    if suffix == ".json":
        return json.dumps({"about": about, "rows": rows}, ensure_ascii=False, indent=1) + "\n"
    if suffix != ".csv":
        msg = f"files with the suffix {suffix!r} are not supported; choose from .csv, .json, .md"
        raise InputError(msg, code="E_PAPER")
    text = io.StringIO()
    for name, value in about.items():
        text.write(f"# {name}: {_plain(value)}\n")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def table_to_text(table: Table, *, suffix: str) -> str:
    """A table as `.md`, `.csv` or `.json`.

    Raises:
        InputError: the suffix is none of these.
    """
    if suffix == ".md":
        return table_to_markdown(table)
    about = {"table": table.number, "title": table.title, "notes": list(table.notes), **table.about}
    return rows_to_text(table_to_rows(table), about, suffix=suffix)


def write_text(path: Path, text: str) -> None:
    """Write a file, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _entry_to_text(entry: Entry) -> str:
    """The number, with the number of seeds where some are missing."""
    if entry.measure is None:
        return f"none of {entry.seeds} seeds" if entry.seeds else MISSING
    text = _measure_to_text(entry.measure)
    return text if entry.measure.runs == entry.seeds else f"{text}, {entry.measure.runs} of {entry.seeds} seeds"


def _measure_to_text(measure: Measure) -> str:
    if measure.standard_error is not None:
        return f"{_number(measure.value)} ± {_number(measure.standard_error)}"
    if measure.low is not None and measure.high is not None:
        return f"{_number(measure.value)} ({_number(measure.low)} to {_number(measure.high)})"
    return _number(measure.value)


def _number(value: float) -> str:
    return f"{value:.{min(3, max(0, 3 - int(math.log10(abs(value)))))}f}" if value else "0"


def _plain(value: object) -> str:
    """A value of the provenance as text: `12, 16`, `python 3.11.7; torch 2.13.0`."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_plain(of_name)}" for name, of_name in value.items())
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return (" " if all(part.endswith(".") for part in parts) else ", ").join(parts)
    return str(value)
