"""Prototype tables: structures as prototypes of the reference table with other elements and another size.

A row is the row of the prototype in the shipped reference table, the atomic numbers on its kinds of sites in their
order, and the factor on the lengths of its cell: some 8 bytes a structure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_core.errors import DatasetError, StructureError, shorten
from xxact_core.quantities import FORMATION_ENERGY, TEACHER
from xxact_core.shipped import REFERENCE_TABLE, shipped_path
from xxact_core.structures.asymmetric_units import AsymmetricUnits
from xxact_core.structures.compact_tables import UNIT_COLUMNS, arrow_to_units, check_layout, from_bytes, to_bytes
from xxact_core.structures.structure import Structure

if TYPE_CHECKING:
    import pyarrow as pa

PROTOTYPE_COLUMNS = ("number", "prototype", "element", "scale")
"""Columns of a prototype table, beside the formation energy."""

METADATA = "xxact_prototypes"
"""Key of the file's metadata: SHA-256 of the reference table, teacher, reference energies and settings."""

SCALE_STEP = 1e-4
"""Step of the factor on lengths. Ours: it changes the energy by far less than 1 meV/atom."""

ENERGY_DIGITS = 4
"""Decimals of formation energies [eV/atom]."""

PREFIX = "prototype-"
"""Beginning of the ids, before the number."""


@dataclass(frozen=True)
class PrototypeRow:
    """One structure."""

    number: int
    """Number in its id."""
    prototype: int
    """Row of the prototype in the reference table."""
    elements: tuple[int, ...]
    """Atomic numbers on the kinds of sites of the prototype, in their order."""
    scale: float
    """Factor on the lengths of the prototype's cell."""
    formation_energy: float
    """By the teacher [eV/atom]."""


def is_prototype_table(names: Any) -> bool:  # noqa: ANN401 - any iterable of names
    """Whether a table with these columns is a prototype table."""
    return set(PROTOTYPE_COLUMNS) <= set(names)


def substitute_elements(
    units: AsymmetricUnits, row: int, elements: Sequence[int], *, scale: float, name: str = ""
) -> Structure:
    """A prototype with other elements and scaled lengths, in its primitive cell.

    Args:
        units: the structures of the reference table.
        row: of the prototype, an ordered structure.
        elements: atomic numbers on its kinds of sites.
        scale: factor on the lengths of its cell.
        name: id of the structure.

    Raises:
        StructureError: the prototype has another number of kinds of sites.
    """
    first, last = int(units.kind_start[row]), int(units.kind_start[row + 1])
    kinds = units.element[units.part_start[first] : units.part_start[last]]
    if len(kinds) != len(elements) or len(kinds) != last - first:
        msg = f"{name}: {len(elements)} elements for the {last - first} kinds of sites of prototype {row}"
        raise StructureError(msg, code="E_STRUCTURE")
    prototype = units.structure(row, name=name, primitive=True)
    element_of = np.zeros(256, dtype=np.int64)
    element_of[kinds] = elements
    cell = prototype.cell.copy()
    cell[:3] *= scale
    return replace(prototype, cell=cell, atomic_numbers=element_of[prototype.atomic_numbers])


def reference_digest(path: Path | None = None) -> str:
    """SHA-256 of a reference table, by default the shipped one; computed again only where the file has changed."""
    path = path or shipped_path(REFERENCE_TABLE)
    state = path.stat()
    return _digest(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=4)
def _digest(path: Path, _state: tuple[int, int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def reference_units(path: Path | None = None) -> AsymmetricUnits:
    """The structures of a reference table, by default the shipped one.

    Raises:
        DatasetError: the file is no reference table.
    """
    return read_units(path or shipped_path(REFERENCE_TABLE))[0]


def read_units(path: Path, columns: tuple[str, ...] = ()) -> tuple[AsymmetricUnits, dict[str, np.ndarray]]:
    """Structures of a reference table, and further columns of numbers.

    Raises:
        DatasetError: the file is no reference table.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    try:
        table = parquet.read_table(path, columns=[*UNIT_COLUMNS, *columns])
    except (OSError, ValueError, pa.ArrowException) as error:
        msg = f"{shorten(path.name)}: not a readable reference table ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    check_layout(table.schema.metadata, kind="reference", name=path.name)
    units = arrow_to_units(table, table.schema.metadata, name=path.name)
    return units, {name: table.column(name).to_numpy() for name in columns}


def write_prototype_table(path: Path, rows: Sequence[PrototypeRow], about: Mapping[str, object]) -> None:
    """Write a prototype table atomically; `about` goes into its metadata and must state `reference`, the SHA-256."""
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    start = np.cumsum([0, *(len(row.elements) for row in rows)])
    elements = np.array([number for row in rows for number in row.elements], dtype=np.uint8)
    scale = np.rint(np.array([row.scale for row in rows]) / SCALE_STEP).astype(np.uint16)
    energy = np.round([row.formation_energy for row in rows], ENERGY_DIGITS).astype(np.float32)
    table = pa.table(
        {
            "number": pa.array(np.array([row.number for row in rows], dtype=np.int32)),
            "prototype": pa.array(np.array([row.prototype for row in rows], dtype=np.int32)),
            **to_bytes("element", start, elements),
            "scale": pa.array(scale),
            FORMATION_ENERGY.name: pa.array(energy),
        }
    )
    part = path.with_name(f"{path.name}.part")
    try:
        parquet.write_table(
            table.replace_schema_metadata({METADATA: json.dumps(dict(about))}),
            part,
            compression="zstd",
            compression_level=19,
            use_dictionary=False,
            column_encoding={
                "number": "DELTA_BINARY_PACKED",
                "prototype": "BYTE_STREAM_SPLIT",
                "element": "DELTA_LENGTH_BYTE_ARRAY",
                "scale": "BYTE_STREAM_SPLIT",
                FORMATION_ENERGY.name: "BYTE_STREAM_SPLIT",
            },
            row_group_size=2**14,
            write_statistics=False,
        )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check_prototype_table(metadata: Mapping[bytes, bytes] | None, *, name: str) -> dict[str, Any]:
    """What a prototype table states of itself.

    Raises:
        DatasetError: it states nothing, or was made from another reference table than the shipped one.
    """
    try:
        about = dict(json.loads((metadata or {})[METADATA.encode()]))
        digest = str(about["reference"])
    except (KeyError, ValueError, TypeError) as error:
        msg = f"{shorten(name)}: the prototype table does not state its reference table; build it again"
        raise DatasetError(msg, code="E_DATASET") from error
    if digest != reference_digest():
        msg = f"{shorten(name)}: the prototypes are those of another reference table than the installed one; build the "
        msg += "table again with `xxact dataset prototypes`"
        raise DatasetError(msg, code="E_DATASET")
    return about


def prototype_structures(table: pa.Table) -> Iterator[Structure | tuple[str, str]]:
    """Structures of the rows of a prototype table, with the teacher's formation energies; (id, reason) for others."""
    units = reference_units()
    start, elements = from_bytes(table, "element", np.uint8)
    columns = (table.column(name).to_pylist() for name in ("number", "prototype", "scale", FORMATION_ENERGY.name))
    for place, (number, row, scale, energy) in enumerate(zip(*columns, strict=True)):
        name = f"{PREFIX}{number}"
        try:
            kinds = elements[start[place] : start[place + 1]].tolist()
            structure = substitute_elements(units, row, kinds, scale=scale * SCALE_STEP, name=name)
            yield replace(structure, targets={FORMATION_ENERGY.name: energy}, energy_kind=TEACHER)
        except (StructureError, ValueError, IndexError) as error:
            yield name, shorten(error)
