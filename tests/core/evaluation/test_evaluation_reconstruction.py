from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from xxact_core.checkpoint import Checkpoint, make_model, save_checkpoint
from xxact_core.commands import main as cli
from xxact_core.compositions.formula import parse_formula
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.errors import CheckpointError
from xxact_core.evaluation.reconstruction import (
    RowErrors,
    draw_windows,
    reconstruct_pattern,
    reconstruct_rows,
    reconstruction_metrics,
    trained_to_reconstruct,
)
from xxact_core.model.config import preset
from xxact_core.objectives.masked_patterns import reconstruction_loss
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.peak_profiles.reference import broaden_sticks

MXM = {"recipe": {"objectives": ["mxm"]}}


def pretrained(*, intensity_scale: str = "linear") -> Checkpoint:
    model = make_model(replace(preset("tiny"), intensity_scale=intensity_scale), seed=0).eval()
    return Checkpoint(model, statistics={}, about=MXM)


def masks(*numbers: int) -> np.ndarray:
    flags = np.zeros(GRID.windows, dtype=bool)
    flags[list(numbers)] = True
    return flags


@pytest.mark.parametrize("intensity", ["linear", "sqrt", "sqrt_and_log"])
def test_the_error_is_that_of_the_objective_in_percent(small_table: StickTable, intensity: str) -> None:
    checkpoint, pattern = pretrained(intensity_scale=intensity), broaden_sticks(small_table.sticks(0))
    made = reconstruct_pattern(checkpoint, pattern, parse_formula("NaCl"), masked=masks(3, 9))
    assert np.isfinite(made.error).tolist() == masks(3, 9).tolist()
    truth = torch.tensor(pattern.intensity).unsqueeze(0) / 100
    expected = torch.tensor(made.expected.reshape(1, GRID.windows, -1)) / 100
    loss = reconstruction_loss(expected, truth, torch.tensor(masks(3, 9)).unsqueeze(0))
    assert np.mean((made.error[[3, 9]] / 100) ** 2) == pytest.approx(float(loss), rel=1e-4)


def test_what_is_masked_cannot_change_what_is_expected(small_table: StickTable) -> None:
    checkpoint, pattern = pretrained(), broaden_sticks(small_table.sticks(0))
    strongest = int(pattern.intensity.argmax()) // GRID.window_points
    other = (strongest + 4) % GRID.windows
    changed = pattern.intensity.copy()
    changed[other * GRID.window_points : (other + 1) * GRID.window_points] = 50.0
    twin = GriddedPattern(changed, pattern.coverage)
    for masked, same in ((masks(other), True), (masks(strongest), False)):
        one, two = (reconstruct_pattern(checkpoint, it, parse_formula("NaCl"), masked=masked) for it in (pattern, twin))
        assert np.array_equal(one.expected, two.expected) is same


def test_windows_that_were_not_measured_are_hidden_and_never_judged(small_table: StickTable) -> None:
    whole = broaden_sticks(small_table.sticks(0))
    coverage = np.ones(GRID.points, dtype=bool)
    coverage[-3 * GRID.window_points :] = False
    intensity = np.where(coverage, whole.intensity, 0)
    partial = GriddedPattern(100 * intensity / intensity.max(), coverage)
    made = reconstruct_pattern(pretrained(), partial, parse_formula("NaCl"), masked=masks(2, 16))
    assert made.masked.tolist() == masks(2).tolist()
    assert made.unmeasured.tolist() == masks(14, 15, 16).tolist()
    assert np.isnan(made.error[14:]).all()


def test_an_error_over_a_set_is_the_mean_over_its_patterns(small_table: StickTable) -> None:
    checkpoint, rows = pretrained(), np.arange(30)
    maker = BatchMaker(small_table, device=torch.device("cpu"))
    errors = reconstruct_rows(checkpoint, maker, rows, ratio=0.5, batch_size=7).over_windows()
    assert 0.4 < errors.patterns.sum() / (30 * GRID.windows) < 0.6
    error, empty = errors.total
    weights = errors.patterns / errors.patterns.sum()
    assert error == pytest.approx(np.sqrt((weights * errors.error**2).sum()))
    assert empty > 0
    model = checkpoint.model
    torch.nn.init.constant_(model.reconstruction_head[0].weight, 0.0)
    torch.nn.init.constant_(model.reconstruction_head[0].bias, -1.0)
    nothing = reconstruct_rows(checkpoint, maker, rows, ratio=0.5).over_windows()
    np.testing.assert_allclose(nothing.error, nothing.empty)


def test_gain_is_the_part_of_the_error_that_is_saved_in_all_and_in_cubic_materials() -> None:
    masked = np.array([[True, False], [True, True], [False, True]])
    empty = np.array([[4.0, 0.0], [16.0, 4.0], [0.0, 4.0]])
    errors = RowErrors(masked, error=np.array([[4.0, 0.0], [1.0, 0.25], [0.0, 1.75]]), empty=empty)
    systems = np.array([0.0, 6.0, np.nan])
    metrics = reconstruction_metrics(errors, systems)
    assert metrics["reconstruction_gain"] == pytest.approx(1 - np.sqrt(7 / 28))
    assert metrics["reconstruction_gain_cubic"] == pytest.approx(0.75)  # 1 - sqrt(1.25 / 20)
    of_windows = errors.over_windows()
    assert of_windows.patterns.tolist() == [2, 2]
    np.testing.assert_allclose(of_windows.empty, np.sqrt([10, 4]))
    assert "reconstruction_gain_cubic" not in reconstruction_metrics(errors, np.zeros(3))


def test_a_model_that_never_saw_masks_is_refused(small_table: StickTable) -> None:
    checkpoint = replace(pretrained(), about={"recipe": {"objectives": ["targets"]}})
    assert not trained_to_reconstruct(checkpoint.about)
    with pytest.raises(CheckpointError, match="pretrain-mxm"):
        reconstruct_pattern(checkpoint, broaden_sticks(small_table.sticks(0)), parse_formula("NaCl"), masked=masks(1))


@pytest.mark.parametrize("ratio", [0.05, 0.25, 0.75])
def test_windows_are_drawn_among_the_visible_ones(ratio: float) -> None:
    visible = ~masks(0, 1, 2, 16)
    drawn = [draw_windows(visible, ratio=ratio, seed=seed) for seed in range(60)]
    assert not any(flags[~visible].any() for flags in drawn)
    assert all(flags.any() for flags in drawn)
    assert np.mean([flags[visible].mean() for flags in drawn]) == pytest.approx(max(ratio, 1 / 13), abs=0.05)


def test_the_command_tells_the_errors_of_a_split(tmp_path: Path, small_dataset: Path) -> None:
    save_checkpoint(tmp_path, pretrained())
    line = ["reconstruct", str(tmp_path), str(small_dataset), "--ratio", "0.25", "--json"]
    result = CliRunner().invoke(cli.app, line)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert len(told["error"]) == len(told["empty"]) == GRID.windows
    assert told["total_error"] > 0
    assert "   all" in CliRunner().invoke(cli.app, line[:-1]).stdout
