"""Calibration on the validation split: temperatures of probabilities, and conformal intervals and prediction sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.breakdown import seen_prototypes
from xxact_core.evaluation.labelled import Labelled, Predictions, labelled_rows, probabilities_of
from xxact_core.prediction.reliability import (
    SMALLEST_MASS,
    Trust,
    agreement_of,
    class_scores,
    class_sets,
    fit_trust,
    interval_half_widths,
    set_thresholds,
    similarity_bins,
    similarity_edges,
)
from xxact_core.quantities import CRYSTAL_SYSTEM

COVERAGE = 0.9
"""Nominal coverage of intervals and prediction sets: the fraction of materials whose true label they contain."""

MATERIALS_OF_A_BIN = 100
"""Validation materials in a bin of similarity, at least. Ours: the coverage of a bin then varies by 3 %."""


def calibrate(predictions: Predictions, table: StickTable) -> dict[str, dict[str, Any]]:
    """Calibration of each target from predictions of the validation split.

    Classification: `temperature`, and `set_threshold_90`, the smallest probability of a class in the 90 % prediction
    set. Regression: `residual_90`, the half-width of the 90 % prediction interval, in the unit of the target. Both also
    for each bin of similarity to the training materials, the least similar first, as `set_thresholds_90` and
    `residuals_90`, with the inner edges of the bins under the name `similarity` (Mondrian conformal prediction: Vovk,
    Gammerman & Shafer 2005, "Algorithmic learning in a random world", section 4.5); one bin without retrieval. With
    retrieval also `trust`, see `prediction.reliability.Trust`.
    """
    fitted: dict[str, dict[str, Any]] = {}
    temperatures: dict[str, float] = {}
    edges: list[float] = []
    if predictions.similarity is not None:
        edges = similarity_edges(predictions.similarity, smallest=MATERIALS_OF_A_BIN)
    bin_of = _bins(predictions, edges)
    numbers = range(len(edges) + 1)
    unseen = ~seen_prototypes(table, predictions.rows)
    for name in predictions.logits:  # in the order of the targets: space groups after crystal systems
        true = table.targets[name][predictions.rows]
        known = ~np.isnan(true)
        if known.any():
            temperatures[name] = fit_temperature(predictions, name, true, known, temperatures)
            probabilities = probabilities_of(predictions, temperatures)[name]
            classes = np.where(known, true, 0).astype(int)
            scores = class_scores(probabilities, smallest_mass=SMALLEST_MASS)
            members = [_representative(known & (bin_of == number), unseen) for number in numbers]
            fitted[name] = {
                "temperature": temperatures[name],
                "set_threshold_90": conformal_threshold(probabilities[known], classes[known]),
                "set_thresholds_90": [conformal_threshold(scores[of_bin], classes[of_bin]) for of_bin in members],
            }
    for name, values in predictions.values.items():
        true = table.targets[name][predictions.rows]
        if (known := labelled_rows(table, name, predictions.rows)).any():
            all_of_them = conformal_residual(values[known], true[known])
            members = [_representative(known & (bin_of == number), unseen) for number in numbers]
            fitted[name] = {
                "residual_90": all_of_them,
                "residuals_90": [
                    conformal_residual(values[of_bin], true[of_bin]) if of_bin.any() else all_of_them
                    for of_bin in members
                ],
            }
    if fitted:
        fitted["similarity"] = {"edges": edges}
    if predictions.system_votes is not None and CRYSTAL_SYSTEM.name in temperatures:
        fitted["trust"] = _calibrate_trust(predictions, table, temperatures).to_dict()
    return fitted


def _representative(members: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Of the materials of a bin those whose prototype is not in the training split, where there are enough of them.

    Materials that a laboratory measures are often of kinds that the training data lack, more often than those of a
    random validation split.
    """
    of_new_kinds = members & unseen
    return of_new_kinds if of_new_kinds.sum() >= MATERIALS_OF_A_BIN else members


def _calibrate_trust(predictions: Predictions, table: StickTable, temperatures: Mapping[str, float]) -> Trust:
    probabilities = probabilities_of(predictions, temperatures)[CRYSTAL_SYSTEM.name]
    true = table.targets[CRYSTAL_SYSTEM.name][predictions.rows]
    assert predictions.system_votes is not None
    assert predictions.similarity is not None
    known = ~np.isnan(true)
    return fit_trust(
        predictions.similarity[known],
        agreement_of(predictions.system_votes, probabilities)[known],
        (probabilities.argmax(axis=1) != true)[known],
    )


def _bins(predictions: Predictions, edges: Sequence[float]) -> np.ndarray:
    """Bin of similarity of each row, shape (rows,)."""
    if predictions.similarity is None:
        return np.zeros(len(predictions.rows), dtype=int)
    return similarity_bins(predictions.similarity, edges)


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
        half = interval_half_widths(calibration, name, labelled.similarity.get(name))
        if half is not None:
            metrics[f"{name}_interval_coverage"] = float((np.abs(predicted - true) <= half).mean())
    for name, (probabilities, classes) in labelled.probabilities.items():
        found = set_thresholds(calibration, name, labelled.similarity.get(name))
        if found is not None:
            in_set = class_sets(probabilities, found.threshold, smallest_mass=found.smallest_mass)
            metrics[f"{name}_set_coverage"] = float(in_set[np.arange(len(classes)), classes].mean())
            metrics[f"{name}_set_size"] = float(in_set.sum(axis=1).mean())
    return metrics
