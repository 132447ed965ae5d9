"""Gridded pattern → tokens of its strongest peaks: position, to a fraction of a step, and height."""

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

MIN_HEIGHT = 1e-4
"""Height of a peak, relative to the strongest, below which a maximum is ignored."""

FREQUENCIES = 16
_MARGIN = 3


@dataclass(frozen=True)
class Peaks:
    """The strongest peaks of each pattern, in descending order of height.

    place: fractional index of the grid point; height: relative to the strongest (0-1); found: False where a pattern has
    fewer peaks.
    """

    place: Float[Tensor, "batch peaks"]
    height: Float[Tensor, "batch peaks"]
    found: Bool[Tensor, "batch peaks"]


@torch.no_grad()
def find_peaks(
    intensity: Float[Tensor, "batch points"], window_mask: Bool[Tensor, "batch windows"], *, count: int
) -> Peaks:
    """The `count` highest maxima outside masked windows, each at the vertex of the parabola through its three points.

    The parabola is that of the logarithm, so that the position of an isolated Gaussian peak is exact.
    """
    masked = window_mask.repeat_interleave(WINDOW_POINTS, dim=1).float().unsqueeze(1)
    near_masked = functional.max_pool1d(masked, 2 * _MARGIN + 1, stride=1, padding=_MARGIN).squeeze(1)[:, 1:-1] > 0
    left, middle, right = intensity[:, :-2], intensity[:, 1:-1], intensity[:, 2:]
    top = (middle > left) & (middle >= right) & ~near_masked
    height, index = torch.where(top, middle, 0.0).topk(count, dim=1)
    strongest = height[:, :1].clamp(min=1e-12)
    low, mid, high = (part.gather(1, index).clamp(min=1e-12).log() for part in (left, middle, right))
    shift = 0.5 * (low - high) / (low - 2 * mid + high).clamp(max=-1e-12)
    return Peaks(
        place=index + 1 + shift.clamp(-0.5, 0.5), height=height / strongest, found=height > MIN_HEIGHT * strongest
    )


class PeakTokens(nn.Module):
    """One linear map of the Fourier features of each peak's position and of its height.

    The position is encoded twice: as log q, in which a scaled lattice is a shift, and as q² = h²a*² + k²b*² + ..., in
    which reflections add up. The tokens have no positional embedding, so their order has no meaning.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.count = config.peak_tokens
        self.embed = nn.Linear(4 * FREQUENCIES + 2, config.pattern.width)
        self.waves: Tensor
        self.register_buffer("waves", math.pi * 2 ** (torch.arange(FREQUENCIES, device="cpu") / 2), persistent=False)

    def forward(
        self, intensity: Float[Tensor, "batch points"], window_mask: Bool[Tensor, "batch windows"]
    ) -> tuple[Float[Tensor, "batch peaks width"], Bool[Tensor, "batch peaks"]]:
        """Tokens of the peaks, and which of them were found."""
        peaks = find_peaks(intensity, window_mask, count=self.count)
        sine = torch.sin(torch.deg2rad((GRID.start + GRID.step * peaks.place) / 2))
        phases = torch.cat(
            [sine.log().unsqueeze(-1) * self.waves, 2 * sine.square().unsqueeze(-1) * self.waves], dim=-1
        )
        strength = torch.stack(
            [peaks.height.sqrt(), peaks.height.clamp(min=MIN_HEIGHT).log() / math.log(MIN_HEIGHT)], dim=-1
        )
        return self.embed(torch.cat([phases.sin(), phases.cos(), strength], dim=-1)), peaks.found
