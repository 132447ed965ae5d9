"""Dataset folder → reference phases, whose reflections were calculated when it was built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xxact_core.compositions.element_table import AVOGADRO, SYMBOLS
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.dataset.table import StickTable
from xxact_core.errors import StructureError
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.database import (
    StrongestLines,
    elements_to_bits,
    rows_of_elements,
    sticks_to_lines,
)
from xxact_core.search_match.mineral_names import mineral_name
from xxact_core.simulation.lattice import cell_volume
from xxact_core.structures.structure import Structure


@dataclass(frozen=True, eq=False)
class DatasetReferences:
    """The materials of a dataset, whose reflections were calculated when it was built."""

    table: StickTable

    def __len__(self) -> int:
        """Number of phases."""
        return len(self.table)

    @property
    def id(self) -> np.ndarray:
        """Ids, shape (phases,)."""
        return self.table.id

    @property
    def cell(self) -> np.ndarray:
        """Cells a, b, c [Å], α, β, γ [deg] that the Miller indices refer to, shape (phases, 6)."""
        return self.table.cell

    @property
    def digest(self) -> str:
        """Digest of the dataset."""
        return self.table.digest

    @property
    def space_group(self) -> np.ndarray:
        """Numbers of the space groups, 0 where unknown, shape (phases,)."""
        group = self.table.targets["space_group"]
        return np.where(np.isnan(group), 0, group + 1).astype(np.int16)

    @property
    def experimental(self) -> np.ndarray:
        """Whether the cell was measured: a dataset does not state it. Shape (phases,)."""
        return np.zeros(len(self), dtype=np.bool_)

    @property
    def known(self) -> np.ndarray:
        """Whether the phase was found in experiments: a dataset does not state it. Shape (phases,)."""
        return np.zeros(len(self), dtype=np.bool_)

    @property
    def disordered(self) -> np.ndarray:
        """Whether sites are mixed: a dataset does not state it. Shape (phases,)."""
        return np.zeros(len(self), dtype=np.bool_)

    @property
    def energy_above_hull(self) -> np.ndarray:
        """Energies above the convex hull, unknown: NaN, shape (phases,)."""
        return np.full(len(self), np.nan)

    @property
    def element_start(self) -> np.ndarray:
        """Offsets of each phase in `element`, shape (phases + 1,)."""
        return self.table.element_start

    @property
    def element(self) -> np.ndarray:
        """Atomic numbers of the elements of all phases, each once a phase, shape (elements,)."""
        return self.table.atomic_number

    @cached_property
    def element_bits(self) -> np.ndarray:
        """The elements as bits, shape (phases, 2), uint64."""
        return elements_to_bits(self.element, self.element_start)

    @cached_property
    def cell_volume(self) -> np.ndarray:
        """Volumes of the cells [Å³], shape (phases,)."""
        return cell_volume(self.cell)

    @property
    def cell_mass(self) -> np.ndarray:
        """Masses of the contents of the cells [g/mol], from the densities, shape (phases,)."""
        masses: np.ndarray = self.table.targets["density"].astype(np.float64) * self.cell_volume * AVOGADRO
        return masses

    @cached_property
    def lines(self) -> StrongestLines:
        """The strongest reflections of every phase, read from the dataset at first use."""
        return sticks_to_lines(self.sticks, len(self))

    def lines_of(self, rows: np.ndarray) -> StrongestLines:
        """The strongest reflections of these phases, shape (rows, lines)."""
        return sticks_to_lines(lambda place: self.sticks(int(rows[place])), len(rows))

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the phases that contain no other elements than these, in ascending order.

        Raises:
            FormulaError: a symbol is not a chemical element, or none is given.
        """
        return rows_of_elements(self.table.atomic_number, self.table.element_start, elements)

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one phase."""
        start = self.table.element_start
        return tuple(SYMBOLS[number - 1] for number in self.table.atomic_number[start[row] : start[row + 1]])

    def formula(self, row: int) -> str:
        """Reduced formula of one phase, as chemists write it."""
        return format_formula(parse_formula(str(self.table.formula[row])))

    def name(self, row: int) -> str | None:
        """Name of the mineral, where formula and space group determine one."""
        return mineral_name(self.formula(row), int(self.space_group[row]) or None)

    def ids(self, row: int) -> tuple[str, ...]:
        """Id of one phase; a dataset states no other."""
        return (str(self.table.id[row]),)

    def structure(self, row: int) -> Structure:
        """A dataset stores no structures.

        Raises:
            StructureError: always.
        """
        msg = f"{self.table.id[row]}: a dataset stores reflections, not the structure"
        raise StructureError(msg, code="E_STRUCTURE")

    def public_id(self, row: int) -> str:
        """Id of one phase; a dataset states no other."""
        return str(self.table.id[row])

    def sticks(self, row: int) -> Sticks:
        """Calculated reflections of one phase.

        Raises:
            StructureError: it has none.
        """
        if not self.table.reflection_count[row]:
            msg = f"{self.table.id[row]}: no reflection lies in the range of its dataset"
            raise StructureError(msg, code="E_STRUCTURE")
        return self.table.sticks(row)

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group, None where unknown, and rotations of the Laue group of one phase."""
        group, start = self.table.targets["space_group"][row], self.table.rotation_start
        rotations = self.table.rotations[start[row] : start[row + 1]]
        return None if np.isnan(group) else int(group) + 1, rotations
