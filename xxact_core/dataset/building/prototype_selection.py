"""Reference structures → prototypes, and formulas with several prototypes each: the candidates of a prototype table.

A prototype is an ordered, calculated structure with a small cell. Prototypes with the same space group and the same
atoms on sites of the same multiplicities are of one structure type. Formulas are drawn from those that exist and from
those that substitution of similar elements gives; all belong to the training split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from pathlib import Path

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.formula import reduced_formula
from xxact_core.dataset.building.element_substitution import element_similarity, fit_volumes_to_fractions
from xxact_core.dataset.splits import formula_to_split
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.simulation.lattice import cell_volume
from xxact_core.structures.asymmetric_units import OCCUPANCY_STEP, AsymmetricUnits
from xxact_core.structures.hall_groups import hall_group
from xxact_core.structures.prototype_tables import read_units

MOST_ATOMS = 8
"""Atoms in the primitive cell of a prototype. Ours: larger cells cost the teacher more than they teach."""

MOST_KINDS = 5
"""Elements of a prototype. Ours."""

MOST_ABOVE_HULL = 150
"""Energy above the hull [meV/atom] of a prototype. Ours."""

FEWEST_STRUCTURES = 200
"""Structures of the reference table that contain an element, for the element to be used. Ours."""

FEWEST_TYPES, MOST_TYPES = 3, 8
"""Structure types a formula. Ours."""

KEPT_FORMULA = 0.35
"""Probability that the formula of a reference structure is taken as it is. Ours."""

KEPT_ELEMENT = 0.25
"""Probability that an element of it is kept, else. Ours."""

MEMBERS = 8
"""Prototypes of a structure type among which the chemically nearest is sought. Ours."""

LEAST_VOLUME = 3.0
"""Volume per atom [Å³] of elements that fill holes between others, such as nitrogen, whose fitted volume is 0. Ours."""

MOST_SCALE = 1.4
"""Largest factor on lengths by which a prototype is expanded or contracted. Ours: others are chemically too far."""

SYSTEM_SHARES = {
    "triclinic": 0.08,
    "monoclinic": 0.15,
    "orthorhombic": 0.19,
    "tetragonal": 0.18,
    "trigonal": 0.14,
    "hexagonal": 0.12,
    "cubic": 0.14,
}
"""Shares of the crystal systems that are aimed at when structure types are drawn. Ours: near those of databases."""

_EXPERIMENTAL_OR_INCOMPLETE = 1 | 4
_TRIES = 20


@dataclass(frozen=True)
class Candidate:
    """A prototype with the elements of a formula."""

    formula: str
    """Reduced formula."""
    row: int
    """Row of the prototype in the reference table."""
    elements: tuple[int, ...]
    """Atomic numbers on the kinds of sites of the prototype, in its order."""
    scale: float
    """Factor on the lengths of the prototype's cell by the volumes of the elements."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """The prototypes of a reference table."""

    units: AsymmetricUnits
    """All structures of the table."""
    row: np.ndarray
    """Rows of the prototypes, shape (prototypes,)."""
    amounts: tuple[tuple[int, ...], ...]
    """Amounts of the kinds of atoms in the reduced formula of each prototype."""
    kinds: tuple[tuple[int, ...], ...]
    """Atomic numbers of the kinds of atoms of each prototype."""
    atoms: np.ndarray
    """Atoms in the primitive cell, shape (prototypes,)."""
    system: np.ndarray
    """Crystal system of each prototype, as its position in `SYSTEM_SHARES`, shape (prototypes,)."""
    type_of: np.ndarray
    """Structure type of each prototype, shape (prototypes,)."""
    volumes: np.ndarray
    """Volumes per atom of the elements [Å³], NaN where unknown, shape (118,)."""
    usable: np.ndarray
    """Whether an element may be put into a prototype, shape (118,)."""

    @cached_property
    def types_of(self) -> dict[tuple[int, ...], np.ndarray]:
        """Structure types of every stoichiometry, by its amounts in ascending order."""
        found: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for amounts, kind in zip(self.amounts, self.type_of.tolist(), strict=True):
            found[tuple(sorted(amounts))].add(kind)
        return {amounts: np.array(sorted(kinds)) for amounts, kinds in found.items()}

    @cached_property
    def members(self) -> list[np.ndarray]:
        """Prototypes of every structure type."""
        order = np.argsort(self.type_of, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.type_of))[:-1])

    @cached_property
    def known(self) -> set[tuple[str, int]]:
        """Formulas with the structure types in which the table holds them."""
        return {(self.formula(place), int(kind)) for place, kind in enumerate(self.type_of)}

    def formula(self, place: int) -> str:
        """Reduced formula of a prototype."""
        return elements_to_formula(self.kinds[place], self.amounts[place])

    @cached_property
    def type_weight(self) -> np.ndarray:
        """Weights of the structure types in a draw, shape (types,).

        The root of the number of members over their mean number of atoms, balanced by crystal system.
        """
        system = np.array([self.system[members[0]] for members in self.members])
        weight = np.array([np.sqrt(len(members)) / self.atoms[members].mean() for members in self.members])
        shares = np.array(list(SYSTEM_SHARES.values()))
        total = np.bincount(system, weights=weight, minlength=len(shares))
        balanced: np.ndarray = weight * (shares / np.maximum(total, 1e-9))[system] * total.sum()
        return balanced


def elements_to_formula(elements: tuple[int, ...], amounts: tuple[int, ...]) -> str:
    """Reduced formula of elements, as atomic numbers, with their amounts."""
    return reduced_formula(Composition(tuple(SYMBOLS[n - 1] for n in elements), tuple(float(n) for n in amounts)))


def read_prototypes(path: Path, *, most_atoms: int = MOST_ATOMS) -> Prototypes:
    """The prototypes of a reference table.

    Raises:
        DatasetError: the file is no reference table.
    """
    units, columns = read_units(path, ("flags", "energy_above_hull"))
    part_start = units.part_start[units.kind_start]
    ordered = np.logical_and.reduceat(units.occupancy == round(1 / OCCUPANCY_STEP), part_start[:-1])
    ordered &= np.diff(part_start) == np.diff(units.kind_start)
    halls, hall_of = np.unique(units.hall, return_inverse=True)
    groups = [hall_group(int(hall)) for hall in halls]
    centring = np.array([len(group.rotations) // len(group.distinct) for group in groups])[hall_of]
    atoms = np.add.reduceat(units.atoms, units.kind_start[:-1])
    calculated = ordered & (units.hall > 0) & ((columns["flags"] & _EXPERIMENTAL_OR_INCOMPLETE) == 0)
    fractions = _fractions(units, atoms, np.flatnonzero(calculated))
    volume = cell_volume(units.cell[calculated]) / atoms[calculated]
    volumes = np.maximum(fit_volumes_to_fractions(fractions, volume), LEAST_VOLUME)
    usable = (fractions > 0).sum(axis=0) >= FEWEST_STRUCTURES
    energy = columns["energy_above_hull"]
    kinds = np.diff(units.kind_start)
    small = (atoms // centring <= most_atoms) & (kinds <= MOST_KINDS)
    rows = np.flatnonzero(calculated & small & (energy >= 0) & (energy <= MOST_ABOVE_HULL))
    amounts, elements, type_of = [], [], []
    types: dict[object, int] = {}
    for row in rows.tolist():
        first, last = int(units.kind_start[row]), int(units.kind_start[row + 1])
        counts = units.atoms[first:last]
        reduced = tuple((counts // np.gcd.reduce(counts)).tolist())
        amounts.append(reduced)
        elements.append(tuple(units.element[int(units.part_start[first]) : int(units.part_start[last])].tolist()))
        on_sites = sorted(
            (amount, *sorted(units.site_multiplicities[units.site_start[kind] : units.site_start[kind + 1]].tolist()))
            for amount, kind in zip(reduced, range(first, last), strict=True)
        )
        type_of.append(types.setdefault((int(units.space_group[row]), tuple(on_sites)), len(types)))
    names = list(SYSTEM_SHARES)
    system = np.array([names.index(space_group_to_crystal_system(int(group))) for group in units.space_group[rows]])
    return Prototypes(
        units=units,
        row=rows,
        amounts=tuple(amounts),
        kinds=tuple(elements),
        atoms=(atoms // centring)[rows],
        system=system,
        type_of=np.array(type_of, dtype=np.int64),
        volumes=volumes,
        usable=usable,
    )


def _fractions(units: AsymmetricUnits, atoms: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Atomic fractions of ordered structures, shape (rows, 118)."""
    fractions = np.zeros((len(rows), len(SYMBOLS)), dtype=np.float32)
    count = np.diff(units.kind_start)[rows]
    kind = np.repeat(units.kind_start[rows] - np.cumsum(count) + count, count) + np.arange(count.sum())
    place = np.repeat(np.arange(len(rows)), count)
    np.add.at(fractions, (place, units.element[units.part_start[kind]] - 1), units.atoms[kind] / atoms[rows][place])
    return fractions


def sample_candidates(prototypes: Prototypes, *, seed: int, split_seed: int) -> Iterator[list[Candidate]]:
    """Draw formulas without end, each with `FEWEST_TYPES` to `MOST_TYPES` prototypes of different structure types.

    The same seeds give the same sequence, however much of it is used. Formulas are not repeated, belong to the training
    split, and are not put into a structure type in which the table holds them.
    """
    random = np.random.default_rng(seed)
    similarity = np.log(element_similarity() + 1e-6)
    seen: set[str] = set()
    weight = prototypes.type_weight[prototypes.type_of] / np.bincount(prototypes.type_of)[prototypes.type_of]
    cumulative = np.cumsum(weight / weight.sum())
    misses = 0
    while misses < 10_000:  # noqa: PLR2004 - the formulas are used up
        misses += 1
        base = int(np.searchsorted(cumulative, random.random()))
        types = prototypes.types_of[tuple(sorted(prototypes.amounts[base]))]
        if len(types) < FEWEST_TYPES:
            continue
        elements = _sample_elements(prototypes, base, random)
        if elements is None:
            continue
        formula = elements_to_formula(elements, prototypes.amounts[base])
        if formula in seen or formula_to_split(formula, seed=split_seed) != "train":
            continue
        seen.add(formula)
        amounts = dict(zip(elements, prototypes.amounts[base], strict=True))
        found = _sample_types(prototypes, formula, amounts, types, similarity=similarity, random=random)
        if len(found) >= FEWEST_TYPES:
            misses = 0
            yield found


def _sample_elements(prototypes: Prototypes, base: int, random: np.random.Generator) -> tuple[int, ...] | None:
    """The elements of a prototype, or similar ones; None where they cannot be used."""
    given = prototypes.kinds[base]
    elements = np.array(given)
    if random.random() >= KEPT_FORMULA:
        for place in np.flatnonzero(random.random(len(given)) >= KEPT_ELEMENT):
            weight = np.where(prototypes.usable, element_similarity()[given[place] - 1], 0.0)
            weight[given[place] - 1] = 0.0
            if weight.sum() > 0:
                elements[place] = random.choice(len(weight), p=weight / weight.sum()) + 1
    if len(np.unique(elements)) < len(elements) or not prototypes.usable[elements - 1].all():
        return None
    return tuple(elements.tolist())


def _sample_types(
    prototypes: Prototypes,
    formula: str,
    amounts: dict[int, int],
    types: np.ndarray,
    *,
    similarity: np.ndarray,
    random: np.random.Generator,
) -> list[Candidate]:
    """Prototypes of different structure types for a formula: twice as many are drawn, the most similar ones kept."""
    types = np.array([kind for kind in types.tolist() if (formula, kind) not in prototypes.known], dtype=np.int64)
    wanted = int(random.integers(FEWEST_TYPES, MOST_TYPES + 1))
    gumbel = -np.log(-np.log(random.random(len(types))))
    drawn = types[np.argsort(-(np.log(prototypes.type_weight[types]) + gumbel), kind="stable")[: 2 * wanted]]
    scored: list[tuple[float, Candidate]] = []
    for kind in drawn.tolist():
        members = prototypes.members[kind]
        if len(members) > MEMBERS:
            members = members[np.sort(random.choice(len(members), MEMBERS, replace=False))]
        best = max(
            (_best_assignment(prototypes, int(place), amounts, similarity) for place in members),
            key=lambda one: one[0],
        )
        score, place, elements = best
        scale = _scale(prototypes, place, elements)
        if not 1 / MOST_SCALE <= scale <= MOST_SCALE:
            continue
        scored.append((score + random.random(), Candidate(formula, int(prototypes.row[place]), elements, scale)))
    scored.sort(key=lambda one: -one[0])
    return [candidate for _, candidate in scored[:wanted]]


def _best_assignment(
    prototypes: Prototypes, place: int, amounts: dict[int, int], similarity: np.ndarray
) -> tuple[float, int, tuple[int, ...]]:
    """The assignment of elements to the kinds of sites that replaces each by the most similar one, with its score."""
    given, counts = prototypes.kinds[place], prototypes.amounts[place]
    total = sum(counts)
    best: tuple[float, tuple[int, ...]] | None = None
    for order in permutations(amounts):
        if any(amounts[element] != count for element, count in zip(order, counts, strict=True)):
            continue
        score = (
            sum(count * similarity[old - 1, new - 1] for old, new, count in zip(given, order, counts, strict=True))
            / total
        )
        if best is None or score > best[0]:
            best = (float(score), order)
    assert best is not None
    return best[0], place, best[1]


def _scale(prototypes: Prototypes, place: int, elements: tuple[int, ...]) -> float:
    """Factor on lengths that brings a prototype to the volumes of its elements."""
    counts = np.array(prototypes.amounts[place], dtype=np.float64)
    before, after = (
        float(counts @ prototypes.volumes[np.array(numbers) - 1]) for numbers in (prototypes.kinds[place], elements)
    )
    return float(np.cbrt(after / before))
