"""The record of a job on disk, and which process is its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from xxact_core.dataset.store import write_json
from xxact_core.errors import InputError

logger = logging.getLogger(__name__)

State = Literal["starting", "running", "stopping", "finished", "cancelled", "failed", "interrupted"]
ACTIVE: frozenset[State] = frozenset({"starting", "running", "stopping"})

RECORD, LOG = "job.json", "log.txt"

_SAME_START = 2.0
"""Seconds: the system tells its start in whole ones, and may tell the next one."""


class JobError(InputError):
    """Something that cannot be done with a job in the state that it is in (E_JOB)."""


@dataclass(frozen=True)
class Job:
    """A command of xxact and what became of it.

    key: name of its folder. output: folder of the run or data set. about: plain values for who shows it. made: when, in
    seconds since 1970. pid and started tell its process from any other: started are the seconds from the start of the
    machine to that of the process, which no change of the clock moves. reason: why it failed, in words.
    """

    key: str
    kind: Literal["build", "train"]
    name: str
    arguments: tuple[str, ...]
    output: str
    made: float
    about: Mapping[str, Any] = field(default_factory=dict)
    state: State = "starting"
    pid: int | None = None
    started: float | None = None
    reason: str = ""

    @property
    def active(self) -> bool:
        """Whether its process should be there."""
        return self.state in ACTIVE


def write_job(folder: Path, job: Job) -> None:
    """Replace the record of a job in the folder of all jobs."""
    write_json(folder / job.key / RECORD, asdict(job))


def read_job(path: Path) -> Job | None:
    """The job of a record; None where there is none, or its folder is a link or holds something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        job = Job(**{**values, "arguments": tuple(values["arguments"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s cannot be read: %s", path, error)
        return None
    return None if path.parent.is_symlink() or job.key != path.parent.name else job


def process_of(job: Job) -> psutil.Process | None:
    """The process of a job; None where it is gone, even if another program has its number by now."""
    if job.pid is None or job.started is None:
        return None
    try:
        process = psutil.Process(job.pid)
        gone = process.status() == psutil.STATUS_ZOMBIE or abs(started(job.pid) - job.started) > _SAME_START
    except psutil.Error:
        return None
    return None if gone else process


def started(pid: int) -> float:
    """Seconds from the start of the machine to that of a process: both move alike when the clock is set."""
    return psutil.Process(pid).create_time() - psutil.boot_time()
