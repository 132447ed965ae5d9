"""Rows of the list of builds and trainings: texts that are safe to show, and the possible actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xxact_app.library.models import open_model
from xxact_app.screens.training.run_curves import RunCurves
from xxact_app.ui.safe_text import safe_message, safe_text
from xxact_core.errors import InputError


@dataclass(frozen=True)
class RunRow:
    """A build or a training in the list; all texts but `run` are safe to show."""

    key: str
    """Key of the job."""
    kind: str
    """`build` or `train`."""
    name: str
    run: str
    """Name of the folder on disk, not safe to show."""
    state: str
    progress: float | None
    """Progress (0-1); None where the total is not known."""
    status: str
    """Progress as text."""
    seconds_left: float | None
    """Estimated time left [s]."""
    reason: str
    """Why it failed."""
    can_stop: bool
    can_resume: bool
    can_use: bool
    can_remove: bool


def is_run(folder: Path) -> bool:
    """Whether a folder is the run folder of a training."""
    return (folder / "recipe.json").is_file()


def progress_of(curves: RunCurves) -> tuple[float | None, str]:
    """Progress of a training (0-1), None before the number of steps is known, and as text."""
    if not curves.steps:
        return None, "reading the dataset"
    status = f"step {curves.step:,} of {curves.steps:,}"
    if (loss := curves.latest("loss")) is not None:
        status += f", loss {loss:.3g}"
    if (rate := curves.rate) is not None:
        status += f", {rate:.0f} materials/s"
    return curves.step / curves.steps, status


def model_predicts(output: str, *, finished: bool) -> bool:
    """Whether a run has a finished model that predicts targets."""
    if not finished:
        return False
    try:
        return open_model(Path(output)).predicts
    except (InputError, OSError):
        return False


def unreadable_row(key: str, kind: str, name: str, error: Exception) -> RunRow:
    """The row of a build or training whose files cannot be read, so that the others are still listed."""
    return RunRow(
        key=key, kind=kind, name=safe_text(name), run=name, state="failed", progress=None, status="cannot be read",
        seconds_left=None, reason=safe_message(error), can_stop=False, can_resume=False, can_use=False,
        can_remove=False,
    )  # fmt: skip
