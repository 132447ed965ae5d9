"""States and progress of work in the background, the same for jobs that outlive the server and for its own tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xxact_app.ui.formatting import duration

State = Literal["starting", "running", "stopping", "finished", "cancelled", "failed", "interrupted"]
ACTIVE: frozenset[State] = frozenset({"starting", "running", "stopping"})

_TOO_EARLY = 0.02
"""Share of the work below which the time left cannot be told."""


@dataclass(frozen=True)
class Progress:
    """How much of some work is done."""

    share: float | None = None
    """0-1; None where it is unknown."""

    text: str = ""
    """The current step, safe to show."""

    seconds_left: float | None = None
    """Estimated; None where it is unknown."""

    def __str__(self) -> str:
        """One line, safe to show."""
        return self.text if self.seconds_left is None else f"{self.text}, about {duration(self.seconds_left)} left"


def estimate_left(share: float, spent: float) -> float | None:
    """Seconds left of work of which a share took `spent` seconds; None where it is too early to say."""
    return spent / share - spent if share > _TOO_EARLY else None
