"""Probabilities of phases: ties are broken by what is known of the phases, and a poor fit means no match."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from xxact_core.search_match.plausibility import (
    FIT_WEIGHTS,
    FIT_WEIGHTS_OF_ALL,
    NO_MATCH,
    NO_MATCH_OF_ALL,
    NoMatchWeights,
    PlausibilityWeights,
    best_of_each,
    features_to_log_odds,
    log_odds_to_probabilities,
    phase_features,
)


@dataclass(frozen=True)
class Phases:
    """What the plausibility needs of a database; by default equal phases."""

    experimental: np.ndarray
    known: np.ndarray
    disordered: np.ndarray
    cell_volume: np.ndarray
    space_group: np.ndarray


ALIKE = Phases(*np.zeros((3, 2), dtype=bool), np.full(2, 100.0), np.full(2, 62))
ROWS, MERIT = np.arange(2), np.full(2, 0.95)


@pytest.mark.parametrize("weights", [FIT_WEIGHTS, FIT_WEIGHTS_OF_ALL])
@pytest.mark.parametrize(
    ("likely", "arguments"),
    [
        (replace(ALIKE, experimental=np.array([True, False])), {}),
        (replace(ALIKE, known=np.array([True, False])), {}),
        (replace(ALIKE, disordered=np.array([False, True])), {}),
        (ALIKE, {"strains": np.array([1, 4])}),  # a cell of low symmetry imitates one of high symmetry
        (ALIKE, {"missing": np.array([0, 1])}),
        (ALIKE, {"merit": np.array([0.95, 0.9])}),
    ],
    ids=["measured cell", "known", "ordered", "high symmetry", "all elements", "better fit"],
)
def test_the_first_of_two_phases_is_more_likely(
    likely: Phases, arguments: dict[str, np.ndarray], weights: PlausibilityWeights
) -> None:
    first, second = features_to_log_odds(phase_features(likely, ROWS, **{"merit": MERIT, **arguments}), weights)
    assert first > second


def test_the_volume_is_that_of_the_primitive_cell() -> None:
    centred = replace(ALIKE, cell_volume=np.array([400.0, 100.0]), space_group=np.array([225, 221]))
    first, second = phase_features(centred, ROWS, merit=MERIT)
    np.testing.assert_allclose(first, second)


def test_a_phase_with_several_entries_counts_once() -> None:
    best = best_of_each(["a", "b", "a", "c"], np.array([1.0, 2.0, 3.0, 0.0]))
    assert best.tolist() == [2, 1, 3]


@pytest.mark.parametrize("weights", [NO_MATCH, NO_MATCH_OF_ALL])
def test_probabilities_add_up_and_a_poor_fit_means_no_match(weights: NoMatchWeights) -> None:
    no_match = []
    for merit in (0.97, 0.85, 0.6, 0.3):
        features = phase_features(ALIKE, ROWS, merit=np.array([merit, merit - 0.02]))
        log_odds = features_to_log_odds(features, FIT_WEIGHTS)
        probabilities, none = log_odds_to_probabilities(log_odds, features, weights)
        assert probabilities.sum() + none == pytest.approx(1)
        assert probabilities[0] > probabilities[1]
        no_match.append(none)
    assert no_match == sorted(no_match)
    assert no_match[0] < 0.5
    assert no_match[-1] > 0.9


def test_without_phases_there_is_no_match() -> None:
    probabilities, none = log_odds_to_probabilities(np.zeros(0), np.zeros((0, 7)), NO_MATCH)
    assert probabilities.size == 0
    assert none == 1
