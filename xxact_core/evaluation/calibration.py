"""Calibration on the validation split: temperatures of probabilities, and conformal intervals and prediction sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.labelled import Labelled, Predictions, labelled_rows, probabilities_of
from xxact_core.prediction.reliability import class_sets

COVERAGE = 0.9
"""Nominal coverage of intervals and prediction sets: the fraction of materials whose true label they contain."""


def calibrate(predictions: Predictions, table: StickTable) -> dict[str, dict[str, Any]]:
    """Calibration of each target from predictions of the validation split.

    Classification: `temperature`, and `set_threshold_90`, the smallest probability of a class in the 90 % prediction
    set. Regression: `residual_90`, the half-width of the 90 % prediction interval, in the unit of the target.
    """
    fitted: dict[str, dict[str, Any]] = {}
    temperatures: dict[str, float] = {}
    for name in predictions.logits:  # in the order of the targets: space groups after crystal systems
        true = table.targets[name][predictions.rows]
        known = ~np.isnan(true)
        if known.any():
            temperatures[name] = fit_temperature(predictions, name, true, known, temperatures)
            probabilities = probabilities_of(predictions, temperatures)[name][known]
            threshold = conformal_threshold(probabilities, true[known].astype(int))
            fitted[name] = {"temperature": temperatures[name], "set_threshold_90": threshold}
    for name, values in predictions.values.items():
        true = table.targets[name][predictions.rows]
        if (known := labelled_rows(table, name, predictions.rows)).any():
            fitted[name] = {"residual_90": conformal_residual(values[known], true[known])}
    return fitted


def fit_temperature(
    predictions: Predictions,
    name: str,
    true: np.ndarray,
    known: np.ndarray,
    temperatures: Mapping[str, float],
) -> float:
    """The temperature of a classification target that maximises the likelihood. Source: Guo et al. 2017."""
    rows, classes = np.flatnonzero(known), true[known].astype(int)

    def loss(log_temperature: float) -> float:
        tried = {**temperatures, name: float(np.exp(log_temperature))}
        probabilities = probabilities_of(predictions, tried)[name]
        return float(-np.log(probabilities[rows, classes] + 1e-300).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def conformal_residual(values: np.ndarray, true: np.ndarray, *, coverage: float = COVERAGE) -> float:
    """Half-width of an interval that contains a new value with probability `coverage` (split conformal prediction).

    Source: Lei et al. 2018, "Distribution-free predictive inference for regression", algorithm 2.
    """
    residuals = np.sort(np.abs(values - true))
    rank = int(np.ceil((len(residuals) + 1) * coverage)) - 1
    return float(residuals[min(rank, len(residuals) - 1)])


def conformal_threshold(probabilities: np.ndarray, true: np.ndarray, *, coverage: float = COVERAGE) -> float:
    """Threshold (0-1) such that the classes at least as probable contain a new true class with probability `coverage`.

    Least ambiguous sets: the score of a material is one minus the probability of its true class, and the threshold is
    that of the score of rank ⌈(n + 1) · coverage⌉ of n. They are the smallest sets of a given marginal coverage, and
    need no randomness. Adaptive sets equalise the coverage of easy and hard materials, but without randomness they are
    too large, above all for 230 space groups. With so few materials that the rank exceeds n, the set contains every
    class. The coverage is marginal: it is not guaranteed for each crystal system.

    Source: Angelopoulos & Bates 2023, "Conformal prediction: a gentle introduction", sections 1 and 2.1; Sadinle, Lei &
    Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error levels".
    """
    of_true = np.sort(probabilities[np.arange(len(true)), true])[::-1]
    rank = int(np.ceil((len(of_true) + 1) * coverage)) - 1
    return float(of_true[rank]) if rank < len(of_true) else 0.0


def coverage_metrics(labelled: Labelled, calibration: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Fraction of materials (0-1) whose label the calibrated intervals and sets contain, and mean size of the sets.

    Names: `NAME_interval_coverage`, `NAME_set_coverage`, `NAME_set_size` [classes]; of calibrated targets only.
    """
    metrics: dict[str, float] = {}
    for name, (predicted, true) in labelled.values.items():
        if "residual_90" in calibration.get(name, {}):
            held = np.abs(predicted - true) <= calibration[name]["residual_90"]
            metrics[f"{name}_interval_coverage"] = float(held.mean())
    for name, (probabilities, classes) in labelled.probabilities.items():
        if "set_threshold_90" in calibration.get(name, {}):
            in_set = class_sets(probabilities, calibration[name]["set_threshold_90"])
            metrics[f"{name}_set_coverage"] = float(in_set[np.arange(len(classes)), classes].mean())
            metrics[f"{name}_set_size"] = float(in_set.sum(axis=1).mean())
    return metrics
