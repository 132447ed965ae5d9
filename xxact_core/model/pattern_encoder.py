"""The XRD encoder: windows of a pattern that look at one another."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.attention import EncoderLayer, learned_token
from xxact_core.model.config import ModelConfig
from xxact_core.model.pattern_tokens import WINDOWS, ConvolutionTokens, WindowTokens, hide_windows


class PatternEncoder(nn.Module):
    """Transformer over the windows of a pattern, led by a learned [CLS], with learned positions.

    Source: XxaCT-NN section 3.1; 6,446,592 parameters in the paper's size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes = config.pattern
        self.tokens = WindowTokens(config) if config.tokens == "windows" else ConvolutionTokens(config)
        self.cls = learned_token(sizes.width)
        self.positions = nn.Parameter(torch.randn(WINDOWS + 1, sizes.width) * 0.02)
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.depth))

    def forward(
        self,
        scaled: Float[Tensor, "batch points"],
        hidden: Bool[Tensor, "batch tokens"],
        mask_token: Float[Tensor, " width"],
    ) -> Float[Tensor, "batch tokens_and_cls width"]:
        """[CLS] and window embeddings; `hidden` windows are seen as [MASK] only."""
        tokens = self.tokens(hide_windows(scaled, hidden))
        tokens = torch.where(hidden.unsqueeze(-1), mask_token.to(tokens.dtype), tokens)
        tokens = torch.cat([self.cls.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], dim=1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens
