"""Structure → space group and crystal system, by spglib through pymatgen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.errors import StructureError, shorten
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.simulation.structures import Structure

SYMPREC = 0.1
"""Tolerance on positions [Å]. Ours; XxaCT-NN does not say which it used, and this is what databases report."""


@dataclass(frozen=True)
class Symmetry:
    """Space group number (1-230) and crystal system."""

    space_group: int
    crystal_system: str


def find_symmetry(structure: Structure, *, symprec: float = SYMPREC) -> Symmetry:
    """Symmetry of a structure; sites with the same mixture of elements count as equal.

    Raises:
        StructureError: spglib finds none, for instance because atoms overlap.
    """
    from pymatgen.core import Lattice  # noqa: PLC0415 - slow to import, and not needed to make sticks
    from pymatgen.core import Structure as PymatgenStructure  # noqa: PLC0415 - likewise
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer  # noqa: PLC0415 - likewise

    coords, site_of = np.unique(np.round(structure.frac_coords, 6), axis=0, return_inverse=True)
    species: list[dict[str, float]] = [{} for _ in coords]
    for site, number, occupancy in zip(site_of.ravel(), structure.atomic_numbers, structure.occupancies, strict=True):
        symbol = SYMBOLS[number - 1]
        species[site][symbol] = species[site].get(symbol, 0.0) + float(occupancy)
    try:
        crystal = PymatgenStructure(Lattice.from_parameters(*structure.cell), species, coords)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = int(SpacegroupAnalyzer(crystal, symprec=symprec).get_space_group_number())
    except Exception as error:  # spglib and pymatgen raise many kinds for impossible structures
        msg = f"{structure.id}: no symmetry found ({shorten(error)})"
        raise StructureError(msg, code="E_SYMMETRY") from error
    return Symmetry(number, space_group_to_crystal_system(number))
