"""A metric along a training, from its journal: curve, value after a fraction of the run, steps to a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Events = Sequence[Mapping[str, Any]]


def lower_is_better(metric: str) -> bool:
    """Whether a metric of that name is an error; others are accuracies."""
    return "_mae_" in metric or metric.endswith("_calibration_error")


def validation_curve(events: Events, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the metric on the validation split at each of them, both of shape (validations,)."""
    seen = [event for event in events if event["event"] == "validation" and metric in event["metrics"]]
    return np.array([event["step"] for event in seen]), np.array([event["metrics"][metric] for event in seen])


def run_length(events: Events) -> int:
    """Number of steps of the whole run."""
    return int(next(event["steps"] for event in events if event["event"] == "started"))


def metric_at_share(events: Events, metric: str, share: float) -> float | None:
    """Validation metric after a fraction (0-1) of a run, interpolated linearly; None outside the validations."""
    steps, values = validation_curve(events, metric)
    step = share * run_length(events)
    return float(np.interp(step, steps, values)) if len(steps) and steps[0] <= step <= steps[-1] else None


def steps_to_threshold(events: Events, metric: str, threshold: float, *, smooth: int = 1) -> int | None:
    """First step at which the mean metric of the last `smooth` validations reaches the threshold; None if none does.

    XxaCT-NN section 4.2 compares the steps of pretrained and other models in this way.
    """
    steps, values = validation_curve(events, metric)
    if len(values) < smooth:
        return None
    means = np.convolve(values, np.full(smooth, 1 / smooth), mode="valid")
    passed = means <= threshold if lower_is_better(metric) else means >= threshold
    return int(steps[smooth - 1 :][passed][0]) if passed.any() else None
