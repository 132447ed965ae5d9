"""Asymmetric units ↔ columns of a Parquet table, one row a structure.

Lists of small integers are stored as bytes, and those of two bytes as two columns, low and high bytes, which are read
several times as fast as lists.

- `hall`: Hall number.
- `cell`: free cell parameters in `LENGTH_STEP` and `ANGLE_STEP`.
- `element`: atomic numbers of all kinds of atoms; `mixture`: number of elements of each kind, where some are mixed;
  `occupancy`: occupancies in `OCCUPANCY_STEP`, where some are not 1.
- `sites`: number of sites of each kind.
- `form_low`, `form_high`: forms of the sites as positions in the list `forms` of the file's metadata.
- `free_low`, `free_high`: free coordinates in 1 / `GRID`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_core.errors import DatasetError, shorten
from xxact_core.structures.asymmetric_units import ANGLE_STEP, GRID, LENGTH_STEP, OCCUPANCY_STEP, AsymmetricUnits

if TYPE_CHECKING:
    import pyarrow as pa

UNIT_COLUMNS = (
    *("hall", "cell", "element", "occupancy", "mixture", "sites"),
    *("form_low", "form_high", "free_low", "free_high"),
)
"""Columns that describe a structure."""

LAYOUT = "xxact_layout"
"""Key of the file's metadata that names the layout."""

VERSION = 1
"""Version of the layout; tables of another version are refused."""

FLAGS, STATED_COMPOSITION = "flags", "formula"
"""Columns of a reference table: bits of provenance, and compositions that the structures do not show."""

EXPERIMENTAL, KNOWN, HYDROGEN_MISSING = 1, 2, 4
"""Bits of the column `flags`: the cell was measured; the phase was found in experiments; the formula is the published
one, and the structure lacks its hydrogen."""

_ENCODINGS = {
    "hall": "BYTE_STREAM_SPLIT",
    "cell.list.element": "BYTE_STREAM_SPLIT",
    "occupancy.list.element": "BYTE_STREAM_SPLIT",
}


def is_compact(names: Any) -> bool:  # noqa: ANN401 - any iterable of names
    """Whether a table with these columns holds asymmetric units."""
    return set(UNIT_COLUMNS) <= set(names)


def units_to_arrow(units: AsymmetricUnits) -> dict[str, pa.Array]:
    """The columns `UNIT_COLUMNS`; the codebook is part of `layout_metadata`."""
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written

    part_row = units.part_start[units.kind_start]
    mixed = np.diff(units.part_start) > 1
    ordered = units.occupancy == round(1 / OCCUPANCY_STEP)
    rows = len(units)
    has_mixture = np.logical_or.reduceat(mixed, units.kind_start[:-1]) if rows else np.zeros(0, dtype=bool)
    has_occupancy = ~np.logical_and.reduceat(ordered, part_row[:-1]) if rows else np.zeros(0, dtype=bool)
    return {
        "hall": pa.array(units.hall.astype(np.int16)),
        "cell": _lists(units.cell_start, units.cell_code.astype(np.int32)),
        **to_bytes("element", part_row, units.element),
        "occupancy": _lists(part_row, units.occupancy, where=has_occupancy),
        "mixture": _lists(units.kind_start, np.diff(units.part_start).astype(np.uint8), where=has_mixture),
        "sites": _lists(units.kind_start, np.diff(units.site_start).astype(np.uint16)),
        **to_bytes("form", units.site_start[units.kind_start], units.form),
        **to_bytes("free", units.free_start, units.free),
    }


def arrow_to_units(table: pa.Table, metadata: Mapping[bytes, bytes], *, name: str) -> AsymmetricUnits:
    """The asymmetric units of a table with the columns `UNIT_COLUMNS`.

    Raises:
        DatasetError: the columns contradict one another, or the codebook is missing.
    """
    try:
        forms = np.array(json.loads(metadata[LAYOUT.encode()])["forms"], dtype=np.int64)
        cell_start, cell_code = flat(table.column("cell"))
        part_row, element = from_bytes(table, "element", np.uint8)
        kind_start, site_count = flat(table.column("sites"))
        site_row, form = from_bytes(table, "form", np.uint16)
        free_start, free = from_bytes(table, "free", np.uint16)
        occupancy = np.full(len(element), round(1 / OCCUPANCY_STEP), dtype=np.uint16)
        _fill(occupancy, part_row, table.column("occupancy"))
        part_count = np.ones(len(site_count), dtype=np.int64)
        _fill(part_count, kind_start, table.column("mixture"))
    except (KeyError, ValueError, TypeError, LookupError, BufferError) as error:
        msg = f"{shorten(name)}: not a readable table of asymmetric units ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    units = AsymmetricUnits(
        hall=np.from_dlpack(table.column("hall").combine_chunks()),
        cell_start=cell_start,
        cell_code=cell_code,
        kind_start=kind_start,
        part_start=_offsets(part_count),
        element=element,
        occupancy=occupancy,
        site_start=_offsets(site_count),
        form=form,
        free_start=free_start,
        free=free,
        forms=forms,
    )
    fits = (
        np.array_equal(units.part_start[kind_start], part_row)
        and np.array_equal(units.site_start[kind_start], site_row)
        and (len(form) == 0 or int(form.max()) < len(forms))
    )
    if not fits:
        msg = f"{shorten(name)}: not a readable table of asymmetric units (its columns contradict one another)"
        raise DatasetError(msg, code="E_DATASET")
    return units


def layout_metadata(units: AsymmetricUnits, kind: str, **more: object) -> dict[str, str]:
    """Metadata of a file that contains the units."""
    steps = {"grid": GRID, "length_step": LENGTH_STEP, "angle_step": ANGLE_STEP, "occupancy_step": OCCUPANCY_STEP}
    return {LAYOUT: json.dumps({"kind": kind, "version": VERSION, **steps, "forms": units.forms.tolist(), **more})}


def check_layout(metadata: Mapping[bytes, bytes] | None, *, kind: str | None, name: str) -> dict[str, Any]:
    """The layout that a file states.

    Args:
        metadata: of the file.
        kind: the kind of table that is expected; None for any.
        name: of the file, for messages.

    Raises:
        DatasetError: the file is of another kind or version.
    """
    try:
        layout = json.loads((metadata or {})[LAYOUT.encode()])
        found, version, grid = layout["kind"], layout["version"], layout["grid"]
    except (KeyError, ValueError, TypeError) as error:
        msg = f"{shorten(name)}: the file does not state the layout of its asymmetric units; build it again"
        raise DatasetError(msg, code="E_DATASET") from error
    if version != VERSION or grid != GRID:
        msg = f"{shorten(name)}: the table has version {shorten(version)} of the layout, and this version of xxact "
        msg += f"reads {VERSION}; build it again with `xxact reference build`"
        raise DatasetError(msg, code="E_DATASET")
    if kind is not None and found != kind:
        msg = f"{shorten(name)}: a table of kind {shorten(found)!r}; expected {kind!r}"
        raise DatasetError(msg, code="E_DATASET")
    return dict(layout)


def write_columns(
    path: Path, columns: Mapping[str, Any], metadata: Mapping[str, str], *, rows: int, encodings: Mapping[str, str]
) -> None:
    """Write a table atomically, with zstd and encodings that suit its integers.

    Args:
        path: of the file.
        columns: arrays by name.
        metadata: of the file.
        rows: rows in a row group.
        encodings: of further columns, by the path of their values.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    table = pa.table(dict(columns)).replace_schema_metadata(dict(metadata))
    binary = {field.name: "DELTA_LENGTH_BYTE_ARRAY" for field in table.schema if pa.types.is_binary(field.type)}
    leaves = {
        field: values
        for field, values in {**_ENCODINGS, **binary, **encodings}.items()
        if field.split(".")[0] in columns
    }
    texts = [
        name if not pa.types.is_list(field.type) else f"{name}.list.element"
        for name, field in ((field.name, field) for field in table.schema)
        if name not in encodings
        and pa.types.is_string(field.type.value_type if pa.types.is_list(field.type) else field.type)
    ]
    part = path.with_name(f"{path.name}.part")
    try:
        parquet.write_table(
            table,
            part,
            compression="zstd",
            compression_level=19,
            use_dictionary=texts,
            column_encoding=leaves,
            row_group_size=rows,
            data_page_size=2**22,
            write_statistics=False,
            store_schema=True,
        )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def flat(column: Any) -> tuple[np.ndarray, np.ndarray]:  # noqa: ANN401 - pyarrow is not imported here
    """Offsets of the lists of a column, shape (rows + 1,), and their concatenated values; a missing list is empty."""
    lists = column.combine_chunks()
    if not hasattr(lists, "offsets"):
        msg = f"expected a column of lists, not of {shorten(lists.type)}"
        raise TypeError(msg)
    offsets = np.from_dlpack(lists.offsets)
    return (offsets - offsets[0]).astype(np.int64), np.from_dlpack(lists.flatten())


def to_bytes(name: str, start: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Lists of integers of one or two bytes as a column of bytes, or two: `name_low` and `name_high`."""
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written

    offsets = pa.py_buffer(start.astype(np.int32).tobytes())

    def column(content: np.ndarray) -> Any:  # noqa: ANN401 - likewise
        data = pa.py_buffer(np.ascontiguousarray(content).tobytes())
        return pa.Array.from_buffers(pa.binary(), len(start) - 1, [None, offsets, data])

    if values.dtype.itemsize == 1:
        return {name: column(values)}
    low, high = values.astype("<u2").view(np.uint8).reshape(-1, 2).T
    return {f"{name}_low": column(low), f"{name}_high": column(high)}


def from_bytes(table: pa.Table, name: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Offsets, shape (rows + 1,), and values of the lists that `to_bytes` stored.

    Raises:
        ValueError: low and high bytes differ in number.
    """
    if np.dtype(dtype).itemsize == 1:
        start, values = _bytes_of(table.column(name))
        return start, values.view(dtype)
    start, low = _bytes_of(table.column(f"{name}_low"))
    high_start, high = _bytes_of(table.column(f"{name}_high"))
    if not np.array_equal(start, high_start):
        msg = f"the low and high bytes of {name} differ in number"
        raise ValueError(msg)
    return start, (low | high.astype(np.uint16) << 8).astype(dtype)


def _bytes_of(column: Any) -> tuple[np.ndarray, np.ndarray]:  # noqa: ANN401 - likewise
    array = column.combine_chunks()
    _, offsets, data = array.buffers()
    start = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    content = np.frombuffer(data if data is not None else b"", dtype=np.uint8)[start[0] : start[-1]]
    return start - start[0], content


def _fill(values: np.ndarray, start: np.ndarray, column: Any) -> None:  # noqa: ANN401 - likewise
    """Replace the values of the rows for which a column states a list."""
    stated_start, stated = flat(column)
    rows = np.flatnonzero(np.diff(stated_start))
    if not np.array_equal(np.diff(stated_start)[rows], np.diff(start)[rows]):
        msg = "a list has another length than those beside it"
        raise ValueError(msg)
    for row in rows:
        values[start[row] : start[row + 1]] = stated[stated_start[row] : stated_start[row + 1]]


def _lists(start: np.ndarray, values: np.ndarray, *, where: np.ndarray | None = None) -> Any:  # noqa: ANN401 - likewise
    """A column of lists; empty lists in rows where `where` is false."""
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written

    if where is not None:
        count = np.diff(start)
        values = values[np.repeat(where, count)]
        start = _offsets(np.where(where, count, 0))
    return pa.ListArray.from_arrays(pa.array(start.astype(np.int32)), pa.array(values))


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
