"""What search and match needs of reference phases: the columns and methods of a database, and its strongest lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.errors import FormulaError, StructureError, shorten
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Sticks
from xxact_core.structures.structure import Structure

TWO_THETA_RANGE = (GRID.start - 0.3, GRID.stop + 4)
"""Range of reference reflections [deg 2θ at Cu Kα]: shift and strain may move some beyond the grid into it."""

LINES = 20
"""Number of strongest reflections kept for every phase. Ours."""


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

    def lines_of(self, rows: np.ndarray) -> StrongestLines:
        """The strongest reflections of these phases, shape (rows, lines)."""
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


def elements_to_bits(atomic_numbers: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Elements of each row as bits, from entries `start[i]` to `start[i + 1]`; shape (rows, 2), uint64."""
    numbers = atomic_numbers.astype(np.uint64) - np.uint64(1)
    bit = np.left_shift(np.uint64(1), numbers % np.uint64(64))
    halves = [np.where(numbers // np.uint64(64) == half, bit, np.uint64(0)) for half in (0, 1)]
    return np.stack([np.bitwise_or.reduceat(half, start[:-1]) for half in halves], axis=1)


def bits_to_elements(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets, shape (rows + 1,), and atomic numbers in ascending order of the elements that `elements_to_bits` set."""
    octets = bits.astype("<u8").view(np.uint8)
    row, element = np.nonzero(np.unpackbits(octets, axis=1, bitorder="little"))
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
