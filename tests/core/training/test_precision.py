"""The precision of a run: what a CPU computes faster, kept when it is resumed, and told when it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import xxact_core.training.precision as module
from xxact_core.checkpoint import load_checkpoint
from xxact_core.training.config import Recipe
from xxact_core.training.curves import describe_progress
from xxact_core.training.journal import read_run
from xxact_core.training.precision import NARROWEST, Precision, bfloat16_speedup, choose_precision, describe_cpu
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run, train, training_step, validate_and_save

CPU = torch.device("cpu")
WIDE = replace(recipe_by_name("compact"), precision="auto")
QUICK = Recipe(
    name="quick", preset="tiny", epochs=0.2, batch_size=16, validate_every=2, save_every=2, lr_peak=1e-3,
    targets=("crystal_system",), task_sampling="all",
)  # fmt: skip


def pretend(monkeypatch: pytest.MonkeyPatch, *, speedup: float, cpu: str = "some CPU") -> None:
    """A CPU of this name and speed, on which the narrowest models are as any other."""
    monkeypatch.setattr(module, "bfloat16_speedup", lambda: speedup)
    monkeypatch.setattr(module, "describe_cpu", lambda: cpu)
    monkeypatch.setattr(module, "NARROWEST", 1)


@pytest.mark.parametrize(("speedup", "expected"), [(2.1, "bfloat16"), (1.1, "float32"), (0.1, "float32")])
def test_cpu_gets_what_it_computes_faster(monkeypatch: pytest.MonkeyPatch, speedup: float, expected: str) -> None:
    pretend(monkeypatch, speedup=speedup)
    assert choose_precision(WIDE, CPU) == Precision(expected, "some CPU")


def test_recipe_and_gpu_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bfloat16_speedup", lambda: pytest.fail("nothing is to be measured"))
    assert choose_precision(replace(WIDE, precision="float32"), CPU) == Precision("float32", "")
    assert choose_precision(replace(WIDE, precision="bfloat16"), CPU) == Precision("bfloat16", "")
    assert choose_precision(WIDE, torch.device("cuda")) == Precision("bfloat16", "")
    narrow = recipe_by_name("tiny")
    assert module.widest(narrow.model_config()) < NARROWEST <= module.widest(WIDE.model_config())
    assert choose_precision(narrow, CPU).name == "float32"


def test_measured_speed_leaves_threads_and_random_numbers_alone() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    assert 0.01 < bfloat16_speedup() < 10
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_limit_of_onednn_is_part_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    whole = describe_cpu()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert describe_cpu() == f"{whole}, oneDNN limited to AVX2"


def test_choice_is_recorded_and_told(small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, speedup=2.0)
    told: list[str] = []
    train(QUICK, small_dataset, tmp_path / "run", notice=told.append)
    assert told == ["precision bfloat16, which is the fastest on this CPU"]
    (event,) = (event for event in read_run(tmp_path / "run") if event["event"] == "precision")
    assert event == {"event": "precision", "step": 0, "precision": "bfloat16", "cpu": "some CPU", "former": ""}
    assert "precision bfloat16 (some CPU)" in describe_progress(tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "model").about["recipe"]["precision"] == "bfloat16"


def stopped(dataset: Path, folder: Path) -> None:
    """A run that was interrupted after two steps, with a snapshot."""
    run = open_run(QUICK, dataset, folder, device=CPU)
    while run.step < 2:
        training_step(run)
        validate_and_save(run)


def test_resumed_run_keeps_its_precision_on_the_same_cpu_alone(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, speedup=2.0)
    stopped(small_dataset, tmp_path / "run")
    pretend(monkeypatch, speedup=0.1)  # as measured on a busy machine
    told: list[str] = []
    run = open_run(QUICK, small_dataset, tmp_path / "run", device=CPU, notice=told.append)
    assert (run.step, run.recipe.precision) == (2, "bfloat16")
    assert told == ["precision bfloat16, which is the fastest on this CPU"]
    pretend(monkeypatch, speedup=0.1, cpu="another CPU")
    run = open_run(QUICK, small_dataset, tmp_path / "run", device=CPU, notice=told.append)
    assert run.recipe.precision == "float32"
    assert told[1:] == ["the precision changed from bfloat16 to float32: the run is resumed on another CPU"]
    last = [event for event in read_run(tmp_path / "run") if event["event"] == "precision"][-1]
    assert (last["precision"], last["former"], last["cpu"], last["step"]) == ("float32", "bfloat16", "another CPU", 2)
    assert "precision float32, bfloat16 until step 2 (another CPU)" in describe_progress(tmp_path / "run")


def test_resumed_run_of_0_1_0_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, speedup=2.0)
    events = [{"event": "started", "steps": 5, "materials": 9}, {"event": "saved", "step": 2}]
    assert choose_precision(WIDE, CPU, events=events, resumed=True) == Precision("float32", "some CPU")
