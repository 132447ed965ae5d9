"""Metrics against scikit-learn, and calibration that does what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import sem
from sklearn import metrics as sklearn_metrics

from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.splits import with_split
from xxact_core.dataset.table import StickTable
from xxact_core.errors import DatasetError, InputError
from xxact_core.evaluation.baselines import constant_baseline, formula_baseline, tree_baseline
from xxact_core.evaluation.calibration import (
    calibrate,
    conformal_residual,
    conformal_threshold,
    coverage_metrics,
    fit_temperature,
)
from xxact_core.evaluation.evaluate import silhouettes
from xxact_core.evaluation.intervals import class_mean_interval, mean_interval, mean_over_runs
from xxact_core.evaluation.labelled import Labelled, Predictions, predictions_to_labelled, probabilities_of
from xxact_core.evaluation.metrics import (
    accuracy,
    calibration_error_by_chance,
    class_mean_accuracy,
    expected_calibration_error,
    mean_absolute_error,
    top_k_accuracy,
)
from xxact_core.evaluation.report import evaluate_checkpoint
from xxact_core.prediction.reliability import class_sets
from xxact_core.quantities import ENERGY_KINDS
from xxact_core.training.config import override
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.integers(0, 5, 500)
LOGITS = RANDOM.normal(size=(500, 5)) + 1.5 * np.eye(5)[TRUE]


def test_metrics_equal_scikit_learns() -> None:
    chosen, probabilities = LOGITS.argmax(axis=1), softmax(LOGITS, axis=1)
    assert accuracy(chosen, TRUE) == sklearn_metrics.accuracy_score(TRUE, chosen)
    assert class_mean_accuracy(chosen, TRUE) == pytest.approx(sklearn_metrics.balanced_accuracy_score(TRUE, chosen))
    assert top_k_accuracy(probabilities, TRUE, k=2) == sklearn_metrics.top_k_accuracy_score(TRUE, probabilities, k=2)
    values = RANDOM.normal(size=500)
    assert mean_absolute_error(values, TRUE) == pytest.approx(sklearn_metrics.mean_absolute_error(TRUE, values))


def test_silhouettes_equal_scikit_learns_mean() -> None:
    scores = silhouettes(LOGITS, TRUE.astype(float))
    assert scores["mean"] == pytest.approx(sklearn_metrics.silhouette_score(LOGITS, TRUE))
    assert set(scores) == {"triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "mean"}


def test_calibration_error_is_zero_for_sure_and_right_and_one_for_sure_and_wrong() -> None:
    sure = np.eye(5)[TRUE]
    assert expected_calibration_error(sure, TRUE) == pytest.approx(0)
    assert expected_calibration_error(sure, (TRUE + 1) % 5) == pytest.approx(1)


def predictions_with(logits: np.ndarray) -> Predictions:
    return Predictions(
        np.arange(len(logits)), {}, {"crystal_system": logits}, np.zeros((len(logits), 1)), np.zeros((len(logits), 1))
    )


def test_temperature_undoes_a_known_overconfidence() -> None:
    probabilities = softmax(LOGITS, axis=1)
    drawn = np.array([RANDOM.choice(5, p=row) for row in probabilities])
    too_sure = predictions_with(LOGITS * 3)
    everything = np.ones(len(drawn), dtype=bool)
    temperature = fit_temperature(too_sure, "crystal_system", drawn.astype(float), everything, {})
    assert temperature == pytest.approx(3, rel=0.2)
    before, after = (
        expected_calibration_error(probabilities_of(too_sure, {"crystal_system": value})["crystal_system"], drawn)
        for value in (1.0, temperature)
    )
    assert after < before / 2


def test_conformal_interval_covers_nine_of_ten_new_values() -> None:
    errors = RANDOM.standard_cauchy(20_000)
    half_width = conformal_residual(errors[:10_000], np.zeros(10_000))
    assert (np.abs(errors[10_000:]) <= half_width).mean() == pytest.approx(0.9, abs=0.015)


def test_conformal_sets_hold_nine_of_ten_new_classes_even_of_a_model_too_sure_of_itself() -> None:
    random = np.random.default_rng(3)
    true = random.integers(0, 5, 20_000)
    probabilities = softmax(3 * (random.normal(size=(20_000, 5)) + 1.5 * np.eye(5)[true]), axis=1)
    threshold = conformal_threshold(probabilities[:10_000], true[:10_000])
    labelled = Labelled({}, {"crystal_system": (probabilities[10_000:], true[10_000:])})
    metrics = coverage_metrics(labelled, {"crystal_system": {"set_threshold_90": threshold}})
    assert metrics["crystal_system_set_coverage"] == pytest.approx(0.9, abs=0.01)
    assert 1 < metrics["crystal_system_set_size"] < 3
    assert coverage_metrics(labelled, {"crystal_system": {"temperature": 1.0}}) == {}


def test_sets_and_intervals_hold_nine_of_ten_in_every_bin_of_similarity(small_table: StickTable) -> None:
    random = np.random.default_rng(4)
    count = 12_000
    similarity = random.random(count)
    true = random.integers(0, 7, count)
    logits = random.normal(size=(count, 7)) + (1 + 4 * similarity[:, None]) * np.eye(7)[true]
    energy = random.normal(size=count) * (1.5 - similarity)
    table = replace(
        small_table,
        formula=np.full(count, "Si1"),
        split=np.zeros(count, dtype=np.int8),  # every prototype is that of a training material
        targets={
            "crystal_system": true.astype(float),
            "space_group": np.full(count, np.nan),
            "formation_energy_per_atom": np.zeros(count),
        },
        energy_kind=np.full(count, ENERGY_KINDS.index("unique"), dtype=np.int8),
    )
    half = np.arange(count // 2)

    def predictions(rows: np.ndarray) -> Predictions:
        embedding = np.zeros((len(rows), 1))
        values = {"formation_energy_per_atom": energy[rows]}
        return Predictions(rows, values, {"crystal_system": logits[rows]}, embedding, None, similarity[rows])

    calibration = calibrate(predictions(half), table)
    assert len(calibration["similarity"]["edges"]) == 5
    thresholds, widths = calibration["crystal_system"]["set_thresholds_90"], calibration["formation_energy_per_atom"]
    assert thresholds[0] < thresholds[-1]
    assert widths["residuals_90"][0] > 2 * widths["residuals_90"][-1]
    for low, high in ((0, 0.25), (0.75, 1)):
        rows = half + count // 2
        rows = rows[(similarity[rows] >= low) & (similarity[rows] < high)]
        labelled = predictions_to_labelled(predictions(rows), table, temperatures={})
        metrics = coverage_metrics(labelled, calibration)
        assert metrics["formation_energy_per_atom_interval_coverage"] == pytest.approx(0.9, abs=0.025)
        assert metrics["crystal_system_set_coverage"] > 0.875


def test_set_holds_the_threshold_itself_and_is_never_empty() -> None:
    sets = class_sets(np.array([[0.5, 0.3, 0.2], [0.29, 0.36, 0.35]]), 0.3)
    assert sets.tolist() == [[True, True, False], [False, True, True]]
    assert class_sets(np.array([[0.4, 0.35, 0.25]]), 0.9).tolist() == [[True, False, False]]


def test_too_few_materials_to_say_anything_make_sets_of_all_classes() -> None:
    probabilities = np.full((8, 5), 0.2)
    assert conformal_threshold(probabilities, np.zeros(8, dtype=int)) == 0.0
    assert conformal_threshold(probabilities[[0] * 9], np.zeros(9, dtype=int)) == 0.2


@pytest.mark.parametrize("draw", ["errors", "right"])
def test_bootstrap_interval_holds_the_true_mean_in_nineteen_of_twenty_samples(draw: str) -> None:
    random, held = np.random.default_rng(1), []
    for sample in range(400):
        values = np.abs(random.normal(size=300)) if draw == "errors" else random.random(300) < 0.8
        low, high = mean_interval(values, seed=sample, resamples=300)
        held.append(low <= (np.sqrt(2 / np.pi) if draw == "errors" else 0.8) <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_class_mean_interval_is_that_of_resampled_materials() -> None:
    right = LOGITS.argmax(axis=1) == TRUE
    random = np.random.default_rng(2)
    means = []
    for _ in range(2000):
        drawn = random.integers(len(TRUE), size=len(TRUE))
        means.append(class_mean_accuracy(np.where(right, TRUE, -1)[drawn], TRUE[drawn]))
    interval = class_mean_interval(right, TRUE, seed=0, resamples=2000)
    np.testing.assert_allclose(interval, np.quantile(means, [0.025, 0.975]), atol=0.006)
    assert interval[0] < right.mean() < interval[1]
    assert interval == class_mean_interval(right, TRUE, seed=0, resamples=2000)


def test_class_that_a_resample_lacks_does_not_count_in_it() -> None:
    classes = np.array([0] * 50 + [1])
    assert class_mean_interval(np.ones(51, dtype=bool), classes, seed=0) == (1.0, 1.0)


def test_runs_give_mean_and_standard_error_and_one_run_none() -> None:
    summary = mean_over_runs([{"a": 1.0, "b": 5.0}, {"a": 2.0, "b": 5.0}, {"a": 3.0, "c": 1.0, "b": 5.0}])
    assert summary["a"] == (pytest.approx(2.0), pytest.approx(sem([1.0, 2.0, 3.0])))
    assert summary["b"] == (5.0, 0.0)
    assert set(summary) == {"a", "b"}
    with pytest.raises(InputError, match="two or more"):
        mean_over_runs([{"a": 1.0}])


def test_formula_baseline_misses_what_differs_within_a_formula_only(small_table: StickTable) -> None:
    test = small_table.rows("test")
    formula, energy, system = small_table.formula.copy(), np.zeros(len(small_table)), np.zeros(len(small_table))
    formula[test] = [f"H{number}" for number in range(len(test))]
    formula[test[:3]] = "Ti1O2"
    energy[test], system[test] = np.arange(len(test)), 6
    energy[test[:3]], system[test[:3]] = (0.0, 0.3, 0.9), (1, 1, 2)
    targets = {**small_table.targets, "formation_energy_per_atom": energy, "crystal_system": system.astype(float)}
    unique = np.full(len(small_table), ENERGY_KINDS.index("unique"), dtype=np.int8)
    metrics = formula_baseline(replace(small_table, formula=formula, targets=targets, energy_kind=unique))
    name = "formation_energy_per_atom_mae_mev_per_atom"
    assert metrics[name] == pytest.approx(1000 * (0.3 + 0.0 + 0.6) / len(test))
    assert metrics["crystal_system_accuracy"] == pytest.approx(1 - 1 / len(test))


def test_constant_baseline_is_the_training_mean_and_majority(small_table: StickTable) -> None:
    metrics = constant_baseline(small_table)
    train_rows, test_rows = small_table.rows("train"), small_table.rows("test")
    gaps = small_table.targets["band_gap"]
    expected = np.abs(gaps[test_rows] - gaps[train_rows].mean()).mean()
    assert metrics["band_gap_mae_ev"] == pytest.approx(float(expected), rel=1e-5)
    assert metrics["crystal_system_class_mean_accuracy"] <= 0.5


def test_trees_beat_the_majority(small_table: StickTable) -> None:
    trees, constant = tree_baseline(small_table, weakest=1.0), constant_baseline(small_table)
    assert trees["crystal_system_accuracy"] > constant["crystal_system_accuracy"]


def test_run_by_prototype_is_evaluated_by_prototype_and_by_nothing_else(
    small_dataset: Path, small_table: StickTable, tmp_path: Path
) -> None:
    recipe = override(recipe_by_name("tiny"), {"epochs": 0.1, "split_by": "prototype"})
    model = train(recipe, small_dataset, tmp_path / "run")
    table, path = with_split(small_table, by="prototype"), tmp_path / "predictions.h5"
    evaluate_checkpoint(model, small_dataset, predictions_file=path)
    with h5py.File(path) as file:
        assert file["row"][...].tolist() == table.rows("test").tolist()
    about = load_checkpoint(model).about
    assert about["training_materials"] == len(table.rows("train")) != len(small_table.rows("train"))
    with pytest.raises(DatasetError, match="contains training materials"):
        evaluate_checkpoint(model, small_dataset, split_by="formula")


def test_evaluate_writes_every_prediction_to_a_file(
    small_dataset: Path, small_table: StickTable, tmp_path: Path
) -> None:
    model = train(override(recipe_by_name("tiny"), {"epochs": 0.2}), small_dataset, tmp_path / "run")
    path = tmp_path / "predictions.h5"
    report = evaluate_checkpoint(model, small_dataset, split="test", predictions_file=path)
    metrics = report.metrics
    rows = small_table.rows("test")
    with h5py.File(path) as file:
        assert file["row"][...].tolist() == rows.tolist()
        chosen = file["predicted/crystal_system"][...].argmax(axis=1)
        assert accuracy(chosen, file["true/crystal_system"][...]) == metrics["crystal_system_accuracy"]
        assert file["id"].asstr()[0] == small_table.id[rows[0]]
    low, high = report.intervals["crystal_system_accuracy"]
    assert 0 <= low <= metrics["crystal_system_accuracy"] <= high <= 1
    energy = "formation_energy_per_atom_mae_mev_per_atom"
    assert report.intervals[energy][0] < metrics[energy] < report.intervals[energy][1]
    assert set(metrics) >= {"band_gap_interval_coverage", "space_group_set_coverage"}
    assert metrics["crystal_system_set_coverage"] > 0.7
    assert 1 <= metrics["crystal_system_set_size"] <= 7
    exact = small_table.energy_is_exact[rows]
    assert 0 < exact.sum() < len(rows)
    assert metrics["formation_energy_per_atom_mae_mev_per_atom"] > 0


def test_calibration_error_of_few_answers_is_mostly_chance() -> None:
    sure = np.tile([0.7, 0.3], (24, 1))
    mean, seldom = calibration_error_by_chance(sure)
    # of n answers of one confidence p, the mean distance of the share of right ones from p is √(2 p (1 - p) / (π n))
    assert mean == pytest.approx(np.sqrt(2 * 0.7 * 0.3 / (np.pi * 24)), rel=0.05)
    assert mean < seldom < 0.25
    assert calibration_error_by_chance(np.tile([0.7, 0.3], (2400, 1)))[0] == pytest.approx(mean / 10, rel=0.05)
