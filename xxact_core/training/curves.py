"""The journal of a run → a summary of its progress, and curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError
from xxact_core.training.journal import read_run
from xxact_core.training.run_folder import STATUS, read_status, run_state

SUFFIX = ".xxact"
"""Suffix of the files of curves; an earlier export is replaced."""


def describe_progress(run: Path) -> str:
    """Progress, speed, time left, latest loss and latest validation of a run, as lines of text.

    Raises:
        InputError: see `journal.read_run`.
    """
    last = {event["event"]: event for event in read_run(run)}
    text = "started, but without a status.json yet"
    if (status := read_status(run)) is not None:
        text = f"{run_state(run, status['state'])}: step {status['step']} of {status['steps']}"
        if status["samples_per_second"]:  # 0 or None before the first step, and for trees
            text += f", {status['samples_per_second']:.0f} materials/s"
        if status["seconds_left"]:
            text += f", {timedelta(seconds=round(status['seconds_left']))} left"
    elif (run / STATUS).is_file():
        text = f"{STATUS} is damaged; its state is not known"
    if (precision := last.get("precision")) is not None:
        text += f"\nprecision {precision['precision']}"
        text += f", {precision['former']} until step {precision['step']}" if precision.get("former") else ""
        text += f" ({precision['cpu']})" if precision.get("cpu") else ""
    if (step := last.get("step")) is not None:
        text += f"\nstep {step['step']}: loss {step['loss']:.4g}, learning rate {step['learning_rate']:.3g}"
        text += f", gradient norm {step['gradient_norm']:.3g}" if "gradient_norm" in step else ""
    if (validation := last.get("validation")) is not None:
        text += f"\nvalidation at step {validation['step']}:"
        text += "".join(f"\n  {name:44s}{value:10.4f}" for name, value in validation["metrics"].items())
    return text


def journal_to_curves(run: Path, folder: Path) -> int:
    """Write the numbers of a journal over their steps, for TensorBoard; returns how many there are.

    Losses, learning rate, norm of the gradients and speed of each step, and the metrics of each validation.

    Raises:
        InputError: see `journal.read_run`, or the package tensorboard is not installed.
    """
    events = read_run(run)
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional package
    except ImportError as error:
        msg = "curves for TensorBoard need the package tensorboard, which is not installed: pip install "
        msg += "'xxact[tensorboard]'"
        raise InputError(msg, code="E_TENSORBOARD") from error
    for old in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        old.unlink()
    count = 0
    with SummaryWriter(str(folder), filename_suffix=SUFFIX) as writer:
        for event in events:
            for name, value in _numbers(event):
                writer.add_scalar(name, value, event["step"])
                count += 1
    return count


def _numbers(event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of an event that have a curve, with their names."""
    if event["event"] == "validation":
        yield from ((f"validation/{name}", value) for name, value in event["metrics"].items())
    elif event["event"] == "step":
        yield from (
            (name, event[name])
            for name in ("loss", "learning_rate", "gradient_norm", "samples_per_second")
            if name in event
        )
        yield from ((f"losses/{name}", value) for name, value in event["losses"].items())
