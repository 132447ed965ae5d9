"""Axes equivalent to one, the plain way: what texture on whole batches is held against."""

from __future__ import annotations

import numpy as np


def equivalent_axes(axis: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Normals equivalent to `axis` (h, k, l) that differ by more than their sign, shape (equivalents, 3).

    All of them occur equally often among the rotations (shape (rotations, 3, 3)), so that a mean over these few is the
    mean over the group.
    """
    turned = np.asarray(axis, dtype=np.int64) @ np.asarray(rotations, dtype=np.int64)
    first = np.take_along_axis(turned, (turned != 0).argmax(axis=1)[:, None], axis=1)
    return np.unique(turned * np.sign(first), axis=0)
