"""A finished run → the numbers that tables take from it; no model is run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xxact_core.evaluation.convergence import Events, metric_at_share
from xxact_core.evaluation.evaluate import labelled_to_metrics
from xxact_core.evaluation.intervals import intervals_of, mean_over_runs
from xxact_core.evaluation.tables import read_labelled, read_system_predictions, systems_to_rows
from xxact_core.paper.layouts import PARTS_OF_A_RUN, at_share
from xxact_core.paper.runs import PREDICTIONS
from xxact_core.training.journal import read_journal

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Measure:
    """A number with what is known of how far it may be off.

    low, high: of the 95 % interval over test materials, of one run. standard_error: over runs of several seeds.
    """

    value: float
    runs: int = 1
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None


def run_to_measures(place: Path, *, by_system: bool) -> dict[str, Measure]:
    """Every number of a run: errors in their unit, accuracies and shares of right answers in %, by their names.

    Of the test split those of `metrics_of`; of the validation split those at shares of the training, see `at_share`;
    with `by_system` also `accuracy/SYSTEM` and `silhouette/SYSTEM`.
    """
    predictions = place / PREDICTIONS
    labelled = read_labelled(predictions)
    metrics, intervals = labelled_to_metrics(labelled), intervals_of(labelled)
    measures: dict[str, Measure] = {}
    for name, value in metrics.items():
        low, high = intervals.get(name, (None, None))
        measures[name] = _in_unit(name, value, low, high)
    events = read_journal(place / JOURNAL)
    for name in metrics:
        for share in PARTS_OF_A_RUN:
            if (validated := metric_at_share(events, name, share)) is not None:
                measures[at_share(name, share)] = _in_unit(name, validated)
    if by_system and "crystal_system" in labelled.probabilities:
        for row in systems_to_rows(read_system_predictions(predictions)):
            system = row["crystal_system"]
            numbers = [100 * float(row[name]) for name in ("accuracy", "accuracy_low", "accuracy_high")]
            measures[f"accuracy/{system}"] = Measure(numbers[0], low=numbers[1], high=numbers[2])
            if row["silhouette"] != "":
                measures[f"silhouette/{system}"] = Measure(float(row["silhouette"]))
    return measures


def runs_to_measure(measures: Sequence[Measure]) -> Measure | None:
    """One number of several runs that differ in their seed: the mean and its standard error; None of no run."""
    if len(measures) <= 1:
        return measures[0] if measures else None
    mean, error = mean_over_runs([{"value": measure.value} for measure in measures])["value"]
    return Measure(mean, runs=len(measures), standard_error=error)


def read_events(place: Path) -> Events:
    """The journal of a run."""
    return read_journal(place / JOURNAL)


def is_share(metric: str) -> bool:
    """Whether a metric is a share of right answers, which tables write in %."""
    return metric.endswith("accuracy")


def _in_unit(name: str, value: float, low: float | None = None, high: float | None = None) -> Measure:
    factor = 100 if is_share(name) else 1
    scaled = [None if number is None else factor * float(number) for number in (low, high)]
    return Measure(factor * value, low=scaled[0], high=scaled[1])
