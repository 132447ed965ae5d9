"""Tables by crystal system from predictions files, without running a model."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from xxact_core.errors import DatasetError, shorten
from xxact_core.evaluation.evaluate import silhouettes
from xxact_core.evaluation.intervals import class_mean_interval, mean_interval, mean_over_runs
from xxact_core.evaluation.labelled import Labelled
from xxact_core.evaluation.metrics import accuracy, class_mean_accuracy
from xxact_core.model.inference import class_probabilities
from xxact_core.plain_hdf5 import open_plain
from xxact_core.quantities import CRYSTAL_SYSTEMS, TARGETS

OF_ALL = "all materials"
OF_CLASSES = "mean of systems"

Row = dict[str, str | float]


@dataclass(frozen=True)
class SystemPredictions:
    """Crystal systems of a predictions file, over the materials whose system is known."""

    true: np.ndarray
    """Index of the true crystal system, shape (materials,)."""

    chosen: np.ndarray
    """Index of the predicted crystal system, shape (materials,)."""

    embedding: np.ndarray
    """Fused [CLS], shape (materials, width)."""


def read_system_predictions(path: Path) -> SystemPredictions:
    """The crystal systems of a file of `write_predictions`, at its temperatures.

    Raises:
        DatasetError: there is no such file, it is not HDF5, or it has no crystal systems.
    """
    try:
        with open_plain(path) as file:
            true, embedding = file["true/crystal_system"][...], file["embedding"][...]
            chosen = _probabilities(file)["crystal_system"].argmax(axis=1)
    except (OSError, KeyError) as error:
        reason = "it has none" if isinstance(error, KeyError) else shorten(error)
        msg = f"{path} is not a file of predictions with crystal systems: {reason}"
        raise DatasetError(msg, code="E_PREDICTIONS") from error
    known = ~np.isnan(true)
    if not known.any():
        msg = f"{path} has no material whose crystal system is known"
        raise DatasetError(msg, code="E_PREDICTIONS")
    return SystemPredictions(true[known].astype(int), chosen[known], embedding[known])


def read_labelled(path: Path) -> Labelled:
    """The labelled predictions of a file of `write_predictions`, at its temperatures.

    Raises:
        DatasetError: there is no such file, or it is not HDF5 with predictions.
    """
    values: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    probabilities: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        with open_plain(path) as file:
            of_classes = _probabilities(file)
            for name in file["predicted"]:
                true = file[f"true/{name}"][...]
                known = ~np.isnan(true)
                if name in of_classes and known.any():
                    probabilities[name] = (of_classes[name][known], true[known].astype(int))
                elif known.any():
                    values[name] = (file[f"predicted/{name}"][...][known], true[known])
    except (OSError, KeyError) as error:
        reason = "it has none" if isinstance(error, KeyError) else shorten(error)
        msg = f"{path} is not a file of predictions: {reason}"
        raise DatasetError(msg, code="E_PREDICTIONS") from error
    return Labelled(values, probabilities)


def _probabilities(file: h5py.File) -> dict[str, np.ndarray]:
    """Class probabilities, name → shape (rows, classes)."""
    names = [name for name in file["predicted"] if TARGETS[name].kind == "class"]
    logits = {name: torch.from_numpy(file[f"predicted/{name}"][...]) for name in names}
    temperatures = {name: float(file[f"predicted/{name}"].attrs.get("temperature", 1.0)) for name in names}
    return {name: values.numpy() for name, values in class_probabilities(logits, temperatures).items()}


def systems_to_rows(systems: SystemPredictions) -> list[Row]:
    """A row for each crystal system that occurs, one for all materials and one for the mean of the systems.

    Columns: materials, accuracy (0-1) with its 95 % interval, silhouette (-1 to 1; empty where all materials are of one
    system). Source: XxaCT-NN tables 4 and 5, whose "mean" of accuracies is over materials, not over systems.
    """
    true, right = systems.true, systems.chosen == systems.true
    groups = {CRYSTAL_SYSTEMS[system]: true == system for system in np.unique(true)}
    scores = silhouettes(systems.embedding, true) if len(groups) > 1 else {}
    rows = [
        _row(name, int(members.sum()), float(right[members].mean()), mean_interval(right[members], seed=0), scores)
        for name, members in groups.items()
    ]
    of_systems = [scores[name] for name in groups if name in scores]
    means = {OF_ALL: scores["mean"], OF_CLASSES: float(np.mean(of_systems))} if of_systems else {}
    of_classes = class_mean_accuracy(systems.chosen, true)
    return [
        *rows,
        _row(OF_ALL, len(true), accuracy(systems.chosen, true), mean_interval(right, seed=0), means),
        _row(OF_CLASSES, len(true), of_classes, class_mean_interval(right, true, seed=0), means),
    ]


def runs_to_rows(runs: Sequence[list[Row]]) -> list[Row]:
    """The same table over runs that differ in their seed: means with standard errors.

    Raises:
        InputError: there are fewer than two runs.
    """
    flat: list[dict[str, float]] = []
    for run in runs:
        numbers = {f"{row['crystal_system']}/{name}": row[name] for row in run for name in ("accuracy", "silhouette")}
        flat.append({key: float(number) for key, number in numbers.items() if number != ""})
    rows: dict[str, Row] = {}
    for key, (mean, error) in mean_over_runs(flat).items():
        system, name = key.split("/")
        row = rows.setdefault(system, {"crystal_system": system})
        row |= {name: mean, f"{name}_standard_error": error}
    return list(rows.values())


def rows_to_csv(rows: Sequence[Row]) -> str:
    """The table as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(name: str, materials: int, share: float, interval: tuple[float, float], scores: dict[str, float]) -> Row:
    return {
        "crystal_system": name,
        "materials": materials,
        "accuracy": share,
        "accuracy_low": interval[0],
        "accuracy_high": interval[1],
        "silhouette": scores.get(name, ""),
    }
