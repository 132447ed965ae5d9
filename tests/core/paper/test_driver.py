"""All runs in one command: order, failures, stopping and resuming, two processes, and the pages that come of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.paper.cost import Costs
from xxact_core.paper.driver import COMMAND, Driver, Job, is_finished, jobs_of, plan
from xxact_core.paper.experiments import EXPERIMENTS, KINDS, SEEDS, STRATEGIES, TRIALS, kind_of, planned, trials_of
from xxact_core.paper.layouts import ACCURACY, MAE
from xxact_core.paper.runs import MATERIALS, read_materials, run_folder
from xxact_core.paper.trials import CHOICES, choose, read_choices
from xxact_core.training.journal import read_run
from xxact_core.training.run_folder import write_recipe

SETTINGS = ("epochs=1", "batch_size=16", "lr_peak=0.001", "validation_rows=8", "save_every=1000")
TWO = "crabnet-multi-target-[48]th"
"""Two small runs."""


def test_every_experiment_is_planned_after_what_it_starts_from_and_claims_have_three_seeds() -> None:
    runs = planned()
    assert len(set(runs)) == len(runs)
    assert {name for name, _ in runs} == set(EXPERIMENTS)
    for name, seed in runs:
        if (before := EXPERIMENTS[name].start_from) is not None:
            assert runs.index((before, seed)) < runs.index((name, seed))
    for name in STRATEGIES.values():
        assert [seed for other, seed in runs if other == name] == list(range(SEEDS))
    assert runs[0] == ("xxact-multi-target", 0), "the run that decides most comes first"
    assert {name for name, _ in runs[-5:]} <= {name for name in EXPERIMENTS if name.startswith("fcn")}


def test_trials_of_a_kind_come_before_its_first_run(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, size="narrow", settings={})
    assert {job.name for job in jobs} == {*EXPERIMENTS, *TRIALS}
    place = {job.key: number for number, job in enumerate(jobs)}
    for job in jobs:
        assert all(place[one] < place[job.key] for one in job.after)
        kind = kind_of(job.name) if job.name in EXPERIMENTS else None
        if kind is not None:
            assert {(name, 0) for name in trials_of(kind)} <= set(job.after)
    settings = {"batch_size": 16, "lr_peak": 1e-3}
    assert {job.name for job in jobs_of(tmp_path, size="narrow", settings=settings)} == set(EXPERIMENTS), (
        "both are set: no trials"
    )
    assert {job.name for job in jobs_of(tmp_path, size="paper", settings={})} == set(EXPERIMENTS), (
        "the paper states both"
    )


def test_best_trial_is_chosen_and_used(tmp_path: Path) -> None:
    """The errors of each trial are divided by their means, so that neither target decides alone."""
    for name, mae, accuracy in zip(trials_of("crabnet"), (300, 290, 200, 310, 280, 400), (0.3, 0.4, 0.6, 0.5, 0.5, 0.1),
                                   strict=True):  # fmt: skip
        run = run_folder(tmp_path, name, 0)
        run.mkdir()
        write_recipe(run, {"recipe": dict(TRIALS[name].settings), "data_digest": "", "seed": 0, "torch": ""})
        events = [{"event": "started", "step": 0, "steps": 2, "materials": 9},
                  {"event": "validation", "step": 2, "metrics": {MAE: mae, ACCURACY: accuracy}}]  # fmt: skip
        (run / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    chosen = choose(tmp_path, "crabnet", [run_folder(tmp_path, name, 0) for name in trials_of("crabnet")])
    assert chosen == dict(TRIALS[trials_of("crabnet")[2]].settings)
    assert read_choices(tmp_path) == {"crabnet": chosen}
    assert len(json.loads((tmp_path / CHOICES).read_text())["crabnet"]["trials"]) == len(trials_of("crabnet"))
    assert not any(job.name in trials_of("crabnet") for job in jobs_of(tmp_path, size="narrow", settings={}))


def test_chosen_settings_are_those_of_the_kind_alone(small_dataset: Path, tmp_path: Path) -> None:
    choices = {"crabnet": {"batch_size": 24, "lr_peak": 3e-3}}
    costs = Costs(small_dataset, tmp_path, size="narrow", settings={}, choices=choices)
    crabnet, fused = costs.recipe("crabnet-formation-energy", 0), costs.recipe("xxact-multi-target", 0)
    assert (crabnet.batch_size, crabnet.lr_peak) == (24, 3e-3)
    assert (fused.batch_size, fused.lr_peak) == (128, 1e-3)
    forced = Costs(small_dataset, tmp_path, size="narrow", settings={"batch_size": 32}, choices=choices)
    assert forced.recipe("crabnet-formation-energy", 0).batch_size == 32, "what is set holds"


def test_longer_runs_cost_more_and_finished_ones_nothing(small_dataset: Path, tmp_path: Path) -> None:
    settings = {"batch_size": 16, "lr_peak": 1e-3, "epochs": 8}
    costs = Costs(small_dataset, tmp_path, size="tiny", settings=settings)
    speeds = dict.fromkeys((*KINDS, "xxact, mxm", "crabnet, head alone"), 100.0)
    once, twice = (costs.of(f"fcn-formation-energy-{epochs}", 0, speeds) for epochs in (50, 100))
    assert (once.epochs, twice.epochs) == (8, 16)
    assert 1.9 < twice.seconds / once.seconds < 2.1
    assert once.seconds == pytest.approx(8 * once.materials / 100, rel=0.5)
    half = costs.of("crabnet-multi-target-2th", 0, speeds)
    assert half.materials == round(once.materials / 2)
    lines = plan(tmp_path, costs, processes=2, only=TWO)
    assert [line.name for line in lines] == ["crabnet-multi-target-4th", "crabnet-multi-target-8th"]
    assert all(line.state == "waiting" and line.hours > 0 for line in lines)
    timed = json.loads((tmp_path / "speeds.json").read_text())
    assert list(*timed.values()) == ["crabnet"], "one timing for both"


def test_a_run_that_fails_does_not_stop_the_others(small_dataset: Path, tmp_path: Path) -> None:
    """The fused model is larger than a batch, so that it and what starts from it fail."""
    said: list[str] = []
    settings = (*SETTINGS, "xxact-multi-target:batch_size=4000")
    driver = Driver(small_dataset, tmp_path, size="tiny", processes=2, settings=settings, notice=said.append,
                    only="*-multi-target*", low_priority=False)  # fmt: skip
    wanted = ("crabnet-multi-target-4th", "xxact-multi-target", "xxact-multi-target-to-band-gap")
    driver_jobs = [
        job
        for job in jobs_of(tmp_path, size="narrow", settings=driver.settings)
        if job.name in wanted and job.seed == 0
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xxact_core.paper.driver.jobs_of", lambda *_, **__: driver_jobs)
        summary = driver.run()
    assert summary.finished == ["crabnet-multi-target-4th, seed 0"]
    assert set(summary.failed) == {"xxact-multi-target, seed 0", "xxact-multi-target-to-band-gap, seed 0"}
    assert "4000" in summary.failed["xxact-multi-target, seed 0"]
    assert (tmp_path / "pages" / "claims.md").is_file(), "what is finished is shown"
    assert any("failed" in line for line in said)


def command(dataset: Path, folder: Path, *options: str) -> list[str]:
    settings = [word for text in SETTINGS for word in ("--set", text)]
    return [sys.executable, "-m", COMMAND, "paper", "all", str(dataset), str(folder), "--size", "tiny",
            "--normal-priority", *settings, *options]  # fmt: skip


@pytest.mark.long
def test_stopped_and_killed_runs_go_on(small_dataset: Path, tmp_path: Path) -> None:
    """After SIGTERM the run has a snapshot; after SIGKILL it goes on from it or finishes by itself."""
    long = ["--set", "epochs=150", "--set", "save_every=5", "--only", "crabnet-multi-target-4th"]
    name = "crabnet-multi-target-4th"
    journal = run_folder(tmp_path, name, 0) / "journal.jsonl"

    def run_until(steps: int) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(command(small_dataset, tmp_path, *long), start_new_session=True)
        ends = time.monotonic() + 240
        while time.monotonic() < ends and child.poll() is None:
            events = read_run(journal.parent) if journal.is_file() else []
            if max((event["step"] for event in events), default=0) >= steps:
                return child
            time.sleep(0.1)
        child.terminate()
        child.wait(timeout=60)
        pytest.fail(f"{steps} steps were not reached")

    child = run_until(10)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=120) == 0
    stopped = max(event["step"] for event in read_run(journal.parent))
    assert not is_finished(tmp_path, name, 0)
    assert list((journal.parent / "checkpoints").glob("step-*"))
    child = run_until(stopped + 10)
    child.kill()
    child.wait()
    assert CliRunner().invoke(app, command(small_dataset, tmp_path, *long)[3:]).exit_code == 0
    assert is_finished(tmp_path, name, 0)
    assert any(event["event"] == "resumed" for event in read_run(journal.parent))


@pytest.mark.long
def test_two_processes_under_torchrun_train_each_run_together(small_dataset: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    subprocess.run(
        [*launcher, *command(small_dataset, tmp_path, "--only", "crabnet-multi-target-4th")[1:]],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=300,
    )  # fmt: skip
    assert is_finished(tmp_path, "crabnet-multi-target-4th", 0)
    steps = [event["step"] for event in read_run(run_folder(tmp_path, "crabnet-multi-target-4th", 0))
             if event["event"] == "step"]  # fmt: skip
    assert steps == list(range(1, len(steps) + 1)), "one process alone wrote the journal"


def test_time_that_is_over_leaves_runs_for_later(small_dataset: Path, tmp_path: Path) -> None:
    driver = Driver(small_dataset, tmp_path, size="tiny", settings=SETTINGS, hours=0, only=TWO)
    summary = driver.run()
    assert (summary.finished, len(summary.left)) == ([], 2)
    materials = read_materials(tmp_path)
    assert materials is not None
    assert materials.dft == {}, "there is no dataset with DFT labels"
    assert (tmp_path / MATERIALS).read_text().count("\n") == len(materials.formula) + 1


def test_what_another_process_trains_is_left_to_it(small_dataset: Path, tmp_path: Path) -> None:
    driver = Driver(small_dataset, tmp_path, size="tiny", settings=SETTINGS, only=TWO)
    job = Job("crabnet-multi-target-4th", 0)
    run = run_folder(tmp_path, *job.key)
    run.mkdir()
    (run / "running.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": None}))
    assert driver._start([job]) == [job]
    assert not driver.running
