"""The order in which a data set is gone through for training: random, but kind to a disk."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

BLOCK_ROWS = 65_536
"""Rows that are mixed with one another: 16 shards of 4096, 0.1 GB of sticks."""


class BlockwiseOrder:
    """Rows of a split in blocks of whole shards: shards in random order, rows at random within a block of them.

    Every epoch is another order, and the rows of a step follow from its number alone, so that a run that is resumed
    goes on as if it had never stopped. Two neighbouring blocks are in use at a time at most.
    """

    def __init__(
        self, rows: np.ndarray, first_row: np.ndarray, *, batch_size: int, seed: int, block_rows: int = BLOCK_ROWS
    ) -> None:
        """rows: of the split, rising. first_row: where each shard begins and the last one ends, shape (shards + 1,)."""
        self.rows, self.batch_size, self.seed, self.block_rows = rows, batch_size, seed, block_rows
        edges = np.searchsorted(rows, first_row)
        self.pieces = [rows[first:last] for first, last in pairwise(edges) if last > first]
        self._epoch_order = lru_cache(maxsize=2)(self._order_of)

    def step(self, step: int) -> np.ndarray:
        """Rows of a training step, shape (batch_size,)."""
        first, chosen, left = step * self.batch_size, [], self.batch_size
        while left:
            epoch, start = divmod(first, len(self.rows))
            piece = self._epoch_order(epoch)[start : start + left]
            chosen.append(piece)
            first, left = first + len(piece), left - len(piece)
        return np.concatenate(chosen)

    def _order_of(self, epoch: int) -> np.ndarray:
        generator = np.random.default_rng((self.seed, epoch))
        ordered: list[np.ndarray] = []
        block: list[np.ndarray] = []
        for number in generator.permutation(len(self.pieces)):
            block.append(self.pieces[number])
            if sum(map(len, block)) >= self.block_rows:
                ordered.append(generator.permutation(np.concatenate(block)))
                block = []
        if block:
            ordered.append(generator.permutation(np.concatenate(block)))
        return np.concatenate(ordered)
