"""Tables of the paper from a folder of runs, with the paper's numbers and the provenance of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxact_core.evaluation.convergence import metric_at_share, steps_to_threshold
from xxact_core.paper.experiments import STRATEGIES
from xxact_core.paper.layouts import ACCURACY, MAE, THRESHOLD_FRACTION, Cell, layout, steps_to
from xxact_core.paper.measures import Measure, is_accuracy, run_to_measures, runs_to_measure
from xxact_core.paper.runs import PREDICTIONS, read_origin
from xxact_core.training.journal import read_run

BY_SYSTEM = (4, 5)
WITH_THRESHOLDS = 2

SMOOTH = 3
"""Number of validations whose mean must reach the threshold, to average out fluctuations."""

Measures = dict[str, dict[int, dict[str, Measure]]]
"""Experiment → seed → name of a number → the number."""


@dataclass(frozen=True)
class Entry:
    """A cell with its number."""

    cell: Cell
    """Place in the table."""

    measure: Measure | None
    """The number; None where runs are missing or do not have it."""

    seeds: int
    """Number of finished runs; some of them may lack the number."""


@dataclass(frozen=True)
class Table:
    """A table of the paper with our numbers."""

    number: int
    """Number in the paper."""

    title: str
    """Title of the table."""

    entries: tuple[Entry, ...]
    """The cells."""

    notes: tuple[str, ...]
    """Notes below the table, one sentence each."""

    about: Mapping[str, Any]
    """Provenance as plain values; `missing` names the experiments without a finished run."""


def folder_to_table(number: int, folder: Path) -> Table:
    """A table from the runs in a folder of `run_experiments`.

    Raises:
        InputError: the paper has no such table, or a file of predictions is damaged.
    """
    plan = layout(number)
    runs = {name: finished_runs(folder, name) for name in plan.runs}
    found: Measures = {
        name: {seed: run_to_measures(run, by_system=number in BY_SYSTEM) for seed, run in by_seed.items()}
        for name, by_seed in runs.items()
    }
    notes = plan.notes
    if number == WITH_THRESHOLDS:
        notes += add_steps_to_thresholds(found, runs)
    entries = tuple(Entry(cell, _fill(cell, found), len(found.get(cell.run or "", {}))) for cell in plan.cells)
    return Table(number, plan.title, entries, notes, runs_to_provenance(runs))


def finished_runs(folder: Path, name: str) -> dict[int, Path]:
    """The finished runs of an experiment by seed."""
    prefix = f"{name}-seed"
    seeds = [(path.name.removeprefix(prefix), path) for path in folder.glob(f"{prefix}*")]
    return {int(seed): path for seed, path in sorted(seeds) if seed.isdigit() and (path / PREDICTIONS).is_file()}


def add_steps_to_thresholds(found: Measures, runs: Mapping[str, Mapping[int, Path]]) -> tuple[str, ...]:
    """Add to each run its number of steps to the threshold; returns a note for each threshold.

    The threshold is the metric of the run without pretraining after `THRESHOLD_FRACTION` of its steps, averaged over
    its seeds. A run has reached it when the mean of `SMOOTH` validations has.
    """
    notes = []
    events = {name: {seed: read_run(run) for seed, run in by_seed.items()} for name, by_seed in runs.items()}
    baseline = events.get(next(iter(STRATEGIES.values())), {})
    for metric in (MAE, ACCURACY):
        reached = [metric_at_share(of_run, metric, THRESHOLD_FRACTION) for of_run in baseline.values()]
        values = [value for value in reached if value is not None]
        if not values:
            continue
        threshold = sum(values) / len(values)
        notes.append(f"Threshold of {metric}: {threshold * (100 if is_accuracy(metric) else 1):.4g}.")
        for name, by_seed in events.items():
            for seed, of_run in by_seed.items():
                if (steps := steps_to_threshold(of_run, metric, threshold, smooth=SMOOTH)) is not None:
                    found[name][seed][steps_to(metric)] = Measure(steps)
    return tuple(notes)


def runs_to_provenance(runs: Mapping[str, Mapping[int, Path]]) -> dict[str, Any]:
    """Provenance of the runs of a table: every value that occurs, seeds of each experiment, missing experiments."""
    origins = [origin for by_seed in runs.values() for run in by_seed.values() if (origin := read_origin(run))]
    keys = ("date", "commit", "data_digest", "hardware", "size", "epochs", "batch_size", "split", "versions")
    return {
        **{key: _each_once([origin[key] for origin in origins]) for key in keys},
        "seeds": {name: sorted(by_seed) for name, by_seed in runs.items() if by_seed},
        "missing": [name for name, by_seed in runs.items() if not by_seed],
    }


def _fill(cell: Cell, found: Measures) -> Measure | None:
    if cell.run is None:
        return None
    by_seed = found[cell.run]
    return runs_to_measure([measures[cell.metric] for measures in by_seed.values() if cell.metric in measures])


def _each_once(values: Sequence[object]) -> list[object]:
    return [value for number, value in enumerate(values) if value not in values[:number]]
