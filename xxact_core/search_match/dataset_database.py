"""Dataset folder or structure table → reference phases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import StructureError
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.database import ReferenceDatabase, read_references, rows_of_elements


def open_references(path: Path | None = None) -> ReferenceDatabase:
    """Open a dataset folder or a structure table as reference database, by default the shipped table.

    Raises:
        DatasetError: it is missing or cannot be read.
    """
    if path is not None and path.is_dir():
        return DatasetReferences(read_dataset(path, resident=False))
    return read_references(path)


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
