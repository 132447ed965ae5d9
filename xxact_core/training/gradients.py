"""A batch → gradients of its losses, in as many pieces as the memory of the device asks for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xxact_core.dataset.loading.batches import Batch
from xxact_core.errors import RecipeError
from xxact_core.training.alignment import align, leading_tokens
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import Ranks, add_up, any_asks
from xxact_core.training.step import Lottery, Trainee, batch_losses, draw_lottery, encode_batch, hide_inputs

PIECE_SEEDS, LOTTERY_SEEDS, DROPOUT_SEEDS = 15_485_863, 32_452_843, 49_979_687
"""Primes apart, so that each use of a step, and each piece of a batch, has random numbers of its own, the same each
time it is computed, and none of them those of the distortions."""


def gradients_of(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    micro_batch_size: int | None,
    seed: int,
    ranks: Ranks,
) -> tuple[dict[str, float], int | None]:
    """Leave the gradients of a batch in the weights; pieces are halved until one fits into the memory of all processes.

    Returns:
        The loss of every objective, and the size of a piece that fitted: `micro_batch_size`, or less.

    Raises:
        RecipeError: the memory does not suffice for one material, or the processes talk while a piece is on its way, so
            that one cannot begin again while others wait for its answer.
    """
    largest = -(-recipe.batch_size // ranks.world)
    while True:
        size, exhausted = min(micro_batch_size or largest, largest), False
        try:
            totals = accumulate(trainee, batch, recipe, statistics, size=size, seed=seed, ranks=ranks)
        except torch.OutOfMemoryError as error:
            if size == 1 or (ranks.world > 1 and _talks_on_the_way(trainee)):
                msg = f"{batch.intensity.device} has not enough memory for {size} materials at a time; "
                msg += "choose a smaller micro_batch_size or batch_size"
                raise RecipeError(msg, code="E_MEMORY") from error
            exhausted = True
        if not any_asks(exhausted, device=batch.intensity.device):
            break
        micro_batch_size = (size + 1) // 2
    add_up(parameter.grad for parameter in trainee.parameters() if parameter.grad is not None)
    add_up(totals.values())
    losses = torch.stack(list(totals.values())).tolist()  # a device is waited for once
    return dict(zip(totals, losses, strict=True)), micro_batch_size


def _talks_on_the_way(trainee: Trainee) -> bool:
    """Whether processes wait for one another inside the model or a loss, and not only when they add up gradients."""
    return trainee.contrastive is not None or any(isinstance(part, nn.SyncBatchNorm) for part in trainee.modules())


def accumulate(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    size: int,
    seed: int,
    ranks: Ranks,
) -> dict[str, Tensor]:
    """Gradients and losses of a batch, `size` materials at a time; `batch` is this process's part of it.

    Every loss is a mean over materials, so a piece counts by its share of the whole batch, and the sum over processes
    does not depend on how the batch is cut, nor among how many, but for rounding, dropout and batch normalisation.
    """
    device, whole = batch.intensity.device, recipe.batch_size
    dropout_seed = seed + DROPOUT_SEEDS * (1 + ranks.rank)
    chance = torch.Generator(device).manual_seed(seed + LOTTERY_SEEDS)
    lottery = draw_lottery(whole, recipe, generator=chance).part(ranks.part(whole))
    batch, half = hide_inputs(batch, recipe, lottery), in_half_precision(recipe, device)
    trainee.zero_grad(set_to_none=True)
    pieces = [slice(first, first + size) for first in range(0, len(batch), size)]
    totals: dict[str, Tensor] = {}
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        alignment = None
        if trainee.contrastive is not None and len(pieces) > 1:
            pattern, composition = _leading_tokens(trainee, batch, recipe, lottery, pieces, seed=dropout_seed)
            alignment = align(trainee.contrastive, pattern, composition, share=len(batch) / whole)
    for piece in pieces:
        part, pull = batch.part(piece), None if alignment is None else alignment.part(piece)
        torch.manual_seed(dropout_seed + PIECE_SEEDS * piece.start)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            losses = batch_losses(trainee, part, recipe, statistics, lottery.part(piece), alignment=pull)
        share = len(part) / whole
        (torch.stack(list(losses.values())).sum() * share).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + share * value.detach()
    return totals


def in_half_precision(recipe: Recipe, device: torch.device) -> bool:
    """Whether products are taken in bfloat16."""
    return recipe.precision == "bfloat16" or (recipe.precision == "auto" and device.type == "cuda")


def _leading_tokens(
    trainee: Trainee, batch: Batch, recipe: Recipe, lottery: Lottery, pieces: list[slice], *, seed: int
) -> tuple[Tensor, Tensor]:
    """The [CLS] of patterns and compositions of a batch, encoded in pieces as each will be when its turn comes.

    Gradients are at hand though nobody asks for them: without, compiled layers would draw other random numbers. What
    batch normalisation counts, it counts when the piece's turn comes.
    """
    counted = [buffer.clone() for buffer in trainee.model.buffers()]
    leading = []
    for piece in pieces:
        torch.manual_seed(seed + PIECE_SEEDS * piece.start)
        leading.append(leading_tokens(encode_batch(trainee.model, batch.part(piece), recipe, lottery.part(piece))[0]))
    with torch.no_grad():
        for buffer, before in zip(trainee.model.buffers(), counted, strict=True):
            buffer.copy_(before)
    pattern, composition = zip(*leading, strict=True)
    return torch.cat(pattern), torch.cat(composition)
