"""Masked XRD modelling (MXM): reconstruct masked windows of the pattern."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MASK_RATIO = 0.05
"""Fraction of the windows that are masked. Source: XxaCT-NN section 3.2."""

INTENSITY_WEIGHT, ROOT_WEIGHT = 50.0, 5.0
"""Weights of the squared errors of I/100 and of √(I/100) in `sharp_reconstruction_loss`: with them an empty
reconstruction has a loss of about 0.2 each. Ours."""


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
    return _mean_over_masked((reconstructed.float() - truth).square().mean(dim=2), masked)


def sharp_reconstruction_loss(
    reconstructed: Float[Tensor, "batch windows points"],
    scaled: Float[Tensor, "batch all_points"],
    masked: Bool[Tensor, "batch windows"],
) -> Float[Tensor, ""]:
    """Weighted squared errors of the intensities and of their square roots, averaged as `reconstruction_loss` does.

    `scaled` and `reconstructed` are √(I/100). The least squared error of √I is below that of I, because √ is
    concave, so strong peaks would come back too low; with I alone weak peaks would not matter.
    """
    truth = scaled.unflatten(1, (masked.shape[1], -1))
    root = reconstructed.float()
    error = INTENSITY_WEIGHT * (root.square() - truth.square()).square() + ROOT_WEIGHT * (root - truth).square()
    return _mean_over_masked(error.mean(dim=2), masked)


def _mean_over_masked(
    error: Float[Tensor, "batch windows"], masked: Bool[Tensor, "batch windows"]
) -> Float[Tensor, ""]:
    count = masked.sum(dim=1)
    per_pattern = (error * masked).sum(dim=1) / count.clamp(min=1)
    loss: Tensor = per_pattern.mean()
    return loss
