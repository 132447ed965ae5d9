"""Extended XYZ → structures: the stream is split into frames, each of which is read by ASE."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from xxact_core.errors import StructureError, shorten
from xxact_core.structures.json_dialects import numbers_to_arrays
from xxact_core.structures.json_records import arrays_to_structure, find_name
from xxact_core.structures.labels import Labels
from xxact_core.structures.source_files import UNREADABLE, open_unpacked
from xxact_core.structures.structure import MOST_ATOMS, Structure

LONGEST_LINE = 2**20
"""Largest number of characters in a line. Ours: the comment line of a frame takes some thousands."""

MOST_COLUMNS = 1000
"""Largest number of columns. Ours: positions, forces, charges and the like take some tens."""

_DIRECTIONS = 3
_SITE_OCCUPANCIES = ("occupancies", "occupancy")


def read_frames(path: Path, *, name: str) -> Iterator[tuple[str, str, str]]:
    """Frames as (`extxyz`, name, text), then (`error`, file, reason) if the file cannot be read to its end.

    A frame is named `name:number`, or `name` if it is the only one.
    """
    number = 0
    try:
        with open_unpacked(path) as stream:
            lines = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
            head = _read_line(lines)
            while head.strip():
                frame, size = _read_frame(head, lines)
                head = _read_line(lines)
                frame_name = name if number == 0 and not head.strip() else f"{name}:{number}"
                if size > MOST_ATOMS:
                    yield "error", frame_name, f"the cell contains {size} atoms; expected at most {MOST_ATOMS}"
                else:
                    yield "extxyz", frame_name, frame
                number += 1
    except UNREADABLE as error:
        reason = f"the file ends in the middle, after {number} records ({shorten(error)})"
        yield "error", shorten(path.name), reason
    except StructureError as error:
        yield "error", shorten(path.name), f"the file is not extended XYZ, after {number} records ({error})"


def frame_to_structure(text: str, *, fallback: str, labels: Labels) -> Structure | tuple[str, str]:
    """The structure of a frame, with its id or else `fallback`; (id, reason) if it contains none.

    A column `occupancies` states occupancies; a mixed site is several atoms at the same position.
    """
    name = fallback
    try:
        atoms = _parse_frame(text)
        info = {str(key): value for key, value in atoms.info.items()}
        name = find_name(info) or fallback
        periodic = int(np.count_nonzero(atoms.pbc))
        if periodic != _DIRECTIONS:
            return name, f"periodic in {periodic} of three directions: not a crystal"
        occupancies = next((atoms.arrays[column] for column in _SITE_OCCUPANCIES if column in atoms.arrays), None)
        arrays = numbers_to_arrays(
            atoms.numbers.astype(np.int64), atoms.positions, np.array(atoms.cell), occupancies=occupancies
        )
        return arrays_to_structure(arrays, info, name=name, labels=labels)
    except StructureError as error:
        return name, str(error)


def _parse_frame(text: str) -> Any:  # noqa: ANN401 - ASE is imported only where a frame is read
    from ase.io.extxyz import key_val_str_to_dict, read_xyz  # noqa: PLC0415 - slow, and only these files need it

    def parse_labels(line: str) -> dict[str, Any]:
        labels: dict[str, Any] = key_val_str_to_dict(line)
        _check_columns(str(labels.get("Properties", "")))
        return labels

    try:
        return next(read_xyz(io.StringIO(text), index=0, properties_parser=parse_labels))
    except Exception as error:  # ASE raises errors of any type
        msg = f"not a readable frame ({shorten(error)})"
        raise StructureError(msg, code="E_STRUCTURE") from error


def _check_columns(properties: str) -> None:
    """Refuse columns of billions of numbers, for which ASE would allocate memory, and missing positions."""
    fields = properties.split(":")
    if properties and not {"pos", "positions"} & set(fields[::3]):
        msg = f"no positions among {shorten(fields[::3])}"
        raise StructureError(msg, code="E_FORMAT")
    columns = sum(int(count) for count in fields[2::3])
    if columns > MOST_COLUMNS:
        msg = f"{columns} numbers an atom, more than {MOST_COLUMNS}"
        raise StructureError(msg, code="E_FORMAT")


def _read_line(lines: TextIO) -> str:
    line = lines.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        msg = f"a line of more than {LONGEST_LINE} characters"
        raise StructureError(msg, code="E_FORMAT")
    return line


def _read_frame(head: str, lines: TextIO) -> tuple[str, int]:
    """Text and number of atoms of the frame with the first line `head`; without text if it is too large."""
    if not head.strip().isdecimal():
        msg = f"expected a number of atoms, found {shorten(head.strip(), limit=40)!r}"
        raise StructureError(msg, code="E_FORMAT")
    size = int(head) if len(head) < _LONGEST_NUMBER else MOST_ATOMS + 1
    kept = [head]
    for _ in range(size + 1):
        line = _read_line(lines)
        if not line:
            msg = "no more lines"
            raise EOFError(msg)
        if size <= MOST_ATOMS:
            kept.append(line)
    return "".join(kept), size


_LONGEST_NUMBER = 20
