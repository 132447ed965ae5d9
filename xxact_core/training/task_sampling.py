"""Task sampling: which labels of a batch are trained, one drawn uniformly for each material, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def sample_tasks(
    targets: Mapping[str, Float[Tensor, " batch"]],
    names: Sequence[str],
    uniform: Float[Tensor, "batch tasks"],
    *,
    sampling: str,
) -> dict[str, Bool[Tensor, " batch"]]:
    """Mask of the materials that train each target.

    `sampling` is `one` (Source: XxaCT-NN section 3.4, uniform task sampling) or `all` labels that there are.
    `uniform` holds uniform random numbers (0-1), drawn for the whole batch, so that micro-batches do not change them.
    """
    labelled = torch.stack([~torch.isnan(targets[name]) for name in names], dim=1)
    if sampling == "all":
        return dict(zip(names, labelled.unbind(1), strict=True))
    drawn = uniform.masked_fill(~labelled, -1.0).argmax(dim=1)
    chosen = torch.nn.functional.one_hot(drawn, len(names)).bool() & labelled
    return dict(zip(names, chosen.unbind(1), strict=True))
