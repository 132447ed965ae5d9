"""Model × rows → predictions, and predictions → metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from xxact_core.dataset.batches import BatchMaker
from xxact_core.dataset.order import rows_in_order
from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.metrics import (
    accuracy,
    class_mean_accuracy,
    expected_calibration_error,
    mean_absolute_error,
    named_error,
    top_k_accuracy,
)
from xxact_core.model.answers import class_probabilities
from xxact_core.model.model import Model
from xxact_core.objectives.targets import from_z_scores
from xxact_core.quantities import TARGETS


@dataclass(frozen=True)
class Predictions:
    """What a model says of some rows of a data set.

    values: name → shape (rows,), in the target's unit. logits: name → shape (rows, classes).
    embedding: what the model's heads read (of XxaCT the fused [CLS]), shape (rows, width).
    """

    rows: np.ndarray
    values: Mapping[str, np.ndarray]
    logits: Mapping[str, np.ndarray]
    embedding: np.ndarray


@torch.inference_mode()
def predict_rows(
    model: Model,
    maker: BatchMaker,
    rows: np.ndarray,
    statistics: Mapping[str, tuple[float, float]],
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> Predictions:
    """Outputs and embeddings of a model in evaluation mode, for rows of a data set in order."""
    was_training = model.training
    model.eval()
    parts: dict[str, list[np.ndarray]] = {}
    for number, chosen in enumerate(rows_in_order(rows, batch_size=batch_size)):
        batch = maker.batch(chosen, seed=seed + number)
        embedding = model.embed(batch.intensity, batch.hidden, batch.atomic_numbers, batch.fractions)
        parts.setdefault("embedding", []).append(embedding.float().cpu().numpy())
        for name, output in model.heads(embedding).items():
            value = from_z_scores(output, statistics[name]) if name in statistics else output
            parts.setdefault(name, []).append(value.float().cpu().numpy())
    model.train(was_training)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    embeddings = joined.pop("embedding")
    classes = {name for name in joined if TARGETS[name].kind == "class"}
    return Predictions(
        rows=rows,
        values={name: values for name, values in joined.items() if name not in classes},
        logits={name: values for name, values in joined.items() if name in classes},
        embedding=embeddings,
    )


def metrics_of(
    predictions: Predictions, table: StickTable, *, temperatures: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The metrics of every target, over the rows that have a label; formation energies over exact labels only.

    Names end in their unit where they have one: `_mev_per_atom`, `_ev`; accuracies are shares (0-1).
    """
    metrics: dict[str, float] = {}
    for name, values in predictions.values.items():
        known = _known(table, name, predictions.rows)
        if not known.any():
            continue
        error = mean_absolute_error(values[known], table.targets[name][predictions.rows][known])
        metrics |= named_error(TARGETS[name], error)
    for name, of_all in probabilities_of(predictions, temperatures or {}).items():
        known = _known(table, name, predictions.rows)
        if not known.any():
            continue
        true = table.targets[name][predictions.rows][known].astype(int)
        probabilities = of_all[known]
        chosen = probabilities.argmax(axis=1)
        metrics[f"{name}_accuracy"] = accuracy(chosen, true)
        metrics[f"{name}_class_mean_accuracy"] = class_mean_accuracy(chosen, true)
        metrics[f"{name}_top_{3}_accuracy"] = top_k_accuracy(probabilities, true, k=3)
        metrics[f"{name}_calibration_error"] = expected_calibration_error(probabilities, true)
    return metrics


def _known(table: StickTable, name: str, rows: np.ndarray) -> np.ndarray:
    known = ~np.isnan(table.targets[name][rows])
    return known & table.energy_is_exact[rows] if name == "formation_energy_per_atom" else known


def probabilities_of(predictions: Predictions, temperatures: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Class probabilities, name → shape (rows, classes); see `class_probabilities`."""
    logits = {name: torch.from_numpy(values) for name, values in predictions.logits.items()}
    return {name: values.numpy() for name, values in class_probabilities(logits, temperatures).items()}


def silhouettes(embedding: np.ndarray, labels: np.ndarray, *, sample: int = 5000, seed: int = 0) -> dict[str, float]:
    """Silhouette (-1 to 1, higher is better) of each class by crystal system index, and their mean over materials.

    Source: XxaCT-NN table 5; Euclidean distance, over a seeded sample where there are more rows than `sample`.
    """
    from sklearn.metrics import silhouette_samples  # noqa: PLC0415 - slow to import

    chosen = np.random.default_rng(seed).permutation(len(labels))[:sample]
    embedding, labels = embedding[chosen], labels[chosen].astype(int)
    scores = silhouette_samples(embedding, labels)
    classes = TARGETS["crystal_system"].classes
    per_class = {classes[label]: float(scores[labels == label].mean()) for label in np.unique(labels)}
    return {**per_class, "mean": float(scores.mean())}
