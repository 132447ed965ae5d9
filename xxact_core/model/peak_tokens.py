"""Gridded pattern → tokens of its lines: where each of them is, to a fraction of a step, and how strong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.config import ModelConfig
from xxact_core.model.pattern_tokens import WINDOW_POINTS
from xxact_core.patterns.grid import GRID

WEAKEST = 1e-4
"""Share of the strongest line below which a maximum is no line."""

FREQUENCIES = 16
_MARGIN = 3


@dataclass(frozen=True)
class Peaks:
    """The strongest lines of each pattern, strongest first.

    place: in grid steps, between points; height: share of the strongest (0-1); present: which of them are there.
    """

    place: Float[Tensor, "batch peaks"]
    height: Float[Tensor, "batch peaks"]
    present: Bool[Tensor, "batch peaks"]


@torch.no_grad()
def find_peaks(intensity: Float[Tensor, "batch points"], hidden: Bool[Tensor, "batch windows"], *, count: int) -> Peaks:
    """The `count` highest maxima outside the hidden windows, each at the top of the parabola through its three points.

    A line is a Gaussian, whose logarithm is a parabola, so that an ideal single line is found exactly.
    """
    unseen = hidden.repeat_interleave(WINDOW_POINTS, dim=1).float().unsqueeze(1)
    near_unseen = functional.max_pool1d(unseen, 2 * _MARGIN + 1, stride=1, padding=_MARGIN).squeeze(1)[:, 1:-1] > 0
    left, middle, right = intensity[:, :-2], intensity[:, 1:-1], intensity[:, 2:]
    top = (middle > left) & (middle >= right) & ~near_unseen
    height, index = torch.where(top, middle, 0.0).topk(count, dim=1)
    strongest = height[:, :1].clamp(min=1e-12)
    low, mid, high = (part.gather(1, index).clamp(min=1e-12).log() for part in (left, middle, right))
    shift = 0.5 * (low - high) / (low - 2 * mid + high).clamp(max=-1e-12)
    return Peaks(
        place=index + 1 + shift.clamp(-0.5, 0.5), height=height / strongest, present=height > WEAKEST * strongest
    )


class PeakTokens(nn.Module):
    """Each line as a vector of its position and strength, through one linear map.

    Position is written twice, in sines and cosines of rising frequency: of log q, where lines of one lattice, larger
    or smaller, stand in the same distances; and of q² = h²a*² + k²b*² + ..., where they add up. No place in the order
    of the tokens means anything.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.count = config.peak_tokens
        self.embed = nn.Linear(4 * FREQUENCIES + 2, config.pattern.width)
        self.waves: Tensor
        self.register_buffer("waves", math.pi * 2 ** (torch.arange(FREQUENCIES) / 2), persistent=False)

    def forward(
        self, intensity: Float[Tensor, "batch points"], hidden: Bool[Tensor, "batch windows"]
    ) -> tuple[Float[Tensor, "batch peaks width"], Bool[Tensor, "batch peaks"]]:
        """Tokens of the lines, and which of them are there."""
        peaks = find_peaks(intensity, hidden, count=self.count)
        sine = torch.sin(torch.deg2rad((GRID.start + GRID.step * peaks.place) / 2))
        phases = torch.cat(
            [sine.log().unsqueeze(-1) * self.waves, 2 * sine.square().unsqueeze(-1) * self.waves], dim=-1
        )
        strength = torch.stack([peaks.height.sqrt(), peaks.height.clamp(min=WEAKEST).log() / math.log(WEAKEST)], dim=-1)
        return self.embed(torch.cat([phases.sin(), phases.cos(), strength], dim=-1)), peaks.present
