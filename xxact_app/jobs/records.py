"""The record of a job on disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from xxact_app.jobs.progress import ACTIVE, State
from xxact_core.dataset.store import write_json
from xxact_core.errors import InputError
from xxact_core.processes import ProcessIdentity

logger = logging.getLogger(__name__)

RECORD, LOG = "job.json", "log.txt"


class JobError(InputError):
    """Something that cannot be done with a job in the state that it is in (E_JOB)."""


@dataclass(frozen=True)
class Job:
    """A command of xxact and what became of it.

    key: name of its folder. output: folder of the run or data set. about: plain values for who shows it. made: when, in
    seconds since 1970. pid and started are the parts of its process's identity. reason: why it failed, in words.
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
    def identity(self) -> ProcessIdentity | None:
        """Its process; None where it has not been started."""
        return None if self.pid is None or self.started is None else ProcessIdentity(self.pid, self.started)

    @property
    def has_process(self) -> bool:
        """Whether its process is there."""
        return self.identity is not None and self.identity.find() is not None

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
