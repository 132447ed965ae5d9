"""Several processes train one model: each takes its part of every batch, and all add up their gradients.

`torchrun --nproc-per-node N -m xxact_core.commands.main train …` starts them; alone, everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together: its number, and how many there are."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the journal, the snapshots and the model."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """The part of a batch of this many materials that is this process's own; parts differ by one at most."""
        first, last = (batch * number // self.world for number in (self.rank, self.rank + 1))
        return slice(first, last)


ALONE = Ranks()
"""One process that trains by itself."""


def rank_from_environment() -> Ranks:
    """What torchrun says of this process; alone where it says nothing. Source: torchrun's RANK and WORLD_SIZE."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def local_device(name: str) -> torch.device:
    """The device of this process: with several on one machine, each CUDA process has one of its own."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes of a run, able to talk to one another while it lasts: NCCL between GPUs, gloo between CPUs."""
    ranks = rank_from_environment()
    if ranks.world == 1:
        yield ranks
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their sum over all processes, in one message for each kind of number."""
    if not distributed.is_initialized():
        return
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.dtype, []).append(tensor)
    for members in kinds.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in members])
        distributed.all_reduce(flat)
        for tensor, summed in zip(members, flat.split([tensor.numel() for tensor in members]), strict=True):
            tensor.copy_(summed.view_as(tensor))


def gather(rows: Float[Tensor, "batch width"]) -> Float[Tensor, "all_rows width"]:
    """Rows of all processes, in order of their ranks, with gradients that find their way back.

    Every process must have the same number of rows. Each computes the loss of all rows and counts it by its share, and
    the way back adds up what the processes say, so that gradients are those of one process with the whole batch.
    """
    if not distributed.is_initialized():
        return rows
    return _Gathered.apply(rows)


class _Gathered(torch.autograd.Function):
    """All processes' rows; on the way back the gradients that all of them have for this process's own."""

    @staticmethod
    def forward(_: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        pieces = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(pieces, rows.contiguous())
        return torch.cat(pieces)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


def as_the_leader_says(value: Path | None) -> Path | None:
    """The path that the first process names, in all of them."""
    if not distributed.is_initialized():
        return value
    said = [None if value is None else str(value)]
    distributed.broadcast_object_list(said)
    return None if said[0] is None else Path(said[0])


def any_asks(value: bool, *, device: torch.device) -> bool:  # noqa: FBT001 - the question itself
    """Whether any process says yes, so that all of them stop together."""
    if not distributed.is_initialized():
        return value
    answer = torch.tensor(float(value), device=device)
    distributed.all_reduce(answer)
    return bool(answer)
