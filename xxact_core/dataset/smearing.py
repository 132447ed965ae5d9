"""Lines of a batch → profiles on the shared grid, on any device: the fast form of `patterns.smearing.smear`."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xxact_core.patterns.grid import GRID

REACH = 5.0
"""A Gaussian is summed within this many σ; beyond it is below 4e-6 of its height."""


def smear_lines(
    two_theta: Float[Tensor, " peaks"],
    intensity: Float[Tensor, " peaks"],
    sample: Int[Tensor, " peaks"],
    *,
    batch: int,
    sigma: Float[Tensor, " batch"] | None = None,
    line_sigma: Float[Tensor, " peaks"] | None = None,
    lorentzian: Float[Tensor, " batch"] | None = None,
    line_lorentzian: Float[Tensor, " peaks"] | None = None,
    widest: float | None = None,
) -> Float[Tensor, "batch points"]:
    """Sum of lines of height `intensity` on the shared grid, float32, not scaled.

    Args:
        two_theta: positions [deg], float32 or float64; a line off the grid counts as far as it reaches into it, and one
            without a finite position not at all.
        intensity: heights, in any order and unit.
        sample: the pattern of the batch that each line belongs to, 0 to batch - 1, in any order.
        batch: number of patterns; one without lines is zero everywhere.
        sigma: a width for each pattern [deg], above 0; or else
        line_sigma: a width for each line [deg], above 0.
        lorentzian: pseudo-Voigt share η of each pattern (0-1); or else
        line_lorentzian: share η of each line; without either the lines are Gaussian.
        widest: no width is larger than this [deg]; where it is given, the device is not waited for.

    Raises:
        ValueError: not exactly one of sigma and line_sigma, or both of lorentzian and line_lorentzian.
    """
    width = _of_each_line(sigma, line_sigma, sample, name="sigma")
    share = _of_each_line(lorentzian, line_lorentzian, sample, name="lorentzian")
    if width is None:
        msg = "expected a width: sigma (one for each pattern) or line_sigma (one for each line)"
        raise ValueError(msg)
    width = width / GRID.step
    place = (two_theta.double() - GRID.start) / GRID.step
    height = torch.where(place.isfinite(), intensity, 0.0).float()
    place = place.nan_to_num().clamp(-1e6, 1e6)
    if widest is None:
        widest = float(width.max()) * GRID.step if len(width) else GRID.step
    reach = math.ceil(REACH * widest / GRID.step)
    margin = 2 * reach + 1
    row = GRID.points + 2 * margin
    centre = place.round().clamp(-reach - 1, GRID.points + reach)
    distance = (centre - place).float()
    offsets = torch.arange(-reach, reach + 1, device=two_theta.device)
    squared = (distance[:, None] + offsets).square_()
    squared *= (-0.5 / width.square()).float()[:, None]
    values = squared.exp_().mul_((height if share is None else height * (1 - share))[:, None])
    index = (sample * row + centre.long() + margin)[:, None] + offsets
    profile = values.new_zeros(batch * row)
    profile.index_add_(0, index.flatten(), values.flatten())
    profile = profile.view(batch, row)[:, margin : margin + GRID.points].contiguous()
    if share is not None:
        half = width * math.sqrt(2 * math.log(2))
        points = torch.arange(GRID.points, device=two_theta.device, dtype=torch.float32)
        for chosen in torch.arange(len(place), device=place.device).split(1024):
            distance = (points - place[chosen, None].float()) / half[chosen, None].float()
            values = (height * share)[chosen, None].float() / (1 + distance.square_())
            profile.index_add_(0, sample[chosen], values)
    return profile


def _of_each_line(
    of_pattern: Tensor | None, of_line: Tensor | None, sample: Tensor, *, name: str
) -> Float[Tensor, " peaks"] | None:
    if of_pattern is None:
        return of_line
    if of_line is not None:
        msg = f"expected {name} (one for each pattern) or line_{name} (one for each line), not both"
        raise ValueError(msg)
    return of_pattern[sample]
