"""Gradients of a batch, accumulated over micro-batches that fit into the memory of the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xxact_core.dataset.loading.batches import Batch
from xxact_core.errors import RecipeError
from xxact_core.training.alignment import align, cls_tokens
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import Ranks, all_reduce_sum, any_rank
from xxact_core.training.step import (
    BatchRandomness,
    TrainingModule,
    batch_losses,
    draw_randomness,
    encode_batch,
    modality_dropout,
)

MICRO_BATCH_SEEDS, RANDOMNESS_SEEDS, DROPOUT_SEEDS = 15_485_863, 32_452_843, 49_979_687
"""Offsets of seeds, primes: each use of randomness in a step, and each micro-batch, has its own random numbers, which
are the same whenever they are computed again and differ from those of the augmentation."""


def gradients_of(
    module: TrainingModule,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    micro_batch_size: int | None,
    seed: int,
    ranks: Ranks,
) -> tuple[dict[str, float], int | None]:
    """Compute the gradients of a batch into `.grad`; micro-batches are halved until they fit into memory everywhere.

    Returns:
        The loss of every objective, and the size of the micro-batches that fitted: `micro_batch_size`, or less.

    Raises:
        RecipeError: the memory does not suffice for one material, or it does not suffice for a micro-batch and the
            processes communicate in the forward pass, so that one alone cannot start the pass again.
    """
    largest = -(-recipe.batch_size // ranks.world)
    while True:
        size, exhausted = min(micro_batch_size or largest, largest), False
        try:
            totals = accumulate(module, batch, recipe, statistics, size=size, seed=seed, ranks=ranks)
        except torch.OutOfMemoryError as error:
            if size == 1 or (ranks.world > 1 and _communicates_in_forward(module)):
                msg = f"{batch.intensity.device} has not enough memory for {size} materials at a time; "
                msg += "choose a smaller micro_batch_size or batch_size"
                raise RecipeError(msg, code="E_MEMORY") from error
            exhausted = True
        if not any_rank(exhausted, device=batch.intensity.device):
            break
        micro_batch_size = (size + 1) // 2
    all_reduce_sum(parameter.grad for parameter in module.parameters() if parameter.grad is not None)
    all_reduce_sum(totals.values())
    losses = torch.stack(list(totals.values())).tolist()  # one synchronisation with the device
    return dict(zip(totals, losses, strict=True)), micro_batch_size


def _communicates_in_forward(module: TrainingModule) -> bool:
    """Whether processes communicate in the forward pass or a loss, and not only to sum their gradients."""
    return module.contrastive is not None or any(isinstance(part, nn.SyncBatchNorm) for part in module.modules())


def accumulate(
    module: TrainingModule,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    size: int,
    seed: int,
    ranks: Ranks,
) -> dict[str, Tensor]:
    """Accumulate gradients and losses of this process's part of a batch, `size` materials at a time.

    Every loss is a mean over materials, so a micro-batch is weighted by its share of the whole batch. The sum over
    processes depends on the number of micro-batches and processes only by rounding, dropout and batch normalisation.
    """
    device, whole = batch.intensity.device, recipe.batch_size
    dropout_seed = seed + DROPOUT_SEEDS * (1 + ranks.rank)
    generator = torch.Generator(device).manual_seed(seed + RANDOMNESS_SEEDS)
    randomness = draw_randomness(whole, recipe, generator=generator).part(ranks.part(whole))
    batch, half = modality_dropout(batch, recipe, randomness), in_half_precision(recipe, device)
    module.zero_grad(set_to_none=True)
    pieces = [slice(first, first + size) for first in range(0, len(batch), size)]
    totals: dict[str, Tensor] = {}
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        alignment = None
        if module.contrastive is not None and len(pieces) > 1:
            pattern, composition = _cls_tokens(module, batch, recipe, randomness, pieces, seed=dropout_seed)
            alignment = align(module.contrastive, pattern, composition, share=len(batch) / whole)
    for piece in pieces:
        part, part_alignment = batch.part(piece), None if alignment is None else alignment.part(piece)
        torch.manual_seed(dropout_seed + MICRO_BATCH_SEEDS * piece.start)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            losses = batch_losses(module, part, recipe, statistics, randomness.part(piece), alignment=part_alignment)
        share = len(part) / whole
        (torch.stack(list(losses.values())).sum() * share).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + share * value.detach()
    return totals


def in_half_precision(recipe: Recipe, device: torch.device) -> bool:
    """Whether matrix products are computed in bfloat16."""
    return recipe.precision == "bfloat16" or (recipe.precision == "auto" and device.type == "cuda")


def _cls_tokens(
    module: TrainingModule, batch: Batch, recipe: Recipe, randomness: BatchRandomness, pieces: list[slice], *, seed: int
) -> tuple[Tensor, Tensor]:
    """The [CLS] of patterns and compositions of a batch, encoded in micro-batches, exactly as in the second pass.

    Gradients stay enabled, because compiled layers would draw other random numbers without. The running statistics of
    batch normalisation are restored, because the second pass updates them.
    """
    buffers = [buffer.clone() for buffer in module.model.buffers()]
    leading = []
    for piece in pieces:
        torch.manual_seed(seed + MICRO_BATCH_SEEDS * piece.start)
        leading.append(cls_tokens(encode_batch(module.model, batch.part(piece), recipe, randomness.part(piece))[0]))
    with torch.no_grad():
        for buffer, saved in zip(module.model.buffers(), buffers, strict=True):
            buffer.copy_(saved)
    pattern, composition = zip(*leading, strict=True)
    return torch.cat(pattern), torch.cat(composition)
