"""Predictions of a model for rows of a dataset, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from xxact_core.dataset.loading.batches import Batch, BatchMaker
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
from xxact_core.objectives.targets import output_to_values
from xxact_core.prediction.reliability import pattern_traits
from xxact_core.quantities import CRYSTAL_SYSTEM, FORMATION_ENERGY, TARGETS

ENERGY = FORMATION_ENERGY.name

Hidden = Literal["pattern", "composition"]
"""An input that a model is not given."""


def hide_input(batch: Batch, hidden: Hidden) -> Batch:
    """The same materials without their patterns or without their compositions, as in modality dropout."""
    if hidden == "pattern":
        return replace(batch, window_mask=torch.ones_like(batch.window_mask))
    return replace(
        batch,
        atomic_numbers=torch.zeros_like(batch.atomic_numbers),
        fractions=torch.zeros_like(batch.fractions),
    )


@torch.inference_mode()
def predict_rows(
    model: Model,
    maker: BatchMaker,
    rows: np.ndarray,
    statistics: Mapping[str, tuple[float, float]],
    *,
    batch_size: int = 256,
    seed: int = 0,
    hidden: Hidden | None = None,
    before_batch: Callable[[], None] = lambda: None,
) -> Predictions:
    """Outputs and embeddings of a model in evaluation mode, for rows of a dataset in order.

    Values are those that `Predictor` shows. With `hidden`, the model is not given patterns or compositions; the
    patterns are the same as without it. What `before_batch` raises ends the evaluation.
    """
    was_training = model.training
    model.eval()
    parts: dict[str, list[np.ndarray]] = {}
    for number, chosen in enumerate(rows_in_order(rows, batch_size=batch_size)):
        before_batch()
        batch = maker.batch(chosen, seed=seed + number)
        batch = batch if hidden is None else hide_input(batch, hidden)
        features, tokens = model.encode_features(batch)
        parts.setdefault("features", []).append(features.float().cpu().numpy())
        if tokens is not None:
            parts.setdefault("traits", []).append(pattern_traits(tokens).float().cpu().numpy())
        outputs, neighbours = model.apply_heads_with_neighbours(features)
        if neighbours is not None:
            parts.setdefault("similarity", []).append(neighbours.similarity.float().cpu().numpy())
            if CRYSTAL_SYSTEM.name in neighbours.votes:
                shares = neighbours.votes[CRYSTAL_SYSTEM.name]
                parts.setdefault("system_votes", []).append(shares.float().cpu().numpy())
        if ENERGY in statistics and (offset := model.heads.teacher_offset(features)) is not None:
            in_ev = offset.squeeze(1) * statistics[ENERGY][1]
            parts.setdefault("teacher_offset", []).append(in_ev.float().cpu().numpy())
        for name, output in outputs.items():
            value = output_to_values(name, output, statistics[name]) if name in statistics else output
            parts.setdefault(name, []).append(value.float().cpu().numpy())
    model.train(was_training)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    of_all = joined.pop("features")
    traits, similarities = joined.pop("traits", None), joined.pop("similarity", None)
    votes, offsets = joined.pop("system_votes", None), joined.pop("teacher_offset", None)
    classes = {name for name in joined if TARGETS[name].kind == "class"}
    return Predictions(
        rows=rows,
        values={name: values for name, values in joined.items() if name not in classes},
        logits={name: values for name, values in joined.items() if name in classes},
        embedding=of_all[:, : model.config.embedding_width or None],
        traits=traits,
        similarity=similarities,
        system_votes=votes,
        teacher_offset=offsets,
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
