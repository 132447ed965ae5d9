"""Predictions with the true labels, over the rows that have a label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from xxact_core.dataset.table import StickTable
from xxact_core.model.inference import class_probabilities


@dataclass(frozen=True)
class Predictions:
    """Outputs of a model for some rows of a dataset."""

    rows: np.ndarray
    """Rows of the dataset, shape (rows,)."""

    values: Mapping[str, np.ndarray]
    """Values of each regression target, shape (rows,), in its unit."""

    logits: Mapping[str, np.ndarray]
    """Logits of each classification target, shape (rows, classes)."""

    embedding: np.ndarray
    """The embedding that the class heads read, shape (rows, width)."""

    traits: np.ndarray | None
    """Traits of the encoded pattern, shape (rows, traits), see `pattern_traits`; None without a pattern encoder."""

    similarity: np.ndarray | None = None
    """Cosine similarity of the nearest training material, shape (rows,); None without kNN retrieval."""

    system_votes: np.ndarray | None = None
    """Shares (0-1) of the crystal systems among the nearest training materials, shape (rows, 7); None without."""

    teacher_offset: np.ndarray | None = None
    """To be added to formation energies for a comparison with those of a teacher [eV/atom], shape (rows,)."""


@dataclass(frozen=True)
class Labelled:
    """Predictions with true labels, each target over its labelled rows; formation energies over exact labels."""

    values: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Predicted and true values of each regression target, both of shape (labelled,), in its unit."""

    probabilities: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Class probabilities and index of the true class of each target, shapes (labelled, classes) and (labelled,)."""

    similarity: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Similarity of the nearest training material, of each target over its labelled rows; empty without retrieval."""


def predictions_to_labelled(
    predictions: Predictions, table: StickTable, *, temperatures: Mapping[str, float]
) -> Labelled:
    """Predictions with the labels of a dataset; targets without any label are left out."""
    values, probabilities, similarity = {}, {}, {}
    for name, predicted in predictions.values.items():
        if (known := labelled_rows(table, name, predictions.rows)).any():
            values[name] = (predicted[known], table.targets[name][predictions.rows][known])
    for name, of_all in probabilities_of(predictions, temperatures).items():
        if (known := labelled_rows(table, name, predictions.rows)).any():
            probabilities[name] = (of_all[known], table.targets[name][predictions.rows][known].astype(int))
    if predictions.similarity is not None:
        for name in (*values, *probabilities):
            similarity[name] = predictions.similarity[labelled_rows(table, name, predictions.rows)]
    return Labelled(values, probabilities, similarity)


def labelled_rows(table: StickTable, name: str, rows: np.ndarray) -> np.ndarray:
    """Mask of the rows with a label, shape (rows,); for formation energies, with an exact one."""
    known = ~np.isnan(table.targets[name][rows])
    output: np.ndarray = known & table.energy_is_exact[rows] if name == "formation_energy_per_atom" else known
    return output


def probabilities_of(predictions: Predictions, temperatures: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Class probabilities, name → shape (rows, classes); see `class_probabilities`."""
    logits = {name: torch.from_numpy(values) for name, values in predictions.logits.items()}
    return {name: values.numpy() for name, values in class_probabilities(logits, temperatures).items()}
