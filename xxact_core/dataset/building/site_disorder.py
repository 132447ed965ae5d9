"""Structures → solid solutions, vacancies and exchanged sites, as training data for symmetry.

Laboratories measure disordered materials more often than ordered ones: minerals, alloys, doped oxides, battery
materials. A disordered structure keeps the sites and the symmetry of its parent; a mixed site scatters as the average
of its elements (virtual-crystal approximation), and the cell follows Vegard's rule. Its energies are not known.

- A *solid solution* has two similar elements on the sites of one element.
- *Vacancies* leave sites of one element partly empty; the cell is kept.
- *Exchanged sites* hold two elements of the parent on each other's sites in part, as in spinels; its formula is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.dataset.building.element_substitution import fit_element_volumes
from xxact_core.dataset.building.structure_rows import is_for_training, read_structures, write_structures
from xxact_core.errors import DatasetError
from xxact_core.structures.structure import Structure

MIXING_ELEMENTS = tuple(
    tuple(group.split())
    for group in """
    Li Na; Na K; K Rb Cs Tl; Li Mg Zn; Na Ca; Na Ag; Cu Ag; Mg Fe Mn Co Ni Zn Cu; Mg Ca Mn Cd; Ca Sr; Sr Ba Pb Eu;
    Ca Y La Ce Nd Sm Gd Dy Yb; Sr La; Ba La; Y La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Sc; Bi La; Ce Zr; Th U Ce;
    Al Fe Cr Ga V Mn Co; Al Ga In; In Sc Lu; Al Si; Al Mg; Fe Ti; Fe Sn; Co Mn Ni; Mn Ti Fe V Cr; Sb Bi As; P As V;
    Si Ge; Ge Sn Pb; Ti Zr Hf Sn; Ti Nb Ta; Nb Ta V; Zr Hf Y; Mo W Re; Ti Mn; Sn Sb; Te Se S; Cl Br I; F Cl;
    Cu Ag Au; Ni Pd Pt; Fe Co Ni Cr Mn; Rh Ir Ru Os; Pd Rh Ag; Cu Zn Al Ga Sn Ni; Ti V Nb Mo Ta W Cr; Zr Hf Ti;
    Ag Cd In; Zn Cd Hg; Sn Pb In Bi; Mg Cd Li Zn; Pt Ir Au; Al Ni Cu
    """.replace("\n", " ").split(";")
)
"""Groups of elements that replace one another on a site: similar in size and bonding, mostly of equal valence. Ours,
after the rules of Goldschmidt (1926), Naturwissenschaften 14, 477-485, and Hume-Rothery (1934)."""

MOBILE = frozenset({"Li", "Na", "K", "Ag", "Cu", "Tl", "Rb", "H"})
"""Elements whose sites are often half empty, as in ion conductors and zeolites. Ours."""

KINDS = ("solid solution", "vacancies", "exchanged sites")
PROBABILITIES = (0.75, 0.14, 0.11)
"""Kinds of disorder and their probabilities. Ours."""

SECOND_MIXTURE = 0.25
"""Probability that a solid solution mixes the sites of a second element, too, as plagioclase does. Ours."""

STEPS = 20
"""Occupancies are multiples of 1 / `STEPS`, so that reduced formulas are exact. Ours."""

CALCULATED_SCALE = 0.989
"""Length of a measured cell relative to one calculated with PBE: the median of fitted patterns. Ours; about 1 % after
Haas, Tran & Blaha (2009), Phys. Rev. B 79, 085104."""

MOST_COPIES, MOST_ATOMS = 6, 120
"""Largest number of structures from one parent, and of atoms in its cell. Ours."""

_TRIES = 12
_NOBLE_GASES = frozenset({"He", "Ne", "Ar", "Kr", "Xe", "Rn"})
_RARE = frozenset({"Tc", "Pm", "Po", "At", "Fr", "Ra", "Ac", "Pa", "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es"})
_OXYGEN, _HALOGENS, _CHALCOGENS = frozenset({"O"}), frozenset({"F", "Cl", "Br", "I"}), frozenset({"S", "Se", "Te"})
_NON_METALS = frozenset({"H", "B", "C", "N", "P", "As"})


def write_disordered_structures(source: Path, table: Path, *, count: int, seed: int = 0, split_seed: int = 0) -> int:
    """Write about `count` disordered structures to a structure table; returns their number.

    Parents are ordered structures with training formulas, weighted by `parent_weight`. The formula of a disordered
    structure and those of its end members are of the training split, too. Calculated cells are scaled to measured ones
    by `CALCULATED_SCALE`. The same source and seeds give the same table.

    Raises:
        DatasetError: the source holds no structure that can be a parent, `count` is below 1, or the table exists.
    """
    if count < 1:
        msg = f"count is {count}; expected 1 or more"
        raise DatasetError(msg, code="E_DATASET")
    total = 0.0

    def read_and_weigh() -> Iterator[Structure]:
        nonlocal total
        for structure in read_structures(source):
            total += _weight_in_training(structure, split_seed=split_seed)
            yield structure

    volumes = fit_element_volumes(read_and_weigh())
    if not total:
        msg = f"{source} holds no ordered structure with a training formula that could be a parent"
        raise DatasetError(msg, code="E_DATASET")
    random = np.random.default_rng(seed)
    made = _disordered_structures(
        source, volumes, copies_per_weight=count / total, random=random, split_seed=split_seed
    )
    return write_structures(made, table)


def _weight_in_training(structure: Structure, *, split_seed: int) -> float:
    weight = parent_weight(structure)
    return weight if weight and is_for_training(structure, split_seed=split_seed) else 0.0


def _disordered_structures(
    source: Path,
    volumes: np.ndarray,
    *,
    copies_per_weight: float,
    random: np.random.Generator,
    split_seed: int,
) -> Iterator[Structure]:
    for parent in read_structures(source):
        weight = _weight_in_training(parent, split_seed=split_seed)
        copies = min(int(random.poisson(copies_per_weight * weight)), MOST_COPIES)
        seen = set()
        for copy in range(copies):
            disordered = sample_disorder(parent, volumes, random=random, split_seed=split_seed)
            if disordered is None:
                continue
            sites = (disordered.atomic_numbers.tobytes(), disordered.occupancies.tobytes())
            if sites not in seen:
                seen.add(sites)
                yield replace(disordered, id=f"{parent.id}~{copy}")


def parent_weight(structure: Structure) -> float:
    """Weight of a structure as a parent: how often laboratories measure its kind; 0 where it cannot be one. Ours.

    Disordered structures, cells of more than `MOST_ATOMS` atoms, and compounds of noble gases or of elements that
    laboratories rarely have are no parents.
    """
    numbers = np.unique(structure.atomic_numbers)
    symbols = {SYMBOLS[number - 1] for number in numbers}
    if len(structure.atomic_numbers) > MOST_ATOMS or symbols & (_NOBLE_GASES | _RARE):
        return 0.0
    if not np.allclose(structure.occupancies, 1):
        return 0.0
    if "O" in symbols:
        weight = 1.5 if "Si" in symbols else 1.2
    elif symbols & (_HALOGENS | _CHALCOGENS):
        weight = 1.0
    else:
        weight = 0.4 if symbols & _NON_METALS else 0.6
    provenance = 6.0 if structure.cell_is_measured else 4.0 if structure.found_in_experiments else 0.5
    return weight * provenance * (1.0 if len(symbols) <= 4 else 0.6)  # noqa: PLR2004 - simple compounds are common


def sample_disorder(
    parent: Structure, volumes: np.ndarray, *, random: np.random.Generator, split_seed: int
) -> Structure | None:
    """A random disordered structure with the sites and the symmetry of its parent; None where none was found.

    Args:
        parent: an ordered structure.
        volumes: volume per atom of each element [Å³], shape (118,), see `fit_element_volumes`.
        random: generator.
        split_seed: seed of the split; the formula and the end members are of the training split.
    """
    for _ in range(_TRIES):
        kind = KINDS[random.choice(len(KINDS), p=PROBABILITIES)]
        if kind == "vacancies":
            disordered = _with_vacancies(parent, random=random)
        elif kind == "exchanged sites":
            disordered = _with_exchanged_sites(parent, random=random)
        else:
            disordered = _as_solid_solution(parent, volumes, random=random, split_seed=split_seed)
        if disordered is None or not is_for_training(disordered, split_seed=split_seed):
            continue
        scale = 1.0 if parent.cell_is_measured else CALCULATED_SCALE
        cell = disordered.cell * np.array([scale] * 3 + [1.0] * 3)
        return replace(disordered, cell=cell, cell_is_measured=True, targets={}, energy_kind="none")
    return None


def _as_solid_solution(
    parent: Structure, volumes: np.ndarray, *, random: np.random.Generator, split_seed: int
) -> Structure | None:
    """A second element on the sites of one or two elements; None where an end member is not for training."""
    numbers = np.unique(parent.atomic_numbers)
    candidates = [number for number in numbers.tolist() if partners(number)]
    if not candidates:
        return None
    several = len(candidates) > 1 and random.random() < SECOND_MIXTURE
    mixed = parent
    present = set(numbers.tolist())
    for host in random.permutation(candidates)[: 2 if several else 1].tolist():
        guests = [guest for guest in partners(host) if guest not in present and volumes[guest - 1] > 0]
        if not guests:
            return None
        guest = guests[random.integers(len(guests))]
        end_member = replace(
            parent, atomic_numbers=np.where(parent.atomic_numbers == host, guest, parent.atomic_numbers)
        )
        if not is_for_training(end_member, split_seed=split_seed):
            return None
        present.add(guest)
        mixed = mix_sites(mixed, host, guest, fraction=int(random.integers(1, STEPS)) / STEPS)
    return with_vegard_volume(mixed, parent, volumes)


def _with_vacancies(parent: Structure, *, random: np.random.Generator) -> Structure | None:
    """Sites of one element partly empty; at least two elements, and not the most frequent one unless it is mobile."""
    numbers, counts = np.unique(parent.atomic_numbers, return_counts=True)
    if len(numbers) < 2:  # noqa: PLR2004 - an element with vacancies alone has the same pattern
        return None
    most = numbers[counts.argmax()]
    candidates = [number for number in numbers.tolist() if number != most or SYMBOLS[number - 1] in MOBILE]
    element = candidates[random.integers(len(candidates))]
    lowest = 0.3 if SYMBOLS[element - 1] in MOBILE else 0.75
    occupancy = int(random.integers(round(lowest * STEPS), STEPS)) / STEPS
    return replace(
        parent,
        occupancies=np.where(parent.atomic_numbers == element, occupancy * parent.occupancies, parent.occupancies),
    )


def _with_exchanged_sites(parent: Structure, *, random: np.random.Generator) -> Structure | None:
    """Two elements of the parent partly on each other's sites, less than at random, so that the sites stay distinct."""
    numbers = np.unique(parent.atomic_numbers).tolist()
    pairs = [(one, other) for one in numbers for other in numbers if one < other and other in partners(one)]
    if not pairs:
        return None
    one, other = pairs[random.integers(len(pairs))]
    ones, others = (float((parent.atomic_numbers == number).sum()) for number in (one, other))
    if ones > others:
        one, other, ones, others = other, one, others, ones
    most = 0.85 * others / (ones + others)  # at random, the fraction is others / (ones + others)
    fraction = int(random.integers(1, max(2, int(most * STEPS)))) / STEPS
    return exchange_sites(parent, one, other, fraction=fraction)


def mix_sites(structure: Structure, host: int, guest: int, *, fraction: float) -> Structure:
    """The guest (atomic number) on a fraction of the sites of the host."""
    own = np.flatnonzero(structure.atomic_numbers == host)
    occupancies = structure.occupancies.copy()
    occupancies[own] *= 1 - fraction
    return replace(
        structure,
        atomic_numbers=np.concatenate([structure.atomic_numbers, np.full(len(own), guest)]),
        frac_coords=np.concatenate([structure.frac_coords, structure.frac_coords[own]]),
        occupancies=np.concatenate([occupancies, fraction * structure.occupancies[own]]),
    )


def exchange_sites(structure: Structure, one: int, other: int, *, fraction: float) -> Structure:
    """A fraction of the sites of element `one` holds the element `other`, and as many atoms the other way round."""
    ratio = float((structure.atomic_numbers == one).sum() / (structure.atomic_numbers == other).sum())
    mixed = mix_sites(structure, one, other, fraction=fraction)
    own = np.flatnonzero(structure.atomic_numbers == other)
    occupancies = mixed.occupancies.copy()
    occupancies[own] *= 1 - fraction * ratio
    return replace(
        mixed,
        atomic_numbers=np.concatenate([mixed.atomic_numbers, np.full(len(own), one)]),
        frac_coords=np.concatenate([mixed.frac_coords, structure.frac_coords[own]]),
        occupancies=np.concatenate([occupancies, fraction * ratio * structure.occupancies[own]]),
    )


def with_vegard_volume(mixed: Structure, parent: Structure, volumes: np.ndarray) -> Structure:
    """The cell of the parent, scaled by the volumes of the elements of both: linear in composition (Vegard's rule).

    Source: Vegard (1921), Z. Phys. 5, 17-26, for volumes.
    """
    known = np.nan_to_num(volumes)
    before, after = (
        float(known[structure.atomic_numbers - 1] @ structure.occupancies) for structure in (parent, mixed)
    )
    cell = mixed.cell.copy()
    cell[:3] *= (after / before) ** (1 / 3) if before > 0 else 1.0
    return replace(mixed, cell=cell)


@cache
def partners(number: int) -> tuple[int, ...]:
    """Atomic numbers of the elements that share a group of `MIXING_ELEMENTS` with an element, in ascending order."""
    symbol = SYMBOLS[number - 1]
    others = {other for group in MIXING_ELEMENTS if symbol in group for other in group} - {symbol}
    return tuple(sorted(ATOMIC_NUMBERS[other] for other in others))
