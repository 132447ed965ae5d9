"""Metrics as pure functions; each has a name, a unit and a direction."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from xxact_core.quantities import Quantity

UNITS_IN_NAMES = {
    "eV/atom": ("mev_per_atom", 1000.0),
    "eV": ("ev", 1.0),
    "g/cm³": ("g_per_cm3", 1.0),
    "Å³/atom": ("angstrom3_per_atom", 1.0),
    "Å": ("angstrom", 1.0),
    "°": ("degree", 1.0),
}
"""Suffix of a metric's name for each unit, and the factor from the unit of the quantity to it."""


def named_error(quantity: Quantity, error: float) -> dict[str, float]:
    """A mean absolute error by its name, which ends in its unit; energies per atom are in meV."""
    unit, factor = UNITS_IN_NAMES[quantity.unit]
    return {f"{quantity.name}_mae_{unit}": factor * error}


def mean_absolute_error(predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> float:
    """Mean of |predicted - true|, in the unit of both; lower is better."""
    return float(np.abs(predicted - true).mean())


def accuracy(predicted: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"]) -> float:
    """Fraction of correct classes (0-1), every material with the same weight; higher is better."""
    return float((predicted == true).mean())


def class_mean_accuracy(predicted: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"]) -> float:
    """Mean over the occurring classes of the accuracy within each (0-1); higher is better."""
    return float(np.mean([(predicted[true == label] == label).mean() for label in np.unique(true)]))


def top_k_accuracy(probabilities: Float[np.ndarray, "n classes"], true: Int[np.ndarray, " n"], *, k: int) -> float:
    """Fraction of materials whose class is among the k most probable (0-1); higher is better."""
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return float((best == true[:, None]).any(axis=1).mean())


def expected_calibration_error(
    probabilities: Float[np.ndarray, "n classes"], true: Int[np.ndarray, " n"], *, bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy (0-1) over equal bins of confidence; lower is better.

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[bin_of == b].mean() - right[bin_of == b].mean()) * (bin_of == b).mean() for b in set(bin_of)]
    return float(sum(gaps))


def calibration_error_by_chance(
    probabilities: Float[np.ndarray, "n classes"], *, bins: int = 15, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Calibration error expected by chance from perfectly calibrated probabilities: mean and 95th percentile.

    With a few dozen predictions the calibration error is mostly chance, because every bin contains only some of them.
    """
    confidence = probabilities.max(axis=1)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    right = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    gaps = [np.abs((right - confidence)[:, bin_of == b].sum(axis=1)) / len(confidence) for b in set(bin_of)]
    errors = np.sum(gaps, axis=0)
    return float(errors.mean()), float(np.quantile(errors, 0.95))
