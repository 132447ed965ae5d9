"""Training of the architecture `extra-trees`, by scikit-learn and in one step."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xxact_core.checkpoint import make_model
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import rows_in_order
from xxact_core.dataset.table import StickTable
from xxact_core.errors import RecipeError
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.model.baselines.extra_trees import FEATURES, LEAF, ExtraTrees, pattern_to_peak_features
from xxact_core.model.config import ModelConfig
from xxact_core.model.pattern_tokens import zero_masked_windows
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe
from xxact_core.training.finish import finished_checkpoint
from xxact_core.training.run_folder import write_run_status
from xxact_core.training.snapshots import finish_run
from xxact_core.training.start import check_materials, open_journal, open_table, target_statistics

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

_BATCH = 256
"""Patterns of a batch."""


def grow_trees(recipe: Recipe, dataset: Path | str, folder: Path) -> Path:
    """Grow the trees of a recipe of the architecture `extra-trees`, in a run folder like that of other models.

    Settings of the optimisation (epochs, batch size, learning rates ...) have no effect. A finished run is not changed.

    Returns:
        The folder of the finished checkpoint.

    Raises:
        RecipeError: the folder belongs to another run, the labels do not vary, or a setting does not apply to trees.
    """
    if (
        recipe.start_from is not None
        or recipe.freeze_backbone
        or recipe.ema_decay is not None
        or recipe.lattice_strain is not None
    ):
        msg = (
            f"recipe {recipe.name!r}: trees are grown anew, on the materials themselves; start_from, freeze_backbone, "
        )
        msg += "ema_decay and lattice_strain are for other models"
        raise RecipeError(msg, code="E_RECIPE")
    config = recipe.model_config()
    make_model(config, seed=recipe.seed)  # refuses all but a single classification target
    table = open_table(recipe, dataset)
    check_materials(table, replace(recipe, batch_size=1))
    statistics = target_statistics(table, recipe)
    journal = open_journal(recipe, table, folder, steps=1)
    if (folder / "model").is_dir():
        return folder / "model"
    journal.truncate_after(0)  # a run that was interrupted starts again
    began = time.monotonic()
    write_run_status(folder, _status("running", step=0, rate=None))
    features, classes = training_features(table, recipe)
    model = fit_forest(features, classes, config, seed=recipe.seed, threads=recipe.threads)
    seconds = time.monotonic() - began
    journal.write("grown", step=1, nodes=model.config.forest.nodes, samples_per_second=len(features) / seconds)
    rows = table.sample("validation", recipe.validation_rows)
    if len(rows):
        predictions = predict_rows(model, BatchMaker(table, device=torch.device("cpu")), rows, statistics)
        journal.write("validation", step=1, metrics=metrics_of(predictions, table))
    checkpoint = finished_checkpoint(model, table, recipe, statistics, device=torch.device("cpu"))
    # Trees have no trainable parameters; the number of nodes is stated instead.
    finish_run(folder, replace(checkpoint, about={**checkpoint.about, "parameters": model.config.forest.nodes}))
    journal.write("finished", step=1)
    write_run_status(folder, _status("finished", step=1, rate=len(features) / seconds))
    return folder / "model"


def _status(state: str, *, step: int, rate: float | None) -> dict[str, object]:
    return {"state": state, "step": step, "steps": 1, "samples_per_second": rate, "seconds_left": None}


def training_features(table: StickTable, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Peak features of the labelled training patterns, shape (rows, features), and their classes, shape (rows,).

    Each pattern is augmented once where the recipe has augmentation.
    """
    (target,) = recipe.targets
    rows = table.rows("train")
    rows = rows[~np.isnan(table.targets[target][rows])]
    maker = BatchMaker(table, device=torch.device("cpu"), augmentation=recipe.augmentation, threads=recipe.threads)
    features = np.empty((len(rows), FEATURES), dtype=np.float32)
    for number, chosen in enumerate(rows_in_order(rows, batch_size=_BATCH)):
        batch = maker.batch(chosen, seed=recipe.seed + number)
        first = number * _BATCH
        features[first : first + len(chosen)] = pattern_to_peak_features(
            zero_masked_windows(batch.intensity, batch.window_mask)
        ).numpy()
    return features, table.targets[target][rows].astype(np.int64)


def fit_forest(
    features: np.ndarray, classes: np.ndarray, config: ModelConfig, *, seed: int, threads: int = 1
) -> ExtraTrees:
    """Fit trees to classes, shape (rows,), and features, shape (rows, features)."""
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - slow to import

    forest = ExtraTreesClassifier(
        config.forest.trees, min_samples_leaf=config.forest.min_samples_leaf, n_jobs=threads, random_state=seed
    ).fit(features, classes)
    weights = forest_to_tensors(forest, outputs=TARGETS[config.targets[0]].width)
    nodes, leaves = len(weights["feature"]), len(weights["leaf_probabilities"])
    model = ExtraTrees(replace(config, forest=replace(config.forest, nodes=nodes, leaves=leaves)))
    model.load_state_dict(weights)
    return model.eval()


def forest_to_tensors(forest: ExtraTreesClassifier, *, outputs: int) -> dict[str, Tensor]:
    """The trees of scikit-learn as the tensors of `ExtraTrees`; `outputs` counts all classes, also absent ones."""
    features, thresholds, targets, roots, probabilities = [], [], [], [], []
    nodes = leaves = 0
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        is_leaf = tree.children_left < 0
        assert (tree.children_left[~is_leaf] == np.flatnonzero(~is_leaf) + 1).all(), (
            "nodes are not in depth-first order"
        )
        different, which = np.unique(tree.value[is_leaf, 0], axis=0, return_inverse=True)
        target = tree.children_right + nodes
        target[is_leaf] = which.reshape(-1) + leaves
        features.append(np.where(is_leaf, LEAF, tree.feature).astype(np.int8))
        thresholds.append(_rounded_down(tree.threshold))
        targets.append(target)
        roots.append(nodes)
        probabilities.append(different)
        nodes, leaves = nodes + len(target), leaves + len(different)
    distinct, distinct_of = np.unique(np.concatenate(probabilities), axis=0, return_inverse=True)
    feature, target = np.concatenate(features), np.concatenate(targets)
    target[feature == LEAF] = distinct_of.reshape(-1)[target[feature == LEAF]]
    of_all = np.zeros((len(distinct), outputs), dtype=np.float32)
    of_all[:, forest.classes_] = distinct
    return {
        "feature": torch.from_numpy(feature),
        "threshold": torch.from_numpy(np.concatenate(thresholds)),
        "right_or_leaf": torch.from_numpy(target.astype(np.int32)),
        "root": torch.tensor(roots, dtype=torch.int32),
        "leaf_probabilities": torch.from_numpy(of_all),
    }


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 up to each threshold, so that comparisons of float32 features give the same results."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
