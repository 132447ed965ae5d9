"""Structure table → the same rows and labels with the structures as asymmetric units, a third of the size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xxact_core.errors import DatasetError, shorten
from xxact_core.structures.asymmetric_units import AsymmetricUnit, units_to_columns
from xxact_core.structures.compact_tables import UNIT_COLUMNS, layout_metadata, units_to_arrow, write_columns
from xxact_core.structures.standardising import structure_to_unit
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import COLUMNS, read_table

KIND = "structures"
"""Kind of table that the file's metadata states."""

ROWS = 16_384
"""Rows in a row group: a block of a dataset build reads one or two. Ours."""


def pack_table(
    source: Path,
    path: Path,
    *,
    to_unit: Callable[[Structure], AsymmetricUnit] | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Write a structure table again with its structures as asymmetric units; all other columns stay as they are.

    No atom moves by more than `standardising.MOST_DISPLACEMENT` relative to the cell; what the symmetry would change
    more is stored without it.

    Args:
        source: a Parquet table with the columns `COLUMNS`.
        path: of the table to write.
        to_unit: asymmetric unit of a structure, by default `structure_to_unit`.
        progress: called with the number of rows done.

    Returns:
        The number of rows.

    Raises:
        DatasetError: the table cannot be read, or a row contains no structure.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    to_unit = to_unit or (lambda structure: structure_to_unit(structure, keep=True))
    packed: list[AsymmetricUnit] = []
    for row, item in enumerate(read_table(source)):
        if not isinstance(item, Structure):
            msg = f"{shorten(source.name)}: row {row} ({item[0]}) contains no structure: {item[1]}"
            raise DatasetError(msg, code="E_DATASET")
        packed.append(to_unit(item))
        progress(row + 1)
    units = units_to_columns(packed)
    with parquet.ParquetFile(source) as file:
        kept = [name for name in file.schema_arrow.names if name not in {*COLUMNS, "occupancies", *UNIT_COLUMNS}]
        table = file.read(columns=kept)
    columns = {name: table.column(name) for name in kept}
    columns = {
        name: column.cast(pa.string()) if pa.types.is_large_string(column.type) else column
        for name, column in columns.items()
    }
    floats = {name: "BYTE_STREAM_SPLIT" for name, column in columns.items() if pa.types.is_floating(column.type)}
    ids = {"id": "DELTA_BYTE_ARRAY"} if "id" in columns else {}
    metadata = layout_metadata(units, KIND)
    write_columns(path, {**columns, **units_to_arrow(units)}, metadata, rows=ROWS, encodings={**floats, **ids})
    return len(packed)
