"""States and progress of work in the background, for jobs that outlive the server and for background tasks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from xxact_app.ui.formatting import duration

State = Literal["queued", "starting", "running", "stopping", "finished", "cancelled", "failed", "interrupted"]
ACTIVE: frozenset[State] = frozenset({"starting", "running", "stopping"})

MEMORY_VARIABLE = "XXACT_JOB_MEMORY"
"""Environment variable: memory that one job or background command may allocate [GB]."""

_SHARE_OF_MEMORY = 0.75
"""Of the memory of the machine, where the variable is not set."""

_TOO_EARLY = 0.02
"""Finished fraction of the work below which the time left is not estimated."""


@dataclass(frozen=True)
class Progress:
    """The progress of some work."""

    share: float | None = None
    """Finished fraction (0-1); None where it is unknown."""

    text: str = ""
    """The current step, safe to show."""

    seconds_left: float | None = None
    """Estimated time left [s]; None where it is unknown."""

    def __str__(self) -> str:
        """One line, safe to show."""
        return self.text if self.seconds_left is None else f"{self.text}, about {duration(self.seconds_left)} left"


def estimate_left(share: float, spent: float) -> float | None:
    """Estimated time left [s] of work of which `share` took `spent` seconds; None at the very beginning."""
    return spent / share - spent if share > _TOO_EARLY else None


def memory_limit() -> int:
    """Memory that one job or background command may allocate [bytes], so that none takes the server down with it."""
    given = os.environ.get(MEMORY_VARIABLE, "")
    try:
        asked = float(given) if given else 0.0
    except ValueError:
        asked = 0.0
    if 0 < asked < float("inf"):
        return round(asked * 1e9)
    import psutil  # noqa: PLC0415 - slow to import, and most importers of this module need no limit

    return round(_SHARE_OF_MEMORY * psutil.virtual_memory().total)
