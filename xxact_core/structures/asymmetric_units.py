"""Crystal structures as asymmetric units: symmetry, free cell parameters and free coordinates, quantised to integers.

A site is stored as its form, which states each coordinate as a multiple of 1/24, as a free value, or as a multiple of
an earlier coordinate, and as its free values. So (x, 2x, 1/4) takes one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_MASSES, SYMBOLS
from xxact_core.errors import StructureError
from xxact_core.structures.hall_groups import HallGroup, complete_cells, hall_group
from xxact_core.structures.structure import Structure, cell_to_matrix, matrix_to_cell

GRID = 24_000
"""Free coordinates are multiples of 1/GRID: 0.0002 Å at most in a cell of 10 Å. Ours."""

LENGTH_STEP, ANGLE_STEP = 1e-5, 1e-3
"""Steps of cell lengths [Å] and angles [deg]. Ours."""

OCCUPANCY_STEP = 1e-4
"""Step of occupancies. Ours."""

TOGETHER = 0.05
"""Images of a site that lie closer than this [Å] are the same atom: the site is on a symmetry element. Ours."""

_PARTS = 24
_MULTIPLES = (1, -1, 2, -2)
_FREE = _PARTS
_OF_X = _FREE + 1
_OF_Y = _OF_X + len(_MULTIPLES) * _PARTS
_TOKENS = _OF_Y + len(_MULTIPLES) * _PARTS
"""Tokens of a coordinate: 24ths, free, multiples of x plus 24ths, multiples of y plus 24ths."""

_SAME = 2e-5
"""Coordinates that differ by less are equal: 0.0002 Å in a cell of 10 Å. Ours."""

_KEY, _OFFSET = 100_003, 0.3100123
"""Bins of coordinates by which equal ones are found, and their origin: no stored coordinate is on an edge of a bin."""


@dataclass(frozen=True, eq=False)
class Site:
    """One site of an asymmetric unit."""

    kind: int
    """Which of the structure's kinds of atoms occupies it."""
    form: int
    """Its form, see `coordinates_to_forms`."""
    free: tuple[int, ...]
    """Its free coordinates in steps of 1 / `GRID`."""


@dataclass(frozen=True, eq=False)
class AsymmetricUnit:
    """One structure as its asymmetric unit, in integers."""

    hall: int
    """Hall number of its space group and setting."""
    cell: tuple[int, ...]
    """Free cell parameters in `LENGTH_STEP` and `ANGLE_STEP`; all six if the cell is not quite as its system has it."""
    kinds: tuple[tuple[tuple[int, int], ...], ...]
    """Kinds of atoms: atomic numbers with occupancies in `OCCUPANCY_STEP`; several for a mixed site."""
    sites: tuple[Site, ...]
    """Sites in order of kind and form."""


@dataclass(frozen=True, eq=False)
class AsymmetricUnits:
    """Many structures as asymmetric units, in concatenated columns of integers."""

    hall: np.ndarray
    """Hall numbers, shape (structures,)."""
    cell_start: np.ndarray
    """Offsets of each structure's cell parameters, shape (structures + 1,)."""
    cell_code: np.ndarray
    """Free cell parameters in steps, shape (parameters,)."""
    kind_start: np.ndarray
    """Offsets of each structure's kinds of atoms, shape (structures + 1,)."""
    part_start: np.ndarray
    """Offsets of each kind's elements, shape (kinds + 1,)."""
    element: np.ndarray
    """Atomic numbers, shape (parts,), uint8."""
    occupancy: np.ndarray
    """Occupancies in steps, shape (parts,), uint16."""
    site_start: np.ndarray
    """Offsets of each kind's sites, shape (kinds + 1,)."""
    form: np.ndarray
    """Forms of the sites as positions in `forms`, shape (sites,)."""
    free_start: np.ndarray
    """Offsets of each structure's free coordinates, shape (structures + 1,)."""
    free: np.ndarray
    """Free coordinates in steps of 1 / `GRID`, shape (values,), uint16."""
    forms: np.ndarray
    """The forms that occur, shape (forms,), int64."""

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.hall)

    @cached_property
    def space_group(self) -> np.ndarray:
        """Numbers of the space groups, shape (structures,), int16."""
        numbers, which = np.unique(self.hall, return_inverse=True)
        return np.array([hall_group(int(number)).space_group for number in numbers], dtype=np.int16)[which]

    @cached_property
    def cell(self) -> np.ndarray:
        """Conventional cells a, b, c [Å], α, β, γ [deg], shape (structures, 6)."""
        place = np.arange(len(self.cell_code)) - np.repeat(self.cell_start[:-1], np.diff(self.cell_start))
        steps = np.where(place < 3, LENGTH_STEP, ANGLE_STEP)  # noqa: PLR2004 - at most three lengths
        return complete_cells(self.cell_code * steps, self.cell_start, self.space_group)

    def unit(self, row: int) -> AsymmetricUnit:
        """One structure as its asymmetric unit."""
        kinds = range(int(self.kind_start[row]), int(self.kind_start[row + 1]))
        parts = [slice(int(self.part_start[kind]), int(self.part_start[kind + 1])) for kind in kinds]
        forms, kind_of, free, _ = self._sites(row)
        ends = np.cumsum([_free_count(int(form)) for form in forms])
        values = np.split(free, ends[:-1]) if len(ends) else []
        return AsymmetricUnit(
            hall=int(self.hall[row]),
            cell=tuple(self.cell_code[self.cell_start[row] : self.cell_start[row + 1]].tolist()),
            kinds=tuple(
                tuple(zip(self.element[part].tolist(), self.occupancy[part].tolist(), strict=True)) for part in parts
            ),
            sites=tuple(
                Site(int(kind), int(form), tuple(value.tolist()))
                for kind, form, value in zip(kind_of, forms, values, strict=True)
            ),
        )

    def sites(self, row: int, *, primitive: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """All sites in the conventional or primitive cell of one structure: coordinates, and the kind of each."""
        _, kind_of, _, coords = self._sites(row)
        places, site_of = expand_sites(coords, self.cell[row], hall_group(int(self.hall[row])), primitive=primitive)
        return places, kind_of[site_of]

    def structure(self, row: int, *, name: str = "", primitive: bool = False) -> Structure:
        """One structure with all atoms of its conventional or primitive cell."""
        places, kind_of = self.sites(row, primitive=primitive)
        kind = kind_of + self.kind_start[row]
        count = self.part_start[kind + 1] - self.part_start[kind]
        first = np.repeat(self.part_start[kind] - np.cumsum(count) + count, count)
        part = first + np.arange(len(first))
        cell = self.cell[row]
        return Structure(
            id=name,
            cell=primitive_cell(cell, hall_group(int(self.hall[row]))) if primitive else cell,
            atomic_numbers=self.element[part].astype(np.int64),
            frac_coords=np.repeat(places, count, axis=0),
            occupancies=self.occupancy[part] * OCCUPANCY_STEP,
        )

    def composition(self, row: int) -> Composition:
        """Elements and amounts of one structure, per conventional cell or, where sites are disordered, a part of it.

        The amounts of a disordered structure are divided by the largest common divisor of its site multiplicities.
        """
        first, last = int(self.kind_start[row]), int(self.kind_start[row + 1])
        _, kind_of, _, coords = self._sites(row)
        group = hall_group(int(self.hall[row]))
        same = _images_at_home(coords, self.cell[row], group)[1]
        multiplicity = np.rint(len(group.rotations) / same.sum(axis=1)).astype(np.int64)
        parts = slice(int(self.part_start[first]), int(self.part_start[last]))
        of_kind = np.bincount(kind_of, weights=multiplicity, minlength=last - first)
        counts = np.repeat(of_kind, np.diff(self.part_start[first : last + 1]))
        amounts = np.bincount(self.element[parts], weights=counts * self.occupancy[parts] * OCCUPANCY_STEP)
        if (self.occupancy[parts] != round(1 / OCCUPANCY_STEP)).any():
            amounts = np.round(amounts / np.gcd.reduce(multiplicity), 4)
        numbers = np.flatnonzero(amounts)
        return Composition(tuple(SYMBOLS[n - 1] for n in numbers), tuple(float(amounts[n]) for n in numbers))

    @cached_property
    def _form_table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Constant, matrix and mask of free coordinates of each form."""
        rows = [_form_arrays(int(form)) for form in self.forms]
        constant, matrix, free = (np.array([row[part] for row in rows]) for part in range(3))
        return constant, matrix, free

    def _sites(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Forms, kinds, free steps and coordinates of a structure's sites."""
        first, last = int(self.kind_start[row]), int(self.kind_start[row + 1])
        edges = self.site_start[first : last + 1]
        index = self.form[edges[0] : edges[-1]]
        constant, matrix, mask = self._form_table
        free = self.free[self.free_start[row] : self.free_start[row + 1]]
        slots = np.zeros((len(index), 3))
        slots[mask[index]] = free / GRID
        coords = constant[index] + np.einsum("sij,sj->si", matrix[index], slots)
        return self.forms[index], np.repeat(np.arange(last - first), np.diff(edges)), free, coords

    @cached_property
    def site_multiplicities(self) -> np.ndarray:
        """Atoms per conventional cell of each site, shape (sites,)."""
        return _multiplicities(self)

    @cached_property
    def atoms(self) -> np.ndarray:
        """Atoms of each kind per conventional cell, shape (kinds,)."""
        atoms: np.ndarray = np.add.reduceat(self.site_multiplicities, self.site_start[:-1])
        return atoms

    @cached_property
    def cell_mass(self) -> np.ndarray:
        """Masses of the contents of the conventional cells [g/mol], shape (structures,)."""
        part = np.array(ATOMIC_MASSES)[self.element.astype(np.int64) - 1] * (self.occupancy * OCCUPANCY_STEP)
        kind = np.add.reduceat(part, self.part_start[:-1]) * self.atoms
        masses: np.ndarray = np.add.reduceat(kind, self.kind_start[:-1])
        return masses


def units_to_columns(units: Sequence[AsymmetricUnit]) -> AsymmetricUnits:
    """Many asymmetric units as columns; the forms are ordered by how often they occur."""
    forms, which, often = np.unique(
        np.array([site.form for unit in units for site in unit.sites], dtype=np.int64),
        return_inverse=True,
        return_counts=True,
    )
    order = np.argsort(-often, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    kinds = [kind for unit in units for kind in unit.kinds]
    per_kind = [count for unit in units for count in _count_kinds(unit)]
    return AsymmetricUnits(
        hall=np.array([unit.hall for unit in units], dtype=np.int16),
        cell_start=_offsets([len(unit.cell) for unit in units]),
        cell_code=np.array([code for unit in units for code in unit.cell], dtype=np.int64),
        kind_start=_offsets([len(unit.kinds) for unit in units]),
        part_start=_offsets([len(kind) for kind in kinds]),
        element=np.array([element for kind in kinds for element, _ in kind], dtype=np.uint8),
        occupancy=np.array([occupancy for kind in kinds for _, occupancy in kind], dtype=np.uint16),
        site_start=_offsets(per_kind),
        form=rank[which].astype(np.uint16),
        free_start=_offsets([sum(len(site.free) for site in unit.sites) for unit in units]),
        free=np.array([value for unit in units for site in unit.sites for value in site.free], dtype=np.uint16),
        forms=forms[order],
    )


def _count_kinds(unit: AsymmetricUnit) -> list[int]:
    counts = [0] * len(unit.kinds)
    for site in unit.sites:
        counts[site.kind] += 1
    return counts


def _offsets(counts: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.array(counts, dtype=np.int64))])


def _multiplicities(units: AsymmetricUnits) -> np.ndarray:
    """Atoms per conventional cell of each site of all structures, shape (sites,).

    Each combination of Hall number and form is expanded once, with the coordinates of its first site.
    """
    count = np.diff(units.site_start[units.kind_start])
    pairs = np.repeat(units.hall.astype(np.int64), count) * len(units.forms) + units.form
    _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    row_of = np.searchsorted(units.site_start[units.kind_start], first, side="right") - 1
    numbers = np.empty(len(first), dtype=np.int64)
    for place, (site, row) in enumerate(zip(first.tolist(), row_of.tolist(), strict=True)):
        group = hall_group(int(units.hall[row]))
        coords = units._sites(row)[3][[site - int(units.site_start[units.kind_start[row]])]]  # noqa: SLF001 - of this module
        numbers[place] = len(group.rotations) // int(_images_at_home(coords, units.cell[row], group)[1].sum())
    return numbers[which]


def expand_sites(
    coords: np.ndarray, cell: np.ndarray, group: HallGroup, *, primitive: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """All atoms of the sites of an asymmetric unit.

    Sites closer than `TOGETHER` to a symmetry element are moved onto it.

    Args:
        coords: of the sites, in the conventional cell, shape (sites, 3).
        cell: conventional cell [Å, deg], shape (6,).
        group: the space group.
        primitive: whether to fill the primitive cell only, and return coordinates in it.

    Returns:
        Fractional coordinates within 0 and 1, shape (atoms, 3), and the site of each atom, shape (atoms,).
    """
    if len(group.rotations) == 1:
        return coords % 1, np.arange(len(coords))
    near, same = _images_at_home(coords, cell, group)
    weight = same / same.sum(axis=1, keepdims=True)
    home = np.einsum("so,soi->si", weight, near)
    chosen = group.distinct if primitive else np.arange(len(group.rotations))
    images = np.einsum("oij,sj->soi", group.rotations[chosen], home) + group.translations[chosen]
    if primitive:
        images = images @ np.linalg.inv(group.primitive).T
    site = np.repeat(np.arange(len(coords)), len(chosen))
    keys = (np.floor(images * _KEY + _OFFSET).astype(np.int64) % _KEY).reshape(-1, 3)
    _, first = np.unique(((site * _KEY + keys[:, 0]) * _KEY + keys[:, 1]) * _KEY + keys[:, 2], return_index=True)
    first.sort()
    return images.reshape(-1, 3)[first] % 1, site[first]


def _images_at_home(coords: np.ndarray, cell: np.ndarray, group: HallGroup) -> tuple[np.ndarray, np.ndarray]:
    """Images of each site, moved by lattice vectors next to it, and which of them are the site itself."""
    images = np.einsum("oij,sj->soi", group.rotations, coords) + group.translations
    shift = images - coords[:, None]
    shift -= np.rint(shift)
    same = ((shift @ cell_to_matrix(cell)) ** 2).sum(axis=2) < TOGETHER**2
    return coords[:, None] + shift, same


def primitive_cell(cell: np.ndarray, group: HallGroup) -> np.ndarray:
    """Primitive cell of a conventional one, a, b, c [Å], α, β, γ [deg]."""
    return matrix_to_cell(group.primitive.T @ cell_to_matrix(cell))


def coordinates_to_forms(coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Form of each position with the fewest free coordinates.

    Args:
        coords: fractional coordinates, shape (positions, 3).

    Returns:
        Forms, shape (positions,), int64, and which coordinates are free, shape (positions, 3).
    """
    tokens = np.full(coords.shape, _FREE, dtype=np.int64)
    for axis in range(3):
        for earlier, offset in ((1, _OF_Y), (0, _OF_X))[2 - axis :]:
            for place in range(len(_MULTIPLES) - 1, -1, -1):
                constant, near = _constants(coords[:, axis] - _MULTIPLES[place] * coords[:, earlier])
                near &= tokens[:, earlier] == _FREE
                tokens[near, axis] = offset + place * _PARTS + constant[near]
        constant, near = _constants(coords[:, axis])
        tokens[near, axis] = constant[near]
    return (tokens[:, 0] * _TOKENS + tokens[:, 1]) * _TOKENS + tokens[:, 2], tokens == _FREE


def _constants(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest multiple of 1/24, modulo 1, and whether it is close."""
    scaled = values * _PARTS
    nearest = np.rint(scaled)
    return nearest.astype(np.int64) % _PARTS, np.abs(scaled - nearest) < _SAME * _PARTS


def _split_form(form: int) -> tuple[int, int, int]:
    rest, last = divmod(form, _TOKENS)
    first, middle = divmod(rest, _TOKENS)
    return first, middle, last


@cache
def _free_count(form: int) -> int:
    return _split_form(form).count(_FREE)


@cache
def _form_arrays(form: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Constant, shape (3,), matrix, shape (3, 3), and which coordinates are free, shape (3,), of a form.

    Raises:
        StructureError: it is not a form.
    """
    constant, matrix, free = np.zeros(3), np.zeros((3, 3)), np.zeros(3, dtype=np.bool_)
    tokens = _split_form(form)
    for axis, token in enumerate(tokens):
        if token < _FREE:
            constant[axis] = token / _PARTS
        elif token == _FREE:
            free[axis] = True
            matrix[axis, axis] = 1
        else:
            earlier, rest = (0, token - _OF_X) if token < _OF_Y else (1, token - _OF_Y)
            if token >= _TOKENS or earlier >= axis or tokens[earlier] != _FREE:
                msg = f"{form} is not the form of a site"
                raise StructureError(msg, code="E_STRUCTURE")
            place, part = divmod(rest, _PARTS)
            constant[axis] = part / _PARTS
            matrix[axis, earlier] = _MULTIPLES[place]
    return constant, matrix, free
