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
from xxact_core.prediction.predictor import Predictor
from xxact_core.prediction.reliability import DIRECTIONS, Domain, fit_domain, pattern_traits
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
