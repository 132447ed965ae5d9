"""Hall number → symmetry operations, centring and free cell parameters of a space group in one setting."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from xxact_core.errors import StructureError

HALL_NUMBERS = 530
"""Number of space-group settings. Source: Hall (1981), International Tables for Crystallography B, table A1.4.2.7."""

UNKNOWN = 0
"""Stands for the Hall number of a structure in which no symmetry was found."""

_PRIMITIVE = {
    "P": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "A": ((1, 0, 0), (0, 1 / 2, -1 / 2), (0, 1 / 2, 1 / 2)),
    "C": ((1 / 2, 1 / 2, 0), (-1 / 2, 1 / 2, 0), (0, 0, 1)),
    "I": ((-1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (1 / 2, 1 / 2, -1 / 2)),
    "F": ((0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0)),
    "R": ((2 / 3, -1 / 3, -1 / 3), (1 / 3, 1 / 3, -2 / 3), (1 / 3, 1 / 3, 1 / 3)),
}
"""Primitive vectors as columns, in the basis of the conventional cell. Source: spglib's standardisation of cells."""

_CENTRINGS = {
    frozenset(): "P",
    frozenset({(0, 12, 12)}): "A",
    frozenset({(12, 12, 0)}): "C",
    frozenset({(12, 12, 12)}): "I",
    frozenset({(0, 12, 12), (12, 0, 12), (12, 12, 0)}): "F",
    frozenset({(16, 8, 8), (8, 16, 16)}): "R",
}
"""Centring translations in 24ths, besides the zero vector."""

_LAST_OF_SYSTEM = {2: (0, 1, 2, 3, 4, 5), 15: (0, 1, 2, 4), 74: (0, 1, 2), 142: (0, 2), 194: (0, 2), 230: (0,)}
"""Free cell parameters, as positions in a, b, c, α, β, γ, by the last space group of each crystal system; monoclinic
cells with unique axis b, trigonal cells on hexagonal axes, as spglib sets them up."""

_TRIGONAL, _CUBIC = 143, 195
"""First space groups with a hexagonal cell, and of the cubic system."""


@dataclass(frozen=True, eq=False)
class HallGroup:
    """A space group in one setting."""

    space_group: int
    """Number, 1-230."""
    rotations: np.ndarray
    """Rotations of all operations x' = W x + w, centring included, shape (operations, 3, 3), float64."""
    translations: np.ndarray
    """Translations w of all operations, shape (operations, 3)."""
    distinct: np.ndarray
    """The operations without centring: the first one of each rotation, shape (rotations,)."""
    primitive: np.ndarray
    """Primitive vectors as columns, in the basis of the conventional cell, shape (3, 3)."""
    laue: np.ndarray
    """Laue group modulo inversion, shape (rotations, 3, 3), int8, as in `xxact_core.simulation.symmetry.Symmetry`."""
    free_cell: tuple[int, ...]
    """Positions of the free parameters in a, b, c, α, β, γ."""


@cache
def hall_group(hall: int) -> HallGroup:
    """The space group of a Hall number, 1 to 530, or P1 with the number 0 for 0, where the symmetry is unknown.

    Raises:
        StructureError: there is no such number, or the setting is not one of spglib's standard settings.
    """
    import spglib  # noqa: PLC0415 - only where structures are standardised or expanded

    if hall == UNKNOWN:
        return replace(hall_group(1), space_group=0)
    if not 1 <= hall <= HALL_NUMBERS:
        msg = f"{hall} is not a Hall number; expected 1 to {HALL_NUMBERS}"
        raise StructureError(msg, code="E_SYMMETRY")
    with warnings.catch_warnings():  # spglib announces other error handling
        warnings.simplefilter("ignore", DeprecationWarning)
        operations, kind = spglib.get_symmetry_from_database(hall), spglib.get_spacegroup_type(hall)
    assert operations is not None
    assert kind is not None
    rotations, translations, group = operations["rotations"], operations["translations"], int(kind.number)
    _, distinct = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    distinct = np.sort(distinct)
    pure = (rotations == np.eye(3, dtype=rotations.dtype)).all(axis=(1, 2))
    centrings = np.rint(24 * translations[pure]).astype(int) % 24
    name = _CENTRINGS.get(frozenset(map(tuple, centrings[centrings.any(axis=1)].tolist())))
    if name is None:
        msg = f"the setting of Hall number {hall} has a centring that spglib's standard settings do not have"
        raise StructureError(msg, code="E_SYMMETRY")
    proper = rotations * np.rint(np.linalg.det(rotations)).astype(int)[:, None, None]
    return HallGroup(
        space_group=group,
        rotations=rotations.astype(np.float64),
        translations=translations,
        distinct=distinct,
        primitive=np.array(_PRIMITIVE[name]),
        laue=np.unique(proper, axis=0).astype(np.int8),
        free_cell=free_cell_parameters(group),
    )


def free_cell_parameters(space_group: int) -> tuple[int, ...]:
    """Positions of the free cell parameters of a space group in a, b, c, α, β, γ."""
    return next(free for last, free in _LAST_OF_SYSTEM.items() if space_group <= last)


def complete_cells(values: np.ndarray, start: np.ndarray, space_group: np.ndarray) -> np.ndarray:
    """Cells a, b, c, α, β, γ from their free parameters, concatenated; shape (cells, 6).

    A cell with all six parameters is taken as it is, whatever its space group.

    Args:
        values: free parameters of all cells [Å, deg], shape (values,).
        start: offsets of each cell's parameters, shape (cells + 1,).
        space_group: numbers of the space groups, shape (cells,).
    """
    count = np.diff(start)
    cells = np.empty((len(count), 6))
    cells[:, 3:] = 90.0
    cells[(space_group >= _TRIGONAL) & (space_group < _CUBIC), 5] = 120.0
    for free in (*_LAST_OF_SYSTEM.values(),):
        rows = np.flatnonzero(count == len(free))
        for place, parameter in enumerate(free):
            cells[rows, parameter] = values[start[rows] + place]
    rows = np.flatnonzero(count == 1)
    cells[rows, 1] = cells[rows, 2] = cells[rows, 0]
    rows = np.flatnonzero(count == 2)  # noqa: PLR2004 - a and c
    cells[rows, 1] = cells[rows, 0]
    return cells
