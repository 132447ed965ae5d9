"""Structures → structure table, one row a structure, for `xxact build`; and the structures of a source."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.formula import reduced_formula
from xxact_core.dataset.splits import formula_to_split
from xxact_core.errors import DatasetError
from xxact_core.structures.labels import Labels
from xxact_core.structures.sources import list_blocks, read_block
from xxact_core.structures.structure import Structure

_ROWS_TOGETHER = 4096


def read_structures(source: Path) -> Iterator[Structure]:
    """All structures of a source that can be read."""
    for block in list_blocks(source, rows=_ROWS_TOGETHER):
        for item in read_block(block, labels=Labels()):
            if isinstance(item, Structure):
                yield item


def is_for_training(structure: Structure, *, split_seed: int) -> bool:
    """Whether the formula of a structure is of the training split, with and without unlocated hydrogen."""
    formulas = {reduced_formula(structure.stated_composition), structure.reduced_formula}
    return all(formula_to_split(formula, seed=split_seed) == "train" for formula in formulas)


def copy_first_of_split(source: Path, table: Path, *, split: str, count: int, split_seed: int = 0) -> int:
    """Copy the first `count` rows of a split, with all columns, from a shipped structure table; returns their number.

    Args:
        source: structure table with a column `reduced_formula`.
        table: to write; replaced where it exists.
        split: `train`, `validation` or `test`.
        count: largest number of rows.
        split_seed: seed of the split by reduced formula.
    """
    from pyarrow import parquet  # noqa: PLC0415 - only where a table is written

    formulas = parquet.read_table(source, columns=["reduced_formula"])["reduced_formula"].to_pylist()
    chosen = (row for row, name in enumerate(formulas) if formula_to_split(name, seed=split_seed) == split)
    rows = list(islice(chosen, count))
    part = table.with_name(f"{table.name}.{os.getpid()}.part")
    try:
        parquet.write_table(parquet.read_table(source).take(rows), part, compression="zstd")
        part.replace(table)
    finally:
        part.unlink(missing_ok=True)
    return len(rows)


def write_structures(structures: Iterable[Structure], table: Path) -> int:
    """Write a structure table without labels; returns the number of structures.

    Occupancies are float64, so that amounts such as 0.35 × 4 keep the reduced formula that decides the split.

    Raises:
        DatasetError: the table exists.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    if table.exists():
        msg = f"{table} already exists; choose another name"
        raise DatasetError(msg, code="E_DATASET")
    schema = pa.schema(
        {"id": pa.string()}
        | dict.fromkeys(("a", "b", "c", "alpha", "beta", "gamma"), pa.float64())
        | {"species": pa.list_(pa.string()), "frac_coords": pa.list_(pa.float32())}
        | {"occupancies": pa.list_(pa.float64()), "unlocated_hydrogen": pa.float64(), "cell_is_measured": pa.bool_()}
    )
    written, part = 0, table.with_name(table.name + ".part")
    try:
        with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            remaining = iter(structures)
            while rows := [_structure_to_row(structure) for structure in islice(remaining, _ROWS_TOGETHER)]:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                written += len(rows)
        part.replace(table)
    finally:
        part.unlink(missing_ok=True)
    return written


def _structure_to_row(structure: Structure) -> dict[str, object]:
    return {
        "id": structure.id,
        **dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), structure.cell.tolist(), strict=True)),
        "species": [SYMBOLS[number - 1] for number in structure.atomic_numbers],
        "frac_coords": structure.frac_coords.ravel().astype(np.float32),
        "occupancies": structure.occupancies,
        "unlocated_hydrogen": structure.unlocated_hydrogen,
        "cell_is_measured": structure.cell_is_measured,
    }
