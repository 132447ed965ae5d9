"""A teacher that is a formula: the elements' energies and volumes add up, and a Birch-Murnaghan curve lies between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.simulation.lattice import cell_volume
from xxact_core.structures.structure import Structure

STIFFNESS = 9.0
"""Bulk modulus times volume per atom [eV]."""


class StubTeacher:
    """Follows the protocol of `xxact_core.dataset.building.teacher`."""

    name = "stub 1"

    def __init__(self, *, failing: Sequence[str] = (), nonsense: Sequence[str] = ()) -> None:
        self.failing, self.nonsense = set(failing), set(nonsense)
        self.asked: list[str] = []

    def energies(self, structures: Sequence[Structure]) -> tuple[np.ndarray, list[str]]:
        self.asked += [structure.id for structure in structures]
        energies = np.array([1e6 if one.id in self.nonsense else energy_of(one) for one in structures])
        reasons = ["it is broken" if one.id in self.failing else "" for one in structures]
        return np.where([bool(reason) for reason in reasons], np.nan, energies), reasons


def energy_of(structure: Structure) -> float:
    """Energy per atom [eV] of the stub."""
    ratio = float(cell_volume(structure.cell)) / equilibrium_volume(structure)
    return lowest_energy(structure) + 9 / 8 * STIFFNESS * (ratio ** (-2 / 3) - 1) ** 2


def lowest_energy(structure: Structure) -> float:
    """Energy per atom [eV] at the equilibrium volume; lower for small cells, so that polymorphs differ."""
    return float(np.mean(-structure.atomic_numbers / 20)) + 0.05 * len(structure.atomic_numbers)


def equilibrium_volume(structure: Structure) -> float:
    """Volume of the cell [Å³] at the lowest energy."""
    return float((10 + structure.atomic_numbers / 5).sum())


def write_structure_rows(path: Path, structures: Sequence[Structure]) -> Path:
    """A structure table with formation energies and where they come from."""
    rows = [
        {
            "id": one.id,
            **dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), one.cell.tolist(), strict=True)),
            "species": [SYMBOLS[number - 1] for number in one.atomic_numbers],
            "frac_coords": one.frac_coords.ravel().tolist(),
            FORMATION_ENERGY.name: one.targets.get(FORMATION_ENERGY.name),
            "formation_energy_source": one.energy_kind,
        }
        for one in structures
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
