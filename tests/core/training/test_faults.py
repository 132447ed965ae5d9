"""Kills, signals, clocks and divergence at any moment of a training; and its curve is the stored one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.loading.batches import Batch, BatchMaker
from xxact_core.training import run as run_module
from xxact_core.training import run_folder, snapshots
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import Run, train
from xxact_core.training.run_folder import owning, read_status
from xxact_core.training.snapshots import check_snapshot

FIXTURES = Path(__file__).parents[2] / "fixtures"
DATASET = FIXTURES / "v0_1_0" / "dataset"
"""A dataset of 16 materials that never changes."""

RECIPE = replace(
    recipe_by_name("tiny"), batch_size=8, epochs=20, validate_every=7, save_every=3, validation_rows=8, seed=3
)  # fmt: skip
GOLDEN = replace(RECIPE, epochs=200 * 8 / 11, validate_every=1000, save_every=1000, lr_peak=1e-3)
"""200 steps."""

KILLS = 30


def losses(folder: Path) -> list[float]:
    return [event["loss"] for event in read_journal(folder / "journal.jsonl") if event["event"] == "step"]


def train_in_a_child(folder: Path, *, kill_after: float) -> bool:
    """Train in a copy of this process, which is killed after some time; whether it finished before."""
    pid = os.fork()
    if pid == 0:
        try:
            train(RECIPE, DATASET, folder)
        except BaseException:  # noqa: BLE001 - no test framework in the child
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + kill_after
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return True
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


@pytest.mark.slow
def test_training_killed_at_thirty_random_moments_ends_with_the_same_bits(tmp_path: Path) -> None:
    began = time.monotonic()
    whole = train(RECIPE, DATASET, tmp_path / "whole")
    once = time.monotonic() - began
    random, folder = np.random.default_rng(1), tmp_path / "killed"
    kills = finished = 0
    while kills < KILLS:
        if train_in_a_child(folder, kill_after=float(random.uniform(0, 0.5 * once))):
            finished += 1
            assert losses(folder) == losses(tmp_path / "whole")
            folder.rename(tmp_path / f"finished-{finished}")  # and once more from the beginning
        else:
            kills += 1
    resumed = train(RECIPE, DATASET, folder)
    first, second = load_checkpoint(whole).model.state_dict(), load_checkpoint(resumed).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses(folder) == losses(tmp_path / "whole")
    steps = [event["step"] for event in read_journal(folder / "journal.jsonl") if event["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1))


def interrupt(original: Callable, *, before: bool) -> Callable:
    """The function, with a SIGTERM before or after it, the first time it is called."""
    called: list[int] = []

    def interrupted(*arguments: object, **named: object) -> object:
        if before and not called:
            called.append(1)
            signal.raise_signal(signal.SIGTERM)
        result = original(*arguments, **named)
        if not before and not called:
            called.append(1)
            signal.raise_signal(signal.SIGTERM)
        return result

    return interrupted


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("place", ["loading", "step", "validation", "saving"])
def test_signal_in_any_phase_leaves_a_snapshot_and_the_run_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, before: bool
) -> None:
    holder, name = {
        "loading": (BatchMaker, "batch"),
        "step": (run_module, "gradients_of"),
        "validation": (run_module, "validate"),
        "saving": (snapshots, "save_tensors"),
    }[place]
    monkeypatch.setattr(holder, name, interrupt(getattr(holder, name), before=before))
    stopped = train(RECIPE, DATASET, tmp_path / "run")
    assert stopped.name == f"step-{check_snapshot(stopped)}"
    status = read_status(tmp_path / "run")
    assert status is not None
    assert status["state"] == "cancelled"
    monkeypatch.undo()
    train(RECIPE, DATASET, tmp_path / "run")
    train(RECIPE, DATASET, tmp_path / "whole")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


@pytest.mark.parametrize("pieces", [1, 4])
def test_curve_of_200_steps_is_the_stored_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    """In double precision, so that CPUs with other instructions give the same curve to 1e-6.

    A batch has one piece in runs of earlier versions, and four in new ones; their random numbers differ.
    """
    batch_in_single, model_in_single = BatchMaker.batch, run_module.initial_model

    def to_double(value: object) -> object:
        if isinstance(value, dict):
            return {name: to_double(part) for name, part in value.items()}
        return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    def batch_in_double(maker: BatchMaker, rows: np.ndarray, **more: Any) -> Batch:  # noqa: ANN401 - passed on
        batch = batch_in_single(maker, rows, **more)
        double: dict[str, Any] = {entry.name: to_double(getattr(batch, entry.name)) for entry in fields(batch)}
        return replace(batch, **double)

    monkeypatch.setattr(BatchMaker, "batch", batch_in_double)
    monkeypatch.setattr(run_module, "initial_model", lambda recipe: model_in_single(recipe).double())
    if pieces == 1:
        monkeypatch.setattr(run_module, "count_pieces", lambda _device: 1)
    train(GOLDEN, DATASET, tmp_path / "run")
    stored = json.loads((FIXTURES / "golden_curve.json").read_text())["losses_by_pieces"][str(pieces)]
    found = losses(tmp_path / "run")
    assert len(found) == len(stored) == 200
    np.testing.assert_allclose(found, stored, rtol=1e-6)
    assert np.mean(found[-20:]) < 0.7 * np.mean(found[:20])


@pytest.mark.parametrize("jump", [-86_400.0, 3600.0])
def test_clock_that_jumps_changes_no_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    honest, training_step = time.time, run_module.training_step
    steps: list[int] = []

    def stepped(run: Run) -> float:
        steps.append(1)
        monkeypatch.setattr(time, "time", lambda: honest() + jump * len(steps))
        return training_step(run)

    monkeypatch.setattr(run_module, "training_step", stepped)
    train(RECIPE, DATASET, tmp_path / "run")
    events = [event for event in read_journal(tmp_path / "run" / "journal.jsonl") if event["event"] == "step"]
    assert all(0 <= event["seconds_left"] < 300 for event in events)
    assert all(event["samples_per_second"] > 0 for event in events)


@pytest.mark.parametrize("kind", ["nan", "zero"])
def test_run_on_patterns_that_are_nan_or_zero_stops_or_stays_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    honest = BatchMaker.batch

    def bad(maker: BatchMaker, *arguments: object, **named: object) -> object:
        batch = honest(maker, *arguments, **named)
        wrong = torch.full_like(batch.intensity, float("nan")) if kind == "nan" else torch.zeros_like(batch.intensity)
        return replace(batch, intensity=wrong)

    train(replace(RECIPE, epochs=6), DATASET, tmp_path / "before")
    monkeypatch.setattr(BatchMaker, "batch", bad)
    if kind == "nan":
        with pytest.raises(FloatingPointError, match="last snapshot is kept"):
            train(RECIPE, DATASET, tmp_path / "run")
        assert losses(tmp_path / "run") == []
        assert read_status(tmp_path / "run")["state"] == "diverged"
    else:
        train(replace(RECIPE, epochs=6), DATASET, tmp_path / "run")
        assert np.isfinite(losses(tmp_path / "run")).all()


def test_disk_without_links_has_one_owner_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(run_folder.os, "link", without_links)
    with owning(tmp_path / "run"):
        assert run_folder.read_owner(tmp_path / "run") == run_folder.Owner.this_process()
    assert not (tmp_path / "run").exists()


def test_run_in_a_folder_with_blanks_and_letters_of_other_scripts(tmp_path: Path) -> None:
    folder = tmp_path / "mein Lauf äß 日本 'x'"
    model = train(replace(RECIPE, epochs=2), DATASET, folder)
    assert load_checkpoint(model).predicts_targets
