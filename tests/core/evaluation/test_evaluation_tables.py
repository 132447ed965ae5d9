"""Tables by crystal system come from files of predictions alone, and their numbers are those of the metrics."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score, silhouette_samples

from xxact_core.dataset.table import StickTable
from xxact_core.errors import DatasetError, InputError
from xxact_core.evaluation.labelled import Predictions
from xxact_core.evaluation.report import write_predictions
from xxact_core.evaluation.tables import (
    OF_ALL,
    OF_CLASSES,
    SystemPredictions,
    read_system_predictions,
    rows_to_csv,
    runs_to_rows,
    systems_to_rows,
)
from xxact_core.quantities import CRYSTAL_SYSTEMS


def answers_with(seed: int) -> SystemPredictions:
    random = np.random.default_rng(seed)
    true = random.choice(7, size=300, p=[0.05, 0.1, 0.3, 0.1, 0.1, 0.15, 0.2])
    chosen = np.where(random.random(300) < 0.7, true, random.integers(0, 7, 300))
    return SystemPredictions(true, chosen, random.normal(size=(300, 7)) + 2 * np.eye(7)[true])


def test_table_equals_scikit_learns() -> None:
    answers = answers_with(0)
    rows = {row["crystal_system"]: row for row in systems_to_rows(answers)}
    shares = recall_score(answers.true, answers.chosen, average=None)
    scores = silhouette_samples(answers.embedding, answers.true)
    for system, name in enumerate(CRYSTAL_SYSTEMS):
        assert rows[name]["accuracy"] == pytest.approx(shares[system])
        assert rows[name]["silhouette"] == pytest.approx(scores[answers.true == system].mean())
        assert rows[name]["materials"] == (answers.true == system).sum()
        assert rows[name]["accuracy_low"] <= rows[name]["accuracy"] <= rows[name]["accuracy_high"]
    assert rows[OF_ALL]["accuracy"] == pytest.approx((answers.chosen == answers.true).mean())
    assert rows[OF_CLASSES]["accuracy"] == pytest.approx(balanced_accuracy_score(answers.true, answers.chosen))
    assert rows[OF_ALL]["silhouette"] == pytest.approx(scores.mean())


def test_table_of_one_system_has_no_silhouette() -> None:
    cubic = SystemPredictions(np.full(5, 6), np.full(5, 6), np.zeros((5, 2)))
    assert [row["silhouette"] for row in systems_to_rows(cubic)] == ["", "", ""]


def test_several_runs_give_means_with_standard_errors() -> None:
    runs = [systems_to_rows(answers_with(seed)) for seed in range(3)]
    (cubic,) = [row for row in runs_to_rows(runs) if row["crystal_system"] == "cubic"]
    single = [row["accuracy"] for run in runs for row in run if row["crystal_system"] == "cubic"]
    assert cubic["accuracy"] == pytest.approx(np.mean(single))
    assert cubic["accuracy_standard_error"] == pytest.approx(np.std(single, ddof=1) / np.sqrt(3))
    with pytest.raises(InputError, match="two or more"):
        runs_to_rows(runs[:1])


def test_file_of_predictions_is_all_that_a_table_needs(small_table: StickTable, tmp_path: Path) -> None:
    random, rows = np.random.default_rng(0), np.arange(200)
    logits = {"crystal_system": random.normal(size=(200, 7)), "space_group": random.normal(size=(200, 230))}
    predictions = Predictions(rows, {}, logits, random.normal(size=(200, 4)), np.zeros((200, 1)))
    path = tmp_path / "predictions.h5"
    write_predictions(path, predictions, small_table, temperatures={"crystal_system": 1.3})
    with h5py.File(path) as file:
        assert file["predicted/crystal_system"].attrs["temperature"] == 1.3
    answers = read_system_predictions(path)
    assert (answers.true == small_table.targets["crystal_system"][rows]).all()
    table = list(csv.DictReader(io.StringIO(rows_to_csv(systems_to_rows(answers)))))
    assert table[-2]["crystal_system"] == OF_ALL
    assert float(table[-2]["accuracy"]) == pytest.approx((answers.true == answers.chosen).mean())


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.h5"
    with pytest.raises(DatasetError, match="notes"):
        read_system_predictions(path)
    path.write_text("no predictions")
    with pytest.raises(DatasetError, match="notes"):
        read_system_predictions(path)
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(DatasetError, match="notes"):
        read_system_predictions(path)
