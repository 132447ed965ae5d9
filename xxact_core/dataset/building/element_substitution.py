"""Structures → element-substituted structures: more compounds of the same structure types, as training data.

Each element may be replaced by a similar one, and the cell is scaled to the volumes of the elements. Sites and symmetry
are kept, so that symmetry and pattern of the new structure are known; its energies are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS, VILLARS_ORDER
from xxact_core.dataset.splits import formula_to_split
from xxact_core.errors import DatasetError
from xxact_core.simulation.lattice import cell_volume
from xxact_core.structures.labels import Labels
from xxact_core.structures.sources import list_blocks, read_block
from xxact_core.structures.structure import Structure

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

SUBSTITUTION_RANGE = 3.0
"""Distance in Villars' order over which the probability of a substitution falls by a factor of e. Ours."""

KEPT = 0.25
"""Probability that an element is not replaced. Ours."""

_TRIES = 20
_ROWS_TOGETHER = 4096


def write_substituted_structures(source: Path, table: Path, *, copies: int, seed: int = 0, split_seed: int = 0) -> int:
    """Write `copies` substitutions of every training structure of a source to a structure table; returns their number.

    Formulas that `xxact build` assigns to validation or test with `split_seed` are excluded, so that those splits stay
    unseen.

    Raises:
        DatasetError: the source holds no readable structure, `copies` is below 1, or the table exists.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    if copies < 1:
        msg = f"copies is {copies}; expected 1 or more"
        raise DatasetError(msg, code="E_DATASET")
    if table.exists():
        msg = f"{table} already exists; choose another name"
        raise DatasetError(msg, code="E_DATASET")
    volumes = fit_element_volumes(read_structures(source))
    random = np.random.default_rng(seed)
    schema = pa.schema(
        {"id": pa.string()}
        | dict.fromkeys(("a", "b", "c", "alpha", "beta", "gamma"), pa.float64())
        | {"species": pa.list_(pa.string()), "frac_coords": pa.list_(pa.float32())}
        | {"occupancies": pa.list_(pa.float32())}
    )
    written, part, rows = 0, table.with_name(table.name + ".part"), list[dict[str, object]]()
    try:
        with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            for structure in read_structures(source):
                if formula_to_split(structure.reduced_formula, seed=split_seed) != "train":
                    continue
                for copy in range(copies):
                    substituted = sample_substitution(structure, volumes, random=random, split_seed=split_seed)
                    if substituted is not None:
                        rows.append(_structure_to_row(replace(substituted, id=f"{structure.id}~{copy}")))
                if len(rows) >= _ROWS_TOGETHER:
                    written += _write_rows(writer, rows, schema)
            written += _write_rows(writer, rows, schema)
        part.replace(table)
    finally:
        part.unlink(missing_ok=True)
    return written


def read_structures(source: Path) -> Iterator[Structure]:
    """All structures of a source that can be read."""
    for block in list_blocks(source, rows=_ROWS_TOGETHER):
        for item in read_block(block, labels=Labels()):
            if isinstance(item, Structure):
                yield item


def fit_element_volumes(structures: Iterable[Structure]) -> np.ndarray:
    """Volume per atom of each element [Å³], shape (118,), NaN where unseen; by non-negative least squares.

    Volumes per atom are fitted, so that all structures have the same weight.
    """
    from scipy.optimize import nnls  # noqa: PLC0415 - needed here only

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
        substituted = replace(structure, cell=cell, atomic_numbers=elements[site], targets={}, energy_is_exact=False)
        if formula_to_split(substituted.reduced_formula, seed=split_seed) == "train":
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


def _structure_to_row(structure: Structure) -> dict[str, object]:
    return {
        "id": structure.id,
        **dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), structure.cell.tolist(), strict=True)),
        "species": [SYMBOLS[number - 1] for number in structure.atomic_numbers],
        "frac_coords": structure.frac_coords.ravel().astype(np.float32),
        "occupancies": structure.occupancies.astype(np.float32),
    }


def _write_rows(writer: parquet.ParquetWriter, rows: list[dict[str, object]], schema: pa.Schema) -> int:
    """Write and clear rows; returns their number."""
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written

    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    count = len(rows)
    rows.clear()
    return count
