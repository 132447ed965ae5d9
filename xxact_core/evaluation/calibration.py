"""Honest numbers: probabilities by temperature, intervals by the errors on the validation split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar

from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.labelled import Predictions, probabilities_of

COVERAGE = 0.9
"""Share of materials whose true value an interval is meant to hold."""


def calibrate(predictions: Predictions, table: StickTable) -> dict[str, dict[str, float]]:
    """`temperature` of each class target and `residual_90` of each value target, from validation predictions."""
    fitted: dict[str, dict[str, float]] = {}
    temperatures: dict[str, float] = {}
    for name in predictions.logits:  # in the order of the targets: the space group's follows the crystal system's
        true = table.targets[name][predictions.rows]
        known = ~np.isnan(true)
        if known.any():
            temperatures[name] = fit_temperature(predictions, name, true, known, temperatures)
            fitted[name] = {"temperature": temperatures[name]}
    for name, values in predictions.values.items():
        true = table.targets[name][predictions.rows]
        known = ~np.isnan(true)
        if name == "formation_energy_per_atom":
            known &= table.energy_is_exact[predictions.rows]
        if known.any():
            fitted[name] = {"residual_90": conformal_residual(values[known], true[known])}
    return fitted


def fit_temperature(
    predictions: Predictions,
    name: str,
    true: np.ndarray,
    known: np.ndarray,
    temperatures: Mapping[str, float],
) -> float:
    """The temperature of one class target that makes its `known` classes most likely. Source: Guo et al. 2017."""
    rows, classes = np.flatnonzero(known), true[known].astype(int)

    def loss(log_temperature: float) -> float:
        tried = {**temperatures, name: float(np.exp(log_temperature))}
        probabilities = probabilities_of(predictions, tried)[name]
        return float(-np.log(probabilities[rows, classes] + 1e-300).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def conformal_residual(values: np.ndarray, true: np.ndarray, *, coverage: float = COVERAGE) -> float:
    """Half-width of an interval that holds a new value with probability `coverage` (split conformal prediction).

    Source: Lei et al. 2018, "Distribution-free predictive inference for regression", algorithm 2.
    """
    residuals = np.sort(np.abs(values - true))
    rank = int(np.ceil((len(residuals) + 1) * coverage)) - 1
    return float(residuals[min(rank, len(residuals) - 1)])
