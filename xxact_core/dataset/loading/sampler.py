"""The order in which a data set is gone through: at random for training, kind to a disk where sticks lie on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

BLOCK_ROWS = 65_536
"""Rows that are mixed with one another: 16 shards of 4096, 0.1 GB of sticks."""


class TrainingOrder:
    """Batches of rows, epoch after epoch; the rows of a step follow from its number alone.

    So a run that is resumed goes on as if it had never stopped. The last rows of an epoch and the first of the next
    share a batch.
    """

    def __init__(self, order_of_epoch: Callable[[int], np.ndarray], *, rows: int, batch_size: int) -> None:
        """order_of_epoch: all rows of an epoch in their order, shape (rows,)."""
        self.rows, self.batch_size = rows, batch_size
        # Kept, because drawing the order anew for every step would take longer than the step.
        self._order_of_epoch = lru_cache(maxsize=2)(order_of_epoch)

    def step(self, step: int) -> np.ndarray:
        """Rows of a training step, shape (batch_size,)."""
        chosen: list[np.ndarray] = []
        first, left = step * self.batch_size, self.batch_size
        while left:
            epoch, start = divmod(first, self.rows)
            piece = self._order_of_epoch(epoch)[start : start + left]
            chosen.append(piece)
            first, left = first + len(piece), left - len(piece)
        return np.concatenate(chosen)


def shuffled_order(rows: np.ndarray, *, batch_size: int, seed: int) -> TrainingOrder:
    """All rows mixed, differently in every epoch."""

    def order_of_epoch(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(rows)

    return TrainingOrder(order_of_epoch, rows=len(rows), batch_size=batch_size)


def blockwise_order(
    rows: np.ndarray, first_row: np.ndarray, *, batch_size: int, seed: int, block_rows: int = BLOCK_ROWS
) -> TrainingOrder:
    """Shards in random order, and rows mixed within blocks of whole shards: two blocks are in use at a time at most.

    rows: of the split, rising. first_row: where each shard begins and the last one ends, shape (shards + 1,).
    """
    edges = np.searchsorted(rows, first_row)
    pieces = [rows[first:last] for first, last in pairwise(edges) if last > first]

    def order_of_epoch(epoch: int) -> np.ndarray:
        generator = np.random.default_rng((seed, epoch))
        ordered: list[np.ndarray] = []
        block: list[np.ndarray] = []
        for number in generator.permutation(len(pieces)):
            block.append(pieces[number])
            if sum(map(len, block)) >= block_rows:
                ordered.append(generator.permutation(np.concatenate(block)))
                block = []
        if block:
            ordered.append(generator.permutation(np.concatenate(block)))
        return np.concatenate(ordered)

    return TrainingOrder(order_of_epoch, rows=len(rows), batch_size=batch_size)


def rows_in_order(rows: np.ndarray, *, batch_size: int) -> Iterator[np.ndarray]:
    """All rows once, in order, for evaluation."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]
