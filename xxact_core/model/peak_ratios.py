"""Ratios of the spacings of a pattern's peaks: a fingerprint of the lattice that does not depend on its size."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.linear import Linear
from xxact_core.model.peak_tokens import find_peaks
from xxact_core.patterns.grid import GRID

HIDDEN_WIDTH = 256
BINS = 600
BIN_WIDTH = 0.005
"""Bins of the natural logarithm of the ratio of two 1/d²; together up to a ratio of 20. A position that is wrong by
0.01° at 30° 2θ shifts the logarithm by 0.0013. Ours."""


class PeakRatios(nn.Module):
    """Histogram of the ratios of 1/d² of all pairs of the strongest peaks → one vector, by two linear layers.

    In a cubic lattice all ratios are those of small integers; in other lattices the ratios within each zone are. The
    last layer starts at 0, so that a trained model can be given this readout without a change of its outputs.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.fusion.width
        self.peaks = config.peak_ratios
        features = 2 * BINS + self.peaks
        self.hidden = nn.Sequential(nn.LayerNorm(features), Linear(features, HIDDEN_WIDTH), nn.GELU())
        self.out = Linear(HIDDEN_WIDTH, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, intensity: Float[Tensor, "batch points"], window_mask: Bool[Tensor, "batch windows"]
    ) -> Float[Tensor, "batch width"]:
        """One vector a pattern; peaks in masked windows are ignored."""
        output: Tensor = self.out(self.hidden(ratio_histogram(intensity, window_mask, peaks=self.peaks)))
        return output


@torch.no_grad()
def ratio_histogram(
    intensity: Float[Tensor, "batch points"], window_mask: Bool[Tensor, "batch windows"], *, peaks: int
) -> Float[Tensor, "batch features"]:
    """Pairs of peaks by the logarithm of their ratio of 1/d², weighted by heights and counted, and the heights."""
    found = find_peaks(intensity, window_mask, count=peaks)
    logarithm = 2 * torch.sin(torch.deg2rad((GRID.start + GRID.step * found.place) / 2)).log()
    height = found.height.sqrt() * found.found
    first, second = torch.triu_indices(peaks, peaks, offset=1, device=intensity.device)
    place = (logarithm[:, first] - logarithm[:, second]).abs() / BIN_WIDTH
    product = height[:, first] * height[:, second]
    inside = place < BINS - 1
    low = place.clamp(max=BINS - 2).floor().long()
    share = place - low
    parts = []
    for weight in (product.sqrt() * inside, ((product > 0) & inside).float()):
        histogram = torch.zeros(len(intensity), BINS, device=intensity.device)
        histogram.scatter_add_(1, low, weight * (1 - share)).scatter_add_(1, low + 1, weight * share)
        parts.append(histogram)
    weighted, counted = parts
    return torch.cat([weighted, counted.log1p(), height], dim=1)
