"""A batch → gradients of its losses, in as many pieces as the memory of the device asks for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from xxact_core.dataset.batches import Batch
from xxact_core.errors import RecipeError
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import Ranks, add_up
from xxact_core.training.step import Trainee, batch_losses, draw_lottery


def gradients_of(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    micro_batch: int | None,
    seed: int,
    ranks: Ranks,
) -> tuple[dict[str, float], int | None]:
    """Leave the gradients of a batch in the weights; pieces are halved until one fits into the memory.

    Returns:
        The loss of every objective, and the size of a piece that fitted: `micro_batch`, or less.

    Raises:
        RecipeError: the memory does not suffice for one material, or the batch cannot be cut: the objective needs it in
            one piece, or other processes wait for theirs.
    """
    while True:
        size = micro_batch or len(batch)
        try:
            losses = accumulate(trainee, batch, recipe, statistics, size=size, seed=seed, ranks=ranks)
        except torch.OutOfMemoryError as error:
            if size == 1 or "contrastive" in recipe.objectives or ranks.world > 1:
                msg = f"{batch.intensity.device} has not enough memory for {size} materials at a time; "
                msg += "choose a smaller micro_batch or batch_size"
                raise RecipeError(msg, code="E_MEMORY") from error
            micro_batch = (min(size, len(batch)) + 1) // 2
        else:
            return losses, micro_batch


def accumulate(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    size: int,
    seed: int,
    ranks: Ranks,
) -> dict[str, float]:
    """Gradients and losses of a batch, `size` materials at a time; `batch` is this process's part of it.

    Every loss is a mean over materials, so a piece counts by its share of the whole batch, and the result does not
    depend on how the batch is cut, nor among how many processes, but for rounding, dropout and batch normalisation.
    """
    device = batch.intensity.device
    torch.manual_seed(seed + ranks.rank)
    whole = recipe.batch_size
    lottery = draw_lottery(whole, recipe, generator=torch.Generator(device).manual_seed(seed)).part(ranks.part(whole))
    trainee.zero_grad(set_to_none=True)
    totals: dict[str, Tensor] = {}
    for first in range(0, len(batch), size):
        piece = slice(first, first + size)
        part = batch.part(piece)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_half_precision(recipe, device)):
            losses = batch_losses(trainee, part, recipe, statistics, lottery.part(piece))
        share = len(part) / whole
        (torch.stack(list(losses.values())).sum() * share).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + share * value.detach()
    add_up(parameter.grad for parameter in trainee.parameters() if parameter.grad is not None)
    add_up(totals.values())
    return {name: float(value) for name, value in totals.items()}


def in_half_precision(recipe: Recipe, device: torch.device) -> bool:
    """Whether products are taken in bfloat16."""
    return recipe.precision == "bfloat16" or (recipe.precision == "auto" and device.type == "cuda")
