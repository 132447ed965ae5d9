"""Text of a CIF → data blocks with their items and loops."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from xxact_core.errors import StructureError, shorten

_WORD = re.compile(r"\S+")
_CLOSING = {mark: re.compile(rf"{mark}(?=\s|$)") for mark in "'\""}
"""A quotation mark ends a text where white space follows."""

_UNKNOWN = frozenset({"", "?", "."})
_DECISIVE = ("_cell_", "_symmetry_", "_space_group_", "_chemical_formula_", "_exptl_crystal_density_")


@dataclass
class CifBlock:
    """A data block; names are in lower case, with `_` for `.` and without a final `_`."""

    name: str
    """Code behind `data_`."""
    items: dict[str, str] = field(default_factory=dict)
    """Value of each item outside loops."""
    loops: list[dict[str, list[str]]] = field(default_factory=list)
    """Values of each item of each loop."""
    repeated: dict[str, str] = field(default_factory=dict)
    """Another value of items that the block states twice."""

    def add(self, name: str, text: str) -> None:
        """Add an item; of a repeated one the first value stays, and another one is kept apart."""
        first = self.items.setdefault(name, text)
        if first.strip() != text.strip() and not {first.strip(), text.strip()} & _UNKNOWN:
            self.repeated[name] = text

    def value(self, *names: str) -> str | None:
        """First stated value among items of these names; None where all are missing, `?` or `.`.

        Raises:
            StructureError: the cell, the symmetry, the formula or the density is stated twice, with other values.
        """
        for name in names:
            text = self.items.get(name)
            if text is None:
                column = self.column(name)
                text = column[0] if column and len(column) == 1 else None
            if text is not None and name in self.repeated and name.startswith(_DECISIVE):
                values = f"{shorten(text, limit=40)} and {shorten(self.repeated[name], limit=40)}"
                msg = f"{name} is stated twice: {values}"
                raise StructureError(msg, code="E_CONTRADICTION")
            if text is not None and text.strip() not in _UNKNOWN:
                return text.strip()
        return None

    def column(self, *names: str) -> list[str] | None:
        """Values of the first item of these names that is in a loop, or stated once."""
        for name in names:
            for loop in self.loops:
                if name in loop:
                    return loop[name]
            if name in self.items:
                return [self.items[name]]
        return None


def cif_to_blocks(text: str) -> list[CifBlock]:
    """Data blocks of a CIF, of version 1.1 or 2.0; names with dots (mmCIF, DDLm) are those with underscores.

    Save frames belong to their block; comments are dropped.

    Raises:
        StructureError: a loop ends within a row, or a text is not closed.
    """
    blocks = [CifBlock("")]
    tags: list[str] = []
    values: list[str] = []
    item, in_loop = "", False

    def close() -> None:
        nonlocal tags, values, in_loop, item
        if in_loop and values:
            if len(values) % len(tags):
                msg = f"the loop of {shorten(tags[0], limit=60)} has {len(values)} values for {len(tags)} columns: "
                msg += "a value is missing, or the file is cut off"
                raise StructureError(msg, code="E_TRUNCATED")
            blocks[-1].loops.append({tag: values[index :: len(tags)] for index, tag in enumerate(tags)})
        tags, values, in_loop, item = [], [], False, ""

    for word, quoted in _words(text):
        lower = "" if quoted else word.lower()
        if lower.startswith("data_"):
            close()
            blocks.append(CifBlock(word[5:]))
        elif lower == "loop_":
            close()
            in_loop = True
        elif lower.startswith("_"):
            name = lower.replace(".", "_").rstrip("_")
            if in_loop and not values:
                tags.append(name)
            else:
                close()
                item = name
        elif lower.startswith(("save_", "global_", "stop_")):
            close()
        elif in_loop and tags:
            values.append(word)
        elif item:
            blocks[-1].add(item, word)
            item = ""
    close()
    return blocks


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Words of a CIF, and whether each was quoted or a text between semicolons; in linear time."""
    lines = text.removeprefix("\ufeff").splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.startswith(";"):
            number = yield from _line_words(line, lines, number)
            continue
        content = [line[1:]]
        while number < len(lines) and not lines[number].startswith(";"):
            content.append(lines[number])
            number += 1
        if number == len(lines):
            msg = "a text between semicolons is not closed: the file is cut off"
            raise StructureError(msg, code="E_TRUNCATED")
        lines[number] = lines[number].lstrip(";")
        yield "\n".join(content).strip(), True


def _line_words(line: str, lines: list[str], number: int) -> Generator[tuple[str, bool], None, int]:
    """Words of a line, and of the lines from `number` on that a triple quote reaches; returns the next line."""
    place, unclosed = 0, set[str]()
    while match := _WORD.search(line, place):
        place, word = match.end(), match[0]
        if word.startswith("#"):
            break
        triple = word[:3]
        if triple in {"'''", '"""'}:  # CIF 2.0
            content, rest = [], line[match.start() + 3 :]
            while triple not in rest:
                content.append(rest)
                if number == len(lines):
                    msg = f"a text that begins with {triple} is not closed: the file is cut off"
                    raise StructureError(msg, code="E_TRUNCATED")
                rest = lines[number]
                number += 1
            inside, _, line = rest.partition(triple)
            place = 0
            yield "\n".join([*content, inside]), True
            continue
        mark = word[0]
        if mark in _CLOSING and mark not in unclosed:
            closing = _CLOSING[mark].search(line, match.start() + 1)
            if closing is not None:
                place = closing.end()
                yield line[match.start() + 1 : closing.start()], True
                continue
            unclosed.add(mark)
        yield word, False
    return number
