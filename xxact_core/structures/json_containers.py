"""JSON file → records of structures, recognised by its content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from xxact_core.errors import DatasetError, shorten
from xxact_core.structures.json_records import describe_record, find_crystal
from xxact_core.structures.json_text import JsonText
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
