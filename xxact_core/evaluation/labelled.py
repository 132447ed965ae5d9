"""Predictions × labels → answers beside the truth, over the rows that have a label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from xxact_core.dataset.table import StickTable
from xxact_core.model.inference import class_probabilities


@dataclass(frozen=True)
class Predictions:
    """What a model says of some rows of a data set.

    values: name → shape (rows,), in the target's unit. logits: name → shape (rows, classes).
    embedding: what the model's heads read (of XxaCT the fused [CLS]), shape (rows, width). traits: of the encoded
    pattern, shape (rows, traits), see `pattern_traits`; None for a kind of model that encodes none.
    """

    rows: np.ndarray
    values: Mapping[str, np.ndarray]
    logits: Mapping[str, np.ndarray]
    embedding: np.ndarray
    traits: np.ndarray | None


@dataclass(frozen=True)
class Labelled:
    """Answers beside the truth, each target over its labelled rows only; formation energies over exact labels.

    values: name → (predicted, true), each of shape (labelled,), in the target's unit.
    probabilities: name → (shape (labelled, classes), index of the true class of shape (labelled,)).
    """

    values: Mapping[str, tuple[np.ndarray, np.ndarray]]
    probabilities: Mapping[str, tuple[np.ndarray, np.ndarray]]


def predictions_to_labelled(
    predictions: Predictions, table: StickTable, *, temperatures: Mapping[str, float]
) -> Labelled:
    """Predictions beside the labels of a data set; targets without any label are left out."""
    values, probabilities = {}, {}
    for name, predicted in predictions.values.items():
        if (known := labelled_rows(table, name, predictions.rows)).any():
            values[name] = (predicted[known], table.targets[name][predictions.rows][known])
    for name, of_all in probabilities_of(predictions, temperatures).items():
        if (known := labelled_rows(table, name, predictions.rows)).any():
            probabilities[name] = (of_all[known], table.targets[name][predictions.rows][known].astype(int))
    return Labelled(values, probabilities)


def labelled_rows(table: StickTable, name: str, rows: np.ndarray) -> np.ndarray:
    """Which of the rows have a label that counts, shape (rows,); of formation energies the exact ones."""
    known = ~np.isnan(table.targets[name][rows])
    output: np.ndarray = known & table.energy_is_exact[rows] if name == "formation_energy_per_atom" else known
    return output


def probabilities_of(predictions: Predictions, temperatures: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Class probabilities, name → shape (rows, classes); see `class_probabilities`."""
    logits = {name: torch.from_numpy(values) for name, values in predictions.logits.items()}
    return {name: values.numpy() for name, values in class_probabilities(logits, temperatures).items()}
