"""The fusion: windows of the pattern ask, elements of the composition answer."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.attention import DecoderLayer
from xxact_core.model.config import ModelConfig


class Fusion(nn.Module):
    """Transformer decoder: pattern tokens are the queries, composition tokens the keys and values.

    Source: XxaCT-NN section 3.1; 12 × 7,877,888 = 94,534,656 parameters in the paper's size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config.fusion) for _ in range(config.fusion.depth))

    def forward(
        self,
        pattern: Float[Tensor, "batch tokens width"],
        composition: Float[Tensor, "batch elements width"],
        present: Bool[Tensor, "batch elements"],
        *,
        cls_only: bool = False,
    ) -> Float[Tensor, "batch asked width"]:
        """Pattern tokens that know the composition; `cls_only`, the last layer spares itself all but the first."""
        for layer in self.layers:
            pattern = layer(pattern, composition, present, cls_only=cls_only and layer is self.layers[-1])
        return pattern

    def shares(
        self,
        pattern: Float[Tensor, "batch tokens width"],
        composition: Float[Tensor, "batch elements width"],
        present: Bool[Tensor, "batch elements"],
    ) -> Float[Tensor, "layers batch heads tokens elements"]:
        """What part of its cross-attention each pattern token gives to each composition token, in every layer."""
        found = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            found.append(layer.shares(pattern, composition, present))
            pattern = layer(pattern, composition, present)
        return torch.stack(found)
