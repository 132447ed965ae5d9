"""Supervised losses (squared or absolute error of z-scores, cross-entropy), and the sampling of their tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from xxact_core.quantities import BAND_GAP, TARGETS

RegressionLoss = Literal["squared", "absolute"]


def target_losses(
    outputs: Mapping[str, Float[Tensor, "batch outputs"]],
    truth: Mapping[str, Float[Tensor, " batch"]],
    chosen: Mapping[str, Bool[Tensor, " batch"]],
    *,
    regression_loss: RegressionLoss = "squared",
    regression_weight: float = 1.0,
) -> dict[str, Float[Tensor, ""]]:
    """Sum of the loss of each target over the materials `chosen` for it, divided by all materials of the batch.

    `truth` holds z-scores for regression and class indices for classification. The sum is divided by the size of the
    batch, not by the number of chosen materials, so that every material has the same weight. `regression_weight` is
    the weight of a regression target relative to a classification target. Source: XxaCT-NN section 3.4, with squared
    errors.
    """
    losses = {}
    for name, mask in chosen.items():
        # Weighted with 0 instead of indexed, which would need a synchronisation with the device.
        output, target = outputs[name].float(), torch.where(mask, truth[name], 0.0)
        if TARGETS[name].kind == "class":
            each = functional.cross_entropy(output, target.long(), reduction="none")
        else:
            error = functional.mse_loss if regression_loss == "squared" else functional.l1_loss
            each = regression_weight * error(output.squeeze(1), target, reduction="none")
        losses[name] = torch.where(mask, each, 0.0).sum() / len(mask)
    return losses


def nonmetal_loss(
    logit: Float[Tensor, " batch"], band_gap: Float[Tensor, " batch"], chosen: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of a gap above 0, summed over the materials `chosen` and divided by all of the batch."""
    nonmetal = torch.where(chosen, band_gap, 0.0) > 0
    each = functional.binary_cross_entropy_with_logits(logit.float(), nonmetal.float(), reduction="none")
    loss: Tensor = torch.where(chosen, each, 0.0).sum() / len(chosen)
    return loss


def to_z_scores(
    targets: Mapping[str, Float[Tensor, " batch"]], statistics: Mapping[str, tuple[float, float]]
) -> dict[str, Float[Tensor, " batch"]]:
    """z-scores of regression targets, by mean and standard deviation of the training split; classes are not changed."""
    return {
        name: (values - statistics[name][0]) / statistics[name][1] if name in statistics else values
        for name, values in targets.items()
    }


def from_z_scores(output: Float[Tensor, "batch one"], statistics: tuple[float, float]) -> Float[Tensor, " batch"]:
    """The inverse of `to_z_scores`, for the output of one regression head."""
    mean, deviation = statistics
    return torch.squeeze(output, 1).float() * deviation + mean


def output_to_values(
    name: str, output: Float[Tensor, "batch one"], statistics: tuple[float, float]
) -> Float[Tensor, " batch"]:
    """Predicted values of a regression target in its unit, as shown and as evaluated: a band gap is at least 0."""
    values = from_z_scores(output, statistics)
    return values.clamp(min=0.0) if name == BAND_GAP.name else values


def sample_tasks(
    targets: Mapping[str, Float[Tensor, " batch"]],
    names: Sequence[str],
    uniform: Float[Tensor, "batch tasks"],
    *,
    sampling: str,
) -> dict[str, Bool[Tensor, " batch"]]:
    """Mask of the materials that train each target.

    `sampling` is `one` (Source: XxaCT-NN section 3.4, uniform task sampling) or `all` known labels.
    `uniform` holds uniform random numbers (0-1), drawn for the whole batch, so that micro-batches do not change them.
    """
    labelled = torch.stack([~torch.isnan(targets[name]) for name in names], dim=1)
    if sampling == "all":
        return dict(zip(names, labelled.unbind(1), strict=True))
    drawn = uniform.masked_fill(~labelled, -1.0).argmax(dim=1)
    chosen = functional.one_hot(drawn, len(names)).bool() & labelled
    return dict(zip(names, chosen.unbind(1), strict=True))
