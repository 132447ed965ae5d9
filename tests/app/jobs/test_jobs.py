from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from xxact_app.jobs.records import Job, JobError
from xxact_app.jobs.registry import Jobs
from xxact_core.processes import ProcessIdentity

PATIENCE = 300


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    folder = tmp_path / "jobs"
    folder.mkdir()
    return Jobs(folder, limit=8)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def start_failing(jobs: Jobs, output: Path) -> Job:
    return jobs.start("build", ["build", "/nowhere/at/all", str(output)], name="lost", output=output, about={})


@pytest.fixture
def stubborn(tmp_path: Path) -> subprocess.Popen:
    """A process with a child, both of which ignore SIGTERM."""
    ready = tmp_path / "ready"
    code = f"""
        import pathlib, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", child])
        pathlib.Path({str(ready)!r}).write_text(str(child.pid))
        time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())])
    until(lambda: ready.is_file() and ready.read_text())
    process.child = psutil.Process(int(ready.read_text()))
    yield process
    for member in (process, process.child):
        if member.is_running() if isinstance(member, psutil.Process) else member.poll() is None:
            member.kill()
    process.wait()


def record(jobs: Jobs, process: subprocess.Popen | None, **changes: object) -> Job:
    """A job as if it had this process."""
    pid = None if process is None else process.pid
    job = Job(
        "key", "train", "mine", ("train",), str(jobs.folder / "run"), 1.0, state="running", pid=pid,
        started=None if pid is None else ProcessIdentity.of(pid).started,
    )  # fmt: skip
    job = replace(job, **changes)
    (jobs.folder / job.key).mkdir()
    (jobs.folder / job.key / "job.json").write_text(json.dumps(asdict(job)))
    return job


def test_a_command_that_is_refused_fails_in_the_words_of_the_command_line(jobs: Jobs, tmp_path: Path) -> None:
    job = start_failing(jobs, tmp_path / "set")
    assert os.getpgid(job.pid) == job.pid != os.getpgid(0)
    assert os.getsid(job.pid) == job.pid
    until(lambda: not jobs.get(job.key).active)
    ended = Jobs(jobs.folder).get(job.key)  # as another server sees it
    assert ended.state == "failed"
    assert "no file or folder /nowhere/at/all exists" in ended.reason


def test_threads_of_a_job_wait_without_spinning_unless_somebody_says_otherwise(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings = []
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    popen = subprocess.Popen

    def recorded(_line: list[str], *, env: dict[str, str], **_more: object) -> subprocess.Popen:
        surroundings.append(env["OMP_WAIT_POLICY"])
        return popen([sys.executable, "-c", ""], env=env)

    monkeypatch.setattr(subprocess, "Popen", recorded)
    jobs.limit = 2  # none is queued
    jobs.start("train", ["train"], name="one", output=tmp_path / "one", about={})
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    jobs.start("train", ["train"], name="two", output=tmp_path / "two", about={})
    assert surroundings == ["PASSIVE", "ACTIVE"]


def test_a_stubborn_process_is_killed_with_its_children_after_the_grace(jobs: Jobs, stubborn: subprocess.Popen) -> None:
    jobs.grace = 0.2
    record(jobs, stubborn)
    jobs.cancel("key")
    with pytest.raises(JobError, match="is already being stopped"):
        jobs.cancel("key")
    assert stubborn.wait(PATIENCE) == -signal.SIGKILL
    until(lambda: not stubborn.child.is_running() or stubborn.child.status() == psutil.STATUS_ZOMBIE)
    until(lambda: jobs.get("key").state == "cancelled")
    with pytest.raises(JobError, match=r"has already ended \(cancelled\)"):
        jobs.cancel("key")


def test_who_stops_a_job_may_die_and_another_server_ends_it(jobs: Jobs, stubborn: subprocess.Popen) -> None:
    record(jobs, stubborn, state="stopping")
    other = Jobs(jobs.folder, grace=0.1)
    assert other.get("key").state == "stopping"
    assert stubborn.wait(PATIENCE) == -signal.SIGKILL
    until(lambda: other.get("key").state == "cancelled")


def test_a_number_that_another_program_has_by_now_is_never_signalled(jobs: Jobs, stubborn: subprocess.Popen) -> None:
    before = ProcessIdentity.of(stubborn.pid).started - 3600
    record(jobs, stubborn, started=before)
    (jobs.folder / "key" / "log.txt").write_text("epoch 3\nCUDA error: <b>\n")
    job = jobs.get("key")
    assert job.state == "interrupted"
    assert "epoch" not in job.reason
    assert "CUDA error" in job.reason
    with pytest.raises(JobError, match="interrupted"):
        jobs.cancel("key")
    assert stubborn.poll() is None


def test_a_clock_that_is_set_back_kills_nobody(
    jobs: Jobs, stubborn: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(jobs, stubborn)
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil.boot_time", lambda: boot - 7200)
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot - 7200)
    assert jobs.get("key").state == "running"


def test_a_start_that_never_came_to_a_process_was_interrupted(jobs: Jobs) -> None:
    record(jobs, None, state="starting")
    assert jobs.get("key").state == "interrupted"


def test_of_two_who_resume_one_wins_and_one_is_told(jobs: Jobs, tmp_path: Path) -> None:
    record(jobs, None, state="cancelled", kind="build", arguments=("build", "/nowhere", str(tmp_path / "set")))
    told: list[str] = []

    def resume() -> None:
        try:
            Jobs(jobs.folder).resume("key")
            told.append("")
        except JobError as error:
            told.append(str(error))

    both = [threading.Thread(target=resume) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(map(bool, told)) == [False, True]
    assert "already" in max(told)
    until(lambda: not jobs.get("key").active)


def test_a_process_takes_over_its_own_job_only(jobs: Jobs) -> None:
    record(jobs, None, state="starting", pid=os.getpid() + 1, started=1.0)
    assert jobs.take_over("key") is None
    jobs.end("key", "finished")
    assert jobs.get("key").state == "interrupted"


def test_what_is_under_way_is_not_removed_and_what_has_ended_goes_with_its_output(
    jobs: Jobs, stubborn: subprocess.Popen
) -> None:
    job = record(jobs, stubborn)
    Path(job.output).mkdir()
    with pytest.raises(JobError, match="stop it before"):
        jobs.remove("key")
    stubborn.kill()
    stubborn.wait()
    jobs.remove("key")
    assert list(jobs.folder.iterdir()) == []
    with pytest.raises(JobError, match="no longer exists"):
        jobs.remove("key")


def test_links_and_other_files_among_the_jobs_are_passed_over(jobs: Jobs, tmp_path: Path) -> None:
    other = Jobs(tmp_path)
    record(other, None, state="finished")
    (jobs.folder / "key").symlink_to(tmp_path / "key")
    (jobs.folder / "broken").mkdir()
    (jobs.folder / "broken" / "job.json").write_text("{")
    assert jobs.list() == []
    for key in ("key", "broken", "..", "", "../key"):
        with pytest.raises(JobError):
            jobs.get(key)


def test_a_full_disk_is_told_and_leaves_the_record_as_it_was(
    jobs: Jobs, stubborn: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = record(jobs, stubborn)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xxact_app.jobs.records.write_json", full)
    with pytest.raises(JobError, match="No space left on device"):
        jobs.cancel("key")
    assert jobs.get("key") == job
    assert stubborn.poll() is None


def test_disk_without_locks_is_named(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_locks(*_: object, **__: object) -> None:
        raise NotImplementedError

    record(jobs, None, state="cancelled")
    monkeypatch.setattr("filelock.FileLock.acquire", without_locks)
    with pytest.raises(JobError, match=r"cannot be locked .* use another workspace"):
        jobs.resume("key")
