"""The shipped energies and prototype structures belong to the shipped tables of structures."""

from __future__ import annotations

from itertools import islice

import numpy as np

from xxact_core.dataset.building.energy_table import read_energy_table
from xxact_core.dataset.splits import formula_to_split
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.shipped import ENERGY_TABLE, PROTOTYPE_TABLE, TABLE, shipped_path
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table, table_rows

ENERGY = FORMATION_ENERGY.name


def test_prototype_structures_are_those_of_the_shipped_reference_table() -> None:
    path = shipped_path(PROTOTYPE_TABLE)
    assert table_rows(path) > 100_000
    for start in (0, 70_000):
        for structure in islice(read_table(path, start=start, stop=start + 50), 50):
            assert isinstance(structure, Structure), structure
            assert formula_to_split(structure.reduced_formula, seed=0) == "train"
            assert -5 < structure.targets[ENERGY] < 7


def test_energies_of_the_teacher_agree_with_exact_labels() -> None:
    energies = read_energy_table(shipped_path(ENERGY_TABLE))
    assert len(energies.energies) > 100_000
    gaps = [
        energies.formation_energy(one.id, one.reduced_formula) - one.targets[ENERGY]
        for one in read_table(shipped_path(TABLE), start=2000, stop=2600)
        if isinstance(one, Structure) and one.energy_is_exact and one.id in energies.energies
    ]
    assert len(gaps) > 100
    assert np.median(np.abs(gaps)) < 0.035
