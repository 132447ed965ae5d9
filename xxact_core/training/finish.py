"""A trained model → the finished checkpoint, with calibration, applicability domain and kNN retrieval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.checkpoint import Checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import rows_in_order
from xxact_core.dataset.splits import prototypes
from xxact_core.dataset.table import StickTable
from xxact_core.errors import CheckpointError
from xxact_core.evaluation.calibration import calibrate
from xxact_core.evaluation.evaluate import predict_rows
from xxact_core.evaluation.labelled import labelled_rows
from xxact_core.model.knn_retrieval import (
    COMPONENTS,
    KnnRetrieval,
    RetrievalSettings,
    bytes_of_materials,
    fit_knn_retrieval,
    materials_within,
)
from xxact_core.model.model import Model
from xxact_core.prediction.reliability import fit_domain
from xxact_core.quantities import ENERGY_KINDS, FORMATION_ENERGY, TARGETS, TEACHER
from xxact_core.training.config import Recipe
from xxact_core.training.start import describe_run

TEMPERATURES, MIDPOINTS, WEIGHTS = (0.02, 0.04), (0.45, 0.6), (0.65, 0.8)
"""Settings of the retrieval that are tried, see `RetrievalSettings`.

The formulas of validation materials are not in the training split, but most specimens that laboratories measure are
known materials, for which the neighbours are worth more. Development patterns therefore exclude smaller weights and
higher midpoints, which validation materials alone prefer: they cost 6 percent points of the crystal system.
"""

LIMITS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
"""Largest corrections of a value that are tried, as z-scores: up to 0.5 eV/atom and 0.7 eV of the shipped model."""

TOLERANCE = 0.002
"""Largest increase of the error for which a smaller correction is chosen. Ours."""

SETTINGS_ROWS = 4000
"""Validation materials, at most, on which settings of the retrieval are chosen."""

DESCRIPTION_BYTES = 300_000
"""Room for the description of a checkpoint [bytes]."""

_TOGETHER = 256

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
    components: int = COMPONENTS[0],
) -> Checkpoint:
    """The trained model with its calibration, which is fitted on augmented patterns of the validation split.

    Args:
        model: the trained model; retrieval that it has is replaced.
        table: its training data.
        recipe: of the training; `retrieval_rows` of its materials are retrieved from.
        statistics: mean and standard deviation of each regression target.
        device: for the computation.
        components: directions of the features that the retrieval stores.
    """
    model, rows = model.eval(), table.rows("validation")
    model.knn_retrieval = None  # that of another model would change the outputs of the heads
    if "targets" in recipe.objectives and recipe.retrieval_rows:
        model.knn_retrieval = fit_retrieval(
            model, table, statistics, materials=recipe.retrieval_rows, device=device, components=components
        )
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


def retrieval_that_fits(model: Model, *, materials: int, size: int) -> tuple[int, int]:
    """Materials and directions to retrieve from, for a checkpoint of at most `size` bytes in bfloat16.

    All materials with as many directions as there is room for, or as many materials as the fewest directions allow.

    Raises:
        CheckpointError: there is no room for any material.
    """
    weights = sum(2 * value.numel() for value in model.state_dict().values())
    room = size - weights - DESCRIPTION_BYTES
    width, targets = model.heads.width, model.config.targets
    for components in COMPONENTS:
        if bytes_of_materials(materials, targets, width=width, components=components) <= room:
            return materials, components
    fewest = COMPONENTS[-1]
    fitting = materials_within(room, targets, width=width, components=fewest)
    if not fitting:
        msg = f"the weights take {weights:,} bytes, so that a checkpoint of {size:,} bytes has no room for retrieval"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    return fitting, fewest


def round_weights(model: Model) -> None:
    """Round the weights to bfloat16, in which they are stored, so that they are calibrated as they will be used."""
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.to(torch.bfloat16))


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
    components: int = COMPONENTS[0],
) -> KnnRetrieval:
    """KNN retrieval from training materials, by their ideal patterns: some minutes for 90,000 on one core.

    All training materials are stored where there are not more than `materials`; see `choose_materials`. How much the
    neighbours count follows from augmented validation patterns; see `fit_settings`.
    """
    rows = choose_materials(table, most=materials)
    of_heads = outputs_of_heads(model, BatchMaker(table, device=device), rows)
    classes, residuals = {}, {}
    for name in model.config.targets:
        if TARGETS[name].kind == "class":
            classes[name] = torch.tensor(table.targets[name][rows]).nan_to_num(-1).long()
        else:
            residuals[name] = residuals_of(of_heads, table, rows, name, statistics[name])
    found = [
        fit_knn_retrieval(
            of_heads.features,
            model.config.targets,
            classes=classes,
            residuals=residuals,
            components=components,
            scale=scale,
        )
        for scale in _scales(of_heads.features, embedding_width=model.config.embedding_width)
    ]
    validation = table.rows("validation")
    if not len(validation):
        return found[0].to(device)
    some = np.sort(np.random.default_rng(0).permutation(validation)[:SETTINGS_ROWS])
    augmented = BatchMaker(table, device=device, augmentation=replace(AugmentationConfig(), share=1.0))
    of_validation = outputs_of_heads(model, augmented, some)
    losses = [fit_settings(each, of_validation, table, some, statistics) for each in found]
    return found[int(np.argmin(losses))].to(device)


def _scales(features: Tensor, *, embedding_width: int) -> list[Tensor]:
    """Factors of the features with which retrieval is tried: all alike, the embedding alone, or the others alone.

    The two parts are brought to the same mean variance. Without an embedding apart from the other features, 1 for all.
    """
    width = features.shape[1]
    if not 0 < embedding_width < width:
        return [torch.ones(width)]
    of_embedding = torch.arange(width) < embedding_width
    variance = features.var(dim=0)
    factors = torch.where(of_embedding, variance[of_embedding].mean(), variance[~of_embedding].mean()).rsqrt()
    return [factors, factors * of_embedding, factors * ~of_embedding]


def choose_materials(table: StickTable, *, most: int) -> np.ndarray:
    """Rows of the training materials to retrieve from, at most `most`: all, or fewer of the prototypes with many.

    Each prototype gives its materials in random order; all first ones come before all second ones, so that common
    prototypes, of which a model has learned enough, are thinned out and rare ones are kept.
    """
    rows = table.rows("train")
    if len(rows) <= most:
        return rows
    shuffled = np.random.default_rng(0).permutation(rows)
    _, kind = np.unique(prototypes(table)[shuffled].astype(str), return_inverse=True)
    order = np.argsort(kind, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(kind))[:-1]])
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - first[kind[order]]
    chosen: np.ndarray = np.sort(shuffled[np.argsort(place, kind="stable")[:most]])
    return chosen


@dataclass(frozen=True)
class HeadOutputs:
    """Outputs of the heads, without retrieval, for some rows of a dataset."""

    features: Tensor
    """Input of the heads, shape (rows, features)."""

    outputs: Mapping[str, Tensor]
    """z-scores (rows, 1) and logits (rows, classes)."""

    teacher_offset: Tensor | None = None
    """To be added to the formation energy for a comparison with a teacher, as z-scores (rows, 1)."""


@torch.inference_mode()
def outputs_of_heads(
    model: Model, maker: BatchMaker, rows: np.ndarray, *, batch_size: int = 256, seed: int = 0
) -> HeadOutputs:
    """Features and outputs of the heads for rows of a dataset, in order."""
    assert model.knn_retrieval is None
    features: list[Tensor] = []
    offsets: list[Tensor] = []
    outputs: dict[str, list[Tensor]] = {}
    for number, chosen in enumerate(rows_in_order(rows, batch_size=batch_size)):
        of_batch, _ = model.encode_features(maker.batch(chosen, seed=seed + number))
        features.append(of_batch.float().cpu())
        for name, output in model.apply_heads(of_batch).items():
            outputs.setdefault(name, []).append(output.float().cpu())
        if (offset := model.heads.teacher_offset(of_batch)) is not None:
            offsets.append(offset.float().cpu())
    joined = {name: torch.cat(parts) for name, parts in outputs.items()}
    return HeadOutputs(torch.cat(features), joined, torch.cat(offsets) if offsets else None)


def residuals_of(
    of_heads: HeadOutputs, table: StickTable, rows: np.ndarray, name: str, statistics: tuple[float, float]
) -> Tensor:
    """True minus predicted z-scores of a regression target, NaN without a label; shape (rows,).

    Energies of a teacher count where the model knows how they differ from those of DFT.
    """
    predicted = of_heads.outputs[name].squeeze(1)
    residuals = true_z_scores(table, rows, name, statistics) - predicted
    if name != FORMATION_ENERGY.name or of_heads.teacher_offset is None:
        return residuals
    by_teacher = torch.tensor(table.energy_kind[rows] == ENERGY_KINDS.index(TEACHER))
    of_teacher = (torch.tensor(table.targets[name][rows]) - statistics[0]) / statistics[1] - predicted
    return torch.where(by_teacher, of_teacher - of_heads.teacher_offset.squeeze(1), residuals)


def true_z_scores(table: StickTable, rows: np.ndarray, name: str, statistics: tuple[float, float]) -> Tensor:
    """True z-scores of a regression target, NaN where the label is unknown or not exact; shape (rows,)."""
    known = torch.tensor(labelled_rows(table, name, rows))
    true = torch.tensor(table.targets[name][rows], dtype=torch.float32)
    return torch.where(known, (true - statistics[0]) / statistics[1], torch.nan)


@torch.inference_mode()
def fit_settings(
    retrieval: KnnRetrieval,
    of_heads: HeadOutputs,
    table: StickTable,
    rows: np.ndarray,
    statistics: Mapping[str, tuple[float, float]],
) -> float:
    """Give a retrieval the settings that are best on validation materials, which it does not hold; returns the loss.

    The log-loss of the classes decides on temperature, gate and mixing weight; then the mean absolute error of each
    value on its largest correction, of which the smallest within `TOLERANCE` of the best is chosen.
    """
    nearest = [retrieval.nearest(part) for part in of_heads.features.split(_TOGETHER)]
    similarity, places = (torch.cat(parts) for parts in zip(*nearest, strict=True))
    true = {name: torch.tensor(table.targets[name][rows]) for name in retrieval.class_targets}
    best, least = RetrievalSettings(), math.inf
    for temperature, midpoint, weight in itertools.product(TEMPERATURES, MIDPOINTS, WEIGHTS):
        tried = replace(best, similarity_temperature=temperature, gate_midpoint=midpoint, mixing_weight=weight)
        retrieval.settings = tried.to_tensor()
        corrected = retrieval.correct(similarity, places, of_heads.outputs)
        loss = sum(_log_loss(corrected[name], classes) for name, classes in true.items())
        if loss < least:
            best, least = tried, loss
    retrieval.settings = best.to_tensor()
    total = least
    for column, name in enumerate(retrieval.value_targets):
        wanted = true_z_scores(table, rows, name, statistics[name])
        errors = []
        for limit in LIMITS:
            retrieval.largest_correction[column] = limit
            values = retrieval.correct(similarity, places, of_heads.outputs)[name].squeeze(1)
            errors.append(float((values - wanted).abs().nanmean()))
        good = (limit for limit, error in zip(LIMITS, errors, strict=True) if error <= (1 + TOLERANCE) * min(errors))
        retrieval.largest_correction[column] = next(good, 0.0)
        total += 0.0 if math.isnan(min(errors)) else min(errors)
    return total


def _log_loss(logits: Tensor, classes: Tensor) -> float:
    """Mean cross-entropy of the materials whose class is known; 0 where there is none."""
    known = ~classes.isnan()
    if not bool(known.any()):
        return 0.0
    return float(torch.nn.functional.cross_entropy(logits[known], classes[known].long()))
