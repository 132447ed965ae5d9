"""JSON file → records of structures, recognised by its content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xxact_core.errors import DatasetError, StructureError, shorten
from xxact_core.structures.json_dialects import DIALECT_MEMBERS
from xxact_core.structures.json_records import CRYSTALS, NAMES, describe_record, find_crystal
from xxact_core.structures.json_text import JsonText
from xxact_core.structures.labels import ALIASES
from xxact_core.structures.source_files import UNREADABLE, open_unpacked

LISTS = ("entries", "data", "structures", "documents", "results", "records", "response")
"""Members of an outer object that contain lists of records: Alexandria, pandas, OPTIMADE and others."""

CONTAINERS_IN_WORDS = (
    "one structure; a list of them, of documents or of entries, also one a line; an object with such a list as one of "
    f"{list(LISTS)}; an object of id and structure; each structure as of pymatgen, JARVIS, ASE or OPTIMADE"
)

_PARTS = frozenset({"structure", "atoms", "lattice", "data", "attributes", "key_value_pairs", "entry"})
"""Members of a record that may look like records themselves."""

_HEADERS = frozenset({'"info"', '"links"', '"references"', '"files"'})
"""Types of lines in OPTIMADE files that are not structures."""


def read_json_records(path: Path, *, name: str) -> Iterator[tuple[str, str, str]]:
    """Records of a JSON file as (`json`, name, text), then (`error`, file, reason) if it cannot be read to its end.

    A record is named `name:number`, `name:key` or, if it is the only one, `name`; keys that are words are names.
    JSON lines are read one by one, so that a damaged line affects no other.
    """
    count = 0
    try:
        with open_unpacked(path) as stream:
            text = JsonText(stream)
            for record_name, record in _top_level(text, path=path, name=name):
                yield "json", shorten(record_name), record
                count += 1
            failure = text.end_failure()
            if failure is not None:
                yield "error", shorten(path.name), _cut_reason(count, failure)
    except DatasetError as error:
        cut = error.code == "E_TRUNCATED"
        reason = _cut_reason(count, str(error)) if cut else f"the file is not JSON, after {count} records ({error})"
        yield "error", shorten(path.name), reason
    except UNREADABLE as error:
        yield "error", shorten(path.name), f"the file cannot be read ({shorten(error)})"


def _cut_reason(count: int, reason: str) -> str:
    return f"the file ends in the middle, after {count} records ({reason})"


def _top_level(text: JsonText, *, path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Records of one outer value, or of several; lines after the first are parsed by the worker."""
    if (columns := _read_scalar_columns(path)) is not None:
        yield from _column_records(columns, path=path, name=name)
        return
    number = 0
    in_lines = False
    while text.peek() or number == 0:
        if in_lines:
            line = text.take_line()
            if not _is_header(line):
                yield f"{name}:{number}", line.strip()
        else:
            first_line = text.lines
            yield from _value_records(text, path=path, name=name, number=number)
            in_lines = number == 0 and text.last_line == first_line
        number += 1


@dataclass
class _Columns:
    """A table of columns of rows. Source: pandas, orient `columns`."""

    crystals: list[str]
    """Columns that contain structures."""
    scalars: dict[str, dict[str, str]]
    """Row → column → text of its value, for the other columns."""


def _read_scalar_columns(path: Path) -> _Columns | None:
    """Columns of a table whose outer object holds an object of rows for each column; None for other files."""
    with open_unpacked(path) as stream:
        text = JsonText(stream)
        if not _begins_with_column(text):
            return None
    found = _Columns([], {})
    with open_unpacked(path) as stream:
        for column, row, value in _cells(JsonText(stream)):
            if value.startswith("{") or (value.startswith('"') and len(value) > _LONGEST_SCALAR):
                if column not in found.crystals:
                    found.crystals.append(column)
            elif not value.startswith("["):
                found.scalars.setdefault(row, {})[column] = value
    return found


_LONGEST_SCALAR = 200
"""Largest number of characters of a label or an id; longer texts are those of a structure."""


def _begins_with_column(text: JsonText) -> bool:
    """Whether the first member is a column: an object of numbered rows, or of structures, labels or ids by row."""
    try:
        text.take("{")
        column = _take_key(text)
        if column.isdigit() or column in LISTS or text.peek() != "{":
            return False
        text.take("{")
        row = _take_key(text)
    except DatasetError:
        return False
    fields = {*NAMES, *(alias for aliases in ALIASES.values() for alias in aliases), "cif", "formula"}
    crystal = "structure" in column or column == "atoms"
    return row.isdigit() or column in fields or (crystal and row not in DIALECT_MEMBERS and text.peek() == "{")


def _cells(text: JsonText) -> Iterator[tuple[str, str, str]]:
    """Column, row and text of each value of a table of columns."""
    text.take("{")
    while text.peek() != "}":
        column = _take_key(text)
        if text.peek() == "{":
            text.take("{")
            while text.peek() != "}":
                row = _take_key(text)
                yield column, row, text.take_value()
                if text.peek() != "}":
                    text.take(",")
            text.take("}")
        else:
            text.take_value()
        if text.peek() != "}":
            text.take(",")


def _column_records(columns: _Columns, *, path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Rows of a table of columns as records; every row of all columns where several of them hold structures."""
    chosen = next((column for column in CRYSTALS if column in columns.crystals), None)
    several = chosen is None and len(columns.crystals) > 1
    chosen = columns.crystals[0] if chosen is None and columns.crystals else chosen
    seen: set[str] = set()
    with open_unpacked(path) as stream:
        for column, row, value in _cells(JsonText(stream)):
            if column == chosen:
                seen.add(row)
                scalars = columns.scalars.get(row, {})
                others = dict.fromkeys(columns.crystals, value) if several else {column: value}
                yield f"{name}:{row}" if row.isdigit() else row, _join({**scalars, **others})
    for row, scalars in columns.scalars.items():
        if row not in seen:
            yield f"{name}:{row}" if row.isdigit() else row, _join(scalars)


def _value_records(text: JsonText, *, path: Path, name: str, number: int) -> Iterator[tuple[str, str]]:
    character = text.peek()
    if character == "[":
        for index, record in enumerate(text.take_elements()):
            yield f"{name}:{index}", record
    elif character == "{":
        yield from _object_records(text, path=path, name=name, number=number)
    else:
        yield f"{name}:{number}", text.take_value()


def _object_records(text: JsonText, *, path: Path, name: str, number: int) -> Iterator[tuple[str, str]]:
    """Records within an outer object; the object itself if its members contain none."""
    members: dict[str, str] = {}
    keyed = listed = False
    text.take("{")
    while text.peek() != "}":
        key = _take_key(text)
        start = text.peek()
        if start == "[" and key in LISTS and not _PARTS & set(members):
            listed = True
            yield from _listed_records(text, members, path=path, name=name)
        else:
            value = text.take_value()
            if start == "{" and key in LISTS and (records := _keyed_records(value)):
                listed = True
                yield from ((f"{name}:{label}" if label.isdigit() else label, record) for label, record in records)
                if text.peek() != "}":
                    text.take(",")
                continue
            keyed = keyed or (start == "{" and key not in _PARTS and check_record(value) is None)
            if keyed and start == "{":
                yield f"{name}:{key}" if key.isdigit() else key, value
            else:
                members[key] = value
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if not (keyed or listed or "x-optimade" in members):
        alone = number == 0 and not text.peek()
        yield name if alone else f"{name}:{number}", _join(members)


def _keyed_records(text: str) -> list[tuple[str, str]]:
    """Members of an object of records under their ids; none if it is a record itself, or contains others."""
    try:
        members = json.loads(text)
        alone = find_crystal(members) is not None and not all(isinstance(value, Mapping) for value in members.values())
    except (StructureError, ValueError, RecursionError):
        alone = False
    if alone or not members or DIALECT_MEMBERS & set(members):
        return []
    texts = [(label, json.dumps(value)) for label, value in members.items()]
    return texts if all(check_record(record) is None for _, record in texts) else []


def _listed_records(text: JsonText, members: Mapping[str, str], *, path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Elements of a list of records; rows of a table get the names of its columns. Source: pandas, orient `split`."""
    header: Mapping[str, str] | None = None
    index: list[object] = []
    for number, record in enumerate(text.take_elements()):
        if not record.startswith("["):
            yield f"{name}:{number}", record
            continue
        if header is None:
            header = members if {"columns", "index"} <= set(members) else _read_table_header(path)
            index = json.loads(header["index"]) if header.get("index", "").startswith("[") else []
        label = index[number] if number < len(index) else number
        row = _join({"columns": header.get("columns", "null"), "row": record})
        yield label if isinstance(label, str) else f"{name}:{label}", row


def _read_table_header(path: Path) -> dict[str, str]:
    """Members of the outer object, before and after its lists of rows."""
    members: dict[str, str] = {}
    with open_unpacked(path) as stream:
        text = JsonText(stream)
        text.take("{")
        while text.peek() != "}":
            key = _take_key(text)
            if key in LISTS and text.peek() == "[":
                for _ in text.take_elements():
                    pass
            else:
                members[key] = text.take_value()
            if text.peek() != "}":
                text.take(",")
    return members


def _is_header(line: str) -> bool:
    """Whether a line of an OPTIMADE file is a header. Source: OPTIMADE 1.2, JSON Lines."""
    if not any(header in line for header in _HEADERS):
        return False
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, Mapping) and f'"{record.get("type")}"' in _HEADERS


def check_record(text: str) -> str | None:
    """Reason why a record contains no crystal; None if it contains one."""
    try:
        record = json.loads(text)
        return None if find_crystal(record) is not None else describe_record(record)
    except StructureError:  # several, of which one cannot be chosen
        return None
    except (ValueError, RecursionError) as error:
        return shorten(error)


def _join(members: Mapping[str, str]) -> str:
    """Text of an object from the texts of its members."""
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members.items()) + "}"


def _take_key(text: JsonText) -> str:
    if text.peek() != '"':
        text.refuse("expected a name in quotation marks", cut=not text.peek())
    key: str = json.loads(text.take_value())
    text.take(":")
    return key
