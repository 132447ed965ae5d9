"""The scripts for a GPU machine, from data set to table, on whatever machine this is."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.table import StickTable
from xxact_core.model.config import PRESETS
from xxact_core.training.config import Recipe
from xxact_core.training.recipes import recipe_by_name

QUICK = ("batch_size=32", "validation_rows=16")


@pytest.fixture(autouse=True)
def _scripts_can_be_imported(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.syspath_prepend(repository)


class Script:
    """Runs a script's `main` with arguments, and returns the lines that it prints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, name: str, *arguments: object) -> list[str]:
        self.monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        importlib.import_module(f"benchmarks.gpu.{name}").main()
        return self.capsys.readouterr().out.splitlines()


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], repository: Path) -> Script:
    monkeypatch.syspath_prepend(repository)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    return Script(monkeypatch, capsys)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_pretraining_and_what_comes_after_it_are_trained_once(
    small_dataset: Path, tmp_path: Path, run_script: Script
) -> None:
    command = ("paper_tables", small_dataset, tmp_path / "runs", "--size", "tiny", "--epochs", 0.1, "--seconds", 250)
    command += ("--only", "mxm-then-targets", "pretrain-mxm", "--set", *QUICK, "--output", tmp_path)
    table = run_script(*command)
    assert [row.split("|")[1].strip() for row in table[-2:]] == ["pretrain-mxm-seed0", "mxm-then-targets-seed0"]
    pretrained, tuned = read_lines(tmp_path / "paper_tables.jsonl")
    assert set(pretrained["metrics"]) == {"silhouette_mean"}
    assert 0 <= tuned["metrics"]["crystal_system_accuracy"] <= 1
    assert tuned["metrics"] != tuned["metrics_distorted"]
    began_with = json.loads((tmp_path / "runs" / "mxm-then-targets-seed0" / "recipe.json").read_text())["recipe"]
    assert began_with["start_from"] == str((tmp_path / "runs" / "pretrain-mxm-seed0" / "model").resolve())

    again = run_script(*command)
    assert again == table[-4:], "what is done is not done again"
    assert read_lines(tmp_path / "paper_tables.jsonl") == [pretrained, tuned]


SHIP = ("--recipe", "tiny", "--set", *QUICK, "model_settings={}", "average=0.9", "threads=1", "distortions=null")


def test_a_checkpoint_to_ship_is_halved_and_carries_its_own_metrics(
    small_dataset: Path, small_table: StickTable, tmp_path: Path, run_script: Script
) -> None:
    place = (small_dataset, tmp_path / "run", "--output", tmp_path / "ship")
    said = json.loads(run_script("shipped", *place, "--planned", 1, "--seconds", 250, *SHIP)[-1])
    checkpoint = load_checkpoint(tmp_path / "ship" / "model")
    assert said["bytes"] == pytest.approx((tmp_path / "ship" / "model" / "model.safetensors").stat().st_size, rel=0.2)
    assert checkpoint.about["test_metrics"] == said["metrics"]
    assert said["epochs"] == pytest.approx(32 / len(small_table.rows("train")))
    assert said["steps"] == 1, "one step is the least, where no time is left for more"


def test_a_checkpoint_to_ship_goes_on_with_the_epochs_that_were_chosen(
    small_dataset: Path, tmp_path: Path, run_script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("benchmarks.gpu.shipped"), "PROBE", 0.5)
    place = (small_dataset, tmp_path / "run", "--output", tmp_path / "ship")
    for planned in (100_000, 1):
        printed = run_script("shipped", *place, "--planned", planned, "--seconds", 8, "--reserve", 8, *SHIP)
        said = json.loads(printed[-1])
        assert Path(said["unfinished"]).parent == tmp_path / "run" / "checkpoints"
        assert said["epochs"] > 100
    assert not (tmp_path / "ship").exists()


def test_floors_are_measured_and_written_as_they_come(small_dataset: Path, tmp_path: Path, run_script: Script) -> None:
    command = ("floors", small_dataset, "--presets", "tiny", "--batches", 4, 8, "--no-compile", "--output", tmp_path)
    table = run_script(*command, "--seconds", 200)
    about, *lines = read_lines(tmp_path / "floors.jsonl")
    assert about["torch"]
    steps = [line for line in lines if line["what"] == "tiny"]
    assert [line["batch"] for line in steps] == [4, 8]
    for line in steps:
        assert line["finite"]
        assert line["share_of_batches"] > 0
        assert line["gigaflop_per_sample"] == pytest.approx(0.0033, rel=0.2)
    assert len(table) == len(lines) + 2


def test_a_run_that_fails_is_said_and_does_not_stop_the_others(tmp_path: Path) -> None:
    from benchmarks.gpu.many_runs import Job, run_jobs

    jobs = [Job("nothing-to-read", recipe_by_name("tiny")), Job("waits", recipe_by_name("tiny"), "nothing-to-read")]
    results = run_jobs(jobs, tmp_path / "no data", tmp_path / "runs", seconds=200, together=2)
    assert results == {"nothing-to-read": None, "waits": None}
    assert "no data" in (tmp_path / "runs" / "nothing-to-read" / "error.txt").read_text()
    assert not (tmp_path / "runs" / "waits").exists()


def test_nothing_is_begun_that_cannot_end(tmp_path: Path) -> None:
    from benchmarks.gpu.many_runs import Job, run_jobs

    assert run_jobs([Job("late", recipe_by_name("tiny"))], tmp_path, tmp_path / "runs", seconds=20, together=1) == {
        "late": None
    }
    assert not (tmp_path / "runs").exists()


def test_every_experiment_is_a_recipe_that_can_be_run_in_every_size() -> None:
    from benchmarks.gpu.paper_tables import EXPERIMENTS, SIZES, experiment_to_job

    names = [experiment.name for experiment in EXPERIMENTS]
    for size in SIZES:
        for experiment in EXPERIMENTS:
            job = experiment_to_job(experiment, epochs=2, size=size)
            assert isinstance(job.recipe, Recipe)
            assert job.recipe.preset in PRESETS
            assert job.after is None or names.index(job.after) < names.index(job.name)


def test_the_larger_model_that_ships_is_at_most_sixteen_megabytes() -> None:
    from benchmarks.gpu.shipped import LARGER, LARGEST
    from xxact_core.checkpoint import make_model
    from xxact_core.training.config import override

    recipe = override(recipe_by_name("compact"), LARGER)
    model = make_model(recipe.model_config(), seed=0)
    size = 2 * sum(value.numel() for value in model.state_dict().values())
    assert 0.5 * LARGEST < size <= LARGEST
