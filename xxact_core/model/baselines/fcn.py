"""FCN: a baseline that reads the pattern alone, by convolutions that halve it until one point is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.dropout import Dropout
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import scale_intensity, zero_masked_windows

CHANNELS = (16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512)
SLOPE = 0.3
"""Filters of the twelve blocks, and slope of LeakyReLU below zero. Source: Lee et al. 2022 ("Powder X-Ray Diffraction
Pattern Is All You Need"), which XxaCT-NN appendix A.2 adapts."""

DROPOUT, LAST_DROPOUT = 0.2, 0.4
READOUT_WIDTH, SPACE_GROUP_READOUT_WIDTH = 64, 256


class Fcn(Model):
    """Twelve convolution blocks, then two convolutions on the point that is left, the second of which is the head.

    The first of these has 64 filters, and 256 where the space group is a target. There is no activation between the
    two. Both are kept as convolutions of the published widths, so the outer taps of the first only ever see padding.

    Source: Lee et al. 2022, adapted to 4250 points: the twelve halvings leave one point, so the original's thirteenth
    goes. For one value target 1,672,593 parameters (a space group as the only target: 2,026,742).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = SPACE_GROUP_READOUT_WIDTH if "space_group" in config.targets else READOUT_WIDTH
        self.blocks = ConvolutionBlocks(dropout=DROPOUT, last_dropout=LAST_DROPOUT)
        self.readout = nn.Conv1d(CHANNELS[-1], width, kernel_size=3, padding=1)
        self.dropout = Dropout(LAST_DROPOUT)
        self.heads = TargetHeads(config, width=width)
        init_glorot(self.readout)

    def features(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """Features of the last point; masked windows are zeros."""
        scaled = scale_intensity(inputs.intensity, intensity_scale=self.config.intensity_scale)
        embedding: Tensor = self.dropout(
            self.readout(self.blocks(zero_masked_windows(scaled, inputs.window_mask)))
        ).flatten(1)
        return embedding


class ConvolutionBlocks(nn.Sequential):
    """Twelve times convolution over three points, LeakyReLU, the larger of two neighbours, dropout.

    4250 points become 2125, 1062, 531, 265, 132, 66, 33, 16, 8, 4, 2, 1: a point without a neighbour is dropped.
    LeakyReLU increases with its argument, so that the larger neighbour is taken before it, from half as many points.
    """

    def __init__(self, *, dropout: float, last_dropout: float) -> None:
        before = (1, *CHANNELS[:-1])
        super().__init__()
        for number, (channels_in, channels_out) in enumerate(zip(before, CHANNELS, strict=True), start=1):
            self.append(nn.Conv1d(channels_in, channels_out, kernel_size=3, padding=1))
            self.append(LargerOfTwo())
            self.append(nn.LeakyReLU(SLOPE))
            self.append(Dropout(last_dropout if number == len(CHANNELS) else dropout))
        init_glorot(self)

    def forward(self, scaled: Float[Tensor, "batch points"]) -> Float[Tensor, "batch channels one"]:
        """Channels of the last point."""
        features: Tensor = scaled.unsqueeze(1)
        for layer in self:
            features = layer(features)
        return features


class LargerOfTwo(nn.Module):
    """`torch.nn.MaxPool1d(2)` without the indices that torch computes for training, which are slow on a CPU."""

    def forward(self, features: Float[Tensor, "batch channels points"]) -> Float[Tensor, "batch channels half"]:
        """The larger of points 0 and 1, 2 and 3, ...; the last of an odd number of points is dropped."""
        return _larger_of_two(features)


class _LargerOfTwo(torch.autograd.Function):
    """The gradient goes to the larger point, of equal ones to the first, as in torch."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:  # noqa: ANN401 - torch's signature
        ctx.shape = features.shape
        first, second = _pairs(features)
        ctx.save_for_backward((first >= second).to(features.dtype))
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 - torch's signature
        (gradient,), (is_first,) = gradients, ctx.saved_tensors
        of_first = gradient * is_first
        output = gradient.new_zeros(ctx.shape)
        first, second = _pairs(output)
        first.copy_(of_first)
        second.copy_(gradient - of_first)
        return output


_larger_of_two: Callable[[Tensor], Tensor] = _LargerOfTwo.apply


def _pairs(features: Tensor) -> tuple[Tensor, Tensor]:
    """Views of points 0, 2, 4, ... and of points 1, 3, 5, ..."""
    even = features.shape[-1] // 2 * 2
    return features[..., 0:even:2], features[..., 1:even:2]


def init_glorot(module: nn.Module) -> None:
    """Initialise Glorot-uniform weights and zero biases, as in the original.

    Source: default of Keras, in which the original is written. torch's default weights are so small that hardly any
    signal passes the twelve blocks at first.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Linear) and part.bias is not None:
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
