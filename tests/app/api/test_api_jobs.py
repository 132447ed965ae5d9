from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from xxact_app.api import jobs as api_jobs
from xxact_app.api.jobs import ApiJobs, BusyError, MissingJobError
from xxact_app.jobs.tasks import BackgroundTask, Step
from xxact_core.errors import PatternError


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def waiting_for(gate: threading.Event) -> Step:
    def work(task: BackgroundTask) -> None:
        gate.wait(60)
        task.result = {"answer": 42}

    return Step("waiting", work)


def test_a_job_has_its_answer_when_it_has_finished(gate: threading.Event) -> None:
    jobs = ApiJobs()
    job = jobs.start(waiting_for(gate), operation="read", file="a.xy")
    assert jobs.get(job.identity) is job
    assert "result" not in job.to_dict()
    gate.set()
    job.task.join(seconds=60)
    assert job.to_dict() == {
        "id": job.identity, "operation": "read", "file": "a.xy", "state": "finished", "progress": 1.0,
        "seconds_left": None, "result": {"answer": 42},
    }  # fmt: skip


def test_bad_input_in_a_job_is_reported_with_its_code() -> None:
    def refuse(_: BackgroundTask) -> None:
        msg = "a.xy: holds no points"
        raise PatternError(msg, code="E_EMPTY")

    job = ApiJobs().start(Step("refusing", refuse), operation="read", file="a.xy")
    job.task.join(seconds=60)
    assert job.to_dict()["error"] == {"code": "E_EMPTY", "message": "a.xy: holds no points"}


def test_no_more_jobs_than_the_limit_are_active(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_jobs, "MOST_ACTIVE", 2)
    jobs = ApiJobs()
    first = jobs.start(waiting_for(gate), operation="read", file="a.xy")
    jobs.start(waiting_for(gate), operation="read", file="b.xy")
    with pytest.raises(BusyError, match="2 requests") as refused:
        jobs.start(waiting_for(gate), operation="read", file="c.xy")
    assert refused.value.code == "E_JOB"
    gate.set()
    first.task.join(seconds=60)
    jobs.start(waiting_for(gate), operation="read", file="c.xy")


def test_ended_jobs_are_forgotten_after_a_time_and_beyond_a_number(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(api_jobs, "MOST_ENDED", 2)
    jobs = ApiJobs(clock=lambda: now)
    gate.set()
    started = []
    for number in range(3):
        job = jobs.start(waiting_for(gate), operation="read", file=f"{number}.xy")
        job.task.join(seconds=60)
        started.append(job.identity)
        now += 1
    assert jobs.get(started[2]).file == "2.xy"
    assert jobs.get(started[1]).file == "1.xy"
    with pytest.raises(MissingJobError):
        jobs.get(started[0])
    now += api_jobs.LONGEST_KEPT + 1
    with pytest.raises(MissingJobError, match="an hour"):
        jobs.get(started[2])


def test_requests_count_until_they_are_answered(gate: threading.Event) -> None:
    jobs = ApiJobs()
    job = jobs.start(waiting_for(gate), operation="read", file="a.xy", size=1000)
    jobs.start(waiting_for(gate), operation="read", file="b.xy", size=24)
    assert jobs.held == 1024
    gate.set()
    job.task.join(seconds=60)
    assert jobs.held <= 24


def test_answers_of_large_requests_are_forgotten_first(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_jobs, "MOST_KEPT", 100)
    gate.set()
    now = 0.0
    jobs = ApiJobs(clock=lambda: now)
    started = []
    for size in (60, 60, 40):
        job = jobs.start(waiting_for(gate), operation="read", file="a.xy", size=size)
        job.task.join(seconds=60)
        started.append(job)
        now += 1
    with pytest.raises(MissingJobError):
        jobs.get(started[0].identity)
    assert [jobs.get(job.identity) for job in started[1:]] == started[1:]
