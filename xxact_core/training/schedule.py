"""The learning rate: a linear warm-up, then a cosine down."""

from __future__ import annotations

import math

from xxact_core.training.config import Recipe


def learning_rate(step: int, *, steps: int, recipe: Recipe) -> float:
    """Learning rate of a step (0-based) of a run of `steps`.

    Source: XxaCT-NN section 3.4: linear 1e-6 → 5e-4 over the first 10 %, then cosine to 1e-7.
    """
    warm = max(1, round(steps * recipe.warmup_fraction))
    if step < warm:
        return recipe.lr_init + (recipe.lr_peak - recipe.lr_init) * step / warm
    progress = (step - warm) / max(1, steps - warm)
    return recipe.lr_final + (recipe.lr_peak - recipe.lr_final) * (1 + math.cos(math.pi * progress)) / 2
