"""Checks of a dataset before training, and the statistics of its regression targets."""

from __future__ import annotations

import numpy as np

from xxact_core.dataset.table import StickTable
from xxact_core.errors import RecipeError
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe


def check_materials(table: StickTable, recipe: Recipe) -> int:
    """Number of training materials; a batch must not be larger.

    Raises:
        RecipeError: there are fewer than two, or fewer than in a batch.
    """
    materials = len(table.rows("train"))
    if materials < 2:  # noqa: PLR2004 - a standard deviation takes two
        msg = f"the dataset has {materials} materials in its training split; expected at least two"
        raise RecipeError(msg, code="E_RECIPE")
    if recipe.batch_size > materials:
        msg = f"a batch of {recipe.batch_size} is larger than the training split of {materials} materials; "
        msg += "choose a smaller batch_size"
        raise RecipeError(msg, code="E_RECIPE")
    return materials


def target_statistics(table: StickTable, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of every regression target over the labelled training rows, in its unit.

    Raises:
        RecipeError: a target of the recipe has no label, or all its labels are equal.
    """
    rows, statistics = table.rows("train"), {}
    for name in recipe.targets:
        values = table.targets[name][rows]
        values = values[~np.isnan(values)].astype(np.float64)
        if "targets" in recipe.objectives and not values.size:
            msg = f"no training material has a label of {name}; remove it from the targets"
            raise RecipeError(msg, code="E_RECIPE")
        if "targets" in recipe.objectives and values.std() == 0:
            target = TARGETS[name]
            only = target.classes[int(values[0])] if target.kind == "class" else f"{values[0]:g}"
            msg = f"{name} is {only} for every labelled training material; remove it from the targets"
            raise RecipeError(msg, code="E_RECIPE")
        if TARGETS[name].kind == "value" and values.size and values.std() > 0:
            statistics[name] = (float(values.mean()), float(values.std()))
    return statistics
