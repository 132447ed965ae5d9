"""Structure → its conventional cell, space group and asymmetric unit, by spglib."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.errors import StructureError, shorten
from xxact_core.structures.structure import Structure, cell_to_matrix, matrix_to_cell

SMALLER_TOLERANCES = (0.01, 0.001)
"""Tolerances on positions [Å] that are tried where the given one is too large, as for split sites. Ours."""

_SAME_POSITION = 1e-3
"""Distance between fractional coordinates of one position; spglib returns them without round-off. Ours."""

_SMALLEST_VOLUME = 1.0
"""Volume of the smallest cell [Å³]. Ours: far below that of any atom."""

_HALL_NUMBERS = 530
"""Number of settings of the space groups. Source: International Tables for Crystallography B, table A1.4.2.7."""


@dataclass(frozen=True, eq=False)
class Site:
    """A position of the asymmetric unit and the elements on it."""

    label: str
    """Unique in its structure: `Al1`."""
    species: tuple[tuple[str, float], ...]
    """Elements with their occupancies."""
    position: np.ndarray
    """Fractional coordinates, shape (3,)."""
    multiplicity: int
    """Number of equivalent positions in the cell."""


@dataclass(frozen=True, eq=False)
class ConventionalStructure:
    """A crystal structure in a conventional cell: space group and asymmetric unit."""

    id: str
    """Id in the source."""
    cell: np.ndarray
    """Cell a, b, c [Å], α, β, γ [deg], shape (6,)."""
    space_group: int
    """Number, 1-230."""
    symbol: str
    """Full Hermann-Mauguin symbol of the setting: `P 1 21/c 1`."""
    hall_symbol: str
    """Hall symbol of the setting."""
    operations: tuple[str, ...]
    """All symmetry operations, such as `-x,y+1/2,-z`; the identity is the first."""
    sites: tuple[Site, ...]
    """Asymmetric unit."""

    @property
    def composition(self) -> Composition:
        """Elements and amounts in one cell."""
        amounts: dict[str, float] = {}
        for site in self.sites:
            for symbol, occupancy in site.species:
                amounts[symbol] = amounts.get(symbol, 0.0) + occupancy * site.multiplicity
        return Composition(tuple(amounts), tuple(amounts.values()))


def structure_to_conventional(structure: Structure, *, symprec: float) -> ConventionalStructure:
    """The conventional cell and asymmetric unit of a structure; mixed and partly occupied sites are kept.

    The setting of the structure is kept where it is a conventional one, for instance P 21/n; otherwise the cell is
    that of the standard setting. Positions are averaged over the symmetry found within `symprec` [Å].

    Raises:
        StructureError: the cell has no volume (E_STRUCTURE), or spglib finds no symmetry (E_SYMMETRY).
    """
    matrix = cell_to_matrix(structure.cell)
    if not (np.isfinite(matrix).all() and np.linalg.det(matrix) > _SMALLEST_VOLUME):  # spglib crashes on these
        msg = f"{structure.id}: the cell {np.round(structure.cell, 4).tolist()} has no volume"
        raise StructureError(msg, code="E_STRUCTURE")
    coords, species = _structure_to_sites(structure)
    kinds = sorted(set(species))
    cell = (matrix.tolist(), coords.tolist(), [kinds.index(one) for one in species])
    found = _find_symmetry(cell, symprec=symprec, name=structure.id)
    operations = _hall_number_to_operations(found.hall_number)
    orbits = _positions_to_orbits(np.asarray(found.std_positions), np.asarray(found.std_types), *operations[1:])
    described = _setting(found.hall_number)
    sites, counts = [], dict.fromkeys(SYMBOLS, 0)
    for first, multiplicity in orbits:
        elements = kinds[found.std_types[first]]
        main = max(elements, key=lambda one: one[1])[0]
        counts[main] += 1
        sites.append(Site(f"{main}{counts[main]}", elements, np.asarray(found.std_positions)[first] % 1, multiplicity))
    return ConventionalStructure(
        id=structure.id,
        cell=matrix_to_cell(found.std_lattice),
        space_group=int(found.number),
        symbol=described.international.split("=")[-1].strip().replace("_", ""),
        hall_symbol=described.hall_symbol,
        operations=operations[0],
        sites=tuple(sites),
    )


def conventional_to_structure(conventional: ConventionalStructure) -> Structure:
    """All atoms of the conventional cell."""
    rotations, translations = zip(*map(_text_to_operation, conventional.operations), strict=True)
    numbers, coords, occupancies = [], [], []
    for site in conventional.sites:
        images = (np.array(rotations) @ site.position + np.array(translations)) % 1
        positions: list[np.ndarray] = []
        for image in images:
            apart = np.array([image - other for other in positions]).reshape(-1, 3)
            if not (np.abs(apart - np.rint(apart)).max(axis=1, initial=0) < _SAME_POSITION).any():
                positions.append(image)
        for symbol, occupancy in site.species:
            numbers += [ATOMIC_NUMBERS[symbol]] * len(positions)
            coords += positions
            occupancies += [occupancy] * len(positions)
    return Structure(
        id=conventional.id,
        cell=conventional.cell,
        atomic_numbers=np.array(numbers),
        frac_coords=np.array(coords),
        occupancies=np.array(occupancies),
    )


def _text_to_operation(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotation, shape (3, 3), and translation, shape (3,), of an operation that `_operation_to_text` wrote."""
    rotation, translation = np.zeros((3, 3)), np.zeros(3)
    for row, part in enumerate(text.split(",")):
        for sign, term in re.findall(r"([+-]?)([xyz]|[0-9]+/[0-9]+)", part):
            factor = -1.0 if sign == "-" else 1.0
            if term in "xyz":
                rotation[row, "xyz".index(term)] = factor
            else:
                above, below = term.split("/")
                translation[row] = factor * int(above) / int(below)
    return rotation, translation


def _structure_to_sites(structure: Structure) -> tuple[np.ndarray, list[tuple[tuple[str, float], ...]]]:
    """Distinct positions, shape (sites, 3), and the elements on each."""
    wrapped = np.round(structure.frac_coords % 1, 5) % 1
    coords, site_of = np.unique(wrapped, axis=0, return_inverse=True)
    mixtures: list[dict[str, float]] = [{} for _ in coords]
    for site, number, occupancy in zip(site_of.ravel(), structure.atomic_numbers, structure.occupancies, strict=True):
        symbol = SYMBOLS[number - 1]
        mixtures[site][symbol] = mixtures[site].get(symbol, 0.0) + float(occupancy)
    return coords, [tuple(sorted((symbol, round(part, 4)) for symbol, part in one.items())) for one in mixtures]


def _find_symmetry(cell: tuple[list[list[float]], list[list[float]], list[int]], *, symprec: float, name: str) -> Any:  # noqa: ANN401 - spglib has no types
    """Symmetry of a cell in its own setting where that is a conventional one, in the standard setting otherwise."""
    import spglib  # noqa: PLC0415 - only where structures are refined or written

    reason = "no tolerance suits the distances between its atoms"
    for tolerance in (symprec, *SMALLER_TOLERANCES):
        try:
            with _quiet():
                found = spglib.get_symmetry_dataset(cell, symprec=tolerance)
                others = [] if found is None else _settings_of(found.number)
                for hall_number in others:
                    candidate = spglib.get_symmetry_dataset(cell, symprec=tolerance, hall_number=hall_number)
                    if candidate is not None and _keeps_setting(candidate):
                        return candidate
        except Exception as error:  # noqa: BLE001 - spglib raises errors of many types
            reason, found = shorten(error), None
        if found is not None:
            return found
    msg = f"{name}: no symmetry found ({reason})"
    raise StructureError(msg, code="E_SYMMETRY")


def _keeps_setting(found: Any) -> bool:  # noqa: ANN401 - spglib has no types
    shift = np.asarray(found.origin_shift)
    same_axes = np.allclose(found.transformation_matrix, np.eye(3), atol=_SAME_POSITION)
    return same_axes and bool(np.abs(shift - np.rint(shift)).max() < _SAME_POSITION)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of spglib about its way to report errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _setting(hall_number: int) -> Any:  # noqa: ANN401 - spglib has no types
    import spglib  # noqa: PLC0415 - as above

    with _quiet():
        return spglib.get_spacegroup_type(hall_number)


@cache
def _settings_of(space_group: int) -> tuple[int, ...]:
    """All settings of a space group but those with rhombohedral axes."""
    numbers = (number for number in range(1, _HALL_NUMBERS + 1) if _setting(number).number == space_group)
    return tuple(number for number in numbers if _setting(number).choice != "R")


def _hall_number_to_operations(hall_number: int) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Operations as text, rotations, shape (operations, 3, 3), and translations, shape (operations, 3)."""
    import spglib  # noqa: PLC0415 - as above

    with _quiet():
        operations = spglib.get_symmetry_from_database(hall_number)
    assert operations is not None, hall_number
    rotations, translations = operations["rotations"], operations["translations"]
    texts = tuple(_operation_to_text(*operation) for operation in zip(rotations, translations, strict=True))
    return texts, rotations, translations


def _operation_to_text(rotation: np.ndarray, translation: np.ndarray) -> str:
    rows = []
    for coefficients, shift in zip(rotation, translation, strict=True):
        terms = "".join(
            f"{'-' if value < 0 else '+'}{axis}" for value, axis in zip(coefficients, "xyz", strict=True) if value
        )
        twelfths = round(float(shift) * 12) % 12
        divisor = int(np.gcd(twelfths, 12))
        rows.append(terms.removeprefix("+") + (f"+{twelfths // divisor}/{12 // divisor}" if twelfths else ""))
    return ",".join(rows)


def _positions_to_orbits(
    positions: np.ndarray, kinds: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> list[tuple[int, int]]:
    """Index of the position nearest to the origin of each set of equivalent ones, and their number."""
    left, orbits = np.ones(len(positions), dtype=np.bool_), []
    nearness = np.round(positions % 1, 4).sum(axis=1)
    for first in range(len(positions)):
        if not left[first]:
            continue
        images = rotations @ positions[first] + translations
        apart = positions[None] - images[:, None]
        apart -= np.rint(apart)
        members = (np.abs(apart).max(axis=2) < _SAME_POSITION).any(axis=0) & (kinds == kinds[first]) & left
        members[first] = True
        left &= ~members
        indices = np.flatnonzero(members)
        orbits.append((int(indices[np.argmin(nearness[indices])]), indices.size))
    return orbits
