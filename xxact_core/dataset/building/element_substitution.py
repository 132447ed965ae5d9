"""Structures → element-substituted structures: more compounds of the same structure types, as training data.

Each element may be replaced by a similar one, and the cell is scaled to the volumes of the elements. Sites and symmetry
are kept, so that symmetry and pattern of the new structure are known; its energies are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS, VILLARS_ORDER
from xxact_core.dataset.building.structure_rows import is_for_training, read_structures, write_structures
from xxact_core.errors import DatasetError
from xxact_core.simulation.lattice import cell_volume
from xxact_core.structures.structure import Structure

SUBSTITUTION_RANGE = 3.0
"""Distance in Villars' order over which the probability of a substitution falls by a factor of e. Ours."""

KEPT = 0.25
"""Probability that an element is not replaced. Ours."""

_TRIES = 20


def write_substituted_structures(source: Path, table: Path, *, copies: int, seed: int = 0, split_seed: int = 0) -> int:
    """Write `copies` substitutions of every training structure of a source to a structure table; returns their number.

    Formulas that `xxact build` assigns to validation or test with `split_seed` are excluded, so that those splits stay
    unseen.

    Raises:
        DatasetError: the source holds no readable structure, `copies` is below 1, or the table exists.
    """
    if copies < 1:
        msg = f"copies is {copies}; expected 1 or more"
        raise DatasetError(msg, code="E_DATASET")
    volumes = fit_element_volumes(read_structures(source))
    random = np.random.default_rng(seed)
    return write_structures(
        _substituted_structures(source, volumes, copies=copies, random=random, split_seed=split_seed), table
    )


def _substituted_structures(
    source: Path, volumes: np.ndarray, *, copies: int, random: np.random.Generator, split_seed: int
) -> Iterator[Structure]:
    for structure in read_structures(source):
        if not is_for_training(structure, split_seed=split_seed):
            continue
        for copy in range(copies):
            substituted = sample_substitution(structure, volumes, random=random, split_seed=split_seed)
            if substituted is not None:
                yield replace(substituted, id=f"{structure.id}~{copy}")


def fit_element_volumes(structures: Iterable[Structure]) -> np.ndarray:
    """Volume per atom of each element [Å³], shape (118,), NaN where unseen; by non-negative least squares.

    Volumes per atom are fitted, so that all structures have the same weight.
    """
    products, sums = np.zeros((len(SYMBOLS), len(SYMBOLS))), np.zeros(len(SYMBOLS))
    for structure in structures:
        amounts = np.bincount(structure.atomic_numbers - 1, weights=structure.occupancies, minlength=len(SYMBOLS))
        atoms = amounts.sum()
        if not atoms:
            continue
        seen = np.flatnonzero(amounts)
        share = amounts[seen] / atoms
        products[np.ix_(seen, seen)] += np.outer(share, share)
        sums[seen] += share * float(cell_volume(structure.cell)) / atoms
    return _solve_volumes(products, sums)


def fit_volumes_to_fractions(fractions: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """The same from atomic fractions, shape (structures, 118), and volumes per atom [Å³], shape (structures,)."""
    return _solve_volumes(
        (fractions.T @ fractions).astype(np.float64), fractions.T.astype(np.float64) @ volumes.astype(np.float64)
    )


def _solve_volumes(products: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Volumes of the elements by the normal equations of the fit; NaN for elements that do not occur."""
    from scipy.optimize import nnls  # noqa: PLC0415 - needed here only

    known = np.flatnonzero(products.diagonal())
    root = np.linalg.cholesky(products[np.ix_(known, known)] + 1e-9 * np.eye(len(known)))
    volumes = np.full(len(SYMBOLS), np.nan)
    volumes[known] = nnls(root.T, np.linalg.solve(root, sums[known]))[0]
    return volumes


def sample_substitution(
    structure: Structure, volumes: np.ndarray, *, random: np.random.Generator, split_seed: int
) -> Structure | None:
    """A random substitution with a training formula; None where none was found.

    Different elements stay different, so that the symmetry is kept.
    """
    numbers, site = np.unique(structure.atomic_numbers, return_inverse=True)
    amounts = np.bincount(site, weights=structure.occupancies)
    similarity = element_similarity()
    known = np.nan_to_num(volumes) > 0
    for _ in range(_TRIES):
        elements = numbers.copy()
        replaced = np.flatnonzero(random.random(len(numbers)) >= KEPT)
        for place in replaced:
            weight = np.where(known, similarity[numbers[place] - 1], 0.0)
            weight[numbers[place] - 1] = 0.0
            if weight.sum() > 0:
                elements[place] = random.choice(len(weight), p=weight / weight.sum()) + 1
        if len(np.unique(elements)) < len(elements) or (elements == numbers).all():
            continue
        before, after = (float(amounts @ volumes[kind - 1]) for kind in (numbers, elements))
        if not (before > 0 and after > 0):
            continue
        cell = structure.cell.copy()
        cell[:3] *= (after / before) ** (1 / 3)
        substituted = replace(structure, cell=cell, atomic_numbers=elements[site], targets={}, energy_kind="none")
        if is_for_training(substituted, split_seed=split_seed):
            return substituted
    return None


@cache
def element_similarity() -> np.ndarray:
    """Similarity of elements: exp(-distance in `VILLARS_ORDER` / `SUBSTITUTION_RANGE`), shape (118, 118).

    0 for elements that are not in that order.
    """
    places = np.full(len(SYMBOLS), np.nan)
    places[[ATOMIC_NUMBERS[symbol] - 1 for symbol in VILLARS_ORDER]] = np.arange(len(VILLARS_ORDER))
    similarity: np.ndarray = np.nan_to_num(np.exp(-np.abs(places[:, None] - places) / SUBSTITUTION_RANGE))
    return similarity
