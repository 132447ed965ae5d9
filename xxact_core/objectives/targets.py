"""Supervised losses: squared or absolute error of z-scores for values, cross-entropy for classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from xxact_core.quantities import TARGETS

RegressionLoss = Literal["squared", "absolute"]


def target_losses(
    outputs: Mapping[str, Float[Tensor, "batch outputs"]],
    truth: Mapping[str, Float[Tensor, " batch"]],
    chosen: Mapping[str, Bool[Tensor, " batch"]],
    *,
    regression_loss: RegressionLoss = "squared",
    regression_weight: float = 1.0,
) -> dict[str, Float[Tensor, ""]]:
    """Summed loss of each target over the materials `chosen` for it, divided by all materials of the batch.

    `truth` holds z-scores for values and class indices for classes. Source: XxaCT-NN section 3.4, where values are
    learned by their squared error. A sum over the batch, not a mean per target, so that every material weighs the same
    whatever it was chosen for. regression_weight: how much a value counts beside a class.
    """
    losses = {}
    for name, mask in chosen.items():
        # Weighed with 0 rather than left out: how many are left out is what a device would have to be asked.
        output, wanted = outputs[name].float(), torch.where(mask, truth[name], 0.0)
        if TARGETS[name].kind == "class":
            each = functional.cross_entropy(output, wanted.long(), reduction="none")
        else:
            error = functional.mse_loss if regression_loss == "squared" else functional.l1_loss
            each = regression_weight * error(output.squeeze(1), wanted, reduction="none")
        losses[name] = torch.where(mask, each, 0.0).sum() / len(mask)
    return losses


def to_z_scores(
    targets: Mapping[str, Float[Tensor, " batch"]], statistics: Mapping[str, tuple[float, float]]
) -> dict[str, Float[Tensor, " batch"]]:
    """Values as z-scores by (mean, standard deviation) of the training split; classes as they are."""
    return {
        name: (values - statistics[name][0]) / statistics[name][1] if name in statistics else values
        for name, values in targets.items()
    }


def from_z_scores(output: Float[Tensor, "batch one"], statistics: tuple[float, float]) -> Float[Tensor, " batch"]:
    """The inverse of `to_z_scores` for the output of one value head."""
    mean, deviation = statistics
    return torch.squeeze(output, 1).float() * deviation + mean
