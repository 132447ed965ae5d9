"""Structure table → reference phases, selected by their elements."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_MASSES, ATOMIC_NUMBERS, SYMBOLS
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import DatasetError, FormulaError, StructureError, shorten
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.mineral_names import mineral_name
from xxact_core.shipped import TABLE, shipped_path
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.lattice import cell_volume
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure, symbol_to_number
from xxact_core.structures.tables import COLUMNS

TWO_THETA_RANGE = (GRID.start - 0.3, GRID.stop + 4)
"""Range of reference reflections [deg 2θ at Cu Kα]: shift and strain may move some beyond the grid into it."""

LINES = 20
"""Number of strongest reflections kept for every phase. Ours."""

STATED: dict[str, Any] = {
    "space_group": 0,
    "experimental": False,
    "known": False,
    "in_icsd_guess": False,
    "energy_above_hull": np.nan,
}
"""Columns that describe the phases of a structure table, where it has them, with the value of rows without one."""

PUBLIC_IDS = "_ids.parquet"
"""Ending of the file beside a table `NAME.parquet` that gives its rows the ids by which they are shown."""


class ReferenceDatabase(Protocol):
    """Phases that a measurement is compared with: a reference table, a table of structures, or a dataset.

    Everything that a search needs of all phases is a column; what it needs of single phases is a method.
    """

    @property
    def id(self) -> np.ndarray:
        """Ids, shape (phases,)."""
        ...

    @property
    def cell(self) -> np.ndarray:
        """Cells a, b, c [Å], α, β, γ [deg] that the Miller indices of `sticks` refer to, shape (phases, 6).

        The conventional cell where the symmetry is stored.
        """
        ...

    @property
    def space_group(self) -> np.ndarray:
        """Numbers of the space groups, 0 where unknown, shape (phases,)."""
        ...

    @property
    def experimental(self) -> np.ndarray:
        """Whether the cell was measured, not calculated, shape (phases,)."""
        ...

    @property
    def known(self) -> np.ndarray:
        """Whether the phase was found in experiments, shape (phases,)."""
        ...

    @property
    def disordered(self) -> np.ndarray:
        """Whether sites are mixed or partly occupied, shape (phases,)."""
        ...

    @property
    def energy_above_hull(self) -> np.ndarray:
        """Energies above the convex hull [eV/atom], NaN where unknown, shape (phases,)."""
        ...

    @property
    def element_start(self) -> np.ndarray:
        """Offsets of each phase in `element`, shape (phases + 1,)."""
        ...

    @property
    def element(self) -> np.ndarray:
        """Atomic numbers of the elements of all phases, each once a phase, shape (elements,)."""
        ...

    @property
    def element_bits(self) -> np.ndarray:
        """The elements as bits, those of atomic numbers 1-64 in the first column, shape (phases, 2), uint64."""
        ...

    @property
    def cell_volume(self) -> np.ndarray:
        """Volumes of the cells `cell` [Å³], shape (phases,)."""
        ...

    @property
    def cell_mass(self) -> np.ndarray:
        """Masses of the contents of the cells `cell` [g/mol], Z·M, shape (phases,)."""
        ...

    @property
    def lines(self) -> StrongestLines:
        """The strongest reflections of every phase."""
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

    def name(self, row: int) -> str | None:
        """Name of one phase that people use, such as rutile; None where it has none."""
        ...

    def ids(self, row: int) -> tuple[str, ...]:
        """All ids of one phase, its own first."""
        ...

    def public_id(self, row: int) -> str:
        """The id by which one phase is shown."""
        ...

    def structure(self, row: int) -> Structure:
        """Crystal structure of one phase; `StructureError` where only reflections are stored."""
        ...

    def sticks(self, row: int) -> Sticks:
        """Calculated reflections of one phase, with Miller indices; `StructureError` where there are none."""
        ...

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group, None where unknown, and rotations of the Laue group; `StructureError` where none is found."""
        ...


_BATCH_ROWS = 2048


@dataclass(frozen=True, eq=False)
class StrongestLines:
    """The `LINES` strongest reflections of every phase in `TWO_THETA_RANGE`, by descending spacing."""

    position: np.ndarray
    """ln(1/d) with d in Å, ascending, NaN behind the last reflection; shape (phases, lines), float32."""
    height: np.ndarray
    """Intensities at Cu Kα relative to the strongest, 0 behind the last reflection; shape (phases, lines), float32."""


def sticks_to_lines(sticks: Callable[[int], Sticks], count: int) -> StrongestLines:
    """The strongest reflections of `count` phases; none for a phase without reflections.

    Args:
        sticks: calculated reflections of a phase; `StructureError` where there are none.
        count: number of phases.
    """
    position = np.full((count, LINES), np.nan, dtype=np.float32)
    height = np.zeros((count, LINES), dtype=np.float32)
    for row in range(count):
        try:
            calculated = sticks(row)
        except StructureError:
            continue
        kept = np.sort(np.argsort(-calculated.intensity, kind="stable")[:LINES])
        sine = np.sin(np.radians(calculated.two_theta[kept] / 2))
        position[row, : kept.size] = np.log(2 * sine / calculated.wavelength)
        height[row, : kept.size] = calculated.intensity[kept] / calculated.intensity.max()
    return StrongestLines(position, height)


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
    occupancies: np.ndarray
    """Occupancies, shape (atoms,)."""
    stated: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Columns of `STATED` that the table has."""

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
            occupancies=self.occupancies[atoms],
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

    @property
    def space_group(self) -> np.ndarray:
        """Numbers of the space groups that the table states, else 0, shape (phases,)."""
        return self._column("space_group", np.int16)

    @property
    def experimental(self) -> np.ndarray:
        """Whether the table states that the cell was measured, shape (phases,)."""
        return self._column("experimental", np.bool_)

    @property
    def known(self) -> np.ndarray:
        """Whether the table states that the phase was found in experiments, shape (phases,)."""
        known: np.ndarray = self._column("known", np.bool_) | self._column("in_icsd_guess", np.bool_)
        return known

    @property
    def energy_above_hull(self) -> np.ndarray:
        """Energies above the convex hull [eV/atom] that the table states, else NaN, shape (phases,)."""
        return self._column("energy_above_hull", np.float64)

    @cached_property
    def disordered(self) -> np.ndarray:
        """Whether sites are mixed or partly occupied, shape (phases,)."""
        disordered: np.ndarray = np.minimum.reduceat(self.occupancies, self.start[:-1]) < 1
        return disordered

    @cached_property
    def element_bits(self) -> np.ndarray:
        """The elements as bits, shape (phases, 2), uint64."""
        return elements_to_bits(self.atomic_numbers, self.start)

    @cached_property
    def _elements(self) -> tuple[np.ndarray, np.ndarray]:
        return bits_to_elements(self.element_bits)

    @property
    def element_start(self) -> np.ndarray:
        """Offsets of each phase in `element`, shape (phases + 1,)."""
        return self._elements[0]

    @property
    def element(self) -> np.ndarray:
        """Atomic numbers of the elements of all phases, each once a phase, shape (elements,)."""
        return self._elements[1]

    @cached_property
    def cell_volume(self) -> np.ndarray:
        """Volumes of the cells [Å³], shape (phases,)."""
        return cell_volume(self.cell)

    @cached_property
    def cell_mass(self) -> np.ndarray:
        """Masses of the contents of the cells [g/mol], shape (phases,)."""
        masses: np.ndarray = np.add.reduceat(
            np.array(ATOMIC_MASSES)[self.atomic_numbers - 1] * self.occupancies, self.start[:-1]
        )
        return masses

    @cached_property
    def lines(self) -> StrongestLines:
        """The strongest reflections of every phase, simulated at first use: minutes for a hundred thousand."""
        return sticks_to_lines(self.sticks, len(self))

    def _column(self, name: str, dtype: type) -> np.ndarray:
        return self.stated[name].astype(dtype) if name in self.stated else np.full(len(self), STATED[name], dtype=dtype)

    def name(self, row: int) -> str | None:
        """Name of the mineral; known only where the table states the space group."""
        group = int(self.space_group[row])
        return mineral_name(self.formula(row), group or None)

    def ids(self, row: int) -> tuple[str, ...]:
        """All ids of one phase, its own first."""
        return tuple(dict.fromkeys((str(self.id[row]), self.public_id(row))))

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
            occupancies=None if (structure.occupancies == 1).all() else structure.occupancies,
            two_theta_range=TWO_THETA_RANGE,
        )

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group and rotations of the Laue group of one phase.

        Raises:
            StructureError: spglib finds no symmetry.
        """
        found = find_symmetry(self.structure(row))
        return found.space_group, found.rotations


def elements_to_bits(atomic_numbers: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Elements of each row as bits, from entries `start[i]` to `start[i + 1]`; shape (rows, 2), uint64."""
    numbers = atomic_numbers.astype(np.uint64) - np.uint64(1)
    bit = np.left_shift(np.uint64(1), numbers % np.uint64(64))
    halves = [np.where(numbers // np.uint64(64) == half, bit, np.uint64(0)) for half in (0, 1)]
    return np.stack([np.bitwise_or.reduceat(half, start[:-1]) for half in halves], axis=1)


def bits_to_elements(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets, shape (rows + 1,), and atomic numbers in ascending order of the elements that `elements_to_bits` set."""
    numbers = np.arange(len(SYMBOLS), dtype=np.uint64)
    row, element = np.nonzero(
        (bits[:, (numbers // np.uint64(64)).astype(np.intp)] >> (numbers % np.uint64(64))) & np.uint64(1)
    )
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(bits)))])
    return start, (element + 1).astype(np.uint8)


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
            stated = _read_stated(file)
            occupancies = _read_occupancies(file)
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
    if occupancies is not None and len(occupancies) != starts[-1]:
        msg = f"{shorten(path.name)}: {len(occupancies)} occupancies do not match {starts[-1]} atoms"
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
        occupancies=np.ones(int(starts[-1])) if occupancies is None else occupancies,
        stated=stated,
    )


def _read_stated(file: Any) -> dict[str, np.ndarray]:  # noqa: ANN401 - pyarrow is not imported here
    """The columns of `STATED` that a table has; rows without a value are NaN or 0."""
    there = [name for name in STATED if name in file.schema_arrow.names]
    columns = file.read(columns=there, use_threads=False)
    found = {}
    for name in there:
        values = columns.column(name).to_pylist()
        found[name] = np.array([STATED[name] if value is None else value for value in values])
    return found


def _read_occupancies(file: Any) -> np.ndarray | None:  # noqa: ANN401 - pyarrow is not imported here
    if "occupancies" not in file.schema_arrow.names:
        return None
    column = file.read(columns=["occupancies"], use_threads=False).column("occupancies").combine_chunks()
    return np.from_dlpack(column.flatten()).astype(np.float64)


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
