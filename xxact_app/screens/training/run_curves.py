"""Curves of a run from its growing journal: losses, learning rate, speed and validation metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from xxact_core.training.journal import JOURNAL, line_to_event
from xxact_core.training.run_folder import STATUS, read_status, run_state

MOST_POINTS = 1500
"""Number of points above which a curve is averaged over intervals before it is drawn."""

QUIET = 600.0
"""Time [s] without a journal entry after which the list says so; a validation may take minutes."""


@dataclass
class RunCurves:
    """The journal of a run so far; `read` appends new entries, and `count` grows when there are any."""

    folder: Path
    steps: int | None = None
    step: int = 0
    state: str = ""
    seconds_left: float | None = None
    count: int = 0
    values: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    _place: tuple[int, int] = (0, 0)
    _heard: float = field(default_factory=time.monotonic)
    _status: int = 0
    _stated: str = ""

    def read(self) -> None:
        """Read what the run has written since the last call."""
        path = self.folder / JOURNAL
        try:
            with path.open("rb") as file:
                # A resumed run replaces its journal, without the steps after its snapshot.
                inode, offset = path.stat().st_ino, self._place[1]
                size = file.seek(0, 2)
                if inode != self._place[0] or size < offset:
                    self.values, self.metrics, offset = {}, {}, 0
                    self.count += 1
                file.seek(offset)
                content = file.read(size - offset)
        except OSError:  # not there yet, or not readable
            return
        whole = content.rfind(b"\n") + 1
        for line in content[:whole].splitlines():
            self._take(line)
        self._place = (inode, offset + whole)
        if whole:
            self.count += 1
            self._heard = time.monotonic()
        self._read_status()

    def _read_status(self) -> None:
        path = self.folder / STATUS
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return
        if changed != self._status:
            status = read_status(self.folder)
            if status is None:
                return
            self._stated, self.steps = str(status["state"]), int(status["steps"])
            self._status = changed
            self.count += 1
        self.state = run_state(self.folder, self._stated)

    def _take(self, line: bytes) -> None:
        event = line_to_event(line)
        if event is None or "step" not in event:
            return
        kind, step = event["event"], event["step"]
        self.step = max(step, self.step) if kind != "resumed" else step
        if kind == "started":
            self.steps = event.get("steps", self.steps)
        elif kind == "step":
            self.seconds_left = event.get("seconds_left")
            for name in ("loss", "learning_rate", "samples_per_second"):
                if name in event:
                    self.values.setdefault(name, []).append((step, float(event[name])))
            for name, value in event["losses"].items():
                self.values.setdefault(f"loss of {name}", []).append((step, float(value)))
        elif kind == "validation":
            for name, value in event["metrics"].items():
                self.metrics.setdefault(name, []).append((step, float(value)))

    @property
    def quiet_seconds(self) -> float:
        """Time [s] since the last new journal entry, by a monotonic clock."""
        return time.monotonic() - self._heard

    @property
    def rate(self) -> float | None:
        """Median of the materials per second over the last steps; None before the first."""
        recent = sorted(value for _, value in self.values.get("samples_per_second", [])[-50:])
        return recent[len(recent) // 2] if recent else None

    def latest(self, name: str) -> float | None:
        """The last value of a curve, or None."""
        found = self.values.get(name) or self.metrics.get(name)
        return found[-1][1] if found else None

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Steps and values of a curve, averaged over intervals to at most about `MOST_POINTS` points."""
        points = self.values.get(name) or self.metrics.get(name) or []
        stretch = -(-len(points) // MOST_POINTS) or 1
        parts = [points[first : first + stretch] for first in range(0, len(points), stretch)]
        steps = [sum(step for step, _ in part) / len(part) for part in parts]
        return steps, [sum(value for _, value in part) / len(part) for part in parts]
