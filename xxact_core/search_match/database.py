"""Structure table → reference phases, selected by their elements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import DatasetError, FormulaError, shorten
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Sticks
from xxact_core.shipped import TABLE, shipped_path
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure, symbol_to_number
from xxact_core.structures.tables import COLUMNS

PUBLIC_IDS = "_ids.parquet"
"""Ending of the file beside a table `NAME.parquet` that gives its rows the ids by which they are shown."""


class ReferenceDatabase(Protocol):
    """Phases that a measurement is compared with: a table of structures, or a dataset."""

    @property
    def id(self) -> np.ndarray:
        """Ids, shape (phases,)."""
        ...

    @property
    def cell(self) -> np.ndarray:
        """Cells a, b, c [Å], α, β, γ [deg], shape (phases, 6)."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the content, as hexadecimal text."""
        ...

    def __len__(self) -> int: ...

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the phases that contain no other elements than these, in ascending order."""
        ...

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one phase."""
        ...

    def formula(self, row: int) -> str:
        """Reduced formula of one phase, as chemists write it."""
        ...

    def public_id(self, row: int) -> str:
        """Materials Project id of one phase where known, else its id."""
        ...

    def sticks(self, row: int) -> Sticks:
        """Calculated reflections of one phase, with Miller indices; `StructureError` where there are none."""
        ...

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group, None where unknown, and rotations of the Laue group; `StructureError` where none is found."""
        ...


_BATCH_ROWS = 2048


@dataclass(frozen=True, eq=False)
class StructureReferences:
    """Reference phases from a table of structures, whose atoms are concatenated."""

    path: Path
    """The table."""
    id: np.ndarray
    """Ids of the rows, shape (phases,)."""
    cell: np.ndarray
    """Cells a, b, c [Å], α, β, γ [deg], shape (phases, 6)."""
    start: np.ndarray
    """Offset of each phase's atoms, shape (phases + 1,)."""
    atomic_numbers: np.ndarray
    """Atomic numbers, shape (atoms,)."""
    frac_coords: np.ndarray
    """Fractional coordinates, shape (atoms, 3)."""

    def __len__(self) -> int:
        """Number of phases."""
        return len(self.id)

    def structure(self, row: int) -> Structure:
        """Crystal structure of one phase."""
        atoms = slice(int(self.start[row]), int(self.start[row + 1]))
        return Structure(
            id=str(self.id[row]),
            cell=self.cell[row],
            atomic_numbers=self.atomic_numbers[atoms],
            frac_coords=self.frac_coords[atoms],
            occupancies=np.ones(atoms.stop - atoms.start),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the table, as hexadecimal text."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the phases that contain no other elements than these, in ascending order.

        Raises:
            FormulaError: a symbol is not a chemical element, or none is given.
        """
        return rows_of_elements(self.atomic_numbers, self.start, elements)

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one phase."""
        return self.structure(row).composition.symbols

    def formula(self, row: int) -> str:
        """Reduced formula of one phase, as chemists write it."""
        return format_formula(self.structure(row).composition)

    def public_id(self, row: int) -> str:
        """Materials Project id of one phase where known, else its id."""
        return self._public_ids.get(str(self.id[row]), str(self.id[row]))

    @cached_property
    def _public_ids(self) -> dict[str, str]:
        """Id → public id, from the table's companion file, where there is one."""
        from pyarrow import parquet  # noqa: PLC0415 - only where a table is read

        companion = self.path.with_name(f"{self.path.stem}{PUBLIC_IDS}")
        if not companion.is_file():
            return {}
        with parquet.ParquetFile(companion) as file:
            columns = file.read(columns=["id", "public_id"], use_threads=False)
        return dict(zip(columns.column("id").to_pylist(), columns.column("public_id").to_pylist(), strict=True))

    def sticks(self, row: int) -> Sticks:
        """Calculated reflections of one phase, slightly beyond the range of the grid.

        Raises:
            StructureError: no reflection lies in the range.
        """
        structure = self.structure(row)
        return arrays_to_sticks(
            cell=structure.cell,
            atomic_numbers=structure.atomic_numbers,
            frac_coords=structure.frac_coords,
            two_theta_range=(
                GRID.start - 0.3,
                GRID.stop + 4,
            ),  # reflections that shift and strain may move into the range
        )

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group and rotations of the Laue group of one phase.

        Raises:
            StructureError: spglib finds no symmetry.
        """
        found = find_symmetry(self.structure(row))
        return found.space_group, found.rotations


def rows_of_elements(atomic_numbers: np.ndarray, start: np.ndarray, elements: Iterable[str]) -> np.ndarray:
    """Rows whose entries, from `start[i]` to `start[i + 1]` for row i, contain no other elements than these.

    Raises:
        FormulaError: a symbol is not a chemical element, or none is given.
    """
    allowed = np.zeros(len(SYMBOLS) + 1, dtype=np.bool_)
    allowed[[ATOMIC_NUMBERS[symbol] for symbol in check_elements(elements)]] = True
    return np.flatnonzero(np.logical_and.reduceat(allowed[atomic_numbers], start[:-1]))


def check_elements(elements: Iterable[str]) -> tuple[str, ...]:
    """Element symbols, each once, in order of atomic number.

    Raises:
        FormulaError: a symbol is not a chemical element, or none is given.
    """
    symbols = tuple(elements)
    unknown = [symbol for symbol in symbols if symbol not in ATOMIC_NUMBERS]
    if unknown or not symbols:
        problem = f"{shorten(unknown[0])!r} is not a chemical element" if unknown else "no element is given"
        msg = f"{problem}; expected symbols such as La and B (D and T are written H)"
        raise FormulaError(msg, code="E_ELEMENT")
    return tuple(sorted(set(symbols), key=ATOMIC_NUMBERS.__getitem__))


def read_references(path: Path | None = None) -> StructureReferences:
    """Read the reference phases of a structure table, by default of the shipped table of Materials Project structures.

    Takes seconds, and 50 MB for a hundred thousand phases.

    Raises:
        DatasetError: the table is missing, lacks a column that a structure needs, or its rows are inconsistent.
        StructureError: a species is not an element.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    path = shipped_path(TABLE) if path is None else path
    if not path.is_file():
        msg = f"there is no table of reference phases at {path}; "
        msg += "expected a .parquet file, or materials_project for the shipped table"
        raise DatasetError(msg, code="E_DATASET")
    first, coordinates = ["id", *COLUMNS[:-1]], COLUMNS[-1]
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:  # `read_table` would import pandas
            table = file.read(columns=first, use_threads=False).select(first)
            starts, species = _flat(table.column("species").combine_chunks())
            cell = [np.from_dlpack(table.column(name).combine_chunks()) for name in COLUMNS[:6]]
            # In batches that go into one array: a third of the time of `read`.
            batches = file.iter_batches(_BATCH_ROWS, columns=[coordinates], use_threads=False)
            counts, frac_coords = _join((batch.column(coordinates) for batch in batches), size=3 * int(starts[-1]))
    except (pa.ArrowException, OSError, ValueError, LookupError, BufferError, TypeError, AttributeError) as error:
        msg = f"{shorten(path.name)}: cannot be read as a table with the columns {['id', *COLUMNS]} ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    if table.num_rows == 0 or (np.diff(starts) < 1).any() or not np.array_equal(counts, 3 * np.diff(starts)):
        msg = (
            f"{shorten(path.name)}: contains no structures, or one whose number of coordinates does not match its atoms"
        )
        raise DatasetError(msg, code="E_DATASET")
    species = species if pa.types.is_dictionary(species.type) else species.dictionary_encode()
    numbers = np.array([symbol_to_number(symbol) for symbol in species.dictionary.to_pylist()], dtype=np.int64)
    ids = table.column("id").to_pylist()
    return StructureReferences(
        path=path,
        id=np.array(ids, dtype=str),
        cell=np.stack(cell, axis=1).astype(np.float64),
        start=starts,
        atomic_numbers=numbers[np.from_dlpack(species.indices)],
        frac_coords=frac_coords.reshape(-1, 3),
    )


def _flat(lists: Any) -> tuple[np.ndarray, Any]:  # noqa: ANN401 - pyarrow is not imported here
    """Offset of each list, shape (rows + 1,), and the concatenated values.

    By DLPack, as all numbers here: pyarrow's own `to_numpy` imports pandas, which takes half a second.
    """
    counts = np.from_dlpack(lists.value_lengths())
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), lists.flatten()


def _join(lists: Iterable[Any], *, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of all lists, shape (rows,), and their concatenated values, shape (size,).

    Raises:
        ValueError: there are more or fewer than `size` values.
    """
    counts, joined, place = [np.zeros(0, dtype=np.int64)], np.empty(0), 0
    for part in lists:
        starts, values = _flat(part)
        numbers = np.from_dlpack(values)
        if joined.size == 0:
            joined = np.empty(size, dtype=numbers.dtype)
        counts.append(np.diff(starts))
        joined[place : place + numbers.size] = numbers
        place += numbers.size
    if place != size:
        msg = f"the atoms of all structures have {size} coordinates, and there are {place}"
        raise ValueError(msg)
    return np.concatenate(counts), joined
