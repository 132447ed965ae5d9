"""A trained model → the checkpoint that answers: calibrated, and knowing what it has learned from."""

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
from xxact_core.model.knn_retrieval import Memory, fit_memory
from xxact_core.model.model import Model
from xxact_core.prediction.reliability import fit_domain
from xxact_core.training.config import Recipe
from xxact_core.training.start import describe_run

DOMAIN_ROWS = 5000
"""Training patterns, and as many of validation at most, that decide what is like them: a minute on one processor."""


def finished_checkpoint(
    model: Model,
    table: StickTable,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    device: torch.device,
) -> Checkpoint:
    """The trained model with its calibration, fitted on validation patterns as a laboratory would measure them."""
    model, rows = model.eval(), table.rows("validation")
    if "targets" in recipe.objectives and recipe.retrieval_rows:
        model.memory = remember(model, table, statistics, materials=recipe.retrieval_rows, device=device)
    calibration: dict[str, dict[str, Any]] = {}
    if "targets" in recipe.objectives and len(rows):
        distortions = recipe.augmentation and replace(recipe.augmentation, share=1.0)
        maker = BatchMaker(table, device=device, distortions=distortions)
        calibration = {**calibrate(predict_rows(model, maker, rows, statistics), table)}
        seen = BatchMaker(table, device=device, distortions=recipe.augmentation)
        random = np.random.default_rng(recipe.seed)
        traits = []
        for split in ("train", "validation"):
            chosen = np.sort(random.permutation(table.rows(split))[:DOMAIN_ROWS])
            traits.append(predict_rows(model, seen, chosen, statistics, seed=recipe.seed).traits)
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
    """The first one with the mean of the weights of all, without memory and calibration.

    Source: Wortsman et al. 2022, "Model soups", arXiv:2203.05482: runs that began at one model, averaged, are better
    than any of them, and cost no more to ask.

    Raises:
        CheckpointError: they are trees, or differ in model, training data or split: such a mean would mean nothing.
    """
    first = checkpoints[0]
    total: dict[str, Tensor] = {}
    if len(checkpoints) > 1 and not list(first.model.parameters()):
        msg = f"trees have no weights to average; expected a network, not the model {first.model.config.architecture!r}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    for number, checkpoint in enumerate(checkpoints, start=1):
        ours, theirs = _basis(first), _basis(checkpoint)
        differing = [f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]]
        if differing:
            msg = f"weights can be averaged of one model on the same data; the first and number {number} differ in "
            raise CheckpointError(msg + "; ".join(differing), code="E_CHECKPOINT")
        checkpoint.model.memory = None
        for name, value in checkpoint.model.state_dict().items():
            if value.is_floating_point():
                total[name] = total.get(name, 0) + value / len(checkpoints)
    first.model.load_state_dict(first.model.state_dict() | total)
    return replace(first, calibration={})


def _basis(checkpoint: Checkpoint) -> dict[str, Any]:
    about = checkpoint.about
    return {
        **checkpoint.model.config.to_dict(),
        "statistics": {name: tuple(values) for name, values in checkpoint.statistics.items()},
        "data": about.get("data_digest"),
        "split": about.get("recipe", {}).get("split_by"),
    }


def remember(
    model: Model,
    table: StickTable,
    statistics: Mapping[str, tuple[float, float]],
    *,
    materials: int,
    device: torch.device,
) -> Memory:
    """A memory of the first training materials, from ideal patterns: some minutes for 85,000 on one processor."""
    rows = table.rows("train")[:materials]
    predictions = predict_rows(model, BatchMaker(table, device=device), rows, statistics)
    classes, missed = {}, {}
    for name in model.config.targets:
        true = torch.tensor(table.targets[name][rows], dtype=torch.float32)
        if name in predictions.logits:
            classes[name] = true.nan_to_num(-1).long()
        else:
            known = torch.tensor(labelled_rows(table, name, rows))
            error = (true - torch.tensor(predictions.values[name]).flatten()) / statistics[name][1]
            missed[name] = torch.where(known, error, torch.nan)
    embedding = torch.tensor(predictions.embedding)
    return fit_memory(embedding, model.config.targets, classes=classes, missed=missed).to(device)
