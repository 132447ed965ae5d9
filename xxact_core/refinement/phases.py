"""Structures of known phases → the starting point of a refinement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula_format import format_formula
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.phase_analysis import PhaseAnalysis
from xxact_core.simulation.symmetry import SYMPREC
from xxact_core.structures.cif_files import read_cif
from xxact_core.structures.conventional_cell import ConventionalStructure, structure_to_conventional
from xxact_core.structures.structure import Structure

CIF_SYMPREC = 0.01
"""Tolerance on positions [Å] of a structure from a CIF file, whose symmetry was stated. Ours."""

_SAME_SETTING = 0.05
"""Relative difference of cell lengths up to which two cells are of one setting. Ours: cells of databases are within 3 %
of measured ones."""

_LAST_OBLIQUE = 15
"""Number of the last monoclinic space group; above it all angles are fixed by symmetry."""


@dataclass(frozen=True, eq=False)
class StartingPhase:
    """A phase of the specimen before the refinement."""

    name: str
    """By which the phase is shown, such as `corundum`."""
    structure: ConventionalStructure
    """Space group and atoms."""
    cell: np.ndarray
    """Cell from which the refinement starts, a, b, c [Å], α, β, γ [deg], shape (6,): within about 1 % of the truth."""
    formula: str
    """Reduced formula, as chemists write it."""
    id: str = ""
    """Id in the reference database; empty for a phase from a file."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out when its structure was read."""

    def nearest_cell(self, cell: np.ndarray) -> np.ndarray:
        """Another cell of this phase, with what symmetry fixes; the present one where it is of another setting."""
        stated = self.structure.cell
        if not np.allclose(cell, stated, rtol=_SAME_SETTING):
            return self.cell
        angles = np.arange(6) >= 3  # noqa: PLR2004 - the lengths come first
        fixed = angles & ((self.structure.space_group > _LAST_OBLIQUE) | np.isclose(stated, 90))
        return np.where(fixed, stated, cell)


def structure_to_phase(
    structure: Structure,
    *,
    name: str = "",
    formula: str = "",
    identity: str = "",
    cell: np.ndarray | None = None,
    scale: float = 1.0,
    symprec: float = SYMPREC,
) -> StartingPhase:
    """The starting point of a phase of known structure.

    Args:
        structure: in any cell; the phase is refined in a conventional one.
        name: by which the phase is shown; by default its formula.
        formula: as the reference database states it; by default that of the atoms, which may lack hydrogen.
        identity: in the reference database.
        cell: that the refinement starts from, ignored where it is not of the setting of the conventional cell, shape
            (6,); that of the structure where none is given.
        scale: measured over stated cell lengths, used without `cell`.
        symprec: tolerance on positions [Å] within which symmetry is sought.

    Raises:
        StructureError: the structure has no symmetry (E_SYMMETRY).
    """
    conventional = structure_to_conventional(structure, symprec=symprec)
    formula = formula or format_formula(_rounded(conventional.composition))
    start = StartingPhase(
        name=name or formula,
        formula=formula,
        structure=conventional,
        cell=conventional.cell * np.array([scale] * 3 + [1.0] * 3),
        id=identity,
        notes=structure.notes,
    )
    return start if cell is None else replace(start, cell=start.nearest_cell(cell))


def _rounded(composition: Composition) -> Composition:
    """Amounts without what occupancies written with three digits add or lack."""
    return Composition(composition.symbols, tuple(max(round(amount, 2), 0.01) for amount in composition.amounts))


def read_phase(path: Path) -> StartingPhase:
    """A phase from a CIF file, named by the file.

    Raises:
        StructureError: the file contains no readable structure, or one without symmetry.
    """
    structure = read_cif(path)
    return structure_to_phase(structure, name=structure.id, symprec=CIF_SYMPREC)


def analysis_to_phases(analysis: PhaseAnalysis, references: ReferenceDatabase) -> tuple[StartingPhase, ...]:
    """The phases that were found in a pattern, with the cells that were refined there.

    Raises:
        StructureError: the database holds no atoms of a phase, as a dataset does not.
    """
    return tuple(
        structure_to_phase(
            references.structure(phase.row),
            name=phase.name or phase.formula,
            formula=phase.formula,
            identity=phase.id,
            cell=phase.cell,
        )
        for phase in analysis.phases
    )


def unique_names(phases: Iterable[StartingPhase]) -> tuple[str, ...]:
    """A name for each phase that no other has: `TiO2`, `TiO2 (2)`."""
    names: list[str] = []
    for phase in phases:
        again = sum(name == phase.name or name.startswith(f"{phase.name} (") for name in names)
        names.append(phase.name if again == 0 else f"{phase.name} ({again + 1})")
    return tuple(names)
