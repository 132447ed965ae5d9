"""Loss of energy differences between polymorphs, materials of one formula in a batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def difference_loss(
    predicted: Float[Tensor, " batch"],
    true: Float[Tensor, " batch"],
    group: Int[Tensor, " batch"],
    usable: Bool[Tensor, " batch"],
    *,
    own: slice = slice(None),
) -> Float[Tensor, ""]:
    """Mean absolute error of predicted differences between a material and the others of its group, 0 without any.

    Every material with partners has the same weight: the errors are averaged over its partners, then summed and divided
    by the size of the batch. A composition estimate cancels in the differences, so that only the pattern lowers this
    loss. `group` is equal for materials of one formula and one kind of label; materials that are not `usable`, without
    a label or without their pattern, have no partners. The mean is over the materials `own`, whose partners are among
    all: where processes train together, each has its own.
    """
    known = torch.where(usable, true, 0.0)
    number = torch.arange(len(group), device=group.device)
    partners = (group[own].unsqueeze(1) == group.unsqueeze(0)) & usable[own].unsqueeze(1) & usable.unsqueeze(0)
    partners = partners & (number[own].unsqueeze(1) != number.unsqueeze(0))
    error = predicted.float() - known
    each = torch.where(partners, (error.unsqueeze(0) - error[own].unsqueeze(1)).abs(), 0.0)
    per_material = each.sum(dim=1) / partners.sum(dim=1).clamp(min=1)
    loss: Tensor = per_material.sum() / max(1, len(per_material))
    return loss
