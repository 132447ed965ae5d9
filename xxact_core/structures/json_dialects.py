"""Crystals in the JSON of pymatgen, JARVIS, ASE and OPTIMADE → arrays, without importing what a file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xxact_core.errors import StructureError, shorten
from xxact_core.structures.structure import (
    MOST_OCCUPANCY,
    check_atom_count,
    matrix_to_cell,
    positions_to_frac_coords,
    symbol_to_number,
)

Json = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CrystalArrays:
    """A crystal without id and labels; see `Structure` for its fields."""

    cell: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray
    occupancies: np.ndarray
    notes: tuple[str, ...] = ()
    volume: float | None = None
    """Volume of the cell [Å³] as the crystal states it, which is only compared."""


def structure_dict_to_arrays(crystal: Json) -> CrystalArrays:
    """A crystal as pymatgen's `Structure.as_dict` writes it, disordered sites included.

    Raises:
        StructureError: not periodic in three directions, an unknown element, or too many atoms.
        KeyError, TypeError, ValueError: not of this form.
    """
    lattice, sites = crystal["lattice"], crystal["sites"]
    check_atom_count(len(sites))
    _check_periodic(lattice.get("pbc"))
    matrix = lattice.get("matrix")
    if all("abc" in site for site in sites):
        places = np.array([site["abc"] for site in sites], dtype=np.float64)
    else:
        places = positions_to_frac_coords([site["xyz"] for site in sites], matrix)
    species = [[(part["element"], part["occu"]) for part in site["species"]] for site in sites]
    if matrix is None:
        cell = np.array([lattice[name] for name in ("a", "b", "c", "alpha", "beta", "gamma")], dtype=np.float64)
    else:
        cell = matrix_to_cell(matrix)
        _check_cell(cell, [lattice.get(name) for name in ("a", "b", "c", "alpha", "beta", "gamma")])
        if sites and all("abc" in site and "xyz" in site for site in sites):
            _check_positions(places, [site["xyz"] for site in sites], matrix)
    return replace(_sites_to_arrays(cell, places, species), volume=lattice.get("volume"))


def jarvis_dict_to_arrays(crystal: Json) -> CrystalArrays:
    """A crystal as `jarvis.core.atoms.Atoms.to_dict` writes it.

    Raises:
        StructureError: no lattice of three directions, an unknown element, or too many atoms.
        KeyError, TypeError, ValueError: not of this form.
    """
    matrix, places, symbols = crystal["lattice_mat"], crystal["coords"], crystal["elements"]
    check_atom_count(len(symbols))
    cell = matrix_to_cell(matrix)
    _check_cell(cell, [*(crystal.get("abc") or [None] * 3), *(crystal.get("angles") or [None] * 3)])
    if crystal.get("cartesian"):
        places = positions_to_frac_coords(places, matrix)
    elif np.abs(np.array(places, dtype=np.float64)).max(initial=0) > _LARGEST_FRACTION:
        msg = "coordinates beyond 1.5 are stated to be fractional (cartesian: false); expected them near 0 to 1"
        raise StructureError(msg, code="E_CONTRADICTION")
    return _sites_to_arrays(cell, places, [[(str(symbol).strip(), 1.0)] for symbol in symbols])


def ase_dict_to_arrays(crystal: Json) -> CrystalArrays:
    """A crystal as a row of an ASE database in JSON.

    Raises:
        StructureError: not periodic in three directions, an unknown element, or too many atoms.
        KeyError, TypeError, ValueError: not of this form.
    """
    numbers = _to_array(crystal["numbers"]).astype(np.int64)
    check_atom_count(numbers.size)
    _check_periodic(_to_array(crystal["pbc"]) if "pbc" in crystal else None)
    return numbers_to_arrays(numbers, _to_array(crystal["positions"]), _to_array(crystal["cell"]))


def optimade_dict_to_arrays(crystal: Json) -> CrystalArrays:
    """A crystal as the attributes of an OPTIMADE structure; a vacancy scatters nothing and is left out.

    Source: OPTIMADE 1.2, structures entries.

    Raises:
        StructureError: not periodic in three directions, an unknown element, missing sites, or too many atoms.
        KeyError, TypeError, ValueError: not of this form.
    """
    names = crystal["species_at_sites"]
    check_atom_count(len(names))
    _check_periodic(crystal.get("dimension_types"))
    if "implicit_atoms" in (crystal.get("structure_features") or ()):
        msg = "some of its atoms have no position (implicit_atoms)"
        raise StructureError(msg, code="E_STRUCTURE")
    species = {name: [(name, 1.0)] for name in names}
    for kind in crystal.get("species") or ():
        parts = zip(kind["chemical_symbols"], kind["concentration"], strict=True)
        species[kind["name"]] = [(symbol, share) for symbol, share in parts if symbol != "vacancy"]
    matrix = crystal["lattice_vectors"]
    cell = matrix_to_cell(matrix)
    places = positions_to_frac_coords(crystal["cartesian_site_positions"], matrix)
    return _sites_to_arrays(cell, places, [species[name] for name in names])


def aflow_dict_to_arrays(crystal: Json) -> CrystalArrays:
    """A crystal as AFLOW's REST interface writes it, in lists or in text with commas and semicolons.

    Raises:
        StructureError: an unknown element, or too many atoms.
        KeyError, TypeError, ValueError: not of this form.
    """
    places = np.array(_to_numbers(crystal["positions_fractional"]), dtype=np.float64).reshape(-1, 3)
    check_atom_count(len(places))
    species = crystal["species"]
    names = [name.strip() for name in species.split(",")] if isinstance(species, str) else list(species)
    counts = [int(count) for count in _to_numbers(crystal["composition"])]
    if len(names) != len(counts) or sum(counts) != len(places):
        msg = f"{len(places)} positions do not fit the composition {shorten(crystal['composition'], limit=40)}"
        raise StructureError(msg, code="E_STRUCTURE")
    elements = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    return _sites_to_arrays(
        np.array(_to_numbers(crystal["geometry"]), dtype=np.float64), places, [[(name, 1.0)] for name in elements]
    )


def _to_numbers(value: object) -> list[float]:
    """Numbers of a list, or of a text with commas and semicolons."""
    if isinstance(value, str):
        return [float(part) for part in value.replace(";", ",").split(",")]
    return [float(number) for number in np.array(value, dtype=np.float64).ravel()]


DIALECTS: tuple[tuple[frozenset[str], Callable[[Json], CrystalArrays]], ...] = (
    (frozenset({"lattice", "sites"}), structure_dict_to_arrays),
    (frozenset({"lattice_mat", "coords", "elements"}), jarvis_dict_to_arrays),
    (frozenset({"cell", "numbers", "positions"}), ase_dict_to_arrays),
    (frozenset({"lattice_vectors", "cartesian_site_positions", "species_at_sites"}), optimade_dict_to_arrays),
    (frozenset({"geometry", "positions_fractional", "species", "composition"}), aflow_dict_to_arrays),
)
"""Members that identify a dialect, and the function that reads it."""

DIALECT_MEMBERS = frozenset(member for needed, _ in DIALECTS for member in needed)
"""Members of crystals, in any dialect."""


def numbers_to_arrays(
    numbers: np.ndarray, positions: np.ndarray, matrix: np.ndarray, occupancies: np.ndarray | None = None
) -> CrystalArrays:
    """Atoms by number at cartesian positions [Å], shape (atoms, 3), in a cell of lattice vectors [Å], shape (3, 3).

    Raises:
        StructureError: the lattice spans no volume, or a number is that of no element.
    """
    unknown = numbers[(numbers < 1) | (numbers > _LAST_ELEMENT)]
    if unknown.size:
        msg = f"no element has the atomic number {unknown[0]}"
        raise StructureError(msg, code="E_ELEMENT")
    return CrystalArrays(
        matrix_to_cell(matrix),
        numbers,
        positions_to_frac_coords(positions, matrix),
        np.ones(numbers.size) if occupancies is None else np.asarray(occupancies, dtype=np.float64),
    )


_LAST_ELEMENT = 118


_LARGEST_FRACTION = 1.5
"""Coordinate above which JARVIS coordinates are no fractions. Ours: JARVIS writes them within 0 to 1."""

_CELL_TOLERANCE, _POSITION_TOLERANCE = 0.01, 0.05
"""Largest deviations of a cell (relative) and of a position [Å] that are stated twice. Ours: files with few digits."""


def _check_cell(cell: np.ndarray, stated: Sequence[object]) -> None:
    """Refuse lattice vectors whose cell is not the stated a, b, c, α, β, γ; None where one is not stated."""
    for label, value, number in zip(("a", "b", "c", "alpha", "beta", "gamma"), cell.tolist(), stated, strict=True):
        if isinstance(number, int | float) and np.isfinite(value) and abs(number - value) > _CELL_TOLERANCE * value:
            msg = f"the lattice vectors give {label} = {value:.5g}; {label} = {number:.5g} is stated"
            raise StructureError(msg, code="E_CONTRADICTION")


def _check_positions(places: np.ndarray, positions: object, matrix: object) -> None:
    """Refuse fractional coordinates that are not those of the stated positions [Å], modulo lattice vectors."""
    offsets = positions_to_frac_coords(positions, matrix) - places
    offsets -= np.rint(offsets)
    distances = np.linalg.norm(offsets @ np.array(matrix, dtype=np.float64), axis=1)
    if distances.max(initial=0) > _POSITION_TOLERANCE:
        site = int(distances.argmax())
        msg = f"site {site}: abc and xyz are {distances[site]:.2f} Å apart; expected the same position"
        raise StructureError(msg, code="E_CONTRADICTION")


def _sites_to_arrays(
    cell: np.ndarray, places: object, species: Sequence[Sequence[tuple[object, float]]]
) -> CrystalArrays:
    """Atoms of all sites; each element of a mixed site becomes an atom."""
    coords = np.array(places, dtype=np.float64).reshape(-1, 3)
    counts = [len(parts) for parts in species]
    for number, parts in enumerate(species):
        if not parts:
            msg = f"site {number} has no element; expected one, or no site"
            raise StructureError(msg, code="E_STRUCTURE")
        total = sum(share for _, share in parts)
        if len(parts) > 1 and total > MOST_OCCUPANCY:
            named = ", ".join(str(symbol) for symbol, _ in parts)
            msg = f"the occupancies of {shorten(named, limit=60)} at one site sum to {total:g}; expected at most 1"
            raise StructureError(msg, code="E_STRUCTURE")
    if len(coords) != len(counts):
        msg = f"{len(coords)} positions do not fit {len(counts)} sites"
        raise StructureError(msg, code="E_STRUCTURE")
    return CrystalArrays(
        cell,
        np.array([symbol_to_number(symbol) for parts in species for symbol, _ in parts], dtype=np.int64),
        np.repeat(coords, counts, axis=0),
        np.array([share for parts in species for _, share in parts], dtype=np.float64),
    )


def _check_periodic(directions: object) -> None:
    """Refuse a structure that is not periodic in three directions."""
    if directions is None:
        return
    count = int(np.count_nonzero(np.array(directions, dtype=bool)))
    if count != 3:  # noqa: PLR2004 - the directions of space
        msg = f"periodic in {count} of three directions: not a crystal"
        raise StructureError(msg, code="E_STRUCTURE")


def _to_array(value: object) -> np.ndarray:
    """An array as ASE writes it: a list, or shape, type and values. Source: ase.io.jsonio."""
    if isinstance(value, Mapping) and "array" in value:
        value = value["array"]
    if isinstance(value, Mapping):
        if "__ndarray__" not in value:
            msg = f"expected an array, found an object with the members {shorten(sorted(value))}"
            raise StructureError(msg, code="E_STRUCTURE")
        shape, _, flat = value["__ndarray__"]
        return np.array(flat, dtype=np.float64).reshape(shape)
    return np.array(value, dtype=np.float64)
