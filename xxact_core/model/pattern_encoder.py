"""The XRD encoder: windows of a pattern that look at one another."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.attention import EncoderLayer, learned_token
from xxact_core.model.config import ModelConfig
from xxact_core.model.pattern_tokens import (
    WINDOWS,
    ConvolutionTokens,
    WindowTokens,
    hide_windows,
    intensity_channels,
    scale_intensity,
)
from xxact_core.model.peak_tokens import PeakTokens


class PatternEncoder(nn.Module):
    """Transformer over the windows of a pattern, led by a learned [CLS], with learned positions.

    Lines that are tokens of their own are looked at by the others and then left: what follows has [CLS] and windows.

    Source: XxaCT-NN section 3.1; 6,446,592 parameters in the paper's size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes = config.pattern
        self.scale = config.intensity_scale
        self.tokens_per_window = config.tokens_per_window
        self.tokens = WindowTokens(config) if config.tokenizer == "windows" else ConvolutionTokens(config)
        self.peaks = PeakTokens(config) if config.peak_tokens else None
        self.cls = learned_token(sizes.width)
        self.positions = nn.Parameter(torch.randn(WINDOWS * config.tokens_per_window + 1, sizes.width) * 0.02)
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.depth))

    def forward(
        self,
        intensity: Float[Tensor, "batch points"],
        hidden: Bool[Tensor, "batch windows"],
        mask_token: Float[Tensor, " width"],
    ) -> Float[Tensor, "batch tokens_and_cls width"]:
        """[CLS] and window embeddings; `hidden` windows are seen as [MASK] only."""
        seen = hide_windows(scale_intensity(intensity, intensity_scale=self.scale), hidden)
        tokens = self.tokens(intensity_channels(seen, intensity_scale=self.scale))
        hidden_tokens = hidden.repeat_interleave(self.tokens_per_window, dim=1)
        tokens = torch.where(hidden_tokens.unsqueeze(-1), mask_token.to(tokens.dtype), tokens)
        tokens = torch.cat([self.cls.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], dim=1) + self.positions
        windows, present = tokens.shape[1], None
        if self.peaks is not None:
            peaks, found = self.peaks(intensity, hidden)
            tokens = torch.cat([tokens, peaks], dim=1)
            present = torch.cat([found.new_ones(len(found), windows), found], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, present)
        return tokens[:, :windows]
