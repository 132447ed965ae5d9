"""Reference database: elements as bits."""

from __future__ import annotations

import numpy as np

from xxact_core.search_match.database import bits_to_elements, elements_to_bits


def test_elements_survive_the_way_through_bits() -> None:
    numbers = np.array([1, 118, 8, 64, 65, 8, 22])
    start = np.array([0, 2, 5, 7])
    element_start, element = bits_to_elements(elements_to_bits(numbers, start))
    assert element_start.tolist() == [0, 2, 5, 7]
    assert element.tolist() == [1, 118, 8, 64, 65, 8, 22]
