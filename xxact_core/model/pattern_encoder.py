"""The XRD encoder: self-attention over the windows of a pattern."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.attention import EncoderLayer, learned_tokens
from xxact_core.model.config import ModelConfig
from xxact_core.model.pattern_tokens import (
    WINDOWS,
    ConvolutionTokens,
    WindowTokens,
    intensity_channels,
    scale_intensity,
    zero_masked_windows,
)
from xxact_core.model.peak_tokens import PeakTokens


class PatternEncoder(nn.Module):
    """Transformer over the windows of a pattern, with a learned [CLS] in front and learned positions.

    Peak tokens, where there are any, take part in the attention and are dropped from the output.

    Source: XxaCT-NN section 3.1; 6,446,592 parameters in the paper's size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes = config.pattern
        self.scale = config.intensity_scale
        self.tokens_per_window = config.tokens_per_window
        self.tokens = WindowTokens(config) if config.tokenizer == "windows" else ConvolutionTokens(config)
        self.peaks = PeakTokens(config) if config.peak_tokens else None
        self.cls = learned_tokens(sizes.width)
        self.positions = learned_tokens(WINDOWS * config.tokens_per_window + 1, sizes.width)
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.depth))

    def forward(
        self,
        intensity: Float[Tensor, "batch points"],
        window_mask: Bool[Tensor, "batch windows"],
        mask_token: Float[Tensor, " width"],
    ) -> Float[Tensor, "batch tokens_and_cls width"]:
        """Encoded [CLS] and windows; masked windows enter as [MASK]."""
        seen = zero_masked_windows(scale_intensity(intensity, intensity_scale=self.scale), window_mask)
        tokens = self.tokens(intensity_channels(seen, intensity_scale=self.scale))
        masked_tokens = window_mask.repeat_interleave(self.tokens_per_window, dim=1)
        tokens = torch.where(masked_tokens.unsqueeze(-1), mask_token.to(tokens.dtype), tokens)
        tokens = torch.cat([self.cls.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], dim=1) + self.positions
        windows, token_mask = tokens.shape[1], None
        if self.peaks is not None:
            peaks, found = self.peaks(intensity, window_mask)
            tokens = torch.cat([tokens, peaks], dim=1)
            token_mask = torch.cat([found.new_ones(len(found), windows), found], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, token_mask)
        output: Tensor = tokens[:, :windows]
        return output
