"""Builds and trainings as the list tells of them: safe words, and what may be done with each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from xxact_app.screens.training.choices import answers_of
from xxact_app.screens.training.run_curves import RunCurves


@dataclass(frozen=True)
class Row:
    """A build or training as it is told in the list: safe words, and what may be done with it.

    run: its name as it is on the disk, which is not to be shown; the others are.
    """

    key: str
    kind: str
    name: str
    run: str
    state: str
    progress: float | None
    told: str
    seconds_left: float | None
    reason: str
    can_stop: bool
    can_resume: bool
    can_use: bool
    can_remove: bool


def is_run(folder: Path) -> bool:
    """Whether a folder is one of a training."""
    return (folder / "recipe.json").is_file()


def progress_of(curves: RunCurves) -> tuple[float | None, str]:
    """How far a training is: its share, where the number of its steps is known, and words."""
    if not curves.steps:
        return None, "reading the data set"
    told = f"step {curves.step:,} of {curves.steps:,}"
    if (loss := curves.latest("loss")) is not None:
        told += f", loss {loss:.3g}"
    if (rate := curves.rate) is not None:
        told += f", {rate:.0f} materials/s"
    return curves.step / curves.steps, told


def model_answers(output: str, *, finished: bool) -> bool | None:
    """Whether a finished run's model answers; asked of the disk once."""
    path = Path(output, "model", "checkpoint.json")
    if not finished or not path.is_file():
        return None
    return _answers_of(Path(output), path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _answers_of(run: Path, _changed: int) -> bool | None:
    return answers_of(run)
