"""Trees on the lines of a pattern: the lines are where they are, and the trees answer as scikit-learn's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier

from xxact_core.checkpoint import load_checkpoint, make_model
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.errors import CheckpointError, RecipeError
from xxact_core.evaluation.evaluate import predict_rows
from xxact_core.evaluation.labelled import probabilities_of
from xxact_core.model.baselines.extra_trees import PEAKS, ExtraTrees, pattern_to_peak_features
from xxact_core.model.config import PRESETS, ForestSizes
from xxact_core.model.inputs import ModelInput
from xxact_core.patterns.grid import GRID
from xxact_core.training.config import override
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train
from xxact_core.training.trees import fit_forest, forest_to_tensors, training_features

SMALL = override(recipe_by_name("extra-trees"), {"model_settings": {"forest": {"trees": 12, "min_samples_leaf": 2}}})


def pattern_of(*lines: tuple[float, float]) -> torch.Tensor:
    """Gaussian lines at (2θ, height), σ = 0.1°."""
    two_theta = torch.tensor(GRID.two_theta)
    profile = sum(height * torch.exp(-0.5 * ((two_theta - position) / 0.1) ** 2) for position, height in lines)
    return torch.as_tensor(profile, dtype=torch.float32).unsqueeze(0)


def positions(lines: torch.Tensor) -> list[float]:
    found = [float(value) for value in lines[0, :PEAKS] if value > 0]
    return [2 * float(np.degrees(np.arcsin(value))) for value in found]


def test_lines_are_found_between_the_points_of_the_grid() -> None:
    placed = [(12.3456, 30.0), (25.001, 100.0), (25.4, 40.0), (60.019, 1.5)]
    lines = pattern_to_peak_features(pattern_of(*placed))
    assert positions(lines) == pytest.approx([position for position, _ in placed], abs=0.003)
    assert lines[0, PEAKS] == 4


def test_lines_that_no_measurement_shows_do_not_count() -> None:
    lines = pattern_to_peak_features(pattern_of((20, 100), (40, 0.9), (60, 1.1)))
    assert positions(lines) == pytest.approx([20, 60], abs=0.003)


def test_more_than_ten_lines_are_counted_and_the_first_ten_kept() -> None:
    placed = [(10.0 + 5 * number, 50.0 + number) for number in range(14)]
    lines = pattern_to_peak_features(pattern_of(*placed))
    assert lines[0, PEAKS] == 14
    assert positions(lines) == pytest.approx([position for position, _ in placed[:PEAKS]], abs=0.003)


def test_a_saturated_line_is_one_line() -> None:
    pattern = pattern_of((30, 200), (50, 20)).clamp(max=100)
    assert pattern_to_peak_features(pattern)[0, PEAKS] == 2


def test_noise_on_the_flank_of_a_line_makes_no_other_line() -> None:
    pattern = pattern_of((30, 100))
    pattern[0, int((30.06 - GRID.start) / GRID.step)] *= 1.1
    assert pattern_to_peak_features(pattern)[0, PEAKS] == 1


def test_peaks_in_masked_windows_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(PRESETS["extra-trees"], seed=0)
    assert isinstance(model, ExtraTrees)
    features: list[torch.Tensor] = []
    monkeypatch.setattr(model, "leaf_means", lambda lines: features.append(lines) or torch.full((len(lines), 7), 1 / 7))
    hidden = torch.zeros(1, GRID.windows, dtype=torch.bool)
    hidden[0, 0] = True
    model.embed(ModelInput(pattern_of((7, 100), (31, 50)), hidden, torch.tensor([[8]]), torch.tensor([[1.0]])))
    assert positions(features[0]) == pytest.approx([31], abs=0.003)


@pytest.mark.parametrize("min_samples_leaf", [1, 4])
def test_trees_answer_as_scikit_learns(small_table: StickTable, min_samples_leaf: int) -> None:
    lines, classes = training_features(small_table, SMALL)
    forest = ExtraTreesClassifier(20, min_samples_leaf=min_samples_leaf, random_state=5).fit(lines, classes)
    sizes = ForestSizes(trees=20, min_samples_leaf=min_samples_leaf)
    model = fit_forest(lines, classes, replace(PRESETS["extra-trees"], forest=sizes), seed=5)
    noise = np.random.default_rng(0).normal(scale=0.01, size=lines.shape).astype(np.float32)
    for features in (lines, lines + noise):
        answers = model.leaf_means(torch.from_numpy(features))
        wanted = np.zeros(answers.shape)
        wanted[:, forest.classes_] = forest.predict_proba(features)
        np.testing.assert_allclose(answers.numpy(), wanted, atol=1e-6)


def test_trees_that_lead_nowhere_are_refused(small_table: StickTable) -> None:
    lines, classes = training_features(small_table, SMALL)
    forest = ExtraTreesClassifier(3, random_state=0).fit(lines, classes)
    weights = forest_to_tensors(forest, outputs=7)
    sizes = ForestSizes(trees=3, nodes=len(weights["feature"]), leaves=len(weights["leaf_probabilities"]))
    config = replace(PRESETS["extra-trees"], forest=sizes)
    ExtraTrees(config).load_state_dict(weights)
    for name, wrong in (("right_or_leaf", 0), ("right_or_leaf", 10**6), ("feature", 40), ("feature", -7), ("root", -1)):
        damaged = {key: value.clone() for key, value in weights.items()}
        damaged[name][0] = wrong
        with pytest.raises(CheckpointError, match="damaged"):
            ExtraTrees(config).load_state_dict(damaged)


def test_trees_answer_one_target_with_classes() -> None:
    for targets in (("band_gap",), ("crystal_system", "space_group")):
        with pytest.raises(RecipeError, match="single classification target"):
            make_model(replace(PRESETS["extra-trees"], targets=targets), seed=0)
    groups = make_model(replace(PRESETS["extra-trees"], targets=("space_group",)), seed=0)
    assert groups.heads(torch.full((2, 230), 1 / 230))["space_group"].shape == (2, 230)


def test_trees_grow_into_a_run_like_any_other(small_dataset: Path, small_table: StickTable, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    checkpoint = load_checkpoint(train(SMALL, small_dataset, folder))
    events = [event["event"] for event in read_journal(folder / "journal.jsonl")]
    assert events == ["started", "grown", "validation", "finished"]
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert 0 < checkpoint.calibration["crystal_system"]["temperature"] < 20
    assert checkpoint.about["parameters"] == checkpoint.model.config.forest.nodes > 12
    rows = small_table.rows("train")
    maker = BatchMaker(small_table, device=torch.device("cpu"))
    predictions = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics)
    chosen = probabilities_of(predictions, {})["crystal_system"].argmax(axis=1)
    assert (chosen == small_table.targets["crystal_system"][rows]).mean() > 0.7
    before = (folder / "model" / "model.safetensors").stat().st_mtime_ns
    train(SMALL, small_dataset, folder)
    assert (folder / "model" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RecipeError, match="seed"):
        train(replace(SMALL, seed=4), small_dataset, folder)
    again = load_checkpoint(train(SMALL, small_dataset, tmp_path / "again")).model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in checkpoint.model.state_dict().items())


def test_trees_take_no_weights_to_begin_with(small_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="grown anew"):
        train(replace(SMALL, start_from="elsewhere"), small_dataset, tmp_path / "run")


def test_grown_trees_name_a_measured_pattern(small_dataset: Path, tmp_path: Path, examples: Path) -> None:
    folder = train(SMALL, small_dataset, tmp_path / "run")
    command = [
        sys.executable,
        "-m",
        "xxact_core.commands.main",
        "predict",
        str(examples / "corundum.prn"),
        "--formula",
        "Al2O3",
    ]
    result = subprocess.run(
        [*command, "--wavelength", "CuKa", "--model", str(folder)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "crystal system" in result.stdout
    assert "space group" not in result.stdout
