"""A trained model → the finished checkpoint, with calibration, applicability domain and kNN retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xxact_core.checkpoint import Checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.errors import CheckpointError
from xxact_core.evaluation.calibration import calibrate
from xxact_core.evaluation.evaluate import predict_rows
from xxact_core.evaluation.labelled import labelled_rows
from xxact_core.model.knn_retrieval import KnnRetrieval, fit_knn_retrieval
from xxact_core.model.model import Model
from xxact_core.prediction.reliability import fit_domain
from xxact_core.training.config import Recipe
from xxact_core.training.start import describe_run

DOMAIN_ROWS = 5000
"""Patterns of each of training and validation split, at most, that the applicability domain is fitted to: a minute on
one CPU core."""


def finished_checkpoint(
    model: Model,
    table: StickTable,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    device: torch.device,
) -> Checkpoint:
    """The trained model with its calibration, which is fitted on augmented patterns of the validation split."""
    model, rows = model.eval(), table.rows("validation")
    if "targets" in recipe.objectives and recipe.retrieval_rows:
        model.knn_retrieval = fit_retrieval(model, table, statistics, materials=recipe.retrieval_rows, device=device)
    calibration: dict[str, dict[str, Any]] = {}
    if "targets" in recipe.objectives and len(rows):
        always = recipe.augmentation and replace(recipe.augmentation, share=1.0)
        maker = BatchMaker(table, device=device, augmentation=always)
        calibration = {**calibrate(predict_rows(model, maker, rows, statistics), table)}
        as_trained = BatchMaker(table, device=device, augmentation=recipe.augmentation)
        random = np.random.default_rng(recipe.seed)
        traits = []
        for split in ("train", "validation"):
            chosen = np.sort(random.permutation(table.rows(split))[:DOMAIN_ROWS])
            traits.append(predict_rows(model, as_trained, chosen, statistics, seed=recipe.seed).traits)
        training, validation = traits
        if training is not None and validation is not None:
            calibration["domain"] = fit_domain(training, validation).to_dict()
    about = {
        **describe_run(recipe, table),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_materials": len(table.rows("train")),
        "elements": table.elements("train"),
    }
    return Checkpoint(model, statistics, calibration, about)


def mean_checkpoint(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The first checkpoint with the mean of the weights of all, without retrieval and calibration.

    Source: Wortsman et al. 2022, "Model soups", arXiv:2203.05482: the average of runs that started from one model is
    often better than each of them, and as fast as one.

    Raises:
        CheckpointError: they are trees, or differ in model, training data or split.
    """
    first = checkpoints[0]
    total: dict[str, Tensor] = {}
    if len(checkpoints) > 1 and not list(first.model.parameters()):
        architecture = first.model.config.architecture
        msg = f"trees have no weights to average; expected a neural network, not the architecture {architecture!r}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    for number, checkpoint in enumerate(checkpoints, start=1):
        ours, theirs = _identity(first), _identity(checkpoint)
        differing = [f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]]
        if differing:
            msg = f"only weights of the same model and training data can be averaged; numbers 1 and {number} differ in "
            raise CheckpointError(msg + "; ".join(differing), code="E_CHECKPOINT")
        checkpoint.model.knn_retrieval = None
        for name, value in checkpoint.model.state_dict().items():
            if value.is_floating_point():
                total[name] = total.get(name, 0) + value / len(checkpoints)
    first.model.load_state_dict(first.model.state_dict() | total)
    return replace(first, calibration={})


def _identity(checkpoint: Checkpoint) -> dict[str, Any]:
    about = checkpoint.about
    return {
        **checkpoint.model.config.to_dict(),
        "statistics": {name: tuple(values) for name, values in checkpoint.statistics.items()},
        "data": about.get("data_digest"),
        "split": about.get("recipe", {}).get("split_by"),
    }


def fit_retrieval(
    model: Model,
    table: StickTable,
    statistics: Mapping[str, tuple[float, float]],
    *,
    materials: int,
    device: torch.device,
) -> KnnRetrieval:
    """KNN retrieval from the first training materials, by their ideal patterns: some minutes for 85,000 on one core."""
    rows = table.rows("train")[:materials]
    predictions = predict_rows(model, BatchMaker(table, device=device), rows, statistics)
    classes, residuals = {}, {}
    for name in model.config.targets:
        true = torch.tensor(table.targets[name][rows], dtype=torch.float32)
        if name in predictions.logits:
            classes[name] = true.nan_to_num(-1).long()
        else:
            known = torch.tensor(labelled_rows(table, name, rows))
            error = (true - torch.tensor(predictions.values[name]).flatten()) / statistics[name][1]
            residuals[name] = torch.where(known, error, torch.nan)
    embedding = torch.tensor(predictions.embedding)
    return fit_knn_retrieval(embedding, model.config.targets, classes=classes, residuals=residuals).to(device)
