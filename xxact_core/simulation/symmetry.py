"""Structure → space group, crystal system, rotations and conventional cell, by spglib."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np

from xxact_core.errors import StructureError, shorten
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.structures.structure import MOST_OCCUPANCY, Structure, matrix_to_cell

SYMPREC = 0.1
"""Tolerance on positions [Å]. Ours: the value that databases use; XxaCT-NN does not state its own."""

ANGLE_TOLERANCE = 5.0
"""Tolerance on angles between lattice vectors [deg]: that of pymatgen's `SpacegroupAnalyzer`."""

_OCCUPANCY_DECIMALS = 8


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
    import spglib  # noqa: PLC0415 - slow to import, and not needed for reflections

    coords, site_of = np.unique(np.round(structure.frac_coords, 6), axis=0, return_inverse=True)
    mixtures: list[dict[int, float]] = [{} for _ in coords]
    for site, number, occupancy in zip(
        site_of.ravel().tolist(), structure.atomic_numbers.tolist(), structure.occupancies.tolist(), strict=True
    ):
        mixtures[site][number] = mixtures[site].get(number, 0.0) + occupancy
    if (most := max(sum(mixture.values()) for mixture in mixtures)) > MOST_OCCUPANCY:
        msg = f"{structure.id}: no symmetry found (a site holds {most:.3g} atoms; expected at most 1)"
        raise StructureError(msg, code="E_SYMMETRY")
    kinds: dict[tuple[tuple[int, float], ...], int] = {}
    keys = (
        tuple(sorted((number, round(amount, _OCCUPANCY_DECIMALS)) for number, amount in mixture.items()))
        for mixture in mixtures
    )
    kind_of = [kinds.setdefault(key, len(kinds) + 1) for key in keys]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = spglib.get_symmetry_dataset(
                (_lattice_vectors(structure.cell).tolist(), coords.tolist(), kind_of),
                symprec=symprec,
                angle_tolerance=ANGLE_TOLERANCE,
            )
    except Exception as error:  # spglib raises errors of many types
        msg = f"{structure.id}: no symmetry found ({shorten(error)})"
        raise StructureError(msg, code="E_SYMMETRY") from error
    if found is None:
        msg = f"{structure.id}: no symmetry found (spglib finds none, for instance because atoms overlap)"
        raise StructureError(msg, code="E_SYMMETRY")
    return Symmetry(
        space_group=int(found.number),
        rotations=without_inversion(np.asarray(found.rotations)),
        conventional_cell=matrix_to_cell(found.std_lattice),
        to_conventional=np.asarray(found.transformation_matrix, dtype=np.float64),
        conventional_rotations=_laue_rotations(int(found.hall_number)),
    )


def _lattice_vectors(cell: np.ndarray) -> np.ndarray:
    """Lattice vectors as rows [Å] with c along z, on whose direction spglib's choice between equivalent axes depends.

    Source: pymatgen's `Lattice.from_parameters`, so that axes are those of tables that were made with it.
    """
    a, b, c = cell[:3]
    cosines, sines = np.cos(np.deg2rad(cell[3:])), np.sin(np.deg2rad(cell[3:]))
    reciprocal = np.arccos(np.clip((cosines[0] * cosines[1] - cosines[2]) / (sines[0] * sines[1]), -1, 1))
    return np.array(
        [
            [a * sines[1], 0, a * cosines[1]],
            [-b * sines[0] * np.cos(reciprocal), b * sines[0] * np.sin(reciprocal), b * cosines[0]],
            [0, 0, c],
        ]
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
