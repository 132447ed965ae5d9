"""The record of a job on disk."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from xxact_app.jobs.progress import ACTIVE, State
from xxact_core.dataset.store import write_json
from xxact_core.errors import InputError
from xxact_core.processes import ProcessIdentity

logger = logging.getLogger(__name__)

Kind = Literal["build", "train"]

RECORD, LOG = "job.json", "log.txt"


class JobError(InputError):
    """An action that the state of a job does not allow (E_JOB)."""


@dataclass(frozen=True)
class Job:
    """A command of xxact in a separate process, and its state."""

    key: str
    """Name of the folder of its record."""
    kind: Kind
    name: str
    """Name of the run or dataset."""
    arguments: tuple[str, ...]
    """Arguments of the command."""
    output: str
    """Folder of the run or dataset."""
    made: float
    """Time of its start [s since 1970]."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Further plain values for the screens."""
    state: State = "starting"
    pid: int | None = None
    """Process number, part of the identity of the process."""
    started: float | None = None
    """Start of the process [s since boot], part of its identity."""
    reason: str = ""
    """Why it failed."""

    @property
    def identity(self) -> ProcessIdentity | None:
        """Identity of its process; None before the start."""
        return None if self.pid is None or self.started is None else ProcessIdentity(self.pid, self.started)

    @property
    def has_process(self) -> bool:
        """Whether its process is running."""
        return self.identity is not None and self.identity.find() is not None

    @property
    def active(self) -> bool:
        """Whether its state says that its process is running."""
        return self.state in ACTIVE

    @property
    def queued(self) -> bool:
        """Whether it waits until fewer other jobs are running."""
        return self.state == "queued"

    @property
    def ended(self) -> bool:
        """Whether it neither waits nor runs."""
        return not self.active and not self.queued


def _check_job(job: Job) -> None:
    """Check the type of each field.

    Raises:
        ValueError: a field has a value that no job has.
    """
    texts = (job.key, job.name, job.output, job.reason, *job.arguments)
    numbers = (job.made, 0.0 if job.started is None else job.started)
    right = (
        job.kind in get_args(Kind)
        and job.state in get_args(State)
        and all(isinstance(text, str) for text in texts)
        and Path(job.name).name == job.name != ""
        and all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        and (job.pid is None or (type(job.pid) is int and job.pid > 0))
        and isinstance(job.about, dict)
    )
    if not right:
        msg = "a field has a value that no job has"
        raise ValueError(msg)


def write_job(folder: Path, job: Job) -> None:
    """Replace the record of a job in the folder of all jobs."""
    write_json(folder / job.key / RECORD, asdict(job))


def read_job(path: Path) -> Job | None:
    """The job of a record; None where there is none, or its folder is a link or holds something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        job = Job(**{**values, "arguments": tuple(values["arguments"])})
        _check_job(job)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        logger.warning("%s cannot be read: %s", path, error)
        return None
    return None if path.parent.is_symlink() or job.key != path.parent.name else job
