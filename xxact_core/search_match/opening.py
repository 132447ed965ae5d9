"""Paths of reference tables, structures and datasets → one database of reference phases."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from xxact_core.errors import DatasetError, shorten
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.database import ReferenceDatabase, StrongestLines
from xxact_core.search_match.reference_files import (
    DATASET_MANIFEST,
    is_compact_table,
    is_reference_table,
    read_compact_table,
    read_reference_table,
)
from xxact_core.search_match.reference_table import ReferenceTable
from xxact_core.shipped import NAMED_TABLES, REFERENCE_TABLE, named_structures, shipped_path
from xxact_core.structures.source_files import file_kind, file_stem
from xxact_core.structures.structure import Structure

MOST_UNBUILT = 2000
"""Largest number of structures that are searched without `xxact reference build`: half a minute. Ours."""


def open_references(source: Path | Sequence[Path] | None = None) -> ReferenceDatabase:
    """Open one or several sources of reference phases as one database, by default the shipped table.

    Args:
        source: reference tables, structure tables, dataset folders, or files and folders of at most `MOST_UNBUILT`
            structures; `reference_materials` and `materials_project` name the shipped tables.

    Raises:
        DatasetError: a source is missing, cannot be read, or is too large to be searched before it is built.
    """
    paths = [source] if isinstance(source, Path) else list(source or [])
    if not paths:
        return read_reference_table(shipped_path(REFERENCE_TABLE))
    if len(set(map(str, paths))) < len(paths):
        msg = f"a reference table is given twice: {', '.join(map(str, paths))}"
        raise DatasetError(msg, code="E_DATASET")
    databases = [_open(named_structures(path)) for path in paths]
    return databases[0] if len(databases) == 1 else JoinedReferences(tuple(databases), tuple(map(_name, paths)))


def _name(path: Path) -> str:
    return file_stem(path.name) or path.name


def _open(path: Path) -> ReferenceDatabase:
    if not path.exists():
        msg = (
            f"there is no table of reference phases at {path}; expected a table of `xxact reference build`, a dataset, "
        )
        msg += f"files of structures, or one of the names {', '.join(NAMED_TABLES)}"
        raise DatasetError(msg, code="E_DATASET")
    if (path / DATASET_MANIFEST).is_file():
        from xxact_core.dataset.table import read_dataset  # noqa: PLC0415 - HDF5 is for datasets only
        from xxact_core.search_match.dataset_database import DatasetReferences  # noqa: PLC0415 - likewise

        return DatasetReferences(read_dataset(path, resident=False))
    if path.is_file() and file_kind(path) == "table":
        if is_reference_table(path):
            return read_reference_table(path)
        if is_compact_table(path):
            return read_compact_table(path)
    return _build(path)


def _build(path: Path) -> ReferenceDatabase:
    """A small source of structures as a table of its own."""
    from xxact_core.search_match.reference_building import (  # noqa: PLC0415 - only where something is built
        Source,
        build_reference_table,
    )
    from xxact_core.structures.sources import count_items  # noqa: PLC0415 - likewise

    count = count_items(path)
    if count is not None and count > MOST_UNBUILT:
        msg = f"{shorten(path.name)} contains {count} structures, and at most {MOST_UNBUILT} are searched as they are; "
        msg += f"build a reference table first: xxact reference build {file_stem(path.name)}-reference.parquet {path}"
        raise DatasetError(msg, code="E_DATASET")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / f"{_name(path)}.parquet"
        built = build_reference_table(table, [Source(path)])
        left_out = [f"the structure {identity} was left out: {shorten(reason)}" for _, identity, reason in built.errors]
        read = [f"{identity}: {note}" for identity, note in built.notes]
        references = replace(read_reference_table(table), notes=(*_first(left_out), *_first(read)))
        assert references.digest  # kept: the file goes
        return references


_MOST_NOTES = 5
"""Notes of one kind that are listed."""


def _first(notes: list[str]) -> list[str]:
    """The first of some notes, and how many more there are."""
    more = len(notes) - _MOST_NOTES
    return [*notes[:_MOST_NOTES], f"{more} more notes of this kind"] if more > 0 else notes


def reference_notes(references: ReferenceDatabase) -> tuple[str, ...]:
    """What was assumed or left out where a database was made of files of structures, for the user."""
    if isinstance(references, JoinedReferences):
        return tuple(note for database in references.databases for note in reference_notes(database))
    return references.notes if isinstance(references, ReferenceTable) else ()


@dataclass(frozen=True, eq=False)
class JoinedReferences:
    """Several databases one behind the other."""

    databases: tuple[ReferenceDatabase, ...]
    """The databases, at least one."""
    names: tuple[str, ...]
    """A name for each; an id that an earlier database has gets it in front."""

    def __len__(self) -> int:
        """Number of phases."""
        return int(self._start[-1])

    @cached_property
    def _start(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum([len(database) for database in self.databases])])

    def _place(self, row: int) -> tuple[ReferenceDatabase, int]:
        which = int(np.searchsorted(self._start, row, side="right")) - 1
        return self.databases[which], int(row - self._start[which])

    def _join(self, column: str) -> np.ndarray:
        return np.concatenate([getattr(database, column) for database in self.databases])

    @cached_property
    def id(self) -> np.ndarray:
        """Ids, shape (phases,); every id once."""
        seen: set[str] = set()
        joined: list[str] = []
        for database, name in zip(self.databases, self.names, strict=True):
            for identity in database.id.tolist():
                unique = identity
                while unique in seen:
                    unique = f"{name}:{unique}"
                seen.add(unique)
                joined.append(unique)
        return np.array(joined)

    @cached_property
    def cell(self) -> np.ndarray:
        """Cells a, b, c [Å], α, β, γ [deg], shape (phases, 6)."""
        return self._join("cell")

    @cached_property
    def space_group(self) -> np.ndarray:
        """Numbers of the space groups, 0 where unknown, shape (phases,)."""
        return self._join("space_group")

    @cached_property
    def experimental(self) -> np.ndarray:
        """Whether the cell was measured, shape (phases,)."""
        return self._join("experimental")

    @cached_property
    def known(self) -> np.ndarray:
        """Whether the phase was found in experiments, shape (phases,)."""
        return self._join("known")

    @cached_property
    def disordered(self) -> np.ndarray:
        """Whether sites are mixed or partly occupied, shape (phases,)."""
        return self._join("disordered")

    @cached_property
    def energy_above_hull(self) -> np.ndarray:
        """Energies above the convex hull [eV/atom], NaN where unknown, shape (phases,)."""
        return self._join("energy_above_hull")

    @cached_property
    def element_start(self) -> np.ndarray:
        """Offsets of each phase in `element`, shape (phases + 1,)."""
        counts = np.concatenate([np.diff(database.element_start) for database in self.databases])
        return np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def element(self) -> np.ndarray:
        """Atomic numbers of the elements of all phases, each once a phase, shape (elements,)."""
        return self._join("element")

    @cached_property
    def element_bits(self) -> np.ndarray:
        """The elements as bits, shape (phases, 2), uint64."""
        return self._join("element_bits")

    @cached_property
    def cell_volume(self) -> np.ndarray:
        """Volumes of the cells [Å³], shape (phases,)."""
        return self._join("cell_volume")

    @cached_property
    def cell_mass(self) -> np.ndarray:
        """Masses of the contents of the cells [g/mol], shape (phases,)."""
        return self._join("cell_mass")

    @cached_property
    def lines(self) -> StrongestLines:
        """The strongest reflections of every phase."""
        parts = [database.lines for database in self.databases]
        return StrongestLines(
            np.concatenate([part.position for part in parts]), np.concatenate([part.height for part in parts])
        )

    def lines_of(self, rows: np.ndarray) -> StrongestLines:
        """The strongest reflections of these phases, shape (rows, lines)."""
        rows = np.asarray(rows)
        which = np.searchsorted(self._start, rows, side="right") - 1
        position, height = (np.empty((len(rows), self.lines.position.shape[1]), dtype=np.float32) for _ in range(2))
        for number, database in enumerate(self.databases):
            places = np.flatnonzero(which == number)
            part = database.lines_of(rows[places] - self._start[number])
            position[places], height[places] = part.position, part.height
        return StrongestLines(position, height)

    @property
    def digest(self) -> str:
        """Digests of the databases, joined."""
        return "+".join(database.digest for database in self.databases)

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the phases that contain no other elements than these, in ascending order.

        Raises:
            FormulaError: a symbol is not a chemical element, or none is given.
        """
        symbols = tuple(elements)
        parts = [database.rows_within(symbols) for database in self.databases]
        return np.concatenate([part + first for part, first in zip(parts, self._start[:-1], strict=True)])

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one phase."""
        database, place = self._place(row)
        return database.symbols(place)

    def formula(self, row: int) -> str:
        """Reduced formula of one phase, as chemists write it."""
        database, place = self._place(row)
        return database.formula(place)

    def name(self, row: int) -> str | None:
        """Name of one phase that people use; None where it has none."""
        database, place = self._place(row)
        return database.name(place)

    def ids(self, row: int) -> tuple[str, ...]:
        """All ids of one phase, its own first."""
        database, place = self._place(row)
        return database.ids(place)

    def public_id(self, row: int) -> str:
        """The id by which one phase is shown."""
        database, place = self._place(row)
        return database.public_id(place)

    def structure(self, row: int) -> Structure:
        """Crystal structure of one phase; `StructureError` where only reflections are stored."""
        database, place = self._place(row)
        return database.structure(place)

    def sticks(self, row: int) -> Sticks:
        """Calculated reflections of one phase, with Miller indices; `StructureError` where there are none."""
        database, place = self._place(row)
        return database.sticks(place)

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group, None where unknown, and rotations of the Laue group; `StructureError` where none is found."""
        database, place = self._place(row)
        return database.symmetry(place)
