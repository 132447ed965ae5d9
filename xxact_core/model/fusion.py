"""The fusion of pattern and composition by cross-attention: windows are queries, elements are keys and values."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.attention import DecoderLayer
from xxact_core.model.config import ModelConfig


class Fusion(nn.Module):
    """Transformer decoder whose queries are pattern tokens, and whose keys and values are composition tokens.

    Source: XxaCT-NN section 3.1; 12 × 7,877,888 = 94,534,656 parameters in the paper's size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config.fusion) for _ in range(config.fusion.depth))

    def forward(
        self,
        pattern: Float[Tensor, "batch tokens width"],
        composition: Float[Tensor, "batch elements width"],
        element_mask: Bool[Tensor, "batch elements"],
        *,
        cls_only: bool = False,
    ) -> Float[Tensor, "batch queries width"]:
        """Fused pattern tokens; with `cls_only`, the last layer computes the [CLS] alone."""
        for layer in self.layers:
            pattern = layer(pattern, composition, element_mask, cls_only=cls_only and layer is self.layers[-1])
        return pattern

    def attention_weights(
        self,
        pattern: Float[Tensor, "batch tokens width"],
        composition: Float[Tensor, "batch elements width"],
        element_mask: Bool[Tensor, "batch elements"],
    ) -> Float[Tensor, "layers batch heads tokens elements"]:
        """Cross-attention weights of each pattern token over the composition tokens, in every layer."""
        found = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            found.append(layer.attention_weights(pattern, composition, element_mask))
            pattern = layer(pattern, composition, element_mask)
        return torch.stack(found)
