"""Structure → asymmetric unit, with the symmetry that spglib finds, and checked by expanding it again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xxact_core.errors import StructureError, shorten
from xxact_core.structures.asymmetric_units import (
    ANGLE_STEP,
    GRID,
    LENGTH_STEP,
    OCCUPANCY_STEP,
    TOGETHER,
    AsymmetricUnit,
    AsymmetricUnits,
    Site,
    coordinates_to_forms,
    units_to_columns,
)
from xxact_core.structures.hall_groups import UNKNOWN, complete_cells, hall_group
from xxact_core.structures.structure import Structure, cell_to_matrix, matrix_to_cell

SYMPREC = 0.1
"""Tolerance on positions [Å]. Ours: the value that databases use; XxaCT-NN does not state its own."""

STRICT_SYMPREC = 0.01
"""Tolerance [Å] for structures that `SYMPREC` would change by more than `MOST_DISPLACEMENT`. Ours."""

ANGLE_TOLERANCE = 5.0
"""Tolerance on angles [deg]. Source: pymatgen `SpacegroupAnalyzer`."""

MOST_DISPLACEMENT = 0.01
"""Largest distance [Å] between an atom and its stored position, where structures are to stay as they are. Ours."""

MOST_STRAIN = 3e-5
"""Largest relative change of a length, where cells are to stay as they are. Ours."""

MOST_ROUNDING = 0.01
"""Largest distance [Å] between an atom of the standardised structure and its stored position. Ours."""

_ONE = round(1 / OCCUPANCY_STEP)
_MOST_PARTS = np.iinfo(np.uint16).max


@dataclass(frozen=True, eq=False)
class StandardStructure:
    """A structure in the conventional cell of its space group, as spglib idealises it."""

    hall: int
    """Hall number, 1-530."""
    space_group: int
    """Number, 1-230."""
    cell: np.ndarray
    """Conventional cell a, b, c [Å], α, β, γ [deg], shape (6,)."""
    given_cell: np.ndarray
    """The structure's own cell in the basis of the conventional one, not idealised, shape (6,)."""
    coords: np.ndarray
    """Fractional coordinates of the sites, shape (sites, 3)."""
    kind_of: np.ndarray
    """Kind of atoms of each site, as a position in `kinds`, shape (sites,)."""
    kinds: tuple[tuple[tuple[int, int], ...], ...]
    """Kinds of atoms: atomic numbers with occupancies in `OCCUPANCY_STEP`."""
    displacement: float
    """Largest distance of an atom from its place in the idealised structure [Å]."""
    strain: float
    """Largest relative change of a length in the idealised cell."""


def structure_to_sites(structure: Structure) -> tuple[np.ndarray, np.ndarray, tuple[tuple[tuple[int, int], ...], ...]]:
    """Sites of a structure, atoms at the same place being one: coordinates, kind of each site, and the kinds.

    Raises:
        StructureError: more atoms of an element are at one place than can be stored.
    """
    coords, site_of = np.unique(np.round(structure.frac_coords, 6), axis=0, return_inverse=True)
    mixtures: list[dict[int, float]] = [{} for _ in coords]
    for site, number, occupancy in zip(
        site_of.ravel().tolist(), structure.atomic_numbers.tolist(), structure.occupancies.tolist(), strict=True
    ):
        mixtures[site][number] = mixtures[site].get(number, 0.0) + occupancy
    named = [tuple(sorted((number, round(part / OCCUPANCY_STEP)) for number, part in mix.items())) for mix in mixtures]
    most = max((part for kind in named for _, part in kind), default=0)
    if most > _MOST_PARTS:
        msg = f"{structure.id}: {most * OCCUPANCY_STEP:g} atoms of one element are at the same place"
        raise StructureError(msg, code="E_STRUCTURE")
    kinds = tuple(sorted(set(named)))
    place = {kind: number for number, kind in enumerate(kinds)}
    return coords, np.array([place[kind] for kind in named]), kinds


def standardise(structure: Structure, *, symprec: float = SYMPREC) -> StandardStructure:
    """Find the symmetry of a structure, and bring it into the conventional cell of its space group.

    Raises:
        StructureError: spglib finds no symmetry, for instance because atoms overlap.
    """
    import spglib  # noqa: PLC0415 - only where structures are standardised

    coords, kind_of, kinds = structure_to_sites(structure)
    lattice = cell_to_matrix(structure.cell)
    _check_cell(structure, lattice)
    try:
        with warnings.catch_warnings():  # spglib announces other error handling
            warnings.simplefilter("ignore", DeprecationWarning)
            found = spglib.get_symmetry_dataset(
                (lattice.tolist(), coords.tolist(), kind_of.tolist()),
                symprec=symprec,
                angle_tolerance=ANGLE_TOLERANCE,
            )
    except Exception as error:  # spglib raises errors of its own
        msg = f"{structure.id}: no symmetry found ({shorten(error)})"
        raise StructureError(msg, code="E_SYMMETRY") from error
    if found is None:
        msg = f"{structure.id}: no symmetry found; do atoms overlap?"
        raise StructureError(msg, code="E_SYMMETRY")
    transformation = np.asarray(found.transformation_matrix)
    given = np.linalg.inv(transformation).T @ lattice
    ideal = np.asarray(found.std_lattice)
    places, kind_there = np.asarray(found.std_positions), np.asarray(found.std_types)
    return StandardStructure(
        hall=int(found.hall_number),
        space_group=int(found.number),
        cell=matrix_to_cell(ideal),
        given_cell=matrix_to_cell(given),
        coords=places,
        kind_of=kind_there,
        kinds=kinds,
        displacement=_largest_distance(
            coords @ transformation.T + np.asarray(found.origin_shift), kind_of, places, kind_there, ideal
        ),
        strain=_strain(given, ideal),
    )


def _check_cell(structure: Structure, lattice: np.ndarray) -> None:
    if not np.linalg.det(lattice) > 1e-3:  # noqa: PLR2004 - Å³, far below any atom; NaN is refused, too
        msg = f"{structure.id}: the cell {np.round(structure.cell, 4).tolist()} has no volume"
        raise StructureError(msg, code="E_STRUCTURE")


def _largest_distance(
    first: np.ndarray, first_kind: np.ndarray, second: np.ndarray, second_kind: np.ndarray, lattice: np.ndarray
) -> float:
    """Largest distance [Å] of a site of the first structure from the nearest one of its kind in the second."""
    largest = 0.0
    for kind in np.unique(first_kind):
        here, there = first[first_kind == kind], second[second_kind == kind]
        if not len(there):
            return np.inf
        for begin in range(0, len(here), 64):
            step = here[begin : begin + 64, None] - there[None]
            step -= np.rint(step)
            largest = max(largest, float(np.sqrt(((step @ lattice) ** 2).sum(axis=2)).min(axis=1).max()))
    return largest


def _strain(given: np.ndarray, ideal: np.ndarray) -> float:
    """Largest relative difference of a length between two lattices."""
    root = np.linalg.inv(np.linalg.cholesky(ideal @ ideal.T))
    return float(np.abs(np.linalg.eigvalsh(root @ given @ given.T @ root.T - np.eye(3))).max() / 2)


def structure_to_unit(structure: Structure, *, keep: bool) -> AsymmetricUnit:
    """The asymmetric unit of a structure, checked by expanding it; as P1 where symmetry would change it too much.

    Args:
        structure: the structure.
        keep: whether atoms may move by `MOST_DISPLACEMENT` and lengths change by `MOST_STRAIN` at most, and spglib must
            find the same space group afterwards; else the structure is idealised within `SYMPREC`.

    Raises:
        StructureError: the structure cannot be stored, for instance because its cell has no volume.
    """
    space_group: int | None = None
    for symprec in (SYMPREC, STRICT_SYMPREC):
        try:
            standard = standardise(structure, symprec=symprec)
        except StructureError:
            continue
        space_group = standard.space_group if space_group is None else space_group
        if keep and standard.displacement > MOST_DISPLACEMENT:
            continue
        unit = standard_to_unit(standard, keep_cell=keep and standard.strain > MOST_STRAIN)
        if unit is not None and (not keep or unit_to_space_group(unit) == space_group):
            return unit
    _check_cell(structure, cell_to_matrix(structure.cell))
    coords, kind_of, kinds = structure_to_sites(structure)
    return _encode(UNKNOWN if space_group is None else 1, structure.cell, coords, kind_of, kinds)


def standard_to_unit(standard: StandardStructure, *, keep_cell: bool = False) -> AsymmetricUnit | None:
    """The asymmetric unit of a standardised structure; None where its expansion is another structure."""
    cell = standard.given_cell if keep_cell else standard.cell[list(hall_group(standard.hall).free_cell)]
    unit = _encode(standard.hall, cell, standard.coords, standard.kind_of, standard.kinds)
    return unit if is_same(units_to_columns([unit]), 0, standard) else None


def unit_to_space_group(unit: AsymmetricUnit) -> int | None:
    """Space group that spglib finds in the primitive cell of a stored structure; None where it finds none."""
    try:
        return standardise(units_to_columns([unit]).structure(0, primitive=True)).space_group
    except StructureError:
        return None


def is_same(units: AsymmetricUnits, row: int, standard: StandardStructure) -> bool:
    """Whether a stored structure has the sites of a standardised one, each within `MOST_ROUNDING`."""
    coords, kind_of = units.sites(row)
    count = len(standard.kinds)
    if not np.array_equal(np.bincount(kind_of, minlength=count), np.bincount(standard.kind_of, minlength=count)):
        return False
    matrix = cell_to_matrix(units.cell[row])
    return _largest_distance(standard.coords, standard.kind_of, coords, kind_of, matrix) <= MOST_ROUNDING


def _encode(
    hall: int,
    cell: np.ndarray,
    coords: np.ndarray,
    kind_of: np.ndarray,
    kinds: Sequence[tuple[tuple[int, int], ...]],
) -> AsymmetricUnit:
    group = hall_group(hall)
    steps = np.where(np.arange(len(cell)) < 3, LENGTH_STEP, ANGLE_STEP)  # noqa: PLR2004 - at most three lengths
    full = complete_cells(cell, np.array([0, len(cell)]), np.array([group.space_group]))[0]
    lattice = cell_to_matrix(full)
    orbits: list[np.ndarray] = []
    kind_of_orbit: list[int] = []
    for kind in range(len(kinds)):
        rest = coords[kind_of == kind]
        while len(rest):
            images = group.rotations @ rest[0] + group.translations
            step = images[:, None] - rest[None]
            step -= np.rint(step)
            step = step.reshape(-1, 3) @ lattice
            near = (np.einsum("ij,ij->i", step, step) < TOGETHER**2).reshape(len(images), -1).any(axis=0)
            near &= len(images) > 1  # in P1 even atoms that overlap stay
            near[0] = True
            orbits.append(images % 1)
            kind_of_orbit.append(kind)
            rest = rest[~near]
    sites = _best_sites(kind_of_orbit, np.stack(orbits))
    return AsymmetricUnit(
        hall=hall,
        cell=tuple(int(code) for code in np.rint(cell / steps)),
        kinds=tuple(kinds),
        sites=tuple(sites),
    )


def _best_sites(kinds: Sequence[int], images: np.ndarray) -> list[Site]:
    """For each site the image with the fewest free coordinates, then the first form, then the smallest coordinates.

    Args:
        kinds: kind of each site.
        images: coordinates of all images, shape (sites, images, 3).
    """
    count, per_site = images.shape[:2]
    flat = images.reshape(-1, 3)
    forms, free = coordinates_to_forms(flat)
    steps = np.rint(flat * GRID).astype(np.int64) % GRID
    site = np.repeat(np.arange(count), per_site)
    order = np.lexsort((steps[:, 2], steps[:, 1], steps[:, 0], forms, free.sum(axis=1), site))
    chosen = order[::per_site]
    found = [
        Site(kind, int(forms[place]), tuple(steps[place][free[place]].tolist()))
        for kind, place in zip(kinds, chosen.tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: (one.kind, one.form, one.free))
