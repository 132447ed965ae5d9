"""Structure table → reference materials: what a measurement is compared with, found by their elements."""

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


class KnownMaterials(Protocol):
    """What a measurement is compared with, whether it lies in a table of structures or in a data set.

    id: shape (materials,). cell: a, b, c [Å], α, β, γ [deg], shape (materials, 6).
    """

    @property
    def id(self) -> np.ndarray: ...  # noqa: D102 - said above

    @property
    def cell(self) -> np.ndarray: ...  # noqa: D102 - said above

    @property
    def digest(self) -> str:
        """Of all that is in them."""
        ...

    def __len__(self) -> int: ...

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the materials that hold no other elements than these, in order."""
        ...

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one material."""
        ...

    def formula(self, row: int) -> str:
        """Reduced formula of one material, as chemists write it."""
        ...

    def sticks(self, row: int) -> Sticks:
        """Lines of one material, with their indices; `StructureError` where it scatters nothing."""
        ...

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group, where it is known, and the rotations of the Laue group; `StructureError` if not found."""
        ...


_BATCH_ROWS = 8192


@dataclass(frozen=True, eq=False)
class References:
    """Known materials as structures, with their atoms one after another.

    id: shape (materials,). cell: a, b, c [Å], α, β, γ [deg], shape (materials, 6). start: where each material's atoms
    begin, shape (materials + 1,). atomic_numbers: shape (atoms,). frac_coords: shape (atoms, 3).
    path: the table they are from.
    """

    path: Path
    id: np.ndarray
    cell: np.ndarray
    start: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.id)

    def structure(self, row: int) -> Structure:
        """One material."""
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
        """SHA-256 of the table."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the materials that hold no other elements than these, in order of the table.

        Raises:
            FormulaError: one of them is no chemical element, or there is none.
        """
        return rows_of_elements(self.atomic_numbers, self.start, elements)

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one material."""
        return self.structure(row).composition.symbols

    def formula(self, row: int) -> str:
        """Reduced formula of one material, as chemists write it."""
        return format_formula(self.structure(row).composition)

    def sticks(self, row: int) -> Sticks:
        """Lines of one material, some way beyond the grid.

        Raises:
            StructureError: it scatters nothing.
        """
        structure = self.structure(row)
        return arrays_to_sticks(
            cell=structure.cell,
            atomic_numbers=structure.atomic_numbers,
            frac_coords=structure.frac_coords,
            two_theta_range=(GRID.start - 0.3, GRID.stop + 4),  # what shift and scale may bring in
        )

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group and rotations of one material.

        Raises:
            StructureError: spglib finds none.
        """
        found = find_symmetry(self.structure(row))
        return found.space_group, found.rotations


def rows_of_elements(atomic_numbers: np.ndarray, start: np.ndarray, elements: Iterable[str]) -> np.ndarray:
    """Rows whose entries, those of row i from `start[i]` on, name no other elements than these.

    Raises:
        FormulaError: one of them is no chemical element, or there is none.
    """
    allowed = np.zeros(len(SYMBOLS) + 1, dtype=np.bool_)
    allowed[[ATOMIC_NUMBERS[symbol] for symbol in check_elements(elements)]] = True
    return np.flatnonzero(np.logical_and.reduceat(allowed[atomic_numbers], start[:-1]))


def check_elements(elements: Iterable[str]) -> tuple[str, ...]:
    """Element symbols, each once, in order of atomic number.

    Raises:
        FormulaError: one of them is no chemical element, or there is none.
    """
    symbols = tuple(elements)
    unknown = [symbol for symbol in symbols if symbol not in ATOMIC_NUMBERS]
    if unknown or not symbols:
        told = f"{shorten(unknown[0])!r} is not a chemical element" if unknown else "no element is given"
        msg = f"{told}; expected symbols such as La and B (D and T are written H)"
        raise FormulaError(msg, code="E_ELEMENT")
    return tuple(sorted(set(symbols), key=ATOMIC_NUMBERS.__getitem__))


def read_references(path: Path | None = None) -> References:
    """The materials of a table such as `data/materials_project.parquet`, which is read where none is named.

    Takes seconds and 50 MB for a hundred thousand of them.

    Raises:
        DatasetError: there is no such table, it lacks a column that a structure needs, or its rows do not fit together.
        StructureError: it names what is no element.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    path = shipped_path(TABLE) if path is None else path
    if not path.is_file():
        msg = f"there is no table of known materials at {path}; "
        msg += "expected a .parquet file, or materials_project for the table that ships"
        raise DatasetError(msg, code="E_DATASET")
    first, coordinates = ["id", *COLUMNS[:-1]], COLUMNS[-1]
    try:
        with parquet.ParquetFile(path) as file:  # `read_table` would import pandas
            table = file.read(columns=first, use_threads=False).select(first)
            starts, species = _flat(table.column("species").combine_chunks())
            cell = [np.from_dlpack(table.column(name).combine_chunks()) for name in COLUMNS[:6]]
            batches = file.iter_batches(
                _BATCH_ROWS, columns=[coordinates], use_threads=False
            )  # half the time of `read`
            lists = [_flat(batch.column(coordinates)) for batch in batches]
            frac_coords = np.concatenate([np.from_dlpack(values) for _, values in lists])
    except (pa.ArrowException, OSError, ValueError, LookupError, BufferError, TypeError, AttributeError) as error:
        msg = f"{shorten(path.name)}: cannot be read as a table with the columns {['id', *COLUMNS]} ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    counts = np.concatenate([np.diff(begins) for begins, _ in lists])
    if table.num_rows == 0 or (np.diff(starts) < 1).any() or not np.array_equal(counts, 3 * np.diff(starts)):
        msg = f"{shorten(path.name)}: holds no material, or one whose coordinates do not fit its atoms"
        raise DatasetError(msg, code="E_DATASET")
    species = species if pa.types.is_dictionary(species.type) else species.dictionary_encode()
    numbers = np.array([symbol_to_number(symbol) for symbol in species.dictionary.to_pylist()], dtype=np.int64)
    return References(
        path=path,
        id=np.array(table.column("id").to_pylist(), dtype=str),
        cell=np.stack(cell, axis=1).astype(np.float64),
        start=starts,
        atomic_numbers=numbers[np.from_dlpack(species.indices)],
        frac_coords=frac_coords.reshape(-1, 3),
    )


def _flat(lists: Any) -> tuple[np.ndarray, Any]:  # noqa: ANN401 - pyarrow is not imported here
    """Where each of the lists begins, shape (rows + 1,), and all values one after another.

    By DLPack, as all numbers here: pyarrow's own `to_numpy` imports pandas, which takes half a second.
    """
    counts = np.from_dlpack(lists.value_lengths())
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), lists.flatten()
