"""Structure → space group, crystal system, rotations and conventional cell, by spglib through pymatgen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.errors import StructureError, shorten
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.structures.structure import Structure

SYMPREC = 0.1
"""Tolerance on positions [Å]. Ours: the value that databases use; XxaCT-NN does not state its own."""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Symmetry of a structure, found by spglib."""

    space_group: int
    """Number, 1-230."""
    rotations: np.ndarray
    """Laue group modulo inversion in the basis of the structure's own cell, shape (rotations, 3, 3), int8; reflections
    h' = h W are equivalent to h."""
    conventional_cell: np.ndarray
    """Conventional cell a, b, c [Å], α, β, γ [deg], shape (6,)."""
    to_conventional: np.ndarray
    """Matrix P with which fractional coordinates x become P x + p in the conventional cell, and Miller indices h P⁻¹,
    shape (3, 3)."""
    conventional_rotations: np.ndarray
    """Laue group modulo inversion in the conventional cell, shape (rotations, 3, 3), int8. `rotations` has fewer where
    the structure is given in a cell of lower symmetry than its atoms."""

    @property
    def crystal_system(self) -> str:
        """One of `xxact_core.quantities.CRYSTAL_SYSTEMS`."""
        return space_group_to_crystal_system(self.space_group)


def find_symmetry(structure: Structure, *, symprec: float = SYMPREC) -> Symmetry:
    """Symmetry of a structure; sites with the same mixture of elements count as equal.

    Raises:
        StructureError: spglib finds none, for instance because atoms overlap.
    """
    from pymatgen.core.lattice import Lattice  # noqa: PLC0415 - slow to import, and not needed for reflections
    from pymatgen.core.structure import Structure as PymatgenStructure  # noqa: PLC0415 - likewise
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
            found = SpacegroupAnalyzer(crystal, symprec=symprec).get_symmetry_dataset()
    except Exception as error:  # spglib and pymatgen raise errors of many types
        msg = f"{structure.id}: no symmetry found ({shorten(error)})"
        raise StructureError(msg, code="E_SYMMETRY") from error
    conventional = Lattice(found.std_lattice)
    return Symmetry(
        space_group=int(found.number),
        rotations=without_inversion(np.asarray(found.rotations)),
        conventional_cell=np.array(conventional.parameters),
        to_conventional=np.asarray(found.transformation_matrix, dtype=np.float64),
        conventional_rotations=_laue_rotations(int(found.hall_number)),
    )


@cache
def _laue_rotations(hall_number: int) -> np.ndarray:
    import spglib  # noqa: PLC0415 - slow to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of spglib's way to report errors
        operations = spglib.get_symmetry_from_database(hall_number)
    assert operations is not None
    rotations = without_inversion(np.asarray(operations["rotations"]))
    rotations.setflags(write=False)
    return rotations


def without_inversion(rotations: np.ndarray) -> np.ndarray:
    """Each of the integer rotations and rotoinversions once, up to its sign: shape (n, 3, 3) to (m, 3, 3), int8."""
    proper = rotations * np.rint(np.linalg.det(rotations)).astype(int)[:, None, None]
    return np.unique(proper, axis=0).astype(np.int8)
