"""Patterns unlike those that were learned from are told apart from those that are like them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.evaluate import predict_rows
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Pattern
from xxact_core.prediction.prediction import DOUBTFUL, UNLIKE, RankedLabel, doubt_warning, likely_labels
from xxact_core.prediction.predictor import Predictor
from xxact_core.prediction.reliability import (
    DIRECTIONS,
    SMALLEST_MASS,
    Domain,
    Trust,
    agreement_of,
    class_scores,
    class_sets,
    fit_domain,
    fit_trust,
    interval_half_widths,
    pattern_traits,
    set_thresholds,
    similarity_bins,
    similarity_edges,
)
from xxact_core.readers.read import read_pattern
from xxact_core.training.config import override
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train

RANDOM = np.random.default_rng(0)
MIXING = RANDOM.normal(size=(12, 12))


def test_distance_is_mahalanobis_where_every_direction_is_kept() -> None:
    training, asked = RANDOM.normal(size=(2000, 12)) @ MIXING, RANDOM.normal(size=(50, 12)) @ MIXING
    precision = np.linalg.inv(np.cov(training, rowvar=False))
    expected = cdist(asked, training.mean(axis=0)[None], "mahalanobis", VI=precision)[:, 0]
    np.testing.assert_allclose(fit_domain(training, asked).distance(asked), expected, rtol=2e-3)


def test_one_of_a_hundred_new_rows_lies_beyond_the_limit_and_shifted_ones_do_far_more_often() -> None:
    rows = RANDOM.normal(size=(12_000, 40)) * np.linspace(0.01, 2, 40)
    domain = fit_domain(rows[:4000], rows[4000:8000])
    assert (domain.distance(rows[8000:]) > domain.limit).mean() == pytest.approx(0.01, abs=0.006)
    assert (domain.distance(rows[8000:] + 3) > domain.limit).mean() > 0.9


def test_domain_round_trips_through_json_and_stays_small() -> None:
    domain = fit_domain(RANDOM.normal(size=(900, 384)), RANDOM.normal(size=(300, 384)))
    text = json.dumps(domain.to_dict(), indent=1)
    assert Domain.from_dict(json.loads(text)) == domain
    assert len(domain.directions) == DIRECTIONS
    assert len(text) < 200_000


def test_a_set_of_little_probability_takes_in_the_next_classes() -> None:
    probabilities = np.array([[0.37, 0.25, 0.2, 0.18], [0.8, 0.1, 0.06, 0.04]])
    assert class_sets(probabilities, 0.3).sum(axis=1).tolist() == [1, 1]
    assert class_sets(probabilities, 0.3, smallest_mass=0.6).sum(axis=1).tolist() == [2, 1]
    assert class_sets(probabilities, np.array([0.3, 0.05]), smallest_mass=0.6).sum(axis=1).tolist() == [2, 3]
    np.testing.assert_allclose(class_scores(probabilities, smallest_mass=0.6)[0], [1, 1, 0.2, 0.18])


@pytest.mark.parametrize("smallest_mass", [0.0, 0.6])
def test_labels_and_arrays_give_the_same_sets(smallest_mass: float) -> None:
    for probabilities in RANDOM.dirichlet(np.ones(7), size=50):
        order = np.argsort(-probabilities)
        ranked = tuple(RankedLabel(str(index), float(probabilities[index])) for index in order)
        expected = class_sets(probabilities[None], 0.2, smallest_mass=smallest_mass)[0]
        chosen = {int(label) for label in likely_labels(ranked, 0.2, smallest_mass=smallest_mass)}
        assert chosen == set(np.flatnonzero(expected))


def test_bins_of_similarity_are_finer_below_and_choose_the_calibration() -> None:
    similarity = RANDOM.random(4000)
    edges = similarity_edges(similarity)
    sizes = np.bincount(similarity_bins(similarity, edges)).tolist()
    assert sizes == pytest.approx([200, 400, 600, 800, 1000, 1000], abs=2)
    assert len(similarity_edges(similarity[:600], smallest=100)) == 3  # 0.3, 0.5, 0.75 of 600
    assert similarity_edges(similarity[:100], smallest=100) == []
    calibration = {
        "similarity": {"edges": [0.4, 0.8]},
        "band_gap": {"residual_90": 1.0, "residuals_90": [3.0, 2.0, 0.5]},
        "crystal_system": {"set_threshold_90": 0.3, "set_thresholds_90": [0.01, 0.1, 0.4]},
    }
    asked = np.array([0.1, 0.5, 0.9])
    assert np.asarray(interval_half_widths(calibration, "band_gap", asked)).tolist() == [3.0, 2.0, 0.5]
    found = set_thresholds(calibration, "crystal_system", asked)
    assert found is not None
    assert (np.asarray(found.threshold).tolist(), found.smallest_mass) == ([0.01, 0.1, 0.4], SMALLEST_MASS)
    assert interval_half_widths(calibration, "band_gap", None) == 1.0  # a model without retrieval
    assert set_thresholds(calibration, "space_group", asked) is None


def test_calibration_of_0_1_0_has_one_threshold_for_all() -> None:
    calibration = {"band_gap": {"residual_90": 1.0}, "crystal_system": {"set_threshold_90": 0.3}}
    assert interval_half_widths(calibration, "band_gap", np.array([0.2])) == 1.0
    found = set_thresholds(calibration, "crystal_system", np.array([0.2]))
    assert found is not None
    assert (found.threshold, found.smallest_mass) == (0.3, 0.0)


def test_trust_recovers_the_probability_of_being_wrong() -> None:
    similarity, agreement = RANDOM.random((2, 20_000))
    truth = Trust(3.0, -4.0, -2.0)
    wrong = RANDOM.random(20_000) < truth.risk(similarity, agreement)
    fitted = fit_trust(similarity, agreement, wrong)
    asked = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5, 1.0])
    np.testing.assert_allclose(fitted.risk(*asked), truth.risk(*asked), atol=0.03)
    assert Trust(**json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_agreement_is_the_share_of_neighbours_with_the_predicted_class() -> None:
    votes, probabilities = np.array([[0.7, 0.3], [0.7, 0.3]]), np.array([[0.9, 0.1], [0.4, 0.6]])
    assert agreement_of(votes, probabilities).tolist() == [0.7, 0.3]


def test_a_doubtful_prediction_says_so() -> None:
    assert doubt_warning(DOUBTFUL - 0.01) == []
    assert doubt_warning(0.55) == [f"the material is {UNLIKE}: the crystal system is wrong for 55% of such materials"]


@pytest.mark.parametrize(("constant", "flagged"), [(9.0, True), (-9.0, False)])
def test_a_prediction_is_flagged_by_its_neighbours_where_a_composition_is_known(
    examples: Path, constant: float, *, flagged: bool
) -> None:
    checkpoint = load_checkpoint()
    trust = {"constant": constant, "similarity": 0.0, "agreement": 0.0}
    told = replace(checkpoint, calibration={**checkpoint.calibration, "trust": trust})
    predictor, pattern = Predictor(told, device=torch.device("cpu")), read_pattern(examples / "corundum.prn")
    known, unknown = (predictor.predict(pattern, formula, wavelength="CuKa").warnings for formula in ("Al2O3", "?"))
    assert any(UNLIKE in warning for warning in known) is flagged
    assert not any(UNLIKE in warning for warning in unknown)


def test_noise_is_flagged_and_new_materials_are_not(small_table: StickTable) -> None:
    checkpoint = load_checkpoint()
    maker = BatchMaker(small_table, device=torch.device("cpu"), augmentation=replace(AugmentationConfig(), share=0.5))
    traits = predict_rows(checkpoint.model, maker, np.arange(400), checkpoint.statistics).traits
    domain = fit_domain(traits[:200], traits[200:300])
    batch = maker.batch(np.arange(300, 400), seed=1)
    noise = 100 * torch.rand(batch.intensity.shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        encoded = checkpoint.model.encode(replace(batch, intensity=noise))
    flagged = domain.distance(pattern_traits(encoded.pattern).numpy()) > domain.limit
    assert (domain.distance(traits[300:]) > domain.limit).mean() < 0.05
    assert flagged.mean() > 0.95


def test_trained_checkpoint_knows_its_domain_and_warns_beyond_it(small_dataset: Path, tmp_path: Path) -> None:
    model = train(override(recipe_by_name("tiny"), {"epochs": 0.2}), small_dataset, tmp_path / "run")
    checkpoint = load_checkpoint(model)
    cpu = torch.device("cpu")
    pattern = Pattern(GRID.two_theta, 1 + RANDOM.random(GRID.points), wavelength=1.54184)
    said = []
    for limit in (0.0, 1e9):
        calibration = {**checkpoint.calibration, "domain": {**checkpoint.calibration["domain"], "limit": limit}}
        prediction = Predictor(replace(checkpoint, calibration=calibration), device=cpu).predict(pattern, "Si")
        said.append(any("unlike" in warning for warning in prediction.warnings))
    assert said == [True, False]
