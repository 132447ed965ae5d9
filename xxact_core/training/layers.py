"""How the parts of a model are run in training: compiled, and forgotten on the way and computed again on the way back.

Both leave the model as it is in everything that is saved: no weight, buffer or part changes its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from xxact_core.model.attention import DecoderLayer, EncoderLayer
from xxact_core.model.model import Model


def run_compiled(model: Model, *, backend: str = "inductor") -> None:
    """Have torch.compile make one kernel of many in every part of a model; the first steps then take a minute.

    A layer of a stack is compiled by itself, so that what is made for one serves all; sizes of batches and compositions
    stay open. Results are those without but for rounding and the random numbers of dropout.
    """
    for part in _parts(model):
        part.forward = torch.compile(part.forward, dynamic=True, backend=backend)


def run_recomputed(model: Model) -> None:
    """Keep of each transformer layer its input alone, and compute the rest again when gradients ask for it.

    The random state is kept with it, so that dropout drops the same again. Convolutions with batch normalisation are
    left out: they would count each batch twice. Source: Chen et al. 2016, arXiv:1604.06174.
    """
    for part in model.modules():
        if isinstance(part, EncoderLayer | DecoderLayer):
            part.forward = partial(checkpoint, part.forward, use_reentrant=False)  # type: ignore[method-assign]  # fmt: skip


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts that hold no stack of layers, and each layer of a stack; not what is one operation anyway."""
    for part in module.children():
        if any(isinstance(inner, nn.ModuleList) for inner in part.modules()):
            yield from _parts(part)
        elif any(True for _ in part.children()):
            yield part
