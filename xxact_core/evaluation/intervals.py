"""Uncertainty of metrics: bootstrap over test materials, and standard error over seeds of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xxact_core.errors import InputError
from xxact_core.evaluation.labelled import Labelled
from xxact_core.evaluation.metrics import UNITS_IN_NAMES
from xxact_core.quantities import TARGETS

RESAMPLES = 1000
CONFIDENCE = 0.95

_BLOCK = 1_000_000
"""Draws of a block, which keeps the memory of a bootstrap at about ten megabytes."""

Interval = tuple[float, float]


def intervals_of(labelled: Labelled, *, seed: int = 0) -> dict[str, Interval]:
    """95 % intervals of the errors and accuracies of `metrics_of`, under the same names, in the same units.

    Bootstrap over materials, percentiles of 1,000 resamples. They cover the choice of test materials, not that
    of the training seed. Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", 13.3.
    """
    intervals: dict[str, Interval] = {}
    for name, (predicted, true) in labelled.values.items():
        unit, factor = UNITS_IN_NAMES[TARGETS[name].unit]
        intervals[f"{name}_mae_{unit}"] = mean_interval(factor * np.abs(predicted - true), seed=seed)
    for name, (probabilities, true) in labelled.probabilities.items():
        right = probabilities.argmax(axis=1) == true
        intervals[f"{name}_accuracy"] = mean_interval(right, seed=seed)
        intervals[f"{name}_class_mean_accuracy"] = class_mean_interval(right, true, seed=seed)
    return intervals


def mean_interval(
    values: np.ndarray, *, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> Interval:
    """Bootstrap interval of the mean of values of shape (n,), which may be errors, or correctness as booleans."""
    random, count = np.random.default_rng(seed), len(values)
    block = max(1, _BLOCK // count)
    means = [
        values[random.integers(count, size=(min(block, resamples - first), count))].mean(axis=1)
        for first in range(0, resamples, block)
    ]
    return _percentiles(np.concatenate(means), confidence=confidence)


def class_mean_interval(
    right: np.ndarray,
    classes: np.ndarray,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Bootstrap interval of the class-mean accuracy, from correctness (bool) and true class, both of shape (n,).

    Only the numbers of correct and wrong materials of each class matter, so these are drawn from their multinomial
    distribution instead of resampling materials. A class that is absent from a resample is left out of its mean.
    """
    _, class_of = np.unique(classes, return_inverse=True)
    cells = np.bincount(2 * class_of + right, minlength=2 * (class_of.max() + 1))
    drawn = np.random.default_rng(seed).multinomial(len(right), cells / len(right), size=resamples)
    wrongs, rights = drawn[:, 0::2], drawn[:, 1::2]
    occurs = wrongs + rights > 0
    shares = np.divide(rights, wrongs + rights, out=np.zeros(rights.shape), where=occurs)
    return _percentiles(shares.sum(axis=1) / occurs.sum(axis=1), confidence=confidence)


def _percentiles(means: np.ndarray, *, confidence: float) -> Interval:
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mean_over_runs(runs: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and standard error, s/√n with s² the unbiased variance, of the metrics that all runs have.

    Raises:
        InputError: there are fewer than two runs.
    """
    if len(runs) < 2:  # noqa: PLR2004 - a variance takes two
        msg = f"{len(runs)} run has no standard error; expected two or more that differ in their seed"
        raise InputError(msg, code="E_RUNS")
    names = [name for name in runs[0] if all(name in run for run in runs)]
    values = np.array([[run[name] for name in names] for run in runs])
    means, errors = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(runs))
    return {name: (float(means[place]), float(errors[place])) for place, name in enumerate(names)}
