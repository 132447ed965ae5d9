"""Predictions of a model for rows of a dataset, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import rows_in_order
from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.labelled import Labelled, Predictions, predictions_to_labelled
from xxact_core.evaluation.metrics import (
    accuracy,
    class_mean_accuracy,
    expected_calibration_error,
    mean_absolute_error,
    named_error,
    top_k_accuracy,
)
from xxact_core.model.model import Model
from xxact_core.objectives.targets import from_z_scores
from xxact_core.prediction.reliability import pattern_traits
from xxact_core.quantities import TARGETS


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
    """Outputs and embeddings of a model in evaluation mode, for rows of a dataset in order."""
    was_training = model.training
    model.eval()
    parts: dict[str, list[np.ndarray]] = {}
    for number, chosen in enumerate(rows_in_order(rows, batch_size=batch_size)):
        batch = maker.batch(chosen, seed=seed + number)
        embedding, tokens = model.encode_features(batch)
        parts.setdefault("embedding", []).append(embedding.float().cpu().numpy())
        if tokens is not None:
            parts.setdefault("traits", []).append(pattern_traits(tokens).float().cpu().numpy())
        for name, output in model.apply_heads(embedding).items():
            value = from_z_scores(output, statistics[name]) if name in statistics else output
            parts.setdefault(name, []).append(value.float().cpu().numpy())
    model.train(was_training)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    embeddings, traits = joined.pop("embedding"), joined.pop("traits", None)
    classes = {name for name in joined if TARGETS[name].kind == "class"}
    return Predictions(
        rows=rows,
        values={name: values for name, values in joined.items() if name not in classes},
        logits={name: values for name, values in joined.items() if name in classes},
        embedding=embeddings,
        traits=traits,
    )


def metrics_of(
    predictions: Predictions, table: StickTable, *, temperatures: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The metrics of every target, over the rows that have a label; formation energies over exact labels only.

    Names end in their unit where they have one: `_mev_per_atom`, `_ev`; accuracies are fractions (0-1).
    """
    return labelled_to_metrics(predictions_to_labelled(predictions, table, temperatures=temperatures or {}))


def labelled_to_metrics(labelled: Labelled) -> dict[str, float]:
    """The metrics of labelled predictions, under the names of `metrics_of`."""
    metrics: dict[str, float] = {}
    for name, (predicted, true) in labelled.values.items():
        metrics |= named_error(TARGETS[name], mean_absolute_error(predicted, true))
    for name, (probabilities, classes) in labelled.probabilities.items():
        chosen = probabilities.argmax(axis=1)
        metrics[f"{name}_accuracy"] = accuracy(chosen, classes)
        metrics[f"{name}_class_mean_accuracy"] = class_mean_accuracy(chosen, classes)
        metrics[f"{name}_top_{3}_accuracy"] = top_k_accuracy(probabilities, classes, k=3)
        metrics[f"{name}_calibration_error"] = expected_calibration_error(probabilities, classes)
    return metrics


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
