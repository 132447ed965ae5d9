"""Jobs: dataset builds and trainings in processes that outlive browser and server, each recorded in its own folder.

`job.json` is the only record. It is replaced as a whole, and only by the process that holds the lock of the job, so
that two sessions or two servers on one workspace never both start, stop or remove a job.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from xxact_app.jobs.progress import State, memory_limit
from xxact_app.jobs.records import LOG, RECORD, Job, JobError, read_job, write_job
from xxact_core.errors import shorten
from xxact_core.processes import ProcessIdentity, end_process, module_command, start_child

logger = logging.getLogger(__name__)

GRACE = 120.0
"""Time [s] for a stopped job to end its step, validate and save before it is killed."""

_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "60"}
"""Environment of a job, unless that of the server differs: idle threads do not spin, which would slow the server."""

RUNNING_VARIABLE = "XXACT_JOBS"
"""Environment variable: number of jobs that run at the same time; the others are queued."""

MOST_QUEUED = 50
"""Number of queued jobs from which on no more are accepted."""

_QUEUE = "queue"
_PATIENCE = 10.0
_TAIL = 4000


def default_limit() -> int:
    """Number of jobs that run at the same time: `XXACT_JOBS`, else half of the cores, at least 1."""
    given = os.environ.get(RUNNING_VARIABLE, "")
    if given.isascii() and given.isdecimal() and int(given) > 0:
        return int(given)
    return max(1, (os.cpu_count() or 2) // 2)


class Jobs:
    """The jobs in a folder.

    Args:
        folder: of the records.
        grace: time [s] for a stopped job to end.
        limit: number of jobs that run at the same time, on the whole machine; see `default_limit`.
    """

    def __init__(self, folder: Path, *, grace: float = GRACE, limit: int | None = None) -> None:
        self.folder, self.grace = folder, grace
        self.limit = default_limit() if limit is None else limit
        self._ending: set[str] = set()

    # -------------------------------------------------------------------------------------------------------- queries
    def list(self) -> list[Job]:
        """All jobs, newest first; records of dead processes are corrected, and queued jobs whose turn it is started."""
        jobs = self._records()
        if any(job.queued for job in jobs) and self.advance():
            jobs = self._records()
        return sorted(jobs, key=lambda job: (-job.made, job.key))

    def _records(self) -> Sequence[Job]:
        paths = self.folder.glob(f"*/{RECORD}")
        return [self._with_actual_state(job) for path in paths if (job := read_job(path)) is not None]

    def get(self, key: str) -> Job:
        """One job.

        Raises:
            JobError: there is none of this key (any more).
        """
        job = read_job(self.folder / key / RECORD) if key and Path(key).name == key else None
        if job is None:
            msg = "this job no longer exists; it may have been deleted in another window"
            raise JobError(msg, code="E_JOB")
        return self._with_actual_state(job)

    def log_tail(self, key: str) -> str:
        """The end of the log of a job."""
        try:
            with (self.folder / key / LOG).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                return file.read().decode("utf-8", errors="replace").strip()
        except FileNotFoundError:
            return ""

    # -------------------------------------------------------------------------------------------------------- actions
    def start(
        self,
        kind: Literal["build", "train"],
        arguments: Sequence[str],
        *,
        name: str,
        output: Path,
        about: Mapping[str, Any],
    ) -> Job:
        """Record a job, and start its process where fewer than `limit` others are running; else it is queued.

        Raises:
            JobError: the workspace cannot be written, or `MOST_QUEUED` jobs are queued.
        """
        if sum(job.queued for job in self._records()) >= MOST_QUEUED:
            msg = f"{MOST_QUEUED} jobs are queued: wait until some have ended, or stop some of them"
            raise JobError(msg, code="E_JOB")
        key = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
        job = Job(key, kind, name, tuple(arguments), str(output), time.time(), about, state="queued")
        with self._locked(key):
            (self.folder / key).mkdir()
            write_job(self.folder, job)
        self.advance()
        return self.get(key)

    def resume(self, key: str) -> Job:
        """Queue a job again, which continues from its last snapshot when its turn comes, usually at once.

        Raises:
            JobError: it is queued, active, finished or deleted.
        """
        with self._locked(key):
            job = self.get(key)
            if not job.ended or job.state == "finished":
                msg = f"{job.name} is already {job.state} and cannot be resumed"
                raise JobError(msg, code="E_JOB")
            write_job(self.folder, replace(job, state="queued", pid=None, started=None, reason=""))
        self.advance()
        return self.get(key)

    def advance(self) -> int:
        """Start queued jobs, the oldest first, until `limit` jobs are running; returns how many were started.

        Called wherever a job is listed, added or has ended; by the processes of jobs, too, so that the queue goes on
        without a server.
        """
        try:
            with self._locked(_QUEUE):
                jobs = self._records()
                free = self.limit - sum(job.active for job in jobs)
                waiting = sorted((job for job in jobs if job.queued), key=lambda job: (job.made, job.key))
                return sum(self._launch_queued(job.key) for job in waiting[: max(0, free)])
        except JobError as error:  # another server does it, or the disk is full: tried again at the next poll
            logger.warning("the queue of jobs waits: %s", error)
            return 0

    def _launch_queued(self, key: str) -> bool:
        """Start the process of a job, unless it was cancelled in the meantime."""
        with self._locked(key):
            job = read_job(self.folder / key / RECORD)
            if job is None or not job.queued:
                return False
            self._launch(job)
            return True

    def cancel(self, key: str) -> None:
        """Ask the process of a job to end, and kill it after the grace period.

        Raises:
            JobError: it has ended, is being stopped already, or is gone.
        """
        with self._locked(key):
            job = self.get(key)
            if job.queued:
                write_job(self.folder, replace(job, state="cancelled"))
                return
            if not job.active or job.state == "stopping":
                what = "is already being stopped" if job.active else f"has already ended ({job.state})"
                msg = f"{job.name} {what}"
                raise JobError(msg, code="E_JOB")
            write_job(self.folder, job := replace(job, state="stopping"))
        self._end_in_background(job)

    def remove(self, key: str) -> None:
        """Delete a job that has ended, with its run folder or dataset.

        Raises:
            JobError: it is queued, active or deleted.
        """
        with self._locked(key):
            job = self.get(key)
            if not job.ended:
                msg = f"{job.name} is {job.state}: stop it before deleting it"
                raise JobError(msg, code="E_JOB")
            output = Path(job.output)
            if output.is_dir() and not output.is_symlink():
                shutil.rmtree(output)
            shutil.rmtree(self.folder / key)
            (self.folder / f"{key}.lock").unlink(missing_ok=True)

    # --------------------------------------------------------------------------------- for the process of a job alone
    def take_over(self, key: str) -> Job | None:
        """Called by the process of a job: the job, now running; None where it was stopped or is taken already."""
        with self._locked(key):
            job = read_job(self.folder / key / RECORD)
            if job is None or job.pid != os.getpid() or job.state != "starting":
                return None
            write_job(self.folder, job := replace(job, state="running"))
            return job

    def end(self, key: str, state: State, *, reason: str = "") -> None:
        """Called by the process of a job: record how it ended."""
        with self._locked(key):
            job = read_job(self.folder / key / RECORD)
            if job is not None and job.pid == os.getpid():
                write_job(self.folder, replace(job, state=state, reason=reason))

    # ------------------------------------------------------------------------------------------------- implementation
    def _launch(self, job: Job) -> Job:
        """Start the process; the caller holds the locks of queue and job until the process number is recorded."""
        folder = self.folder / job.key
        job = replace(job, state="starting", pid=None, started=None, reason="")
        write_job(self.folder, job)
        with (folder / LOG).open("ab") as log:
            child = start_child(
                module_command("xxact_app.jobs.process", str(folder)), stdout=log, stderr=subprocess.STDOUT,
                folder=folder, low_priority=True, memory=memory_limit(),
                environment={name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()},
            )  # fmt: skip
        identity = ProcessIdentity.of(child.pid)
        threading.Thread(target=self._wait, args=(child,), daemon=True).start()
        write_job(self.folder, job := replace(job, pid=identity.pid, started=identity.started))
        return job

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        """Wait for the process of a job, so that no zombie is left behind, then start the next job."""
        child.wait()
        self.advance()

    def _with_actual_state(self, job: Job) -> Job:
        """The job with its actual state: without a process, an active job was interrupted or stopped."""
        if not job.active or job.has_process:
            if job.state == "stopping" and job.key not in self._ending:
                self._end_in_background(job)  # the process that stopped it may have died in the meantime
            return job
        try:
            with self._locked(job.key):
                return self._settled(job)
        except JobError as error:  # the lock is taken, or the disk is full: tried again at the next poll
            logger.warning("the end of the job %s is not recorded yet: %s", job.key, error)
            return job

    def _settled(self, job: Job) -> Job:
        """Record the end of a job whose process has ended; the caller holds its lock."""
        job = read_job(self.folder / job.key / RECORD) or job
        if not job.active or job.has_process:
            return job
        if job.state == "stopping":
            job = replace(job, state="cancelled")
        else:
            lines = self.log_tail(job.key).splitlines()
            reason = "the process ended unexpectedly: it was killed, ran out of memory, or the machine was restarted"
            output = f" (last output: {shorten(lines[-1])})" if lines else ""
            job = replace(job, state="interrupted", reason=reason + output)
        write_job(self.folder, job)
        return job

    def _end_in_background(self, job: Job) -> None:
        self._ending.add(job.key)
        threading.Thread(target=self._end_process, args=(job,), daemon=True).start()

    def _end_process(self, job: Job) -> None:
        try:
            if job.identity is not None:
                end_process(job.identity, grace=self.grace)
        finally:
            self._ending.discard(job.key)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the lock of a job, which is released when the process ends."""
        path = self.folder / f"{key}.lock"
        try:
            lock = FileLock(path, timeout=_PATIENCE, is_singleton=True)  # so that a thread may take it twice
            lock.acquire()
        except Timeout as error:
            msg = "another process is changing this job: try again"
            raise JobError(msg, code="E_JOB") from error
        except (NotImplementedError, OSError) as error:
            msg = f"the jobs in {self.folder} cannot be locked ({shorten(error)}): the disk may be full or "
            msg += "read-only, or not support locks; use another workspace"
            raise JobError(msg, code="E_JOB") from error
        try:
            yield
        except OSError as error:
            msg = f"the job cannot be written ({shorten(error)}); the disk may be full"
            raise JobError(msg, code="E_JOB") from error
        finally:
            lock.release()
