"""Gridded pattern → tokens: 17 windows of 250 points, each a vector."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig

WINDOWS = 17
WINDOW_POINTS = 250
"""Source: XxaCT-NN section 3.1. `xxact_core.patterns.grid.GRID` is the same cut; a test holds the two together."""


def scale_intensity(intensity: Float[Tensor, "batch points"], *, intensity_scale: str) -> Float[Tensor, "batch points"]:
    """Intensities (0-100) as the model reads them (0-1): I/100, or √(I/100) where weak lines shall count."""
    fraction = intensity / 100
    return fraction.clamp(min=0).sqrt() if intensity_scale == "root" else fraction


class WindowTokens(nn.Linear):
    """The paper's tokens: each window of 250 points through one linear map."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(WINDOW_POINTS, config.pattern.width)

    def forward(self, scaled: Float[Tensor, "batch points"]) -> Float[Tensor, "batch tokens width"]:
        """Tokens of a pattern, one a window."""
        return super().forward(scaled.unflatten(1, (WINDOWS, WINDOW_POINTS)))


class ConvolutionTokens(nn.Module):
    """Tokens after a convolution stem: lines are seen where they lie, at 0.02°, before windows are cut.

    Strides 5 · 2 · 5 · 5 = 250 points, so that token i still belongs to window i.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, second, third = config.stem_channels
        self.stem = nn.Sequential(
            _Convolution(1, first, kernel=15, stride=5),
            _Convolution(first, second, kernel=5, stride=2),
            _ResidualConvolution(second, kernel=5),
            _Convolution(second, third, kernel=5, stride=5),
            _ResidualConvolution(third, kernel=3),
            nn.Conv1d(third, config.pattern.width, kernel_size=5, stride=5),
        )

    def forward(self, scaled: Float[Tensor, "batch points"]) -> Float[Tensor, "batch tokens width"]:
        """Tokens of a pattern, one a window."""
        return self.stem(scaled.unsqueeze(1)).transpose(1, 2)


class _Convolution(nn.Sequential):
    def __init__(self, channels_in: int, channels_out: int, *, kernel: int, stride: int) -> None:
        # The padding makes the output exactly 1/stride of the input, with every kernel centred on its stride.
        padding = (kernel - stride + 1) // 2
        super().__init__(
            nn.Conv1d(channels_in, channels_out, kernel, stride=stride, padding=padding, bias=False),
            nn.BatchNorm1d(channels_out),
            nn.ReLU(inplace=True),
        )


class _ResidualConvolution(nn.Module):
    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.body = _Convolution(channels, channels, kernel=kernel, stride=1)

    def forward(self, features: Float[Tensor, "batch channels points"]) -> Float[Tensor, "batch channels points"]:
        return features + self.body(features)


def hide_windows(
    scaled: Float[Tensor, "batch points"], hidden: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch points"]:
    """The pattern with its hidden windows emptied, so that nothing of them reaches a neighbouring token."""
    return scaled.masked_fill(hidden.repeat_interleave(WINDOW_POINTS, dim=1), 0.0)
