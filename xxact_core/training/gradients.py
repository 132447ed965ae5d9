"""Gradients of a batch, accumulated over micro-batches that fit into the memory of the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from xxact_core.dataset.loading.batches import Batch, piece_edges
from xxact_core.errors import RecipeError
from xxact_core.model.dropout import DropoutStreams, dropout_streams
from xxact_core.training.alignment import align, cls_tokens
from xxact_core.training.batch_norm import SynchronisedBatchNorm
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import Ranks, all_reduce_sum, any_rank, fill_missing_gradients
from xxact_core.training.step import (
    BatchRandomness,
    TrainingModule,
    batch_losses,
    compares_materials,
    draw_randomness,
    encode_batch,
    modality_dropout,
)

MICRO_BATCH_SEEDS, RANDOMNESS_SEEDS, DROPOUT_SEEDS = 15_485_863, 32_452_843, 49_979_687
"""Offsets of seeds, primes: each use of randomness in a step, and each micro-batch, has its own random numbers, which
are the same whenever they are computed again and differ from those of the augmentation."""


def count_pieces(device: torch.device) -> int:
    """Pieces of a batch, in a new run, whose augmentation, and on a CPU dropout, has random numbers of its own.

    Any number of processes that divides it therefore trains with the same random numbers as one. More pieces take
    longer on a CPU: four make a batch of `compact` in 0.07 s instead of 0.06 s, eight in 0.12 s, of 0.7 s a step. Ours.
    """
    return 4 if device.type == "cpu" else 8


def gradients_of(
    module: TrainingModule,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    micro_batch_size: int | None,
    seed: int,
    ranks: Ranks,
    pieces: int = 1,
) -> tuple[dict[str, float], int | None]:
    """Compute the gradients of a batch into `.grad`; micro-batches are halved until they fit into memory everywhere.

    On a CPU, each of the `pieces` of the whole batch has its own random numbers of dropout, see `count_pieces`.

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
            totals = accumulate(module, batch, recipe, statistics, size=size, seed=seed, ranks=ranks, pieces=pieces)
        except torch.OutOfMemoryError as error:
            if size == 1 or (ranks.world > 1 and _communicates_in_forward(module, recipe)):
                msg = f"{batch.intensity.device} has not enough memory for {size} materials at a time; "
                msg += "choose a smaller micro_batch_size or batch_size"
                raise RecipeError(msg, code="E_MEMORY") from error
            exhausted = True
        if not any_rank(exhausted, device=batch.intensity.device):
            break
        micro_batch_size = (size + 1) // 2
    fill_missing_gradients(module.parameters())
    all_reduce_sum(parameter.grad for parameter in module.parameters() if parameter.grad is not None)
    all_reduce_sum(totals.values())
    losses = torch.stack(list(totals.values())).tolist()  # one synchronisation with the device
    return dict(zip(totals, losses, strict=True)), micro_batch_size


def _communicates_in_forward(module: TrainingModule, recipe: Recipe) -> bool:
    """Whether processes communicate in the forward pass or a loss, and not only to sum their gradients."""
    synchronised = (nn.SyncBatchNorm, SynchronisedBatchNorm)
    return compares_materials(recipe) or any(isinstance(part, synchronised) for part in module.modules())


def accumulate(
    module: TrainingModule,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    size: int,
    seed: int,
    ranks: Ranks,
    pieces: int = 1,
) -> dict[str, Tensor]:
    """Accumulate gradients and losses of this process's part of a batch, `size` materials at a time.

    Every loss is a mean over materials, so a micro-batch is weighted by its share of the whole batch. Batch
    normalisation and losses that compare materials see those that pass through the model together, in all processes:
    each process has as many micro-batches as the others. The sum over processes therefore depends on their number only
    by rounding, and by dropout where their number does not divide that of the pieces (`count_pieces`).
    """
    device, whole = batch.intensity.device, recipe.batch_size
    streams = DropoutSeeds(seed, whole, pieces, first=ranks.part(whole).start, device=device)
    generator = torch.Generator(device).manual_seed(seed + RANDOMNESS_SEEDS)
    randomness = draw_randomness(whole, recipe, generator=generator).part(ranks.part(whole))
    batch, half = modality_dropout(batch, recipe, randomness), in_half_precision(recipe, device)
    module.zero_grad(set_to_none=True)
    parts = micro_batches(len(batch), size=size, ranks=ranks, whole=whole)
    totals: dict[str, Tensor] = {}
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        alignment = None
        if module.contrastive is not None and len(parts) > 1:
            pattern, composition = _cls_tokens(module, batch, recipe, randomness, parts, streams)
            alignment = align(module.contrastive, pattern, composition, share=len(batch) / whole)
    for piece in parts:
        part, part_alignment = batch.part(piece), None if alignment is None else alignment.part(piece)
        with (
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=half),
            streams.seeded(piece),
        ):
            losses = batch_losses(module, part, recipe, statistics, randomness.part(piece), alignment=part_alignment)
        share = len(part) / whole
        (torch.stack(list(losses.values())).sum() * share).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + share * value.detach()
    return totals


def micro_batches(own: int, *, size: int, ranks: Ranks, whole: int) -> list[slice]:
    """Parts of this process's `own` materials that pass through the model one after another, each of at most `size`.

    Their number is the same in all processes, which exchange materials and statistics of each.
    """
    if ranks.world == 1:
        return [slice(first, min(first + size, own)) for first in range(0, own, size)]
    largest = -(-whole // ranks.world)
    edges = piece_edges(own, pieces=-(-largest // size))
    return [slice(first, last) for first, last in pairwise(edges) if last > first]


@dataclass(frozen=True)
class DropoutSeeds:
    """Seeds of dropout in a step, from the places of materials in the whole batch."""

    seed: int
    """Seed of the step."""

    batch: int
    """Materials of the whole batch."""

    pieces: int
    """Pieces with random numbers of their own; with 1, each micro-batch has its own."""

    _: KW_ONLY
    first: int
    """Place of this process's first material in the whole batch."""

    device: torch.device
    """Device of the model; only on a CPU dropout can be drawn piece by piece."""

    @contextmanager
    def seeded(self, micro_batch: slice) -> Iterator[None]:
        """Within the block, dropout draws the same masks whenever a micro-batch passes through the model in a step."""
        start, stop = self.first + micro_batch.start, self.first + micro_batch.stop
        torch.manual_seed(self._at(start))
        if self.device.type != "cpu" or self.pieces == 1:
            yield
            return
        inner = [edge for edge in piece_edges(self.batch, pieces=self.pieces) if start < edge < stop]
        edges = [start, *inner, stop]
        streams = DropoutStreams.of_pieces([edge - start for edge in edges], [self._at(edge) for edge in edges[:-1]])
        with dropout_streams(streams):
            yield

    def _at(self, place: int) -> int:
        return self.seed + DROPOUT_SEEDS + MICRO_BATCH_SEEDS * place


def in_half_precision(recipe: Recipe, device: torch.device) -> bool:
    """Whether matrix products are computed in bfloat16."""
    return recipe.precision == "bfloat16" or (recipe.precision == "auto" and device.type == "cuda")


def _cls_tokens(
    module: TrainingModule,
    batch: Batch,
    recipe: Recipe,
    randomness: BatchRandomness,
    parts: list[slice],
    streams: DropoutSeeds,
) -> tuple[Tensor, Tensor]:
    """The [CLS] of patterns and compositions of a batch, encoded in micro-batches, exactly as in the second pass.

    Gradients stay enabled, because compiled layers would draw other random numbers without. The running statistics of
    batch normalisation are restored, because the second pass updates them.
    """
    buffers = [buffer.clone() for buffer in module.model.buffers()]
    leading = []
    for piece in parts:
        with streams.seeded(piece):
            encoded, _ = encode_batch(module.model, batch.part(piece), recipe, randomness.part(piece))
        leading.append(cls_tokens(encoded))
    with torch.no_grad():
        for buffer, saved in zip(module.model.buffers(), buffers, strict=True):
            buffer.copy_(saved)
    pattern, composition = zip(*leading, strict=True)
    return torch.cat(pattern), torch.cat(composition)
