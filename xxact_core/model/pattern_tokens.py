"""Gridded pattern → tokens: 17 windows of 250 points, each one vector or several."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.config import ModelConfig
from xxact_core.model.linear import Linear

WINDOWS = 17
WINDOW_POINTS = 250
"""Source: XxaCT-NN section 3.1. A test checks that `xxact_core.patterns.grid.GRID` has the same windows."""

LOG_FLOOR = 1e-5
"""Intensity, relative to the strongest peak, that the logarithm resolves; datasets store intensities as finely."""


def scale_intensity(intensity: Float[Tensor, "batch points"], *, intensity_scale: str) -> Float[Tensor, "batch points"]:
    """Intensities (0-100) on the scale of the model (0-1): I/100 for `linear`, otherwise √(I/100)."""
    fraction = intensity / 100
    return fraction if intensity_scale == "linear" else fraction.clamp(min=0).sqrt()


def intensity_channels(
    scaled: Float[Tensor, "batch points"], *, intensity_scale: str
) -> Float[Tensor, "batch channels points"]:
    """Input channels of the tokenizer: one, or with `sqrt_and_log` two, √I and log(1 + I / floor), both 0-1.

    A peak of 0.01 % of the strongest is 0.01 on the √ scale and 0.21 on the logarithmic one; such weak peaks
    distinguish crystal systems and space groups whose strong peaks coincide.
    """
    if intensity_scale != "sqrt_and_log":
        return scaled.unsqueeze(1)
    logarithm = torch.log1p(scaled.square() / LOG_FLOOR) / math.log1p(1 / LOG_FLOOR)
    return torch.stack([scaled, logarithm], dim=1)


def count_channels(config: ModelConfig) -> int:
    """Number of channels of `intensity_channels`."""
    return 2 if config.intensity_scale == "sqrt_and_log" else 1


class WindowTokens(nn.Module):
    """The paper's tokenizer: one linear map of each window of 250 points, or of each part of it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.points = WINDOW_POINTS // config.tokens_per_window
        self.embed = Linear(count_channels(config) * self.points, config.pattern.width)

    def forward(self, channels: Float[Tensor, "batch channels points"]) -> Float[Tensor, "batch tokens width"]:
        """Tokens of a pattern, `tokens_per_window` a window."""
        output: Tensor = self.embed(channels.unflatten(2, (-1, self.points)).transpose(1, 2).flatten(2))
        return output


class ConvolutionTokens(nn.Module):
    """Convolutional tokenizer, which resolves peaks at 0.02° before windows are formed.

    Strides 5 · 2 · 5 · 5 = 250 points, so that token i covers window i; with five tokens a window the last stride
    is 1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, second, third = config.stem_channels
        stride = 5 // config.tokens_per_window
        self.stem = nn.Sequential(
            _Convolution(count_channels(config), first, kernel=15, stride=5),
            _Convolution(first, second, kernel=5, stride=2),
            _ResidualConvolution(second, kernel=5),
            _Convolution(second, third, kernel=5, stride=5),
            _ResidualConvolution(third, kernel=3),
            _PlainConvolution(third, config.pattern.width, kernel_size=5, stride=stride, padding=(5 - stride) // 2),
        )

    def forward(self, channels: Float[Tensor, "batch channels points"]) -> Float[Tensor, "batch tokens width"]:
        """Tokens of a pattern, `tokens_per_window` a window.

        On a CPU the channels of a point are neighbours in memory, from the input to the tokens: convolutions and their
        gradients then take two thirds of the time, and nothing is reordered between them.
        """
        features = channels.unsqueeze(2)
        if channels.device.type == "cpu":
            features = features.contiguous(memory_format=torch.channels_last)
        output: Tensor = self.stem(features).squeeze(2).transpose(1, 2)
        return output


class _PlainConvolution(nn.Conv1d):
    """torch's convolution in one dimension, computed in two, of which only the second is longer than 1.

    In two dimensions there is a memory format with the channels last.
    """

    def forward(
        self, features: Float[Tensor, "batch channels_before one points_before"]
    ) -> Float[Tensor, "batch channels one points"]:
        stride, padding = (1, *self.stride), (0, *(int(size) for size in self.padding))
        return functional.conv2d(features, self.weight.unsqueeze(2), self.bias, stride, padding)


class _Convolution(nn.Sequential):
    def __init__(self, channels_in: int, channels_out: int, *, kernel: int, stride: int) -> None:
        # The padding makes the output exactly 1/stride of the input, with every kernel centred on its stride.
        padding = (kernel - stride + 1) // 2
        super().__init__(
            _PlainConvolution(channels_in, channels_out, kernel, stride=stride, padding=padding, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class _ResidualConvolution(nn.Module):
    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.body = _Convolution(channels, channels, kernel=kernel, stride=1)

    def forward(
        self, features: Float[Tensor, "batch channels one points"]
    ) -> Float[Tensor, "batch channels one points"]:
        output: Tensor = features + self.body(features)
        return output


def zero_masked_windows(
    scaled: Float[Tensor, "batch points"], window_mask: Bool[Tensor, "batch windows"]
) -> Float[Tensor, "batch points"]:
    """The pattern with zeros in masked windows, so that nothing of them reaches a neighbouring token."""
    return scaled.masked_fill(window_mask.repeat_interleave(WINDOW_POINTS, dim=1), 0.0)
