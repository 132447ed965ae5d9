"""Requests that are answered in the background, with progress and a way to cancel them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xxact_app.jobs.records import JobError
from xxact_app.jobs.tasks import BackgroundTask, Step

MOST_ACTIVE = 100
"""Largest number of requests that run or wait at the same time."""

MOST_ENDED, MOST_KEPT, LONGEST_KEPT = 200, 64 * 2**20, 3600.0
"""How many ended jobs are kept, with how many bytes of requests altogether, and for how long [s]. An answer takes some
times the memory of its request."""

_ID_BYTES = 16


class BusyError(JobError):
    """The server has too much to do (E_JOB)."""


class MissingJobError(JobError):
    """There is no such job (E_JOB)."""


@dataclass
class ApiJob:
    """A request that is answered in the background."""

    identity: str
    """By which it is found; random, so that only who started it can name it."""
    operation: str
    """Name of the operation."""
    file: str
    """Name of the file or pattern."""
    task: BackgroundTask
    size: int = 0
    """Size of the request [bytes], where its memory is not counted elsewhere."""
    ended: float | None = None
    """When it was first seen to have ended [s, monotonic]."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: state, progress, and the answer or the error where it has ended."""
        task = self.task
        progress = task.progress
        plain: dict[str, Any] = {
            "id": self.identity,
            "operation": self.operation,
            "file": self.file,
            "state": task.state,
            "progress": progress.share,
            "seconds_left": progress.seconds_left,
        }
        if task.state == "finished":
            plain["result"] = task.result
        elif task.state == "failed":
            plain["error"] = error_of(task)
        return plain


def error_of(task: BackgroundTask) -> dict[str, str]:
    """Code and message of a task that failed."""
    return {"code": task.code or "E_APP", "message": task.plain_reason or task.reason}


class ApiJobs:
    """The jobs of a server; safe for threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs: dict[str, ApiJob] = {}
        self._changing = threading.Lock()
        self._clock = clock

    @property
    def held(self) -> int:
        """Size of the requests that are not answered yet [bytes]."""
        with self._changing:
            return sum(job.size for job in self._jobs.values() if job.task.active)

    def start(self, step: Step, *, operation: str, file: str, size: int = 0) -> ApiJob:
        """Start a job.

        Args:
            step: which answers the request.
            operation: name of the operation.
            file: name of the file or pattern.
            size: of the request [bytes], as of `ApiJob`.

        Raises:
            BusyError: `MOST_ACTIVE` are active (E_JOB).
        """
        with self._changing:
            self._forget_old()
            active = sum(job.task.active for job in self._jobs.values())
            if active >= MOST_ACTIVE:
                msg = f"{active} requests are running or waiting: try again later"
                raise BusyError(msg, code="E_JOB")
            identity = secrets.token_urlsafe(_ID_BYTES)
            job = self._jobs[identity] = ApiJob(identity, operation, file, BackgroundTask([step]), size)
            return job

    def get(self, identity: str) -> ApiJob:
        """A job.

        Raises:
            MissingJobError: there is none of this id, or it ended too long ago (E_JOB).
        """
        with self._changing:
            self._forget_old()
            if identity not in self._jobs:
                msg = "there is no such job; ended jobs are kept for an hour"
                raise MissingJobError(msg, code="E_JOB")
            return self._jobs[identity]

    def remove(self, job: ApiJob) -> None:
        """Forget a job, whose answer was delivered or which is not wanted any more; it is stopped if it is active."""
        job.task.cancel()
        with self._changing:
            self._jobs.pop(job.identity, None)

    def _forget_old(self) -> None:
        now = self._clock()
        ended = [job for job in self._jobs.values() if not job.task.active]
        for job in ended:
            job.ended = now if job.ended is None else job.ended
        ended.sort(key=lambda job: job.ended or now)
        surplus, kept = len(ended) - MOST_ENDED, sum(job.size for job in ended)
        for number, job in enumerate(ended):
            if number < surplus or kept > MOST_KEPT or now - (job.ended or now) > LONGEST_KEPT:
                del self._jobs[job.identity]
                kept -= job.size
