"""A run that grows trees: at once and by scikit-learn, where other models learn step by step."""

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
from xxact_core.dataset.store import write_json
from xxact_core.dataset.table import StickTable
from xxact_core.errors import RecipeError
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.model.baselines.extra_trees import FEATURES, LEAF, ExtraTrees, pattern_to_lines
from xxact_core.model.config import ModelConfig
from xxact_core.model.pattern_tokens import hide_windows
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe
from xxact_core.training.finish import finished_checkpoint
from xxact_core.training.labels import check_materials, target_statistics
from xxact_core.training.snapshots import finish_run
from xxact_core.training.start import open_journal, open_table

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

_TOGETHER = 256
"""Patterns made at once."""


def grow_trees(recipe: Recipe, dataset: Path, folder: Path) -> Path:
    """Grow the trees of a recipe of the kind `extra-trees` into a run folder like any other.

    Of the settings of steps (epochs, batch size, rates ...) none means anything here. A run that is finished is left as
    it is.

    Returns:
        The folder of the finished checkpoint.

    Raises:
        RecipeError: the folder holds another run, the data has nothing to learn, or the recipe asks for what trees
            cannot do.
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
    make_model(config, seed=recipe.seed)  # refuses other targets than one class
    table = open_table(recipe, dataset)
    check_materials(table, replace(recipe, batch_size=1))
    statistics = target_statistics(table, recipe)
    journal = open_journal(recipe, table, folder, steps=1)
    if (folder / "model").is_dir():
        return folder / "model"
    journal.forget_after(0)  # of a run that was stopped on its way: it begins again
    began = time.monotonic()
    write_json(folder / "status.json", _status("running", step=0, rate=None))
    lines, classes = training_lines(table, recipe)
    model = grown_model(lines, classes, config, seed=recipe.seed, threads=recipe.threads)
    seconds = time.monotonic() - began
    journal.write("grown", step=1, nodes=model.config.forest.nodes, samples_per_second=len(lines) / seconds)
    rows = table.rows("validation")[: recipe.validation_rows]
    if len(rows):
        predictions = predict_rows(model, BatchMaker(table, device=torch.device("cpu")), rows, statistics)
        journal.write("validation", step=1, metrics=metrics_of(predictions, table))
    checkpoint = finished_checkpoint(model, table, recipe, statistics, device=torch.device("cpu"))
    # Nothing in it is a trainable parameter; its size is that of its trees.
    finish_run(folder, replace(checkpoint, about={**checkpoint.about, "parameters": model.config.forest.nodes}))
    journal.write("finished", step=1)
    write_json(folder / "status.json", _status("finished", step=1, rate=len(lines) / seconds))
    return folder / "model"


def _status(state: str, *, step: int, rate: float | None) -> dict[str, object]:
    return {"state": state, "step": step, "steps": 1, "samples_per_second": rate, "seconds_left": None}


def training_lines(table: StickTable, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Lines of the labelled training patterns, shape (rows, features), and their classes, shape (rows,).

    Patterns are distorted once where the recipe distorts them.
    """
    (target,) = recipe.targets
    rows = table.rows("train")
    rows = rows[~np.isnan(table.targets[target][rows])]
    maker = BatchMaker(table, device=torch.device("cpu"), distortions=recipe.augmentation, threads=recipe.threads)
    lines = np.empty((len(rows), FEATURES), dtype=np.float32)
    for number, chosen in enumerate(rows_in_order(rows, batch_size=_TOGETHER)):
        batch = maker.batch(chosen, seed=recipe.seed + number)
        first = number * _TOGETHER
        lines[first : first + len(chosen)] = pattern_to_lines(hide_windows(batch.intensity, batch.hidden)).numpy()
    return lines, table.targets[target][rows].astype(np.int64)


def grown_model(
    lines: np.ndarray, classes: np.ndarray, config: ModelConfig, *, seed: int, threads: int = 1
) -> ExtraTrees:
    """Trees that tell classes, shape (rows,), by lines, shape (rows, features)."""
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - slow to import

    forest = ExtraTreesClassifier(
        config.forest.trees, min_samples_leaf=config.forest.min_samples_leaf, n_jobs=threads, random_state=seed
    ).fit(lines, classes)
    weights = forest_to_tensors(forest, outputs=TARGETS[config.targets[0]].width)
    nodes, leaves = len(weights["feature"]), len(weights["shares"])
    model = ExtraTrees(replace(config, forest=replace(config.forest, nodes=nodes, leaves=leaves)))
    model.load_state_dict(weights)
    return model.eval()


def forest_to_tensors(forest: ExtraTreesClassifier, *, outputs: int) -> dict[str, Tensor]:
    """The trees of scikit-learn as `ExtraTrees` keeps them; `outputs` counts all classes, also those it never saw."""
    features, thresholds, jumps, roots, shares = [], [], [], [], []
    nodes = leaves = 0
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        is_leaf = tree.children_left < 0
        assert (tree.children_left[~is_leaf] == np.flatnonzero(~is_leaf) + 1).all(), "the order is not depth-first"
        different, which = np.unique(tree.value[is_leaf, 0], axis=0, return_inverse=True)
        jump = tree.children_right + nodes
        jump[is_leaf] = which.reshape(-1) + leaves
        features.append(np.where(is_leaf, LEAF, tree.feature).astype(np.int8))
        thresholds.append(_rounded_down(tree.threshold))
        jumps.append(jump)
        roots.append(nodes)
        shares.append(different)
        nodes, leaves = nodes + len(jump), leaves + len(different)
    kinds, kind_of = np.unique(np.concatenate(shares), axis=0, return_inverse=True)
    feature, jump = np.concatenate(features), np.concatenate(jumps)
    jump[feature == LEAF] = kind_of.reshape(-1)[jump[feature == LEAF]]
    of_all = np.zeros((len(kinds), outputs), dtype=np.float32)
    of_all[:, forest.classes_] = kinds
    return {
        "feature": torch.from_numpy(feature),
        "threshold": torch.from_numpy(np.concatenate(thresholds)),
        "jump": torch.from_numpy(jump.astype(np.int32)),
        "root": torch.tensor(roots, dtype=torch.int32),
        "shares": torch.from_numpy(of_all),
    }


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 up to each threshold: a float32 is below the one exactly where it is below the other."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
