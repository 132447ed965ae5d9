"""Smoothing filters of instrument software as weights of neighbouring points, for patterns of a batch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

SMOOTHING_FILTERS = ("gaussian", "moving_average", "savitzky_golay")
"""Filters by name."""

REACH = 48
"""Points to either side that a filter reaches at most; wider ones are cut."""


def smoothing_weights(
    width: Float[Tensor, " batch"], filter_number: Int[Tensor, " batch"]
) -> Float[Tensor, "batch neighbours"]:
    """Weights of the points from `REACH` before to `REACH` after a point; they add up to 1.

    - Gaussian: exp(-k² / 2w²).
    - Moving average over 2m + 1 points, whose variance is (m² + m) / 3.
    - Savitzky-Golay of second order over 2m + 1 points: 3 (3m² + 3m - 1 - 5k²) / ((2m + 1)(2m - 1)(2m + 3)); it keeps
      the height of peaks that are wider than itself. Its noise is that of a moving average over 4/9 of the points.

    Source: Savitzky & Golay (1964), Anal. Chem. 36, 1627-1639.

    Args:
        width: standard deviation w in points; for a Savitzky-Golay filter that of the moving average of equal noise.
        filter_number: indices in `SMOOTHING_FILTERS`.
    """
    k = torch.arange(-REACH, REACH + 1, device=width.device, dtype=width.dtype)
    squared = k.square()
    width = width[:, None].clamp(min=1e-3)
    gaussian = torch.exp(-squared / (2 * width.square()))
    half = ((12 * width.square() + 1).sqrt() - 1).div(2).round().clamp(max=REACH)
    average = (squared <= half.square()).to(width.dtype)
    half = ((12 * width.square() + 1).sqrt() * (9 / 4) - 1).div(2).round().clamp(max=REACH)
    polynomial = (3 * half.square() + 3 * half - 1 - 5 * squared) * (squared <= half.square())
    polynomial = torch.where(half < 2, squared == 0, polynomial)  # noqa: PLR2004 - a parabola through three points
    choices = torch.stack([gaussian, average, polynomial])
    chosen = choices[filter_number, torch.arange(len(filter_number), device=width.device)]
    return chosen / chosen.sum(dim=1, keepdim=True)


def smooth(
    values: Float[Tensor, "batch points"], weights: Float[Tensor, "batch neighbours"]
) -> Float[Tensor, "batch points"]:
    """Values smoothed by the weights of each row; the first and last values continue beyond the ends."""
    reach = weights.shape[1] // 2
    points = values.shape[1]
    padded = torch.nn.functional.pad(values[:, None], (reach, reach), mode="replicate")[:, 0]
    length = _fast_length(padded.shape[1])
    spectrum = torch.fft.rfft(padded, n=length)
    spectrum *= torch.fft.rfft(weights, n=length)
    smoothed: Tensor = torch.fft.irfft(spectrum, n=length)[:, 2 * reach : 2 * reach + points]
    return smoothed


def _fast_length(length: int) -> int:
    """The smallest number of the form 2ᵃ·3ᵇ·5ᶜ that is at least `length`, for which transforms are fast."""
    candidates = (2**a * 3**b * 5**c for a in range(5, 18) for b in range(4) for c in range(3))
    fast: int = min(number for number in candidates if number >= length)
    return fast
