"""Data-parallel training: each process takes its part of every batch, and gradients are summed over all.

`torchrun --nproc-per-node N -m xxact_core.commands.main train …` starts the processes; in a
single process, everything here is a no-op.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """Rank of this process, and number of processes that train together."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the journal, the snapshots and the model: that of rank 0."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """Slice of a batch that belongs to this process; sizes of the slices differ by one at most."""
        first, last = (batch * number // self.world for number in (self.rank, self.rank + 1))
        return slice(first, last)


SINGLE_PROCESS = Ranks()


def ranks_from_environment() -> Ranks:
    """Ranks from torchrun's RANK and WORLD_SIZE; those of a single process where they are not set."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def local_device(name: str) -> torch.device:
    """Device of this process; for CUDA, that of its local rank."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """Communication between the processes of a run: NCCL for GPUs, gloo for CPUs."""
    ranks = ranks_from_environment()
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


def all_reduce_sum(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their sum over all processes, in one message for each dtype."""
    if not distributed.is_initialized():
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for members in by_dtype.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in members])
        distributed.all_reduce(flat)
        for tensor, summed in zip(members, flat.split([tensor.numel() for tensor in members]), strict=True):
            tensor.copy_(summed.view_as(tensor))


def gather(rows: Float[Tensor, "batch width"]) -> Float[Tensor, "all_rows width"]:
    """Rows of all processes, in order of their ranks; differentiable.

    Every process must have the same number of rows. Each computes the loss of all rows, weighted by its share, and the
    backward pass sums the gradients of all processes, so that they equal those of one process with the whole batch.
    """
    if not distributed.is_initialized():
        return rows
    return _all_gather(rows)


class _Gathered(torch.autograd.Function):
    """All-gather, whose backward pass sums the gradients and returns those of this process's rows."""

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


_all_gather: Callable[..., Tensor] = _Gathered.apply


def broadcast_path(value: Path | None) -> Path | None:
    """The path of the process of rank 0, in all processes."""
    if not distributed.is_initialized():
        return value
    paths = [None if value is None else str(value)]
    distributed.broadcast_object_list(paths)
    return None if paths[0] is None else Path(paths[0])


def any_rank(value: bool, *, device: torch.device) -> bool:  # noqa: FBT001 - the only argument of interest
    """Whether the value is true in any process."""
    if not distributed.is_initialized():
        return value
    total = torch.tensor(float(value), device=device)
    distributed.all_reduce(total)
    return bool(total)
