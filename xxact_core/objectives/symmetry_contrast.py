"""Supervised contrastive loss: embeddings of one crystal system lie together."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xxact_core.objectives.contrastive import cosine_similarities

TEMPERATURE = 0.1
"""Source: Khosla et al. 2020, "Supervised contrastive learning", arXiv:2004.11362, section 4.4."""


def symmetry_contrast(
    embedding: Float[Tensor, "batch width"], classes: Float[Tensor, " batch"], *, own: slice = slice(None)
) -> Float[Tensor, ""]:
    """Mean over the batch of the cross-entropy of finding a material of the same class, 0 for materials without one.

    `classes` holds class indices, NaN where unknown. The mean is over the materials `own`, which are compared with all:
    where processes train together, each has its own. Source: Khosla et al. 2020, equation 2.
    """
    known = ~classes.isnan()
    label = classes.nan_to_num(-1.0)
    number = torch.arange(len(classes), device=classes.device)
    other = (number[own].unsqueeze(1) != number.unsqueeze(0)) & known.unsqueeze(0)
    logits = (cosine_similarities(embedding[own], embedding) / TEMPERATURE).masked_fill(~other, -1e9)
    positive = (label[own].unsqueeze(1) == label.unsqueeze(0)) & other & known[own].unsqueeze(1)
    each = (logits.log_softmax(dim=1) * positive).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    loss: Tensor = -each.mean()
    return loss
