"""Order of the materials in training: shuffled, in blocks of shards where reflections are on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

BLOCK_ROWS = 65_536
"""Rows shuffled together: 16 shards of 4096, 0.1 GB."""


class TrainingOrder:
    """Batches of rows over epochs; the rows of a step depend on its number alone.

    A resumed run therefore equals an uninterrupted one. A batch may span two epochs.
    """

    def __init__(self, order_of_epoch: Callable[[int], np.ndarray], *, rows: int, batch_size: int) -> None:
        """Order by `order_of_epoch`, which returns all rows of an epoch, shape (rows,)."""
        self.rows, self.batch_size = rows, batch_size
        # Cached, because computing the order takes longer than a step.
        self._order_of_epoch = lru_cache(maxsize=2)(order_of_epoch)

    def step(self, step: int) -> np.ndarray:
        """Rows of a training step, shape (batch_size,)."""
        pieces: list[np.ndarray] = []
        first, left = step * self.batch_size, self.batch_size
        while left:
            epoch, start = divmod(first, self.rows)
            piece = self._order_of_epoch(epoch)[start : start + left]
            pieces.append(piece)
            first, left = first + len(piece), left - len(piece)
        return np.concatenate(pieces)


def shuffled_order(
    rows: np.ndarray, *, batch_size: int, seed: int, groups: np.ndarray | None = None, together: int = 1
) -> TrainingOrder:
    """All rows shuffled, differently in every epoch.

    Where `groups` has a number for every row of the dataset, up to `together` rows of a group follow each other.
    """

    def order_of_epoch(epoch: int) -> np.ndarray:
        generator = np.random.default_rng((seed, epoch))
        return _in_groups(generator.permutation(rows), groups, together, generator=generator)

    return TrainingOrder(order_of_epoch, rows=len(rows), batch_size=batch_size)


def blockwise_order(
    rows: np.ndarray,
    first_row: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    block_rows: int = BLOCK_ROWS,
    groups: np.ndarray | None = None,
    together: int = 1,
) -> TrainingOrder:
    """Shards in random order, rows shuffled within blocks of shards, of which at most two are in use at a time.

    Args:
        rows: of the split, ascending.
        first_row: offsets of the shards, shape (shards + 1,).
        batch_size: rows per batch.
        seed: of the order.
        block_rows: smallest number of rows in a block.
        groups: a number for every row of the dataset; None to shuffle all rows of a block.
        together: largest number of rows of a group and block that follow each other.
    """
    edges = np.searchsorted(rows, first_row)
    pieces = [rows[first:last] for first, last in pairwise(edges) if last > first]

    def order_of_epoch(epoch: int) -> np.ndarray:
        generator = np.random.default_rng((seed, epoch))

        def shuffled(block: list[np.ndarray]) -> np.ndarray:
            return _in_groups(generator.permutation(np.concatenate(block)), groups, together, generator=generator)

        ordered: list[np.ndarray] = []
        block: list[np.ndarray] = []
        for number in generator.permutation(len(pieces)):
            block.append(pieces[number])
            if sum(map(len, block)) >= block_rows:
                ordered.append(shuffled(block))
                block = []
        if block:
            ordered.append(shuffled(block))
        return np.concatenate(ordered)

    return TrainingOrder(order_of_epoch, rows=len(rows), batch_size=batch_size)


def _in_groups(
    rows: np.ndarray, groups: np.ndarray | None, together: int, *, generator: np.random.Generator
) -> np.ndarray:
    """Shuffled rows in another order: up to `together` of a group side by side, these units shuffled."""
    if groups is None or together == 1:
        return rows
    rows = rows[np.argsort(groups[rows], kind="stable")]
    _, first, size = np.unique(groups[rows], return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(first, size)
    starts = place % together == 0
    unit = np.cumsum(starts) - 1
    order: np.ndarray = rows[np.argsort(generator.permutation(int(starts.sum()))[unit], kind="stable")]
    return order


def rows_in_order(rows: np.ndarray, *, batch_size: int) -> Iterator[np.ndarray]:
    """Batches of all rows, once and in order, for evaluation."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]
