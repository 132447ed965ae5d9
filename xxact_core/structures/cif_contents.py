"""Sites and symmetry operations → contents of the cell, compared with what the CIF states of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_MASSES, ATOMIC_NUMBERS
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.notation import refuse
from xxact_core.errors import FormulaError, StructureError, shorten
from xxact_core.structures.cif_sites import Site, Sites, cif_number
from xxact_core.structures.cif_symmetry import Operations, cell_to_vectors, spglib_errors
from xxact_core.structures.cif_text import CifBlock
from xxact_core.structures.structure import MOST_ATOMS

SMALLEST_DISTANCE = 0.5
"""Distance [Å] below which two atoms cannot be present at once. Ours: the shortest bond, of H₂, has 0.74 Å."""

LARGEST_MOVE = 0.3
"""Distance [Å] over which an occupied site is moved onto a special position, where it would overlap its image. Ours."""

UNIT_TOLERANCE, ELEMENT_TOLERANCE, SHARE_TOLERANCE = 0.05, 0.1, 0.02
"""Deviations above which contents and formula contradict each other: relative, of the number of formula units and of
the amount of an element, and the latter also as a share of all atoms. Ours: refined occupancies reach some per cent."""

DENSITY_TOLERANCE = 0.05
"""Relative deviation of the stated density. Ours: densities are stated with two digits at least."""

_HYDROGEN = 0.13
"""Share of the mass that hydrogen without coordinates may have; that of water is 0.11."""

PLAUSIBLE_DENSITY = (0.05, 30.0)
"""Densities of crystals [g/cm³]: the most open frameworks have 0.1, osmium 22.6, and more under pressure."""

_AVOGADRO = 0.602214076
"""Å³ mol/cm³. Source: SI (2019)."""

_TERM = re.compile(r"([A-Z][a-z]?)\s*([0-9]*\.?[0-9]+(?:\([0-9]+\))?|)(?:[0-9]*[+-](?=\s|$))?\s*")
_CAPITALS = re.compile(r"([A-Z])([A-Z])(?=[0-9.]*(?:\s|$))")
_DENSITIES = ("_exptl_crystal_density_diffrn", "_exptl_crystal_density_calc")
_TITLES = ("_amcsd_formula_title", "_chemical_name_common", "_chemical_name_systematic")
_FORMULAS = ("_chemical_formula_sum", "_chemical_formula_structural", "_chemical_formula_iupac")


@dataclass(frozen=True)
class StatedContents:
    """What a CIF states of the contents of the cell."""

    text: str = ""
    """Formula as stated, for messages."""
    amounts: Mapping[str, float] = field(default_factory=dict)
    """Amounts of the elements in a formula unit, D as H; empty if not stated."""
    units: float | None = None
    """Z, number of formula units in the cell."""
    density: float | None = None
    """Density [g/cm³]."""
    weight: float | None = None
    """Mass of a formula unit [g/mol]."""
    title: str = ""
    """A name of the material that is a formula, which is only compared."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Contents:
    """Atoms of the cell, a mixed site as several."""

    symbols: tuple[str, ...]
    """Element symbols, one per atom."""
    frac_coords: np.ndarray
    """Fractional coordinates, shape (atoms, 3)."""
    occupancies: np.ndarray
    """Shape (atoms,)."""
    site_of: np.ndarray
    """Index of the position of each atom, shape (atoms,); atoms of a mixed site share it."""
    multiplicities: Mapping[str, int]
    """Number of positions by label of the site."""
    shares: Mapping[str, float]
    """Occupancy by label of the site."""
    order: int
    """Number of symmetry operations."""
    unlocated_hydrogen: float = 0.0
    """Hydrogen atoms of the formula without coordinates, in the cell."""
    notes: tuple[str, ...] = ()

    def amounts(self) -> dict[str, float]:
        """Amount of each element in the cell."""
        found: dict[str, float] = {}
        for symbol, occupancy in zip(self.symbols, self.occupancies.tolist(), strict=True):
            found[symbol] = found.get(symbol, 0.0) + occupancy
        return found


def read_stated_contents(block: CifBlock) -> StatedContents:
    """Formula, Z and density of a data block; what cannot be read is noted."""
    text = block.value(*_FORMULAS) or ""
    amounts, notes = {}, []
    if text:
        try:
            amounts = _formula_sum(text)
        except FormulaError:
            notes.append(f"the formula {shorten(text, limit=60)!r} could not be read and was not compared")
    units = cif_number(block.value("_cell_formula_units_z"))
    density = next((number for tag in _DENSITIES if (number := cif_number(block.value(tag)))), None)
    if density is not None and density > 100:  # noqa: PLR2004 - above any density in g/cm³: kg/m³
        density /= 1000
    return StatedContents(
        title=next((title for tag in _TITLES if (title := block.value(tag))), ""),
        text=" ".join(text.split()),
        amounts=amounts,
        units=units or None,
        density=density or None,
        weight=cif_number(block.value("_chemical_formula_weight")) or None,
        notes=tuple(notes),
    )


def _formula_sum(text: str) -> dict[str, float]:
    """Amounts in a formula sum such as `C6 H5.5 O2 1-`, or in any formula that `parse_formula` reads."""
    amounts: dict[str, float] = {}
    place, plain = 0, re.sub(r"\s+[0-9]*[+-]\s*$", "", text.strip())
    while place < len(plain):
        match = _TERM.match(plain, place)
        capitals = _CAPITALS.match(plain, place)
        if capitals and match and capitals[2] not in ATOMIC_NUMBERS and capitals[0].title() in ATOMIC_NUMBERS:
            plain = plain[:place] + capitals[0].title() + plain[capitals.end() :]  # CA O, typed in capitals
            match = _TERM.match(plain, place)
        symbol = {"D": "H", "T": "H"}.get(match[1], match[1]) if match else ""
        if match is None or symbol not in ATOMIC_NUMBERS:
            composition = parse_formula(re.sub(r"(?<![A-Za-z])[DT](?![a-z])", "H", plain))
            return dict(zip(composition.symbols, composition.amounts, strict=True))
        if symbol in amounts and symbol != "H":
            refuse(plain, place, f"{symbol} occurs twice")
        amounts[symbol] = amounts.get(symbol, 0.0) + float(match[2].partition("(")[0] or 1)
        place = match.end()
    return {symbol: amount for symbol, amount in amounts.items() if amount > 0}


# -------------------------------------------------------------------------------------------------------- expansion
@dataclass
class _Orbit:
    positions: np.ndarray
    species: dict[str, float]
    sites: list[Site]


def sites_to_contents(sites: Sites, operations: Operations, cell: np.ndarray, *, tolerance: float = 0.0) -> Contents:
    """All atoms of the cell; sites near a special position are moved onto it.

    Args:
        sites: of the asymmetric unit.
        operations: of the space group.
        cell: a, b, c [Å], α, β, γ [deg].
        tolerance: distance [Å] from a special position, beside that from the digits of the coordinates.

    Raises:
        StructureError: the occupancies of a site sum to more than 1, or there are too many atoms.
    """
    vectors = cell_to_vectors(cell)
    nearest = max(min(max(2.5 * 10.0**-sites.digits * float(cell[:3].max()), 1e-3), 0.1), tolerance)
    orbits: list[_Orbit] = []
    notes: list[str] = []
    repeated: list[str] = []
    total = 0
    placed, owners = np.empty((0, 3)), np.empty(0, dtype=np.int64)
    for site in sites.sites:
        offsets = placed - site.place
        offsets -= np.rint(offsets)
        at = np.flatnonzero(np.linalg.norm(offsets @ vectors, axis=1) < min(nearest, 0.05))
        if len(at):
            shared = orbits[owners[at[0]]]
            if _is_repetition(site, shared):
                repeated.append(site.label)
            else:
                for symbol, share in site.species:
                    shared.species[symbol] = shared.species.get(symbol, 0.0) + share
                shared.sites.append(site)
            continue
        occupancy = sum(share for _, share in site.species)
        positions, moved = _expand(site.place, operations, vectors, nearest=nearest, occupancy=occupancy)
        if moved > _NOTED_MOVE:
            notes.append(f"{site.label} was moved by {moved:.2f} Å onto a special position")
        total += len(positions) * len(site.species)
        if total > MOST_ATOMS:
            msg = f"the cell contains more than {MOST_ATOMS} atoms"
            raise StructureError(msg, code="E_STRUCTURE")
        placed, owners = np.concatenate([placed, positions]), np.append(owners, [len(orbits)] * len(positions))
        orbits.append(_Orbit(positions, dict(site.species), [site]))
    if repeated:
        listed = shorten(", ".join(repeated), limit=60)
        notes.append(f"{len(repeated)} sites that symmetry makes of others were left out: {listed}")
    for orbit in orbits:
        notes += _scale_occupancies(orbit)
    if all(sum(orbit.species.values()) < _NEARLY_FULL for orbit in orbits):
        notes.append("no site is fully occupied")
    return _orbits_to_contents(orbits, notes, order=len(operations))


_NOTED_MOVE, _NEARLY_FULL = 0.02, 0.9


def _orbits_to_contents(orbits: list[_Orbit], notes: list[str], *, order: int) -> Contents:
    symbols: list[str] = []
    coords, occupancies, site_of = [], [], []
    first = 0
    for orbit in orbits:
        count = len(orbit.positions)
        for symbol, share in orbit.species.items():
            symbols += [symbol] * count
            coords.append(orbit.positions)
            occupancies.append(np.full(count, share))
            site_of.append(np.arange(first, first + count))
        first += count
    if not symbols:
        msg = "no atom site is occupied"
        raise StructureError(msg, code="E_STRUCTURE")
    return Contents(
        symbols=tuple(symbols),
        frac_coords=np.concatenate(coords),
        occupancies=np.concatenate(occupancies),
        site_of=np.concatenate(site_of),
        multiplicities={site.label: len(orbit.positions) for orbit in orbits for site in orbit.sites},
        shares={site.label: sum(share for _, share in site.species) for orbit in orbits for site in orbit.sites},
        order=order,
        notes=tuple(notes),
    )


def _expand(
    place: np.ndarray, operations: Operations, vectors: np.ndarray, *, nearest: float, occupancy: float
) -> tuple[np.ndarray, float]:
    """Equivalent positions of a site, shape (positions, 3), and the distance [Å] over which it was moved."""
    images = operations.rotations @ place + operations.translations
    offsets = images - place
    offsets -= np.rint(offsets)
    distances = np.linalg.norm(offsets @ vectors, axis=1)
    if occupancy > 0.5:  # noqa: PLR2004 - two such atoms cannot be present at once
        nearest = max(nearest, LARGEST_MOVE)
    mean = offsets[distances < nearest].mean(axis=0)
    images = operations.rotations @ (place + mean) + operations.translations
    return _distinct(images % 1.0, vectors, nearest=min(nearest, 0.1)), float(np.linalg.norm(mean @ vectors))


def _distinct(positions: np.ndarray, vectors: np.ndarray, *, nearest: float) -> np.ndarray:
    """The first of the positions that are equal or nearer than `nearest` [Å] to each other."""
    _, first = np.unique(np.rint(positions * 1e4) % 1e4, axis=0, return_index=True)
    positions = positions[np.sort(first)]
    if len(positions) == 1:
        return positions
    offsets = positions[:, None] - positions[None]
    offsets -= np.rint(offsets)
    near = np.linalg.norm(offsets @ vectors, axis=2) < nearest
    kept: np.ndarray = positions[np.argmax(near, axis=1) == np.arange(len(positions))]
    return kept


def _is_repetition(site: Site, orbit: _Orbit) -> bool:
    """Whether a site is one of the equivalent positions of an earlier one, listed again."""
    together = sum(orbit.species.values()) + sum(share for _, share in site.species)
    same = any(dict(site.species) == dict(other.species) for other in orbit.sites)
    return same and together > 1 + _ROUND_OFF


_ROUND_OFF = 0.05
"""By how much the occupancies at one position may exceed 1. Ours: those of minerals reach 1.03."""


def _scale_occupancies(orbit: _Orbit) -> list[str]:
    """Scale occupancies that exceed 1 by round-off; returns a note."""
    total = sum(orbit.species.values())
    if total <= 1:
        return []
    labels = ", ".join(dict.fromkeys(site.label for site in orbit.sites))
    if total > 1 + _ROUND_OFF:
        msg = f"the occupancies of {shorten(labels, limit=60)} at one position sum to {total:g}; expected at most 1"
        raise StructureError(msg, code="E_STRUCTURE")
    orbit.species = {symbol: share / total for symbol, share in orbit.species.items()}
    if total <= 1 + _UNNOTED:
        return []
    return [f"the occupancies of {shorten(labels, limit=60)} sum to {total:g} and were scaled to 1"]


_UNNOTED = 2e-4


# ------------------------------------------------------------------------------------------------------- comparison
def find_contradictions(contents: Contents, sites: Sites, stated: StatedContents, cell: np.ndarray) -> list[str]:
    """Where the contents contradict what is stated, each naming both values; empty if they agree."""
    found = [*_wrong_multiplicities(contents, sites), *_overlaps(contents, cell)]
    amounts = contents.amounts()
    if stated.amounts:
        found += _wrong_amounts(amounts, stated)
    if not stated.amounts and _occupancies_are_multiplicities(contents):
        shown = "all occupancies are the multiplicities of the sites divided by that of a general position"
        found.append(f"{shown}; expected shares of each site, 0 to 1")
    missing = _missing_hydrogen(amounts, stated)
    mass = sum(_mass(symbol) * amount for symbol, amount in amounts.items()) + missing * _mass("H")
    density = mass / abs(float(np.linalg.det(cell_to_vectors(cell)))) / _AVOGADRO
    if stated.density is not None and abs(density - stated.density) > DENSITY_TOLERANCE * stated.density:
        found.append(f"the cell has a density of {density:.2f} g/cm³; {stated.density:g} g/cm³ is stated")
    if not stated.amounts and not stated.weight and stated.units and _cannot_be_units(amounts, stated.units):
        shown = " ".join(f"{symbol}{_rounded(amounts[symbol])}" for symbol in sorted(amounts))
        found.append(f"the sites give {shown} in the cell, which are not {stated.units:g} equal formula units")
    if not stated.amounts and stated.weight and stated.units:
        expected = stated.weight * stated.units
        if not (1 - _HYDROGEN) * expected <= mass <= (1 + DENSITY_TOLERANCE) * expected:
            shown = f"{stated.units:g} formula units of {stated.weight:g} g/mol"
            found.append(f"the sites have a mass of {mass:.1f} g/mol; {shown} are stated")
    low, high = PLAUSIBLE_DENSITY
    if not low <= density <= high:
        found.append(f"the density would be {density:.3g} g/cm³; expected {low:g} to {high:g}, and cell lengths in Å")
    return found


def _cannot_be_units(amounts: Mapping[str, float], units: float) -> bool:
    """Whether whole numbers of atoms cannot be shared among so many formula units."""
    whole = all(abs(amount - round(amount)) < 1e-3 for amount in amounts.values())  # noqa: PLR2004 - occupancies of 1
    return whole and units == round(units) > 1 and any(round(amount) % round(units) for amount in amounts.values())


def _occupancies_are_multiplicities(contents: Contents) -> bool:
    """Whether occupancies are site occupation factors as of SHELX and FullProf, which count the site symmetry."""
    counts = np.array([contents.multiplicities[label] for label in contents.multiplicities])
    occupancies = np.array([contents.shares[label] for label in contents.multiplicities])
    return bool(
        contents.order > 1
        and (counts < contents.order).any()
        and np.allclose(occupancies, counts / contents.order, atol=2e-3)
    )


def note_differences(contents: Contents, sites: Sites, stated: StatedContents) -> tuple[float, list[str]]:
    """Hydrogen atoms in the cell without coordinates, and notes on them and on small differences from the formula."""
    amounts, notes = contents.amounts(), list(stated.notes)
    missing = _missing_hydrogen(amounts, stated)
    if missing:
        notes.append(
            f"{missing:g} of {missing + amounts.get('H', 0.0):g} hydrogen atoms of the formula "
            f"{shorten(stated.text, limit=60)} have no coordinates"
        )
    elif sites.hydrogen_missing and not stated.amounts and not any("hydrogen" in note for note in sites.notes):
        notes.append("hydrogen has no coordinates")
    notes += _note_on_title(amounts, stated)
    units = _formula_units(amounts, stated)
    total = sum(amounts.values())
    differing = [
        f"{symbol} {amounts.get(symbol, 0.0):.4g} instead of {units * amount:.4g}"
        for symbol, amount in stated.amounts.items()
        if symbol != "H" and abs(amounts.get(symbol, 0.0) - units * amount) > max(0.02 * units * amount, 0.002 * total)
    ]
    if differing:
        notes.append(
            f"the sites differ slightly from the formula {shorten(stated.text, limit=60)}: {'; '.join(differing)}"
        )
    return missing, notes


def _note_on_title(amounts: Mapping[str, float], stated: StatedContents) -> list[str]:
    """A note where the material is named by a formula that its sites contradict, and no other formula is stated."""
    if not stated.title or stated.amounts:
        return []
    try:
        named = parse_formula(stated.title)
    except FormulaError:
        return []
    title = StatedContents(text=stated.title, amounts=dict(zip(named.symbols, named.amounts, strict=True)))
    return [f"{reason}, as the name" for reason in _wrong_amounts(amounts, title)]


def _mass(symbol: str) -> float:
    return ATOMIC_MASSES[ATOMIC_NUMBERS[symbol] - 1]


def _heavy(amounts: Mapping[str, float]) -> float:
    """Amount of all elements but hydrogen; of hydrogen, if there is no other."""
    return sum(amount for symbol, amount in amounts.items() if symbol != "H") or sum(amounts.values())


def _formula_units(amounts: Mapping[str, float], stated: StatedContents) -> float:
    return _heavy(amounts) / _heavy(stated.amounts) if stated.amounts else 0.0


def _missing_hydrogen(amounts: Mapping[str, float], stated: StatedContents) -> float:
    expected = _formula_units(amounts, stated) * stated.amounts.get("H", 0.0)
    missing = expected - amounts.get("H", 0.0)
    return round(missing, 3) if missing > max(0.02 * expected, 1e-3) else 0.0


def _wrong_amounts(amounts: Mapping[str, float], stated: StatedContents) -> list[str]:
    """The contents in words where they contradict the formula or Z."""
    strange = sorted(set(amounts) - set(stated.amounts))
    total = sum(amounts.values())
    contradicting = any(amounts[symbol] > _TRACE * total for symbol in strange)
    units = _formula_units(amounts, stated)
    for symbol, amount in stated.amounts.items():
        expected, there = units * amount, amounts.get(symbol, 0.0)
        allowed = max(ELEMENT_TOLERANCE * expected, SHARE_TOLERANCE * total)
        lacking = symbol != "H" and not there and (expected > _TRACE * total or amount >= 0.5)  # noqa: PLR2004 - half an atom
        contradicting |= lacking or (there - expected if symbol == "H" else abs(there - expected)) > allowed
    shown = " ".join(f"{symbol}{_rounded(amounts[symbol])}" for symbol in sorted(amounts))
    if contradicting:
        z = f" with Z = {stated.units:g}" if stated.units else ""
        return [f"the sites give {shown} in the cell; the formula {shorten(stated.text, limit=60)}{z} is stated"]
    if stated.units and abs(units - stated.units) > UNIT_TOLERANCE * stated.units and not _counts_cells(units, stated):
        given = f"{_rounded(units) or '1'} formula units {shorten(stated.text, limit=60)}"
        return [f"the sites give {given} in the cell ({shown}); Z = {stated.units:g} is stated"]
    return []


def _counts_cells(units: float, stated: StatedContents) -> bool:
    """Whether the formula is that of the whole cell, with Z as the number of reduced formula units in it.

    Source: pymatgen's `CifWriter`.
    """
    amounts = list(stated.amounts.values())
    if abs(units - 1) > UNIT_TOLERANCE or any(amount != round(amount) for amount in amounts):
        return False
    return stated.units == math.gcd(*(round(amount) for amount in amounts))


_TRACE = 0.01
"""Share of an element, above which formula and sites must agree on its presence."""


def _rounded(amount: float) -> str:
    return "" if amount == 1 else f"{amount:.4g}"


def _wrong_multiplicities(contents: Contents, sites: Sites) -> list[str]:
    wrong = []
    for site in sites.sites:
        found = contents.multiplicities.get(site.label)
        if None not in {site.multiplicity, found} and site.multiplicity != found:
            wrong.append(f"site {site.label} has {found} equivalent positions; {site.multiplicity} are stated")
    return wrong


def _overlaps(contents: Contents, cell: np.ndarray) -> list[str]:
    """Atoms that are too near to each other to be present at once."""
    found = shortest_distance(contents, cell, threshold=SMALLEST_DISTANCE)
    if found is None:
        return []
    distance, one, other, together = found
    return [f"{one} and {other} are {distance:.2f} Å apart, though their occupancies sum to {together:g}"]


def shortest_distance(
    contents: Contents, cell: np.ndarray, *, threshold: float
) -> tuple[float, str, str, float] | None:
    """Shortest distance [Å] between atoms that may be present at once, their elements and summed occupancies.

    None if all are farther apart than the threshold [Å].
    """
    sites, first = np.unique(contents.site_of, return_index=True)
    places, vectors = contents.frac_coords[first], cell_to_vectors(cell)
    occupied = np.bincount(contents.site_of, weights=contents.occupancies, minlength=len(sites))
    light = np.array([contents.symbols[atom] == "H" for atom in first])
    best = None
    for start in range(0, len(sites), _ROWS):
        offsets = places[start : start + _ROWS, None] - places[None]
        offsets -= np.rint(offsets)
        distances = np.linalg.norm(offsets @ vectors, axis=2)
        together = occupied[start : start + _ROWS, None] + occupied[None]
        rows = np.arange(distances.shape[0])
        distances[rows, start + rows] = np.inf
        distances[together <= _ALTERNATIVES] = np.inf
        distances[light[start : start + _ROWS, None] | light[None]] += _HYDROGEN_ALLOWANCE
        row, column = np.unravel_index(int(distances.argmin()), distances.shape)
        if distances[row, column] < (threshold if best is None else best[0]):
            one, other = contents.symbols[first[start + row]], contents.symbols[first[column]]
            best = float(distances[row, column]), one, other, float(together[row, column])
    if best is not None and "H" in best[1:3]:
        return (best[0] - _HYDROGEN_ALLOWANCE, *best[1:])
    return best


def contents_to_number(contents: Contents, cell: np.ndarray) -> int | None:
    """Number of the space group of the atoms; None if spglib finds none."""
    import spglib  # noqa: PLC0415 - with a binary library, and only files that contradict themselves need it

    sites, first = np.unique(contents.site_of, return_index=True)
    mixtures = [
        tuple(
            (contents.symbols[atom], round(float(contents.occupancies[atom]), 3))
            for atom in np.flatnonzero(contents.site_of == site)
        )
        for site in sites
    ]
    kinds = {mixture: number for number, mixture in enumerate(dict.fromkeys(mixtures), start=1)}
    numbers = [kinds[mixture] for mixture in mixtures]
    crystal = (cell_to_vectors(cell).tolist(), contents.frac_coords[first].tolist(), numbers)
    try:
        with spglib_errors():
            found = spglib.get_symmetry_dataset(crystal, symprec=0.05)
    except spglib.SpglibError:
        return None
    return None if found is None else int(found.number)


_HYDROGEN_ALLOWANCE = 0.2
"""How much shorter distances of hydrogen may be [Å]: its positions are the least precise."""

_ROWS = 256
_ALTERNATIVES = 1.05
"""Sum of the occupancies of alternative positions."""
