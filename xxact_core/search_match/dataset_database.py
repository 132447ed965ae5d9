"""Data set folder or table → known materials: one that was built for training can be compared with, too."""

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
from xxact_core.search_match.database import KnownMaterials, read_references, rows_of_elements


def open_known(path: Path | None = None) -> KnownMaterials:
    """The materials of a data set folder or of a table, of the shipped one where none is named.

    Raises:
        DatasetError: it is missing or cannot be used.
    """
    if path is not None and path.is_dir():
        return KnownDataset(read_dataset(path, resident=False))
    return read_references(path)


@dataclass(frozen=True, eq=False)
class KnownDataset:
    """The materials of a data set, whose lines were calculated when it was built."""

    table: StickTable

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.table)

    @property
    def id(self) -> np.ndarray:
        """Shape (materials,)."""
        return self.table.id

    @property
    def cell(self) -> np.ndarray:
        """Cells a, b, c [Å], α, β, γ [deg] that the Miller indices refer to, shape (materials, 6)."""
        return self.table.cell

    @property
    def digest(self) -> str:
        """That of the data set."""
        return self.table.digest

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the materials that hold no other elements than these, in order.

        Raises:
            FormulaError: one of them is no chemical element, or there is none.
        """
        return rows_of_elements(self.table.atomic_number, self.table.element_start, elements)

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one material."""
        start = self.table.element_start
        return tuple(SYMBOLS[number - 1] for number in self.table.atomic_number[start[row] : start[row + 1]])

    def formula(self, row: int) -> str:
        """Reduced formula of one material, as chemists write it."""
        return format_formula(parse_formula(str(self.table.formula[row])))

    def sticks(self, row: int) -> Sticks:
        """Lines of one material.

        Raises:
            StructureError: it has none.
        """
        if not self.table.line_count[row]:
            msg = f"{self.table.id[row]}: scatters nothing in the range of its data set"
            raise StructureError(msg, code="E_STRUCTURE")
        return self.table.sticks(row)

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group, where the data set has it, and rotations of one material."""
        group, start = self.table.targets["space_group"][row], self.table.rotation_start
        rotations = self.table.rotations[start[row] : start[row + 1]]
        return None if np.isnan(group) else int(group) + 1, rotations
