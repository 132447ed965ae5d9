"""A crystal structure as arrays, independent of the file format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.compositions.formula import reduced_formula
from xxact_core.errors import StructureError, shorten
from xxact_core.quantities import ENERGY_KINDS, EXACT_ENERGY_KINDS

MOST_ATOMS = 5000
"""Largest number of atoms in a cell. Ours: databases reach about a thousand."""

MOST_OCCUPANCY = 1.01
"""Largest occupancy of a site by one element; above 1 because of round-off."""

_CHARGED = re.compile(r"([A-Z][a-z]?)[0-9.]*[+-]")
_ISOTOPES = {"D": "H", "T": "H"}


@dataclass(frozen=True, eq=False)
class Structure:
    """A crystal structure as arrays, with its labels."""

    id: str
    """Id in the source."""
    cell: np.ndarray
    """Cell a, b, c [Å], α, β, γ [deg], shape (6,)."""
    atomic_numbers: np.ndarray
    """Atomic numbers, shape (atoms,)."""
    frac_coords: np.ndarray
    """Fractional coordinates, shape (atoms, 3)."""
    occupancies: np.ndarray
    """Occupancies, shape (atoms,); a mixed site is several atoms at the same coordinates."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """Known targets by name, in their units."""
    energy_kind: str = "none"
    """Where the formation energy comes from, one of `ENERGY_KINDS`."""
    unlocated_hydrogen: float = 0.0
    """Hydrogen atoms in the cell that the source states without coordinates; `composition` does not count them."""
    cell_is_measured: bool = False
    """Whether the source states that the cell was measured, not calculated."""
    found_in_experiments: bool = False
    """Whether the source states that the phase was found in experiments."""
    notes: tuple[str, ...] = ()
    """What was assumed, left out or moved when the structure was read."""

    def __post_init__(self) -> None:
        """Check shapes and numbers."""
        cell = np.asarray(self.cell, dtype=np.float64)
        numbers = np.asarray(self.atomic_numbers, dtype=np.int64)
        coords = np.asarray(self.frac_coords, dtype=np.float64)
        occupancies = np.asarray(self.occupancies, dtype=np.float64)
        if numbers.size == 0:
            msg = f"{self.id}: the structure has no atoms"
            raise StructureError(msg, code="E_STRUCTURE")
        check_atom_count(numbers.size)
        if cell.shape != (6,) or coords.shape != (numbers.size, 3) or occupancies.shape != numbers.shape:
            msg = f"{self.id}: cell {cell.shape}, coordinates {coords.shape} and occupancies {occupancies.shape} "
            msg += f"do not match {numbers.size} atoms"
            raise StructureError(msg, code="E_STRUCTURE")
        for name, array in (("cell", cell), ("coordinates", coords), ("occupancies", occupancies)):
            if not np.isfinite(array).all():
                msg = f"{self.id}: the {name} contain a value that is not a finite number"
                raise StructureError(msg, code="E_STRUCTURE")
        if self.energy_kind not in ENERGY_KINDS:
            msg = f"{self.id}: {shorten(self.energy_kind)!r} is not a kind of formation energy; expected one of "
            msg += ", ".join(ENERGY_KINDS)
            raise StructureError(msg, code="E_LABEL")
        if (occupancies < 0).any() or (occupancies > MOST_OCCUPANCY).any():
            msg = f"{self.id}: the occupancies range from {occupancies.min():g} to {occupancies.max():g}; "
            msg += "expected 0 to 1"
            raise StructureError(msg, code="E_STRUCTURE")
        for name, values in (("cell", cell), ("atomic_numbers", numbers), ("frac_coords", coords)):
            object.__setattr__(self, name, values)
        object.__setattr__(self, "occupancies", occupancies)
        object.__setattr__(self, "targets", MappingProxyType(dict(self.targets)))

    @property
    def energy_is_exact(self) -> bool:
        """Whether the formation energy is one by which a model is judged, see `EXACT_ENERGY_KINDS`."""
        return self.energy_kind in EXACT_ENERGY_KINDS

    @property
    def composition(self) -> Composition:
        """Elements and amounts in one cell."""
        amounts = np.bincount(self.atomic_numbers, weights=self.occupancies)
        numbers = np.flatnonzero(amounts)
        return Composition(tuple(SYMBOLS[n - 1] for n in numbers), tuple(float(amounts[n]) for n in numbers))

    @property
    def stated_composition(self) -> Composition:
        """Elements and amounts in one cell, with hydrogen that has no coordinates."""
        amounts = dict(zip(self.composition.symbols, self.composition.amounts, strict=True))
        if self.unlocated_hydrogen:
            amounts["H"] = amounts.get("H", 0.0) + self.unlocated_hydrogen
        return Composition(tuple(amounts), tuple(amounts.values()))

    @property
    def reduced_formula(self) -> str:
        """Alphabetical reduced formula with all numbers, e.g. `Al2O3`, `K1Mn1O2`."""
        return reduced_formula(self.composition)


def check_atom_count(count: int) -> None:
    """Refuse a cell of more than `MOST_ATOMS` atoms, before it is parsed.

    Raises:
        StructureError: the cell has more atoms.
    """
    if count > MOST_ATOMS:
        msg = f"the cell contains {count} atoms; expected at most {MOST_ATOMS}"
        raise StructureError(msg, code="E_STRUCTURE")


def matrix_to_cell(matrix: object) -> np.ndarray:
    """Lattice vectors as rows [Å], shape (3, 3), to a, b, c [Å], α, β, γ [deg], shape (6,).

    Raises:
        StructureError: it is not a 3x3 matrix of finite numbers, or two of its vectors are parallel.
    """
    vectors = np.array(matrix, dtype=np.float64)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        msg = "the lattice is not a 3x3 matrix of finite numbers"
        raise StructureError(msg, code="E_STRUCTURE")
    lengths = np.linalg.norm(vectors, axis=1)
    if not lengths.all():
        msg = "a lattice vector is zero: not periodic in three directions"
        raise StructureError(msg, code="E_STRUCTURE")
    cosines = [vectors[i] @ vectors[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])


def cell_to_matrix(cell: np.ndarray) -> np.ndarray:
    """Cell a, b, c [Å], α, β, γ [deg], shape (6,), to lattice vectors as rows [Å], shape (3, 3): a along x, b in xy.

    NaN where the angles do not close to a cell.
    """
    a, b, c = np.asarray(cell, dtype=np.float64)[:3]
    cos_alpha, cos_beta, cos_gamma = np.cos(np.deg2rad(np.asarray(cell, dtype=np.float64)[3:]))
    sin_gamma = np.sqrt(1 - cos_gamma**2)
    y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    with np.errstate(invalid="ignore"):
        z = np.sqrt(1 - cos_beta**2 - y**2)
    return np.array([[a, 0, 0], [b * cos_gamma, b * sin_gamma, 0], [c * cos_beta, c * y, c * z]])


def positions_to_frac_coords(positions: object, matrix: object) -> np.ndarray:
    """Cartesian positions [Å], shape (atoms, 3), to fractional coordinates.

    Raises:
        StructureError: the lattice vectors span no volume.
    """
    try:
        return np.linalg.solve(np.array(matrix, dtype=np.float64).T, np.array(positions, dtype=np.float64).T).T
    except np.linalg.LinAlgError:
        msg = "the lattice vectors span no volume"
        raise StructureError(msg, code="E_STRUCTURE") from None


def symbol_to_number(symbol: object) -> int:
    """Atomic number of an element symbol, with or without a charge; deuterium and tritium are hydrogen to X-rays.

    Raises:
        StructureError: there is no such element (E_ELEMENT).
    """
    text = symbol if isinstance(symbol, str) else ""
    charged = _CHARGED.fullmatch(text)
    bare = charged[1] if charged else text
    number = ATOMIC_NUMBERS.get(_ISOTOPES.get(bare, bare))
    if number is None:
        msg = f"{shorten(symbol)!r} is not a chemical element"
        raise StructureError(msg, code="E_ELEMENT")
    return number


def pymatgen_to_structure(structure: Any, *, name: str) -> Structure:  # noqa: ANN401 - pymatgen is not imported here
    """A pymatgen `Structure` as arrays; partly occupied and mixed sites become atoms with occupancies."""
    numbers, coords, occupancies = [], [], []
    for site in structure:
        for species, occupancy in site.species.items():
            try:
                numbers.append(symbol_to_number(species.symbol))
            except StructureError as error:
                msg = f"{name}: {error}"
                raise StructureError(msg, code=error.code) from None
            coords.append(site.frac_coords)
            occupancies.append(occupancy)
    return Structure(
        id=name,
        cell=np.array(structure.lattice.parameters),
        atomic_numbers=np.array(numbers, dtype=np.int64),
        frac_coords=np.array(coords, dtype=np.float64).reshape(-1, 3),
        occupancies=np.array(occupancies, dtype=np.float64),
    )
