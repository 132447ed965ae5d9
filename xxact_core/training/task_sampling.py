"""Which targets of a batch are trained: one a material, drawn uniformly among those it has a label for, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def draw_tasks(
    targets: Mapping[str, Float[Tensor, " batch"]],
    names: Sequence[str],
    lottery: Float[Tensor, "batch tasks"],
    *,
    sampling: str,
) -> dict[str, Bool[Tensor, " batch"]]:
    """For each target which materials of the batch train it; a material without any label trains none.

    `sampling` is `one` (Source: XxaCT-NN section 3.4, uniform task sampling) or `all` labels that there are.
    `lottery` holds even random numbers (0-1); drawn for a whole batch, it is the same however the batch is cut.
    """
    labelled = torch.stack([~torch.isnan(targets[name]) for name in names], dim=1)
    if sampling == "all":
        return dict(zip(names, labelled.unbind(1), strict=True))
    winner = lottery.masked_fill(~labelled, -1.0).argmax(dim=1)
    drawn = torch.nn.functional.one_hot(winner, len(names)).bool() & labelled
    return dict(zip(names, drawn.unbind(1), strict=True))
