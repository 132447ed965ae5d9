"""Pairs of polymorphs, counted by hand: which are pairs, how many are in order, and the slope of their differences."""

from __future__ import annotations

import numpy as np
import pytest

from xxact_core.evaluation.polymorphs import (
    pair_accuracy,
    pair_metrics,
    pair_slope,
    polymorph_counts,
    polymorph_pairs,
)

FORMULA = np.array(["Ti1O2", "Zn1O1", "Ti1O2", "Si1O2", "Ti1O2", "Si1O2"])
ENERGY = np.array([-3.30, -1.80, -3.25, -3.10, -3.315, np.nan])


def test_pairs_are_of_one_formula_far_enough_apart_and_ordered_by_energy() -> None:
    low, high = polymorph_pairs(FORMULA, ENERGY)
    assert sorted(zip(low.tolist(), high.tolist(), strict=True)) == [(0, 2), (4, 2)]  # 0 and 4 are 15 meV apart
    low, high = polymorph_pairs(FORMULA, ENERGY, smallest=0.01)
    assert sorted(zip(low.tolist(), high.tolist(), strict=True)) == [(0, 2), (4, 0), (4, 2)]


def test_materials_of_a_formula_are_counted() -> None:
    assert polymorph_counts(FORMULA).tolist() == [3, 1, 3, 2, 3, 2]


def test_pairs_in_the_right_order_count_one_and_ties_one_half() -> None:
    pairs = polymorph_pairs(FORMULA, ENERGY)
    assert pair_accuracy(ENERGY, pairs) == 1
    assert pair_accuracy(-ENERGY, pairs) == 0
    assert pair_accuracy(np.zeros(6), pairs) == 0.5
    assert pair_accuracy(np.array([0.0, 0, -1, 0, -2, 0]), pairs) == 0.5


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_slope_is_the_share_of_the_difference_that_is_predicted(share: float) -> None:
    pairs = polymorph_pairs(FORMULA, ENERGY)
    predicted = share * ENERGY + np.array([5.0, 1, 5, 2, 5, 2])  # a composition estimate cancels
    assert pair_slope(predicted, ENERGY, pairs) == pytest.approx(share, abs=1e-9)


def test_no_pair_gives_no_metrics() -> None:
    assert pair_metrics(np.zeros(2), np.array([0.0, 1.0]), np.array(["Si1", "Ge1"])) == {}
    assert pair_metrics(ENERGY, ENERGY, FORMULA) == {
        "polymorph_pairs": 2.0,
        "polymorph_pair_accuracy": 1.0,
        "polymorph_slope": pytest.approx(1.0),
    }
