"""Dropout whose random numbers cost little on a processor."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

_LEVELS = 2**16
"""A draw is 16 bits, four of which come with one number of torch's generator; the share is met within 1/131072."""


class Dropout(nn.Dropout):
    """torch's dropout; on a processor with masks from 16 random bits a number, five times as fast.

    torch draws a mask on a processor by Bernoulli trials in single precision, a seventh of the time of a training step
    of the preset `small`. Values that stay are divided by the share that stays, so that the mean is what it was.
    """

    def forward(self, input: Float[Tensor, "..."]) -> Float[Tensor, "..."]:  # noqa: A002 - torch's signature
        """Some of the values 0 while training, all of them as they are otherwise."""
        if not self.training or self.p == 0 or input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        dropped = round(self.p * _LEVELS)
        numbers = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = numbers.view(torch.int16)[: input.numel()].view(input.shape)
        kept = bits.ge_(dropped - _LEVELS // 2)  # in its place, for comparisons that give booleans are slow
        return input * kept.to(input.dtype).mul_(_LEVELS / (_LEVELS - dropped))
