"""Data-parallel training: each process takes its part of every batch, and gradients are summed over all.

`torchrun --nproc-per-node N -m xxact_core.commands.main train …` starts the processes; in a
single process, everything here is a no-op.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

Value = TypeVar("Value")


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


def current_ranks() -> Ranks:
    """Rank of this process in the group that it has joined; that of a single process outside of `process_group`."""
    return (
        Ranks(distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else SINGLE_PROCESS
    )


def local_device(name: str) -> torch.device:
    """Device of this process; for CUDA, that of its local rank."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


_NUMBER_OF_GROUP = itertools.count()
"""Number of the next group of this process, the same in all processes of a run."""


@cache
def _store_of_processes(ranks: Ranks) -> Any:  # noqa: ANN401 - torch does not export the class of stores
    """Store by which the processes find each other."""
    from torch.distributed.constants import default_pg_timeout  # noqa: PLC0415 - not in every build of torch
    from torch.distributed.rendezvous import rendezvous  # noqa: PLC0415 - likewise

    store, _, _ = next(rendezvous("env://", ranks.rank, ranks.world))
    store.set_timeout(default_pg_timeout)
    return store


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """Communication between the processes of a run: NCCL for GPUs, gloo for CPUs."""
    ranks = ranks_from_environment()
    if ranks.world == 1:
        yield ranks
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Each group has a part of the store of its own: a process that finds addresses of a former group waits for ever.
    part = f"group {next(_NUMBER_OF_GROUP)}"
    store = distributed.PrefixStore(part, _store_of_processes(ranks))  # type: ignore[attr-defined]  # not in __all__
    distributed.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.world)
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


def fill_missing_gradients(parameters: Iterable[Tensor]) -> None:
    """Set gradients of 0 where another process has a gradient and this one has none, so that all can be summed.

    A part of the model has no gradient in a process whose part of the batch does not use it, for instance the decoder
    where no window is masked.
    """
    if not distributed.is_initialized():
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    found = torch.tensor([float(parameter.grad is not None) for parameter in trained], device=trained[0].device)
    distributed.all_reduce(found)
    for parameter, processes in zip(trained, found.tolist(), strict=True):
        if processes and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def gather(rows: Shaped[Tensor, "batch *sizes"]) -> Shaped[Tensor, "all_rows *sizes"]:
    """Rows of all processes, in order of their ranks; differentiable.

    Every process must have the same number of rows. Each computes its part of the loss, or all of it weighted by its
    share, and the backward pass sums the gradients of all processes, so that they equal those of one process with the
    whole batch.
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


@dataclass(frozen=True)
class GatheredRows:
    """How many rows each process has; gathers them although their numbers may differ."""

    counts: tuple[int, ...]
    """Rows of each process."""

    own: slice
    """Rows of this process among those of all."""

    @classmethod
    def of(cls, own: int, *, device: torch.device) -> GatheredRows:
        """Where this process has `own` rows; the processes exchange their numbers."""
        if not distributed.is_initialized():
            return cls((own,), slice(0, own))
        ranks = current_ranks()
        found = torch.zeros(ranks.world, dtype=torch.long, device=device)
        found[ranks.rank] = own
        distributed.all_reduce(found)
        counts = tuple(int(count) for count in found.tolist())
        first = sum(counts[: ranks.rank])
        return cls(counts, slice(first, first + own))

    def gather(self, rows: Shaped[Tensor, "batch *sizes"]) -> Shaped[Tensor, "all_rows *sizes"]:
        """Rows of all processes, in order of their ranks; differentiable, see `gather`."""
        if len(self.counts) == 1:
            return rows
        largest = max(self.counts)
        padded = torch.cat([rows, rows.new_zeros((largest - len(rows), *rows.shape[1:]))])
        pieces = gather(padded).split(largest)
        return torch.cat([piece[:count] for piece, count in zip(pieces, self.counts, strict=True)])


def broadcast(value: Value) -> Value:
    """The value of the process of rank 0, in all processes; one that pickle stores."""
    if not distributed.is_initialized():
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def any_rank(value: bool, *, device: torch.device) -> bool:  # noqa: FBT001 - the only argument of interest
    """Whether the value is true in any process."""
    if not distributed.is_initialized():
        return value
    total = torch.tensor(float(value), device=device)
    distributed.all_reduce(total)
    return bool(total)
