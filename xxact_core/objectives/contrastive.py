"""Contrastive alignment: a pattern and its own composition belong together, all others in the batch do not."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

START_TEMPERATURE = 0.07
SMALLEST_TEMPERATURE = 0.01
"""Source: CLIP, Radford et al. 2021, section 2.5, which XxaCT-NN follows."""


START_BIAS = -10.0
"""Nearly all pairs are of two materials; so the loss begins there. Source: SigLIP, Zhai et al. 2023, section 3.2."""

START_SCALE = 10.0
"""Of the cosine similarities. Source: as above."""


def cosine_similarities(
    left: Float[Tensor, "batch width"], right: Float[Tensor, "batch width"]
) -> Float[Tensor, "batch others"]:
    """Cosine of each of the left with each of the right, in float32: a small temperature would magnify roundings."""
    with torch.autocast(left.device.type, enabled=False):
        return functional.normalize(left.float(), dim=-1) @ functional.normalize(right.float(), dim=-1).T


class ContrastiveLoss(nn.Module):
    """Symmetric InfoNCE on cosine similarities, with a learned temperature. Source: XxaCT-NN equations 1 and 2."""

    def __init__(self) -> None:
        super().__init__()
        self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(START_TEMPERATURE)))

    @property
    def temperature(self) -> Tensor:
        """The temperature τ that similarities are divided by."""
        return torch.exp(-self.log_inverse_temperature).clamp(min=SMALLEST_TEMPERATURE)

    def forward(
        self, pattern: Float[Tensor, "batch width"], composition: Float[Tensor, "batch width"]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of composition → pattern and pattern → composition; row i of both is one material."""
        logits = cosine_similarities(pattern, composition) / self.temperature
        own = torch.arange(len(logits), device=logits.device)
        return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


class SigmoidContrastiveLoss(nn.Module):
    """Every pair of a pattern and a composition judged by itself: one material, or two; with learned scale and bias.

    Source: SigLIP, Zhai et al. 2023, "Sigmoid loss for language image pre-training", algorithm 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_inverse_temperature = nn.Parameter(torch.tensor(math.log(START_SCALE)))
        self.bias = nn.Parameter(torch.tensor(START_BIAS))

    def forward(
        self, pattern: Float[Tensor, "batch width"], composition: Float[Tensor, "batch width"]
    ) -> Float[Tensor, ""]:
        """Mean over the materials of the logistic losses of all their pairs; row i of both is one material."""
        logits = cosine_similarities(pattern, composition) * self.log_inverse_temperature.exp() + self.bias
        one_material = 2 * torch.eye(len(logits), device=logits.device) - 1
        return -functional.logsigmoid(one_material * logits).sum() / len(logits)
