"""Files of reference tables: structures and tables of former versions → `ReferenceTable`, and writing one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_core.compositions.composition import Composition, composition_to_text
from xxact_core.errors import DatasetError, shorten
from xxact_core.search_match.database import (
    LINES,
)
from xxact_core.search_match.mineral_names import names_of_phase
from xxact_core.search_match.reference_table import (
    DESCRIBED,
    ENERGY_STEP,
    HEIGHT_STEPS,
    NO_ENERGY,
    ReferenceTable,
    split_id,
)
from xxact_core.structures.asymmetric_units import AsymmetricUnits, units_to_columns
from xxact_core.structures.compact_tables import (
    EXPERIMENTAL,
    KNOWN,
    UNIT_COLUMNS,
    VERSION,
    arrow_to_units,
    check_layout,
    flat,
    from_bytes,
    is_compact,
    layout_metadata,
    to_bytes,
    units_to_arrow,
    write_columns,
)
from xxact_core.structures.structure import Structure

if TYPE_CHECKING:
    import pyarrow as pa


DATASET_MANIFEST = "manifest.json"
"""File that makes a folder a dataset, which is searched but is no reference table."""

KIND = "reference"
"""Kind of table that the file's metadata states."""


def is_reference_table(path: Path) -> bool:
    """Whether a file is a reference table, of whatever version."""
    from pyarrow import parquet  # noqa: PLC0415 - only where a table is read

    try:
        with parquet.ParquetFile(path) as file:
            return "line_height" in file.schema_arrow.names
    except (OSError, ValueError):
        return False


def read_reference_table(path: Path) -> ReferenceTable:
    """Read a table that `xxact reference build` wrote.

    Raises:
        DatasetError: the file is missing, damaged, no reference table, or one of another version.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:  # `read_table` would import pandas
            layout = check_layout(file.schema_arrow.metadata, kind=KIND, name=path.name)
            references = _arrow_to_table(path, file.read(use_threads=False), layout)
    except (pa.ArrowException, OSError, ValueError, LookupError, BufferError, TypeError) as error:
        msg = f"{shorten(path.name)}: cannot be read as a reference table ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    pa.default_memory_pool().release_unused()
    return references


def is_compact_table(path: Path) -> bool:
    """Whether a file is a table of asymmetric units, such as the shipped table with labels."""
    from pyarrow import parquet  # noqa: PLC0415 - only where a table is read

    try:
        with parquet.ParquetFile(path) as file:
            return is_compact(file.schema_arrow.names)
    except (OSError, ValueError):
        return False


def read_compact_table(path: Path) -> ReferenceTable:
    """Read a table of asymmetric units as reference phases; their reflections are simulated where they are needed.

    Raises:
        DatasetError: the file is damaged or of another version.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            layout = check_layout(file.schema_arrow.metadata, kind=None, name=path.name)
            described = [name for name in DESCRIBED if name in file.schema_arrow.names]
            table = file.read(columns=[*UNIT_COLUMNS, *described], use_threads=False)
            units = arrow_to_units(table, table.schema.metadata, name=path.name)
            columns = {name: table.column(name).to_pylist() for name in described}
    except (pa.ArrowException, OSError, ValueError) as error:
        msg = f"{shorten(path.name)}: cannot be read as a table of structures ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    formulas, groups = columns.get("reduced_formula", []), units.space_group.tolist()
    named = {row: names_of_phase(*pair) for row, pair in enumerate(zip(formulas, groups, strict=False))}
    ids = columns.get("id") or [f"{path.stem}:{row}" for row in range(len(units))]
    flags = np.zeros(len(units), dtype=np.uint8)
    for name, flag in (("experimental", EXPERIMENTAL), ("known", KNOWN), ("in_icsd_guess", KNOWN)):
        flags |= np.array([flag * bool(value) for value in columns.get(name, [False] * len(units))], dtype=np.uint8)
    return _units_to_table(
        path,
        units,
        ids=list(map(str, ids)),
        public=columns.get("public_id"),
        flags=flags,
        names=named,
        version=layout["version"],
    )


def structures_to_table(structures: Sequence[Structure]) -> ReferenceTable:
    """Some structures as a table in memory, each under its number; they are idealised as in every reference table.

    Raises:
        StructureError: a structure cannot be stored, for instance because its cell has no volume.
    """
    from xxact_core.structures.standardising import structure_to_unit  # noqa: PLC0415 - spglib is slow to import

    units = units_to_columns([structure_to_unit(structure, keep=False) for structure in structures])
    numbers = [str(number) for number in range(len(units))]
    flags = np.zeros(len(units), dtype=np.uint8)
    return _units_to_table(Path("structures"), units, ids=numbers, public=None, flags=flags, names={}, version=VERSION)


def _units_to_table(
    path: Path,
    units: AsymmetricUnits,
    *,
    ids: Sequence[str],
    public: Sequence[str | None] | None,
    flags: np.ndarray,
    names: Mapping[int, tuple[str, ...]],
    version: int,
) -> ReferenceTable:
    """Asymmetric units without stored reflections as a table.

    Args:
        path: of the file.
        units: the structures.
        ids: of the phases.
        public: ids by which they are shown, None where there is none; by default `ids`.
        flags: of the phases.
        names: by row.
        version: of the layout.
    """
    shown = list(ids) if public is None else list(public)
    pairs = [dict.fromkeys((own, *(() if other is None else (other,)))) for own, other in zip(ids, shown, strict=True)]
    split = [split_id(identity) for pair in pairs for identity in pair]
    prefixes = {prefix: number for number, prefix in enumerate(dict.fromkeys(prefix for prefix, _ in split))}
    return ReferenceTable(
        path=path,
        units=units,
        id_start=np.concatenate([[0], np.cumsum([len(pair) for pair in pairs])]),
        id_prefix=np.array([prefixes[prefix] for prefix, _ in split]),
        id_number=np.array([number for _, number in split]),
        prefixes=tuple(prefixes),
        shown=np.array([-1 if other is None else len(pair) - 1 for pair, other in zip(pairs, shown, strict=True)]),
        flags=flags,
        energy_above_hull=np.full(len(units), np.nan),
        names={row: found for row, found in names.items() if found},
        stated={},
        line_start=np.zeros(len(units) + 1, dtype=np.int64),
        line_hkl=np.zeros((0, 3), dtype=np.int8),
        line_height=np.zeros(0, dtype=np.uint8),
        description={"version": version, "sources": [path.name], "credits": [], "xxact": ""},
    )


def _arrow_to_table(path: Path, table: pa.Table, layout: Mapping[str, Any]) -> ReferenceTable:
    id_start, id_prefix = flat(table.column("id_prefix"))
    line_start, line_height = from_bytes(table, "line_height", np.uint8)
    energy = np.from_dlpack(table.column("energy_above_hull").combine_chunks()).astype(np.float64)
    hkl = np.stack([from_bytes(table, f"line_{axis}", np.int8)[1] for axis in "hkl"], axis=1)
    if int(np.diff(line_start).max(initial=0)) > LINES or len(hkl) != len(line_height):
        msg = f"more than {LINES} reflections of a phase, or without Miller indices"
        raise ValueError(msg)
    return ReferenceTable(
        path=path,
        units=arrow_to_units(table, table.schema.metadata, name=path.name),
        id_start=id_start,
        id_prefix=id_prefix,
        id_number=flat(table.column("id_number"))[1],
        prefixes=tuple(layout["prefixes"]),
        shown=np.from_dlpack(table.column("shown").combine_chunks()),
        flags=np.from_dlpack(table.column("flags").combine_chunks()),
        energy_above_hull=np.where(energy == NO_ENERGY, np.nan, energy * ENERGY_STEP),
        names=_stated(table.column("names"), tuple),
        stated=_stated(table.column("formula"), str),
        line_start=line_start,
        line_hkl=hkl,
        line_height=line_height,
        description={name: layout[name] for name in ("version", "sources", "credits", "xxact")},
    )


def _stated(column: Any, to: Any) -> dict[int, Any]:  # noqa: ANN401 - pyarrow is not imported here
    """Values of a column by row, where there are any."""
    array = column.combine_chunks()
    valid = array.buffers()[0]
    rows: Sequence[int] = range(len(array))
    if valid is not None:  # a bit for each row; pyarrow's functions take longer to import than this
        bits = np.unpackbits(np.frombuffer(valid, dtype=np.uint8), bitorder="little")
        rows = np.flatnonzero(bits[array.offset : array.offset + len(array)]).tolist()
    return {row: to(array[row].as_py()) for row in rows}


@dataclass(frozen=True, eq=False)
class Phase:
    """What a reference table states about one phase, besides its structure."""

    ids: tuple[str, ...]
    """Its ids, its own first."""
    shown: int
    """Which of them is shown, -1 for none."""
    flags: int
    """`EXPERIMENTAL`, `KNOWN` and so on."""
    names: tuple[str, ...] = ()
    """Its names, the usual one first."""
    composition: Composition | None = None
    """Its composition, where the structure does not show it."""
    energy_above_hull: float = float("nan")
    """Energy above the convex hull [eV/atom]."""


def write_reference_table(
    path: Path,
    units: AsymmetricUnits,
    phases: Sequence[Phase],
    lines: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    sources: Sequence[str],
    credit: Sequence[str],
) -> None:
    """Write a reference table.

    Args:
        path: of the file.
        units: the structures.
        phases: what is known of each.
        lines: Miller indices, shape (lines, 3), and relative intensities of the strongest reflections of each, as
            `sticks_to_strongest` selects them.
        sources: names of the sources.
        credit: origins and licences.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written

    split = [[split_id(identity) for identity in phase.ids] for phase in phases]
    prefixes = sorted({prefix for ids in split for prefix, _ in ids})
    place = {prefix: number for number, prefix in enumerate(prefixes)}
    prefix_type = pa.uint8() if len(prefixes) <= np.iinfo(np.uint8).max else pa.uint32()
    energies = [
        NO_ENERGY
        if np.isnan(phase.energy_above_hull)
        else round(min(max(phase.energy_above_hull / ENERGY_STEP, 0), np.iinfo(np.int16).max))
        for phase in phases
    ]
    columns = {
        **units_to_arrow(units),
        "id_prefix": pa.array([[place[prefix] for prefix, _ in ids] for ids in split], pa.list_(prefix_type)),
        "id_number": pa.array([[number for _, number in ids] for ids in split], pa.list_(pa.int32())),
        "shown": pa.array([phase.shown for phase in phases], pa.int8()),
        "flags": pa.array([phase.flags for phase in phases], pa.uint8()),
        "energy_above_hull": pa.array(energies, pa.int16()),
        "names": pa.array([list(phase.names) or None for phase in phases], pa.list_(pa.string())),
        "formula": pa.array(
            [None if phase.composition is None else composition_to_text(phase.composition) for phase in phases],
            pa.string(),
        ),
    }
    line_start = np.concatenate([[0], np.cumsum([len(height) for _, height in lines])])
    hkl = np.concatenate([hkl for hkl, _ in lines])
    height = np.rint(HEIGHT_STEPS * np.sqrt(np.concatenate([height for _, height in lines]))).astype(np.uint8)
    for column, axis in enumerate("hkl"):
        columns |= to_bytes(f"line_{axis}", line_start, hkl[:, column])
    columns |= to_bytes("line_height", line_start, height)
    stated = {"prefixes": prefixes, "sources": list(sources), "credits": list(credit), "xxact": version("xxact")}
    split_bytes = {"id_number.list.element": "BYTE_STREAM_SPLIT", "energy_above_hull": "BYTE_STREAM_SPLIT"}
    write_columns(path, columns, layout_metadata(units, KIND, **stated), rows=2**20, encodings=split_bytes)
