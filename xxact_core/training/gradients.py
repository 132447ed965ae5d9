"""A batch → gradients of its losses, in as many pieces as the memory of the device asks for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from xxact_core.dataset.batches import Batch
from xxact_core.errors import RecipeError
from xxact_core.training.config import Recipe
from xxact_core.training.step import Trainee, batch_losses


def gradients_of(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    micro_batch: int | None,
    seed: int,
) -> tuple[dict[str, float], int | None]:
    """Leave the gradients of a batch in the weights; pieces are halved until one fits into the memory.

    Returns:
        The loss of every objective, and the size of a piece that fitted: `micro_batch`, or less.

    Raises:
        RecipeError: the memory does not suffice for one material, or the objective needs the batch in one piece.
    """
    while True:
        size = micro_batch or len(batch)
        try:
            return accumulate(trainee, batch, recipe, statistics, size=size, seed=seed), micro_batch
        except torch.OutOfMemoryError as error:
            if size == 1 or "contrastive" in recipe.objectives:
                msg = f"{batch.intensity.device} has not enough memory for {size} materials at a time; "
                msg += "choose a smaller batch_size"
                raise RecipeError(msg, code="E_MEMORY") from error
            micro_batch = (min(size, len(batch)) + 1) // 2


def accumulate(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    size: int,
    seed: int,
) -> dict[str, float]:
    """Gradients and losses of a batch, `size` materials at a time.

    Every loss is a mean over materials, so a piece counts by its share of them, and the result does not depend on how
    the batch is cut, but for rounding, dropout, the draw of masks and tasks, and batch normalisation.
    """
    device = batch.intensity.device
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    trainee.zero_grad(set_to_none=True)
    totals: dict[str, Tensor] = {}
    for first in range(0, len(batch), size):
        part = batch.part(slice(first, first + size))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            losses = batch_losses(trainee, part, recipe, statistics, generator=generator)
        share = len(part) / len(batch)
        (torch.stack(list(losses.values())).sum() * share).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + share * value.detach()
    return {name: float(value) for name, value in totals.items()}
