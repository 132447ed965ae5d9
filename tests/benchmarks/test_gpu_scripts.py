"""The scripts for a GPU machine, from dataset to table, on whatever machine this is."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.table import StickTable
from xxact_core.errors import RecipeError
from xxact_core.evaluation.report import evaluate_checkpoint
from xxact_core.paper.layouts import ACCURACY
from xxact_core.paper.runs import VALIDATIONS
from xxact_core.training.recipes import recipe_by_name

QUICK = ("batch_size=32", "validation_rows=16")


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
    monkeypatch.setenv("PYTHONPATH", str(repository))
    return Script(monkeypatch, capsys)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_pretraining_and_what_comes_after_it_are_trained_once(
    small_dataset: Path, tmp_path: Path, run_script: Script
) -> None:
    command = ("paper_tables", small_dataset, tmp_path / "runs", "--size", "tiny", "--seconds", 250)
    command += ("--only", "xxact-mxm", "pretrain-mxm", "--set", "epochs=0.1", *QUICK, "--output", tmp_path)
    table = run_script(*command)
    assert [row.split("|")[1].strip() for row in table[-2:]] == ["pretrain-mxm-seed0", "xxact-mxm-seed0"]
    pretrained, tuned = read_lines(tmp_path / "paper_tables.jsonl")
    assert set(pretrained["metrics"]) == {"silhouette_mean"}
    assert 0 <= tuned["metrics"]["crystal_system_accuracy"] <= 1
    assert tuned["metrics"] != tuned["metrics_distorted"]
    began_with = json.loads((tmp_path / "runs" / "xxact-mxm-seed0" / "recipe.json").read_text())["recipe"]
    assert began_with["start_from"] == str((tmp_path / "runs" / "pretrain-mxm-seed0" / "model").resolve())

    again = run_script(*command)
    assert again == table[-4:], "what is done is not done again"
    assert read_lines(tmp_path / "paper_tables.jsonl") == [pretrained, tuned]
    (test,) = [
        row["value"]
        for row in json.loads((tmp_path / "table2.json").read_text())["rows"]
        if (row["experiment"], row["metric"]) == ("xxact-mxm", ACCURACY)
    ]
    assert test == pytest.approx(100 * tuned["metrics"][ACCURACY]), "the paper's table shows another run"
    with pytest.raises(RecipeError, match="epochs"):
        run_script(*("epochs=0.2" if part == "epochs=0.1" else part for part in command))


SHIP = ("--recipe", "tiny", "--set", *QUICK, "model_settings={}", "ema_decay=0.9", "threads=1", "augmentation=null")


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
        assert line["gigaflop_per_sample"] == pytest.approx(0.0023, rel=0.2)
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


@pytest.mark.parametrize("size", ["paper", "small", "tiny"])
def test_every_experiment_is_a_recipe_that_can_be_run_in_every_size(
    small_dataset: Path, small_table: StickTable, size: str
) -> None:
    from benchmarks.gpu.paper_tables import experiments_to_jobs

    jobs = experiments_to_jobs(small_dataset, Path("runs"), size=size, settings={"epochs": 2, "batch_size": 4})
    materials = len(small_table.rows("train"))
    names = [job.name for job in jobs]
    assert len(names) == len(set(names))
    assert all(job.after is None or names.index(job.after) < names.index(job.name) for job in jobs)
    assert {job.recipe.preset for job in jobs if job.name != "extra-trees"} == {size}
    (whole,) = (job.recipe for job in jobs if job.name == "xxact-multi-target")
    assert whole.validate_every == pytest.approx(2 * materials / 4 / VALIDATIONS, abs=0.5), "of the batches as set"


def test_every_ablation_has_the_budget_of_the_reference() -> None:
    from benchmarks.gpu.ablations import ablations_to_jobs

    jobs = {job.name: job for job in ablations_to_jobs({"epochs": 15, "optimiser": "muon"})}
    names = list(jobs)
    assert jobs["mxm-40"].after == "mxm-40-pretraining"
    for name, job in jobs.items():
        if job.after is not None:
            assert names.index(job.after) < names.index(name)
            assert job.recipe.epochs + jobs[job.after].recipe.epochs == 15
            assert jobs[job.after].recipe.objectives != job.recipe.objectives
        elif not name.endswith("-pretraining"):
            assert job.recipe.epochs == (7.5 if name == "half-length" else 15)
    assert jobs["mxm-40"].recipe.epochs == jobs["half-length"].recipe.epochs, "the baseline of pretraining"
    assert {job.recipe.optimiser for job in jobs.values()} == {"muon"}
    (named,) = (job.recipe for job in ablations_to_jobs({"ema_decay": 0.9}) if job.name == "ema")
    assert named.ema_decay == 0.99, "a setting took away the change under test"
    with pytest.raises(RecipeError, match="seed"):
        list(ablations_to_jobs({"seed": 3}))


def test_ablations_are_judged_on_the_validation_split(
    small_dataset: Path, small_table: StickTable, tmp_path: Path, run_script: Script
) -> None:
    place = (small_dataset, tmp_path / "runs", "--only", "reference", "--seconds", 250, "--output", tmp_path)
    run_script("ablations", *place, "--set", "preset=tiny", "model_settings={}", "epochs=0.1", *QUICK)
    (result,) = read_lines(tmp_path / "ablations.jsonl")
    assert result["judged_on"] == "validation"
    model = tmp_path / "runs" / "reference-seed0" / "model"
    alone = evaluate_checkpoint(model, small_dataset, split="validation").metrics
    assert result["metrics"][ACCURACY] == pytest.approx(alone[ACCURACY])
    assert len(small_table.rows("validation")) != len(small_table.rows("test"))


def test_the_larger_model_that_ships_is_at_most_sixteen_megabytes() -> None:
    from benchmarks.gpu.shipped import LARGER, LARGEST
    from xxact_core.checkpoint import make_model
    from xxact_core.training.config import override

    recipe = override(recipe_by_name("compact"), LARGER)
    model = make_model(recipe.model_config(), seed=0)
    size = 2 * sum(value.numel() for value in model.state_dict().values())
    assert 0.5 * LARGEST < size <= LARGEST
