"""The queue of jobs: a few run, the others wait, and nothing depends on a server or a page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xxact_app.jobs import registry
from xxact_app.jobs.records import Job, JobError
from xxact_app.jobs.registry import Jobs, default_limit
from xxact_core.processes import ProcessIdentity, end_process

PATIENCE = 60


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Jobs whose processes wait until they are killed."""
    popen = subprocess.Popen

    def waiting(_line: list[str], **more: object) -> subprocess.Popen:
        more.pop("env")
        return popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], env=dict(os.environ), **more)

    monkeypatch.setattr(subprocess, "Popen", waiting)
    (tmp_path / "jobs").mkdir()
    jobs = Jobs(tmp_path / "jobs", grace=0.1, limit=2)
    yield jobs
    jobs.limit = 0
    for job in jobs._records():
        if job.identity is not None:
            end_process(job.identity)


def start(jobs: Jobs, number: int) -> Job:
    name = f"run-{number:02}"
    return jobs.start("train", ["train"], name=name, output=jobs.folder / name, about={})


def states(jobs: Jobs) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for job in jobs.list():
        found.setdefault(job.state, []).append(job.name)
    return {state: sorted(names) for state, names in found.items()}


def kill(job: Job) -> None:
    assert job.identity is not None
    end_process(job.identity)


def until(jobs: Jobs, **wanted: list[str]) -> None:
    end = time.monotonic() + PATIENCE
    while (found := states(jobs)) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.02)


def test_of_twelve_trainings_two_run_and_ten_wait_in_their_order(jobs: Jobs) -> None:
    started = [start(jobs, number) for number in range(12)]
    assert [job.state for job in started] == ["starting"] * 2 + ["queued"] * 10
    assert all(job.pid is None for job in started[2:])
    kill(started[0])
    waiting = [job.name for job in started[3:]]
    until(jobs, interrupted=["run-00"], starting=["run-01", "run-02"], queued=waiting)


def test_queue_goes_on_when_a_job_ends_without_a_page_that_looks(jobs: Jobs) -> None:
    first, _, third = (start(jobs, number) for number in range(3))
    kill(first)
    record = jobs.folder / third.key / "job.json"
    end = time.monotonic() + PATIENCE
    while json.loads(record.read_text())["state"] == "queued":
        assert time.monotonic() < end
        time.sleep(0.02)


def test_queue_outlives_the_server(jobs: Jobs) -> None:
    first, *_ = [start(jobs, number) for number in range(3)]
    other = Jobs(jobs.folder, grace=0.1, limit=2)
    jobs.limit = 0  # the first server is gone
    until(other, starting=["run-00", "run-01"], queued=["run-02"])
    kill(first)
    until(other, interrupted=["run-00"], starting=["run-01", "run-02"])


def test_queued_job_can_be_cancelled_and_resumed_and_is_not_removed_before(jobs: Jobs) -> None:
    first, _, third = (start(jobs, number) for number in range(3))
    with pytest.raises(JobError, match="queued: stop it before"):
        jobs.remove(third.key)
    with pytest.raises(JobError, match="already queued"):
        jobs.resume(third.key)
    jobs.cancel(third.key)
    assert jobs.get(third.key).state == "cancelled"
    kill(first)
    until(jobs, interrupted=["run-00"], starting=["run-01"], cancelled=["run-02"])
    assert jobs.resume(third.key).state == "starting"
    assert jobs.resume(first.key).state == "queued"


def test_two_servers_never_start_more_than_the_limit(jobs: Jobs) -> None:
    other = Jobs(jobs.folder, grace=0.1, limit=2)
    for number in range(6):
        start((jobs, other)[number % 2], number)
    assert len(states(jobs)["starting"]) == len(states(other)["starting"]) == 2


def test_queue_has_an_end(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST_QUEUED", 3)
    for number in range(5):
        start(jobs, number)
    with pytest.raises(JobError, match="3 jobs are queued"):
        start(jobs, 5)
    assert len(jobs.list()) == 5


@pytest.mark.parametrize(("given", "cores", "limit"), [("3", 2, 3), ("", 2, 1), ("", 8, 4), ("0", 1, 1), ("x", 1, 1)])
def test_limit_follows_from_the_cores_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: str, cores: int, limit: int
) -> None:
    monkeypatch.setenv("XXACT_JOBS", given)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_limit() == limit


def test_process_that_was_started_is_the_recorded_one(jobs: Jobs) -> None:
    job = start(jobs, 0)
    assert job.identity is not None
    assert ProcessIdentity.of(job.identity.pid).started == pytest.approx(job.identity.started, abs=2)
