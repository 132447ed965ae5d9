"""Duplicate materials of a dataset: same id, or same formula and space group with similar cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xxact_core.dataset.store import read_text
from xxact_core.quantities import LATTICE

DUPLICATES = "duplicates.csv"

TOLERANCE = 0.01
"""Largest relative difference of cell lengths and volumes of duplicates; angles differ by less than 1°."""


def find_duplicates(folder: Path, shards: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(id, id of the first duplicate) of every duplicate but the first, in file order.

    Duplicates have the same id, or the same reduced formula and space group, a volume per atom within 1 % and a
    conventional cell within 1 % and 1°. Without symmetry labels, only ids are compared.
    """
    ids: list[np.ndarray] = []
    formulas: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    for shard in shards:
        with h5py.File(folder / shard["file"], "r") as file:
            ids.append(read_text(file, "id"))
            formulas.append(read_text(file, "formula"))
            columns = [file[name][...] for name in ("space_group", "volume_per_atom", *(q.name for q in LATTICE))]
            numbers.append(np.stack(columns, axis=1).astype(np.float64))
    return _alike(np.concatenate(ids), np.concatenate(formulas), np.concatenate(numbers))


def _alike(ids: np.ndarray, formulas: np.ndarray, numbers: np.ndarray) -> list[tuple[str, str]]:
    _, first_with_id, with_id = np.unique(ids, return_index=True, return_inverse=True)
    first = first_with_id[with_id]
    _, formula = np.unique(formulas, return_inverse=True)
    group, volume = numbers[:, 0], numbers[:, 1]
    order = np.lexsort((np.arange(len(ids)), volume, group, formula))
    of_kind = np.stack([formula, group], axis=1)[order]
    rising = volume[order]
    near = (
        (of_kind[1:] == of_kind[:-1]).all(axis=1) & (of_kind[1:, 1] >= 0) & (rising[1:] < rising[:-1] * (1 + TOLERANCE))
    )
    for place in np.flatnonzero(near):
        here, follower = order[place], place + 1
        while follower < len(order) and near[follower - 1]:
            if _same_cell(numbers[order[follower], 1:], numbers[here, 1:]):
                _join(first, int(here), int(order[follower]))
            follower += 1
    roots = [_root(first, row) for row in range(len(first))]
    return [(str(ids[row]), str(ids[root])) for row, root in enumerate(roots) if root != row]


def _root(first: np.ndarray, row: int) -> int:
    while first[row] != row:
        row = int(first[row])
    return row


def _join(first: np.ndarray, one: int, other: int) -> None:
    """Union of two groups; the earlier row is the representative."""
    low, high = sorted((_root(first, one), _root(first, other)))
    first[high] = low


def _same_cell(cell: np.ndarray, other: np.ndarray) -> bool:
    """Whether two rows of (volume per atom, a, b, c, α, β, γ) agree within the tolerance."""
    lengths = np.abs(cell[:4] / other[:4] - 1) < TOLERANCE
    angles = np.abs(cell[4:] - other[4:]) < 1
    return bool(lengths.all() and angles.all())
