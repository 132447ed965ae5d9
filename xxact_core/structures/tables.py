"""Parquet table → structures: one material per row, in columns of numbers or as JSON records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_core.compositions.composition import text_to_composition
from xxact_core.errors import DatasetError, FormulaError, StructureError, shorten
from xxact_core.quantities import FORMATION_ENERGY, TEACHER
from xxact_core.structures.compact_tables import (
    EXPERIMENTAL,
    FLAGS,
    HYDROGEN_MISSING,
    KNOWN,
    LAYOUT,
    STATED_COMPOSITION,
    UNIT_COLUMNS,
    arrow_to_units,
    check_layout,
    flat,
    is_compact,
)
from xxact_core.structures.json_dialects import DIALECTS
from xxact_core.structures.json_records import NAMES, find_name, parsed_to_structure
from xxact_core.structures.labels import ALIASES, LABELLED, NESTED, Labels, record_to_targets, unit_to_factor
from xxact_core.structures.plausibility import check_plausible
from xxact_core.structures.prototype_tables import check_prototype_table, is_prototype_table, prototype_structures
from xxact_core.structures.source_files import file_stem
from xxact_core.structures.structure import Structure, symbol_to_number

if TYPE_CHECKING:
    import pyarrow as pa

EXACT_ENERGY_SOURCES = ("unique", "megnet2018")
"""Sources of formation energies that belong to the structure itself. Source: xxact_core/data/README.md."""

COLUMNS = ("a", "b", "c", "alpha", "beta", "gamma", "species", "frac_coords")
"""Lattice parameters [Å, deg], element symbols and fractional coordinates: required columns."""

COLUMN_ALIASES = {
    "species": ("elements_at_sites", "symbols", "species_at_sites"),
    "frac_coords": ("fractional_coordinates", "frac_coordinates", "scaled_positions"),
    **{axis: (f"lattice_{axis}", f"cell_{axis}") for axis in ("a", "b", "c")},
    **{angle: (f"lattice_{angle}", f"cell_{angle}") for angle in ("alpha", "beta", "gamma")},
}
"""Alternative names of the columns."""

_RECORD_COLUMNS = frozenset({"structure", "atoms", "attributes", "cif"})
_DAMAGE = (OSError, ValueError, LookupError, OverflowError)
"""Errors that pyarrow raises for damaged files, besides its own."""

_ID_COLUMNS = ("id_prefix", "id_number")
_OCCUPANCIES, _ENERGY_SOURCE = "occupancies", "formation_energy_source"
UNLOCATED_HYDROGEN, CELL_IS_MEASURED = "unlocated_hydrogen", "cell_is_measured"
"""Optional columns: hydrogen atoms in the cell that have no coordinates, and whether the cell was measured."""
_BATCH_ROWS = 1024


def table_rows(path: Path) -> int:
    """Number of rows of a structure table.

    Raises:
        DatasetError: the file is not a Parquet table.
    """
    return int(_open_table(path).metadata.num_rows)


def check_table(path: Path, labels: Labels) -> Labels:
    """Check that a table has the required columns; returns the labels with the units that the table states.

    Raises:
        DatasetError: the table lacks a column that a structure needs or a label names, states another unit for it, or
            is of another version.
    """
    schema = _open_table(path).schema_arrow
    _structure_columns(path, schema)
    if is_prototype_table(schema.names):
        check_prototype_table(schema.metadata, name=path.name)
    if is_compact(schema.names):
        check_layout(schema.metadata, kind=None, name=path.name)
    columns = dict(labels.columns)
    for target, quantity in LABELLED.items():
        named = target in columns
        names = (columns[target][0],) if named else tuple(name for name in ALIASES[target] if name in schema.names)[:1]
        for name in names:
            if not {name, name.partition(".")[0]} & set(schema.names):
                msg = f"{shorten(path.name)}: no column {shorten(name)!r} for {target}; "
                msg += f"the table has {shorten(schema.names, limit=400)}"
                raise DatasetError(msg, code="E_DATASET")
            stated = _stated_unit(schema.field(name)) if name in schema.names else None
            wanted = columns[target][1] if named else None
            if stated is None:
                continue
            try:
                factor = unit_to_factor(stated, quantity)
            except DatasetError as error:
                msg = f"{shorten(path.name)}: the column {shorten(name)!r} states its unit: {error}"
                raise DatasetError(msg, code="E_DATASET") from None
            if wanted is not None and unit_to_factor(wanted, quantity) != factor:
                msg = f"{shorten(path.name)}: the column {shorten(name)!r} is in {shorten(stated)}, not in {wanted}"
                raise DatasetError(msg, code="E_DATASET")
            columns[target] = (name, stated)
    return Labels(columns)


def read_table(
    path: Path, *, start: int = 0, stop: int | None = None, labels: Labels | None = None, name: str | None = None
) -> Iterator[Structure | tuple[str, str]]:
    """Read rows `start` to `stop` of a Parquet table such as the shipped `materials_project.parquet`.

    A row without an id is named `name:row`, by default with the name of the file.

    Yields:
        A structure, or (id, reason) for a row that contains none.

    Raises:
        DatasetError: the file is not a Parquet table, or lacks a column that a structure needs or a label names.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read

    labels = check_table(path, labels or Labels())
    file = _open_table(path)
    stop = file.metadata.num_rows if stop is None else min(stop, file.metadata.num_rows)
    columns = _structure_columns(path, file.schema_arrow)
    row = start
    try:
        if is_prototype_table(file.schema_arrow.names):
            for structure in _prototype_rows(file, start=start, stop=stop):
                yield structure
                row += 1
            return
        if is_compact(file.schema_arrow.names):
            for structure in _compact_rows(path, file, labels=labels, start=start, stop=stop, name=name):
                yield structure
                row += 1
            return
        for record in _rows(file, _columns_to_read(file.schema_arrow, columns, labels), start=start, stop=stop):
            fallback = f"{name or file_stem(path.name)}:{row}"
            yield _row_to_structure(record, columns=columns, labels=labels, fallback=fallback)
            row += 1
    except (*_DAMAGE, pa.ArrowException) as error:
        reason = f"the table cannot be read from here on ({shorten(error)})"
    else:
        reason = "the table ends before this row, contrary to its metadata"
    if row < stop:
        yield from ((f"{name or file_stem(path.name)}:{lost}", reason) for lost in range(row, stop))


def _open_table(path: Path) -> Any:  # noqa: ANN401 - pyarrow is not imported here
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    try:
        file = parquet.ParquetFile(path)
    except (*_DAMAGE, pa.ArrowException) as error:
        msg = f"{shorten(path.name)}: not a readable parquet table ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    rows = sum(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
    if rows != file.metadata.num_rows:
        msg = f"{shorten(path.name)}: not a readable parquet table ({file.metadata.num_rows} rows, {rows} in groups)"
        raise DatasetError(msg, code="E_DATASET")
    return file


def _structure_columns(path: Path, schema: pa.Schema) -> dict[str, str]:
    """Name of each required column in this table; empty if its rows are records."""
    names = set(schema.names)
    if is_compact(names) or is_prototype_table(names):
        return {}
    found = {
        column: next((name for name in (column, *COLUMN_ALIASES.get(column, ())) if name in names), None)
        for column in COLUMNS
    }
    missing = [column for column, name in found.items() if name is None]
    if missing and _holds_records(names):
        return {}
    if missing:
        msg = f"{shorten(path.name)}: the table lacks the columns {missing}; a structure needs {list(COLUMNS)}, "
        msg += f"or one of {sorted(_RECORD_COLUMNS)}, or the columns of OPTIMADE, JARVIS or ASE"
        raise DatasetError(msg, code="E_DATASET")
    return {column: name for column, name in found.items() if name is not None}


def _holds_records(names: set[str]) -> bool:
    """Whether the rows are records: columns of a JSON dialect, or a column of structures."""
    return bool(names & _RECORD_COLUMNS) or any(needed <= names for needed, _ in DIALECTS)


def _stated_unit(column: pa.Field) -> str | None:
    metadata = column.metadata or {}
    unit = metadata.get(b"unit", metadata.get(b"units"))
    return None if unit is None else unit.decode("utf-8", errors="replace").strip()


def _columns_to_read(schema: pa.Schema, columns: Mapping[str, str], labels: Labels) -> list[str] | None:
    """Columns that describe a structure; None for all, if the rows are records."""
    if not columns:
        return None
    named = {part for name, _ in labels.columns.values() for part in (name, name.partition(".")[0])}
    aliases = {name for names in ALIASES.values() for name in names}
    wanted = {*columns.values(), *NAMES, *NESTED, *named, *aliases, _OCCUPANCIES, _ENERGY_SOURCE}
    wanted |= {UNLOCATED_HYDROGEN, CELL_IS_MEASURED}
    return [name for name in schema.names if name in wanted or name.startswith("_")]


def _rows(file: Any, columns: list[str] | None, *, start: int, stop: int) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - pyarrow is not imported here
    """Rows `start` to `stop`, read in batches that do not depend on the size of the row groups."""
    row = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if row + size > start and row < stop:
            first = row
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=columns):
                last = first + batch.num_rows
                if last > start and first < stop:
                    yield from batch.slice(max(0, start - first), min(stop, last) - max(start, first)).to_pylist()
                first = last
                if first >= stop:
                    return
        row += size


def _prototype_rows(file: Any, *, start: int, stop: int) -> Iterator[Structure | tuple[str, str]]:  # noqa: ANN401 - likewise
    """Rows of a prototype table."""
    row = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        first, last = max(start - row, 0), min(stop - row, size)
        if first < last:
            yield from prototype_structures(file.read_row_group(group, use_threads=False).slice(first, last - first))
        row += size


def _compact_rows(
    path: Path,
    file: Any,  # noqa: ANN401 - pyarrow is not imported here
    *,
    labels: Labels,
    start: int,
    stop: int,
    name: str | None,
) -> Iterator[Structure | tuple[str, str]]:
    """Rows of a table of asymmetric units, each in its primitive cell."""
    wanted = _columns_to_read(file.schema_arrow, {"unit": "unit"}, labels) or []
    wanted += [column for column in (FLAGS, STATED_COMPOSITION) if column in file.schema_arrow.names]
    row = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        first, last = max(start - row, 0), min(stop - row, size)
        if first < last:
            ids = [name for name in _ID_COLUMNS if name in file.schema_arrow.names]
            table = file.read_row_group(group, columns=[*UNIT_COLUMNS, *wanted, *ids], use_threads=False)
            table = table.slice(first, last - first)
            own = _reference_ids(table, file.schema_arrow.metadata) if ids else []
            units = arrow_to_units(table, file.schema_arrow.metadata, name=path.name)
            for number, record in enumerate(table.select(wanted).to_pylist()):
                fallback = own[number] if ids else f"{name or file_stem(path.name)}:{row + first + number}"
                identity = find_name(record) or fallback
                try:
                    structure = _with_provenance(units.structure(number, name=identity, primitive=True), record)
                    targets, kind = _record_to_labels(record, labels)
                    yield replace(structure, targets=targets, energy_kind=kind)
                except (StructureError, FormulaError, TypeError, ValueError) as error:
                    yield identity, shorten(error)
        row += size


def _with_provenance(structure: Structure, record: Mapping[str, Any]) -> Structure:
    """A structure with what a reference table states about its cell, its origin and its hydrogen."""
    flags = int(record.get(FLAGS) or 0)
    unlocated = 0.0
    if flags & HYDROGEN_MISSING:
        stated = text_to_composition(record[STATED_COMPOSITION])
        amounts = dict(zip(stated.symbols, stated.amounts, strict=True))
        located = structure.occupancies[structure.atomic_numbers == 1].sum()
        others = structure.occupancies.sum() - located
        hydrogen = amounts.pop("H", 0.0)
        unlocated = max(0.0, hydrogen * others / sum(amounts.values()) - located)
    return replace(
        structure,
        unlocated_hydrogen=unlocated,
        cell_is_measured=bool(flags & EXPERIMENTAL),
        found_in_experiments=bool(flags & (EXPERIMENTAL | KNOWN)),
    )


def _reference_ids(table: pa.Table, metadata: Mapping[bytes, bytes]) -> list[str]:
    """Own ids of the phases of a reference table: the first of each."""
    prefixes = json.loads(metadata[LAYOUT.encode()])["prefixes"]
    start, prefix = flat(table.column("id_prefix"))
    number = flat(table.column("id_number"))[1]
    return [
        prefixes[prefix[first]] + (str(number[first]) if number[first] >= 0 else "") for first in start[:-1].tolist()
    ]


def _record_to_labels(record: Mapping[str, Any], labels: Labels) -> tuple[dict[str, float], str]:
    """Targets of a row, and the kind of its formation energy, one of `ENERGY_KINDS`."""
    targets = record_to_targets(record, labels)
    if FORMATION_ENERGY.name not in targets:
        return targets, "none"
    if _ENERGY_SOURCE not in record:
        return targets, "stated"
    source = record[_ENERGY_SOURCE]
    return targets, source if source in (*EXACT_ENERGY_SOURCES, TEACHER) else "approximate"


def _row_to_structure(
    record: Mapping[str, Any], *, columns: Mapping[str, str], labels: Labels, fallback: str
) -> Structure | tuple[str, str]:
    if not columns:
        return parsed_to_structure(record, fallback=fallback, labels=labels)
    name = find_name(record) or fallback
    try:
        numbers = [symbol_to_number(symbol) for symbol in record[columns["species"]]]
        occupancies = record.get(_OCCUPANCIES)
        targets, kind = _record_to_labels(record, labels)
        structure = Structure(
            id=name,
            cell=np.array([record[columns[axis]] for axis in COLUMNS[:6]], dtype=np.float64),
            atomic_numbers=np.array(numbers, dtype=np.int64),
            frac_coords=np.array(record[columns["frac_coords"]], dtype=np.float64).reshape(-1, 3),
            occupancies=np.ones(len(numbers)) if occupancies is None else np.array(occupancies, dtype=np.float64),
            targets=targets,
            energy_kind=kind,
            unlocated_hydrogen=float(record.get(UNLOCATED_HYDROGEN) or 0.0),
            cell_is_measured=bool(record.get(CELL_IS_MEASURED)),
        )
        check_plausible(
            structure.cell,
            structure.atomic_numbers,
            structure.frac_coords,
            structure.occupancies,
            stated=record.items(),
        )
    except (StructureError, TypeError, ValueError) as error:
        return name, shorten(error)
    return structure
