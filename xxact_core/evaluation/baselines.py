"""What a model has to beat: the training mean, the majority class, and trees on peak positions."""

from __future__ import annotations

import numpy as np

from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.metrics import accuracy, class_mean_accuracy, mean_absolute_error, named_error
from xxact_core.quantities import PREDICTED, TARGETS

LINES = 10
TREES = 300


def constant_baseline(table: StickTable) -> dict[str, float]:
    """Metrics on the test split of always answering the training mean or the training majority."""
    train, test = table.rows("train"), table.rows("test")
    metrics: dict[str, float] = {}
    for target in (TARGETS[name] for name in PREDICTED):
        values = table.targets[target.name]
        known = ~np.isnan(values)
        if target.name == "formation_energy_per_atom":
            known &= table.energy_is_exact
        seen, asked = values[train][known[train]], values[test][known[test]]
        if not seen.size or not asked.size:
            continue
        if target.kind == "value":
            metrics |= named_error(target, mean_absolute_error(np.full_like(asked, seen.mean()), asked))
        else:
            majority = np.full(len(asked), np.bincount(seen.astype(int)).argmax())
            metrics[f"{target.name}_accuracy"] = accuracy(majority, asked.astype(int))
            metrics[f"{target.name}_class_mean_accuracy"] = class_mean_accuracy(majority, asked.astype(int))
    return metrics


def tree_baseline(table: StickTable, *, weakest: float, jobs: int = 1, seed: int = 0) -> dict[str, float]:
    """Crystal system by ExtraTrees on sin θ of the first ten lines above `weakest` [%] and their count.

    Source: Suzuki et al. 2020, Sci. Rep. 10, 21790. With `weakest=0` every calculated stick counts, which no
    measurement could show; `weakest=1` is what a good one shows.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - slow to import

    features = np.stack([first_lines(table, row, weakest=weakest) for row in range(len(table))])
    systems = table.targets["crystal_system"].astype(int)
    train, test = table.rows("train"), table.rows("test")
    trees = ExtraTreesClassifier(n_estimators=TREES, n_jobs=jobs, random_state=seed)
    trees.fit(features[train], systems[train])
    chosen = trees.predict(features[test])
    return {
        "crystal_system_accuracy": accuracy(chosen, systems[test]),
        "crystal_system_class_mean_accuracy": class_mean_accuracy(chosen, systems[test]),
    }


def first_lines(table: StickTable, row: int, *, weakest: float) -> np.ndarray:
    """The sin θ of the first ten lines above `weakest` [% of the strongest], and their count: shape (11,)."""
    sticks = table.sticks(row)
    seen = sticks.two_theta[sticks.intensity > weakest]
    features = np.zeros(LINES + 1, dtype=np.float32)
    first = np.sin(np.radians(seen[:LINES] / 2))
    features[: len(first)] = first
    features[LINES] = len(seen)
    return features
