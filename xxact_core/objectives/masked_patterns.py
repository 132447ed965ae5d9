"""Masked XRD modelling (MXM): reconstruct masked windows of the pattern."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MASK_RATIO = 0.05
"""Fraction of the windows that are masked. Source: XxaCT-NN section 3.2."""


def draw_mask(
    visible: Bool[Tensor, "batch windows"], uniform: Float[Tensor, "batch windows"], *, ratio: float = MASK_RATIO
) -> Bool[Tensor, "batch windows"]:
    """Windows to mask: each `visible` one with probability `ratio`, and at least one of each pattern that has one.

    `uniform` holds uniform random numbers (0-1), drawn for the whole batch, so that micro-batches do not change them.

    5 % of 17 windows is less than one: independent draws alone would leave 41.8 % of the patterns without a masked
    window, for which the paper's equation 3 is 0/0.
    """
    drawn = visible & (uniform < ratio)
    first = torch.nn.functional.one_hot(uniform.masked_fill(~visible, 2.0).argmin(dim=1), visible.shape[1]).bool()
    return torch.where(drawn.any(dim=1, keepdim=True), drawn, first & visible)


def reconstruction_loss(
    reconstructed: Float[Tensor, "batch windows points"],
    scaled: Float[Tensor, "batch all_points"],
    masked: Bool[Tensor, "batch windows"],
) -> Float[Tensor, ""]:
    """Mean squared error over the masked windows of each pattern, then over the patterns; 0 for patterns without any.

    Every pattern has the same weight, so that a batch can be divided. `scaled` are the true intensities on the scale of
    the model. Source: XxaCT-NN equation 3.
    """
    truth = scaled.unflatten(1, (masked.shape[1], -1))
    error = (reconstructed.float() - truth).square().mean(dim=2)
    count = masked.sum(dim=1)
    per_pattern = (error * masked).sum(dim=1) / count.clamp(min=1)
    loss: Tensor = per_pattern.mean()
    return loss
