"""Baselines (constant predictions, trees on peak positions) and a lower bound on the error from the formula alone."""

from __future__ import annotations

import numpy as np

from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.labelled import labelled_rows
from xxact_core.evaluation.metrics import accuracy, class_mean_accuracy, mean_absolute_error, named_error
from xxact_core.quantities import PREDICTED, TARGETS, Quantity

PEAKS = 10
TREES = 300


def constant_baseline(table: StickTable) -> dict[str, float]:
    """Metrics on the test split of a constant prediction: the mean or the most frequent class of the training split."""
    metrics: dict[str, float] = {}
    for target in _predicted():
        values, train, test = table.targets[target.name], _known(table, target, "train"), _known(table, target, "test")
        if not train.size or not test.size:
            continue
        seen = values[train]
        predicted = seen.mean() if target.kind == "value" else np.bincount(seen.astype(int)).argmax()
        metrics |= _metrics(target, np.full(test.size, predicted), values[test])
    return metrics


def formula_baseline(table: StickTable) -> dict[str, float]:
    """Metrics on the test split of predicting, for each formula, its median label or most frequent class.

    A bound rather than a baseline, since it uses the test labels: its errors are the differences between materials of
    one formula, which no model can predict from the composition alone.
    """
    metrics: dict[str, float] = {}
    for target in _predicted():
        test = _known(table, target, "test")
        if not test.size:
            continue
        values = table.targets[target.name][test]
        _, group = np.unique(table.formula[test], return_inverse=True)
        predicted = np.empty(test.size)
        for members in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
            own = values[members]
            predicted[members] = np.median(own) if target.kind == "value" else np.bincount(own.astype(int)).argmax()
        metrics |= _metrics(target, predicted, values)
    return metrics


def _predicted() -> list[Quantity]:
    return [TARGETS[name] for name in PREDICTED]


def _known(table: StickTable, target: Quantity, split: str) -> np.ndarray:
    """Rows of a split whose label is known and that `labelled_rows` accepts."""
    rows: np.ndarray = table.rows(split)[labelled_rows(table, target.name, table.rows(split))]
    return rows


def _metrics(target: Quantity, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    if target.kind == "value":
        return named_error(target, mean_absolute_error(predicted, true))
    chosen, classes = predicted.astype(int), true.astype(int)
    return {
        f"{target.name}_accuracy": accuracy(chosen, classes),
        f"{target.name}_class_mean_accuracy": class_mean_accuracy(chosen, classes),
    }


def tree_baseline(table: StickTable, *, weakest: float, jobs: int = 1, seed: int = 0) -> dict[str, float]:
    """Crystal system by ExtraTrees on sin θ of the first ten reflections above `weakest` [%], and their number.

    With `weakest=0` every calculated reflection counts, more than any measurement shows; `weakest=1` is what a good
    measurement shows. Source: Suzuki et al. 2020, Sci. Rep. 10, 21790.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - slow to import

    features = np.stack([first_reflections(table, row, weakest=weakest) for row in range(len(table))])
    systems = table.targets["crystal_system"].astype(int)
    train, test = table.rows("train"), table.rows("test")
    trees = ExtraTreesClassifier(n_estimators=TREES, n_jobs=jobs, random_state=seed)
    trees.fit(features[train], systems[train])
    chosen = trees.predict(features[test])
    return {
        "crystal_system_accuracy": accuracy(chosen, systems[test]),
        "crystal_system_class_mean_accuracy": class_mean_accuracy(chosen, systems[test]),
    }


def first_reflections(table: StickTable, row: int, *, weakest: float) -> np.ndarray:
    """Sin θ of the first ten reflections above `weakest` [% of the strongest], and their number: shape (11,)."""
    sticks = table.sticks(row)
    seen = sticks.two_theta[sticks.intensity > weakest]
    features = np.zeros(PEAKS + 1, dtype=np.float32)
    first = np.sin(np.radians(seen[:PEAKS] / 2))
    features[: len(first)] = first
    features[PEAKS] = len(seen)
    return features
