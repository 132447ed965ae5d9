"""How far an answer can be relied on: the set of classes that holds the true one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def class_sets(probabilities: Float[np.ndarray, "n classes"], threshold: float) -> Bool[np.ndarray, "n classes"]:
    """Which classes belong to each material's set: all from the threshold (0-1) on, and always the most probable.

    A set without any class would say that nothing can be said, although one class is known to be the best guess.
    """
    best = np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)]
    return (probabilities >= threshold) | best
