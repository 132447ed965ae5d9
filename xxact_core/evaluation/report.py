"""Evaluation of a checkpoint on a dataset: metrics with intervals, and predictions as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.splits import with_split
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import DatasetError
from xxact_core.evaluation.breakdown import WITHOUT_PATTERN, breakdown
from xxact_core.evaluation.calibration import coverage_metrics
from xxact_core.evaluation.evaluate import labelled_to_metrics, predict_rows, silhouettes
from xxact_core.evaluation.intervals import Interval, intervals_of
from xxact_core.evaluation.labelled import Labelled, Predictions, labelled_rows, predictions_to_labelled
from xxact_core.evaluation.reconstruction import reconstruct_rows, reconstruction_metrics, trained_to_reconstruct
from xxact_core.quantities import CRYSTAL_SYSTEM

MASKED = 0.25
"""Fraction of the windows that are masked where a reconstruction is measured."""


@dataclass(frozen=True)
class Report:
    """Metrics of a model on a split, with 95 % intervals of some; names and units are those of `metrics_of`."""

    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: each metric, and `NAME_interval_95` where it has an interval."""
        plain: dict[str, Any] = {}
        for name, value in self.metrics.items():
            plain[name] = value
            if name in self.intervals:
                plain[f"{name}_interval_95"] = list(self.intervals[name])
        return plain


def evaluate_checkpoint(
    model_folder: Path,
    dataset: Path,
    *,
    split: str = "test",
    split_by: str | None = None,
    predictions_file: Path | None = None,
    augmented: bool = False,
    device: str = "cpu",
) -> Report:
    """Metrics of a checkpoint on ideal or augmented patterns of a split; see `measure_rows`.

    The dataset is split as in the training of the checkpoint, or by `split_by` (`formula` or `prototype`).

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DatasetError: the dataset cannot be read, the split is empty, or it is another one than in training, so that it
            would contain training materials.
    """
    checkpoint = load_checkpoint(model_folder, device=device)
    table = with_split(read_dataset(dataset), by=_grouping_of_training(checkpoint, split=split, wanted=split_by))
    rows = table.rows(split)
    if not len(rows):
        msg = f"the dataset {dataset} has no materials in its split {split!r}"
        raise DatasetError(msg, code="E_DATASET")
    augmentation = replace(AugmentationConfig(), share=1.0) if augmented else None
    measured = measure_rows(checkpoint, table, rows, augmentation=augmentation, device=device)
    if predictions_file is not None:
        write_predictions(predictions_file, measured.predictions, table, temperatures=temperatures_of(checkpoint))
    return Report(measured.metrics, intervals_of(measured.labelled))


@dataclass(frozen=True)
class Measured:
    """What a model predicts for rows of a dataset, and how good it is."""

    predictions: Predictions
    labelled: Labelled
    metrics: Mapping[str, float]


def temperatures_of(checkpoint: Checkpoint) -> dict[str, float]:
    """Temperatures of the class heads by target."""
    return {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}


def measure_rows(
    checkpoint: Checkpoint,
    table: StickTable,
    rows: np.ndarray,
    *,
    augmentation: AugmentationConfig | None = None,
    device: str = "cpu",
) -> Measured:
    """All metrics of a model on rows of a dataset: the one way in which models and baselines are measured.

    Those of `metrics_of`, `coverage_metrics` and `breakdown`; silhouettes of the embedding; for models that read both
    inputs, the errors without the pattern; for models with a trained reconstruction, `reconstruction_metrics` with a
    quarter of the windows masked. Models that were pretrained without targets have the last two alone.

    Args:
        checkpoint: the model.
        table: the dataset.
        rows: to measure on.
        augmentation: instrument and sample effects; None for ideal patterns.
        device: for the computation.
    """
    maker = BatchMaker(table, device=torch.device(device), augmentation=augmentation)
    predictions = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics)
    if not checkpoint.predicts_targets:
        predictions = replace(predictions, values={}, logits={})
    temperatures = temperatures_of(checkpoint)
    labelled = predictions_to_labelled(predictions, table, temperatures=temperatures)
    metrics = labelled_to_metrics(labelled) | coverage_metrics(labelled, checkpoint.calibration)
    hidden = None
    if checkpoint.predicts_targets and checkpoint.model.config.architecture == "xxact":
        hidden = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics, hidden="pattern")
        without = labelled_to_metrics(predictions_to_labelled(hidden, table, temperatures=temperatures))
        metrics |= {f"{WITHOUT_PATTERN}{name}": value for name, value in without.items()}
    metrics |= breakdown(predictions, table, temperatures=temperatures, hidden=hidden)
    systems = table.targets[CRYSTAL_SYSTEM.name][rows]
    known = ~np.isnan(systems)
    if 1 < len(np.unique(systems[known])) < known.sum():  # silhouettes need two systems, and two materials of one
        scores = silhouettes(predictions.embedding[known], systems[known])
        metrics |= {f"silhouette_{name}": score for name, score in scores.items()}
    if trained_to_reconstruct(checkpoint.about) and checkpoint.model.config.architecture == "xxact":
        errors = reconstruct_rows(checkpoint, maker, rows, ratio=MASKED)
        metrics |= reconstruction_metrics(errors, systems)
    return Measured(predictions, labelled, metrics)


def _grouping_of_training(checkpoint: Checkpoint, *, split: str, wanted: str | None) -> str:
    trained = str(checkpoint.about.get("recipe", {}).get("split_by", "formula"))
    if wanted is None or wanted == trained or split == "train":
        return wanted or trained
    msg = f"the model was trained on a split by {trained}: a {split} split by {wanted} contains training materials"
    raise DatasetError(msg, code="E_DATASET")


def write_predictions(
    path: Path, predictions: Predictions, table: StickTable, *, temperatures: Mapping[str, float]
) -> None:
    """Write predictions and labels as HDF5: id, row, values, logits with their temperature, and embedding.

    Labels are NaN where there is none, see `labelled_rows`.
    """
    path.touch()  # a folder that is missing or may not be written gets a message that names it
    with h5py.File(path, "w") as file:
        file["id"] = table.id[predictions.rows].astype(h5py.string_dtype())
        file["row"] = predictions.rows
        file["embedding"] = predictions.embedding.astype(np.float32)
        for name, values in {**predictions.values, **predictions.logits}.items():
            file[f"predicted/{name}"] = values
            counts = labelled_rows(table, name, predictions.rows)
            file[f"true/{name}"] = np.where(counts, table.targets[name][predictions.rows], np.nan)
            if name in temperatures:
                file[f"predicted/{name}"].attrs["temperature"] = temperatures[name]
