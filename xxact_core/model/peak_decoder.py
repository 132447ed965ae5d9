"""Masked windows from the visible peaks: convolutions over copies of the pattern at related spacings.

With s = sin²θ, which is proportional to 1/d², the reflections of a lattice are s = h²a*² + k²b*² + l²c*² + ...: in a
cubic lattice all positions are integer multiples of one number, in any lattice (2h 2k 2l) lies at four times (h k l),
and s(g + g') + s(g - g') = 2 s(g) + 2 s(g'). A masked peak therefore lies at a simple ratio to visible peaks, or at a
sum of them. The decoder lays this evidence out on the grid, so that a peak is placed to a fraction of a step; the
fused tokens decide how strong it is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.config import ModelConfig
from xxact_core.model.linear import Linear
from xxact_core.model.pattern_tokens import WINDOW_POINTS, WINDOWS, zero_masked_windows
from xxact_core.model.peak_tokens import find_peaks
from xxact_core.patterns.grid import GRID

RATIO_TERMS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 19)
"""Numerators and denominators of the ratios of s: values of h² + k² + l², h² + hk + k² and h² + k² of strong lines."""

LARGEST_RATIO = 9.0
"""Largest ratio of s, and the inverse of the smallest. Ours."""

PEAKS = 16
"""Number of the strongest visible peaks whose sums are formed. Ours."""

CHANNELS = 48
COARSE_CHANNELS, COARSE_POINTS = 16, 25
"""Channels at full resolution; channels and points of the coarse expectation that a token gives. Ours."""

_SMOOTHING = 2.5
_KERNEL = 15


def spacing_ratios() -> list[float]:
    """All different ratios of two `RATIO_TERMS` except 1, up to `LARGEST_RATIO`, ascending."""
    ratios = {a / b for a in RATIO_TERMS for b in RATIO_TERMS if a != b}
    return sorted(ratio for ratio in ratios if 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO)


class PeakDecoder(nn.Module):
    """Intensities of masked windows on the scale of the model; other windows come back as they are."""

    source: Tensor
    fraction: Tensor
    smoothing: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.fusion.width
        self.tokens_per_window = config.tokens_per_window
        source, fraction = _copy_places(spacing_ratios())
        self.register_buffer("source", source, persistent=False)
        self.register_buffer("fraction", fraction, persistent=False)
        points = np.arange(_KERNEL) - _KERNEL // 2
        kernel = np.exp(-0.5 * (points / _SMOOTHING) ** 2).astype(np.float32)
        self.register_buffer("smoothing", torch.from_numpy(kernel)[None, None], persistent=False)
        self.token_hidden = nn.Sequential(nn.LayerNorm(2 * width), Linear(2 * width, 2 * width), nn.GELU())
        self.scale_and_shift = Linear(2 * width, 2 * CHANNELS)
        self.coarse = Linear(2 * width, COARSE_CHANNELS * COARSE_POINTS)
        self.first = nn.Conv1d(source.shape[1] + _SUMS, CHANNELS, kernel_size=3, padding=1)
        self.second = nn.Conv1d(CHANNELS + COARSE_CHANNELS, CHANNELS, kernel_size=5, padding=2)
        self.third = nn.Conv1d(CHANNELS, CHANNELS, kernel_size=5, padding=2)
        self.out = nn.Conv1d(CHANNELS, 1, kernel_size=1)
        assert self.out.bias is not None
        nn.init.constant_(self.out.bias, -3.0)

    def forward(
        self,
        fused: Float[Tensor, "batch tokens width"],
        scaled: Float[Tensor, "batch all_points"],
        window_mask: Bool[Tensor, "batch windows"],
    ) -> Float[Tensor, "batch windows points"]:
        """Reconstruct the windows of `window_mask`; `scaled` is the pattern on the scale of the model, √(I/100)."""
        seen = zero_masked_windows(scaled, window_mask)
        windows: Tensor = seen.unflatten(1, (WINDOWS, WINDOW_POINTS))
        if window_mask.is_meta:  # tensors without values, which the cost of a model is estimated with
            return windows
        row, window = window_mask.nonzero(as_tuple=True)
        if not len(row):
            return windows
        tokens = fused[:, 1:].unflatten(1, (WINDOWS, self.tokens_per_window)).mean(dim=2)
        given = self.token_hidden(torch.cat([tokens[row, window], fused[row, 0]], dim=1))
        evidence = torch.cat([self._copies(seen, row, window), self._sums(seen, window_mask, row, window)], dim=1)
        scale, shift = self.scale_and_shift(given).unsqueeze(2).chunk(2, dim=1)
        features = functional.gelu(self.first(evidence) * (1 + scale) + shift)
        coarse = self.coarse(given).unflatten(1, (COARSE_CHANNELS, COARSE_POINTS))
        coarse = functional.interpolate(coarse, size=WINDOW_POINTS, mode="linear", align_corners=False)
        features = functional.gelu(self.second(torch.cat([features, coarse.to(features.dtype)], dim=1)))
        features = features + functional.gelu(self.third(features))
        expected = functional.softplus(self.out(features).squeeze(1).float())
        output: Tensor = windows.index_put((row, window), expected.to(windows.dtype))
        return output

    def _copies(
        self, seen: Float[Tensor, "batch points"], row: Int[Tensor, " masked"], window: Int[Tensor, " masked"]
    ) -> Float[Tensor, "masked ratios window_points"]:
        """The visible pattern at s divided by each ratio, 0 where that is masked or outside the grid."""
        padded = functional.pad(seen, (0, 2)).flatten()
        start = (row * (GRID.points + 2))[:, None, None]
        place = self.source[window].long() + start
        copies: Tensor = torch.lerp(padded[place], padded[place + 1], self.fraction[window])
        return copies

    @torch.no_grad()
    def _sums(
        self,
        seen: Float[Tensor, "batch points"],
        window_mask: Bool[Tensor, "batch windows"],
        row: Int[Tensor, " masked"],
        window: Int[Tensor, " masked"],
    ) -> Float[Tensor, "masked sums window_points"]:
        """Numbers of sums, differences and parallelograms of visible peaks at each place, counted and weighted."""
        peaks = find_peaks(100 * seen.square(), window_mask, count=PEAKS)
        s = torch.sin(torch.deg2rad((GRID.start + GRID.step * peaks.place) / 2)).square()
        weight = peaks.height.sqrt() * peaks.found
        first, second = torch.triu_indices(PEAKS, PEAKS, offset=1, device=s.device)
        pair = weight[:, first] * weight[:, second]
        total, difference = s[:, first] + s[:, second], (s[:, first] - s[:, second]).abs()
        fourth = (2 * total.unsqueeze(2) - s.unsqueeze(1)).flatten(1)
        fourth_weight = (pair.unsqueeze(2) * weight.unsqueeze(1)).flatten(1)
        found = []
        for places, strength in ((total, pair), (difference, pair), (fourth, fourth_weight)):
            index = _place_of(places)
            inside = (index >= 0) & (index <= GRID.points - 1)
            index = index.clamp(0, GRID.points - 1)
            low = index.floor().long()
            part = index - low
            for counted in (inside & (strength > 0)).float(), strength * inside:
                grid = torch.zeros(len(seen), GRID.points + 1, device=seen.device)
                grid.scatter_add_(1, low, counted * (1 - part)).scatter_add_(1, low + 1, counted * part)
                found.append(grid[:, :-1])
        smooth = functional.conv1d(
            torch.stack(found, dim=1).flatten(0, 1).unsqueeze(1), self.smoothing, padding=_KERNEL // 2
        )
        evidence = torch.log1p(smooth).view(len(seen), _SUMS, WINDOWS, WINDOW_POINTS)
        return evidence[row, :, window].to(seen.dtype)


_SUMS = 6
"""Channels of `PeakDecoder._sums`: three kinds, each counted and weighted."""


def _place_of(s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Fractional index of the grid point of s = sin²θ; far outside the grid where there is none."""
    two_theta = 2 * torch.rad2deg(torch.asin(s.clamp(0, 1).sqrt()))
    return torch.where((s > 0) & (s < 1), (two_theta - GRID.start) / GRID.step, -math.inf)


def _copy_places(
    ratios: list[float],
) -> tuple[Int[Tensor, "windows ratios window_points"], Float[Tensor, "windows ratios window_points"]]:
    """Where each grid point finds its copy: index of the grid point before s / ratio, and the fraction beyond it.

    Index GRID.points, where patterns are padded with zeros, stands for places outside the grid.
    """
    two_theta = GRID.start + GRID.step * np.arange(GRID.points)
    s = np.sin(np.deg2rad(two_theta / 2)) ** 2 / np.array(ratios)[:, None]
    place = (2 * np.rad2deg(np.arcsin(np.sqrt(np.minimum(s, 1.0)))) - GRID.start) / GRID.step
    inside = (place >= 0) & (place <= GRID.points - 1) & (s < 1)
    place = np.where(inside, place, GRID.points)
    low = np.floor(place)
    shape = (len(ratios), WINDOWS, WINDOW_POINTS)
    index, fraction = (
        np.ascontiguousarray(part.reshape(shape).transpose(1, 0, 2)) for part in (low.astype(np.int32), place - low)
    )
    return torch.from_numpy(index), torch.from_numpy(fraction.astype(np.float32))
