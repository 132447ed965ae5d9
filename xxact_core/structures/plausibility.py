"""Whether the atoms of a cell can be those of a crystal: its density, and their distances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_MASSES, SYMBOLS
from xxact_core.errors import StructureError
from xxact_core.structures.cif_contents import PLAUSIBLE_DENSITY
from xxact_core.structures.cif_symmetry import cell_to_vectors

STATED_TOLERANCE = 0.25
"""Relative deviation of a stated density or volume, which may be that of the relaxed structure. Ours."""

_SMALLEST_DISTANCE = 0.65
"""Distance [Å] below which two atoms cannot be present at once. Ours: the shortest bond, of H₂, has 0.74 Å, and
structures in databases are calculated."""

_TOGETHER = 1.05
"""Summed occupancies up to which two atoms at one place exclude each other; above 1 because of round-off."""

_AVOGADRO = 0.602214076
"""Å³ mol/cm³. Source: SI (2019)."""

_ROWS = 256


def check_plausible(
    cell: np.ndarray,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray,
    *,
    stated: Iterable[tuple[str, Any]],
) -> None:
    """Refuse a structure whose density or distances no crystal has, or whose record states another density or volume.

    Args:
        cell: a, b, c [Å], α, β, γ [deg], shape (6,).
        atomic_numbers: shape (atoms,).
        frac_coords: shape (atoms, 3).
        occupancies: shape (atoms,).
        stated: names and values of a record, of which each `density` [g/cm³] and `volume` [Å³] is compared.

    Raises:
        StructureError: it is no crystal (E_STRUCTURE), or contradicts its record (E_CONTRADICTION).
    """
    vectors = cell_to_vectors(cell)
    volume = abs(float(np.linalg.det(vectors)))
    masses = np.array(ATOMIC_MASSES)[atomic_numbers - 1]
    density = float(masses @ occupancies) / max(volume, 1e-9) / _AVOGADRO
    low, high = PLAUSIBLE_DENSITY
    if not low <= density <= high:
        msg = f"the density would be {density:.3g} g/cm³; expected {low:g} to {high:g}, and cell lengths in Å"
        raise StructureError(msg, code="E_STRUCTURE")
    own = {"density": (density, "g/cm³"), "volume": (volume, "Å³")}
    for name, number in stated:
        value, unit = own.get(name, (0.0, ""))
        if (
            name in own
            and isinstance(number, int | float)
            and number > 0
            and abs(number - value) > STATED_TOLERANCE * value
        ):
            msg = f"the cell has a {name} of {value:.4g} {unit}; {name} = {number:.4g} is stated"
            raise StructureError(msg, code="E_CONTRADICTION")
    _check_distances(vectors, atomic_numbers, frac_coords, occupancies)


def _check_distances(
    vectors: np.ndarray, atomic_numbers: np.ndarray, frac_coords: np.ndarray, occupancies: np.ndarray
) -> None:
    _, first, place = np.unique(np.round(frac_coords % 1, 5) % 1, axis=0, return_index=True, return_inverse=True)
    shared = np.bincount(place.ravel(), weights=occupancies)
    if shared.max() > max(_TOGETHER, occupancies.max()) and np.bincount(place.ravel())[shared.argmax()] > 2:  # noqa: PLR2004 - two are below
        where = ", ".join(f"{value:g}" for value in frac_coords[first[shared.argmax()]])
        msg = f"the occupancies of the atoms at {where} sum to {shared.max():g}; expected at most 1"
        raise StructureError(msg, code="E_STRUCTURE")
    spacings = 1 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
    axis = int(np.argmax(spacings))
    for start in range(0, len(frac_coords), _ROWS):
        heights = frac_coords[start : start + _ROWS, None, axis] - frac_coords[None, :, axis]
        heights -= np.rint(heights)
        rows, columns = np.nonzero(np.abs(heights) * spacings[axis] < _SMALLEST_DISTANCE)
        rows += start
        pairs = (columns > rows) & (occupancies[rows] + occupancies[columns] > _TOGETHER)
        rows, columns = rows[pairs], columns[pairs]
        offsets = frac_coords[rows] - frac_coords[columns]
        offsets -= np.rint(offsets)
        distances = np.linalg.norm(offsets @ vectors, axis=1)
        if distances.size and distances.min() < _SMALLEST_DISTANCE:
            pair = int(np.argmin(distances))
            one, other = (SYMBOLS[int(atomic_numbers[atom]) - 1] for atom in (rows[pair], columns[pair]))
            together = occupancies[rows[pair]] + occupancies[columns[pair]]
            apart = f"{one} and {other} are {distances[pair]:.2f} Å apart"
            msg = f"{apart}, though their occupancies sum to {together:g}"
            raise StructureError(msg, code="E_STRUCTURE")
