"""Contrastive alignment of patterns and compositions; the pairs of a batch that belong together are positive."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

INITIAL_TEMPERATURE = 0.07
MIN_TEMPERATURE = 0.01
"""Source: CLIP, Radford et al. 2021, section 2.5, which XxaCT-NN follows."""


INITIAL_BIAS = -10.0
"""Makes the initial probability of a positive pair small, as most pairs are negative. Source: SigLIP, Zhai et al. 2023,
section 3.2."""

INITIAL_SCALE = 10.0
"""Initial scale of the cosine similarities. Source: SigLIP, section 3.2."""


def cosine_similarities(
    left: Float[Tensor, "batch width"], right: Float[Tensor, "others width"]
) -> Float[Tensor, "batch others"]:
    """Cosine similarity of each left row to each right row, in float32, because τ magnifies rounding errors."""
    with torch.autocast(left.device.type, enabled=False):
        return functional.normalize(left.float(), dim=-1) @ functional.normalize(right.float(), dim=-1).T


class ContrastiveLoss(nn.Module):
    """Symmetric InfoNCE on cosine similarities, with a learned temperature. Source: XxaCT-NN equations 1 and 2."""

    def __init__(self) -> None:
        super().__init__()
        self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(INITIAL_TEMPERATURE)))

    @property
    def temperature(self) -> Tensor:
        """Temperature τ, by which similarities are divided."""
        return torch.exp(-self.log_inverse_temperature).clamp(min=MIN_TEMPERATURE)

    def forward(
        self, pattern: Float[Tensor, "batch width"], composition: Float[Tensor, "batch width"]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of composition → pattern and pattern → composition; row i of both is one material."""
        logits = cosine_similarities(pattern, composition) / self.temperature
        labels = torch.arange(len(logits), device=logits.device)
        return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


class SigmoidContrastiveLoss(nn.Module):
    """Binary classification of every pair, positive or negative, with a learned scale and bias.

    Source: SigLIP, Zhai et al. 2023, "Sigmoid loss for language image pre-training", algorithm 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_inverse_temperature = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def forward(
        self, pattern: Float[Tensor, "batch width"], composition: Float[Tensor, "batch width"]
    ) -> Float[Tensor, ""]:
        """Logistic loss of all pairs, divided by the number of materials; row i of both is one material."""
        logits = cosine_similarities(pattern, composition) * self.log_inverse_temperature.exp() + self.bias
        sign = 2 * torch.eye(len(logits), device=logits.device) - 1
        return -functional.logsigmoid(sign * logits).sum() / len(logits)
