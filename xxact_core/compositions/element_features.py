"""Element features: 200 numbers per element, learned from the materials literature (mat2vec)."""

from __future__ import annotations

from functools import cache

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.shipped import shipped_path

FEATURE_COUNT = 200
"""Features of an element. Source: Tshitoyan et al., Nature 571 (2019) 95."""

_TABLE = "compositions/mat2vec.csv"


@cache
def load_element_features() -> np.ndarray:
    """Table of element features, shape (118, 200), float64, read-only; row z - 1 belongs to atomic number z.

    The values are those that CrabNet reads, without normalisation.

    Source: mat2vec.csv of CrabNet 1.0.1 (MIT; mat2vec_LICENSE.txt beside it).
    """
    features = np.zeros((len(SYMBOLS), FEATURE_COUNT))
    table = shipped_path(_TABLE).read_text(encoding="utf-8")
    for line in table.splitlines()[1:]:
        symbol, *values = line.split(",")
        features[ATOMIC_NUMBERS[symbol] - 1] = np.array(values, dtype=np.float64)
    features.setflags(write=False)
    return features
