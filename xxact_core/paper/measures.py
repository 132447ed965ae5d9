"""Metrics of a finished run for the tables, without running a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xxact_core.evaluation.convergence import metric_at_share
from xxact_core.evaluation.evaluate import labelled_to_metrics
from xxact_core.evaluation.intervals import intervals_of, mean_interval, mean_over_runs
from xxact_core.evaluation.tables import read_labelled, read_system_predictions, systems_to_rows
from xxact_core.paper.layouts import DFT_MAE, RUN_FRACTIONS, at_share
from xxact_core.paper.results import DFT_ERROR, read_results
from xxact_core.paper.runs import PREDICTIONS, read_materials
from xxact_core.training.journal import read_run


@dataclass(frozen=True)
class Measure:
    """A number with its uncertainty."""

    value: float
    """The number, in the unit of its column."""

    runs: int = 1
    """Number of averaged runs, which differ in their seed."""

    low: float | None = None
    """Lower end of the 95 % interval over test materials, for one run."""

    high: float | None = None
    """Upper end of the same interval."""

    standard_error: float | None = None
    """Standard error over seeds, for several runs."""


def run_to_measures(run: Path, *, by_system: bool) -> dict[str, Measure]:
    """Metrics of a run by name: errors in their unit, accuracies in %.

    Those of `metrics_of` for the test split; those of `at_share`, after fractions of the training, for the validation
    split; `DFT_MAE` where the folder of the run states energies by DFT; and `accuracy/SYSTEM` and `silhouette/SYSTEM`
    with `by_system`.
    """
    predictions = run / PREDICTIONS
    labelled = read_labelled(predictions)
    metrics, intervals = labelled_to_metrics(labelled), intervals_of(labelled)
    measures: dict[str, Measure] = {}
    for name, value in metrics.items():
        low, high = intervals.get(name, (None, None))
        measures[name] = _in_unit(name, value, low, high)
    events = read_run(run)
    for name in metrics:
        for share in RUN_FRACTIONS:
            if (validated := metric_at_share(events, name, share)) is not None:
                measures[at_share(name, share)] = _in_unit(name, validated)
    if (materials := read_materials(run.parent)) is not None and materials.dft:
        by_dft = read_results(run, materials).errors.get(DFT_ERROR)
        if by_dft is not None:
            measures[DFT_MAE] = Measure(float(by_dft.value.mean()), 1, *mean_interval(by_dft.value, seed=0))
    if by_system and "crystal_system" in labelled.probabilities:
        for row in systems_to_rows(read_system_predictions(predictions)):
            system = row["crystal_system"]
            numbers = [100 * float(row[name]) for name in ("accuracy", "accuracy_low", "accuracy_high")]
            measures[f"accuracy/{system}"] = Measure(numbers[0], low=numbers[1], high=numbers[2])
            if row["silhouette"] != "":
                measures[f"silhouette/{system}"] = Measure(float(row["silhouette"]))
    return measures


def runs_to_measure(measures: Sequence[Measure]) -> Measure | None:
    """Mean and standard error over runs of different seeds; None without runs."""
    if len(measures) <= 1:
        return measures[0] if measures else None
    mean, error = mean_over_runs([{"value": measure.value} for measure in measures])["value"]
    return Measure(mean, runs=len(measures), standard_error=error)


def is_accuracy(metric: str) -> bool:
    """Whether a metric is an accuracy, which tables show in %."""
    return metric.endswith("accuracy")


def _in_unit(name: str, value: float, low: float | None = None, high: float | None = None) -> Measure:
    factor = 100 if is_accuracy(name) else 1
    scaled = [None if number is None else factor * float(number) for number in (low, high)]
    return Measure(factor * value, low=scaled[0], high=scaled[1])
