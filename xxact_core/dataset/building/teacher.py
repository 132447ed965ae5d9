"""What a teacher is: a model that gives the energies of structures, from which ours learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from xxact_core.structures.structure import Structure

SMALLEST_ENERGY, LARGEST_ENERGY = -25.0, 25.0
"""Total energies per atom [eV] of a teacher outside these are implausible. Ours: tungsten, lowest in VASP, has -13."""


class Teacher(Protocol):
    """A model that gives total energies of structures."""

    name: str
    """Name and version, which tables and datasets state."""

    def energies(self, structures: Sequence[Structure]) -> tuple[np.ndarray, list[str]]:
        """Total energies per atom [eV], shape (structures,), NaN where it fails, and the reasons, empty elsewhere."""
        ...


def plausible_energies(teacher: Teacher, structures: Sequence[Structure]) -> tuple[np.ndarray, list[str]]:
    """Energies per atom [eV] and reasons of failures, as `Teacher.energies`; implausible ones are failures, too."""
    energies, reasons = teacher.energies(structures)
    energies = np.array(energies, dtype=np.float64)
    for place, energy in enumerate(energies.tolist()):
        if not SMALLEST_ENERGY <= energy <= LARGEST_ENERGY:
            reasons[place] = reasons[place] or f"energy of {energy:g} eV/atom"
            energies[place] = np.nan
    return energies, reasons
