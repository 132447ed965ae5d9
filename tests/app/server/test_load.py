"""Twenty sessions and a training at the same time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from serving_fixtures import served

from benchmarks.speed.app_load import measure_sessions, page_latency
from xxact_app.jobs.registry import Jobs
from xxact_app.library.workspace import open_workspace
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.training.journal import read_journal

DATASET = Path(__file__).parents[2] / "fixtures" / "v0_1_0" / "source" / "structures.parquet"
TRAINING = ("--recipe", "tiny", "--set", "epochs=100000", "--set", "batch_size=8", "--set", "validation_rows=8")
SLOWEST = 0.5
"""95th percentile of the time of a page on a machine of two cores with nothing else to do [s]."""


def crowding() -> float:
    """By how much other programs slow this machine down: wall time over CPU time of some work, at least 1."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 1:
        sum(range(1000))
    return max(1.0, (time.perf_counter() - wall) / (time.process_time() - cpu))


@pytest.mark.long
def test_pages_are_served_to_twenty_sessions_beside_a_training(tmp_path: Path) -> None:
    place = open_workspace(tmp_path / "work", sources=())
    dataset, run = place.datasets / "small", place.runs / "load"
    build_dataset(BuildPlan(source=str(DATASET), shard_rows=8, seed=52), dataset, workers=1, progress=False)
    crowded = crowding()
    with served(tmp_path, workspace=place.root) as server:
        jobs = Jobs(place.jobs, grace=20)
        job = jobs.start("train", ["train", str(dataset), str(run), *TRAINING], name="load", output=run, about={})
        try:
            deadline = time.monotonic() + 300
            while not (run / "journal.jsonl").is_file() and time.monotonic() < deadline:
                time.sleep(0.2)
            latency = page_latency(server.url, requests=20)
            load = measure_sessions(server.url, server.process.pid, sessions=20, seconds=20)
            assert jobs.get(job.key).state == "running"
        finally:
            jobs.cancel(job.key)
            while jobs.get(job.key).active:
                time.sleep(0.2)
    assert latency < SLOWEST * crowded
    assert load["p95_20_sessions_seconds"] < crowded
    assert len(read_journal(run / "journal.jsonl")) > 10
