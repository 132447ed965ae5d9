"""Smeared lines of a batch → the pattern that is read off: background, counts, subtraction, and the range measured."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xxact_core.augmentation.peaks import angle_at_copper
from xxact_core.augmentation.sampling import Drawn
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import LEAST_WINDOW

DEGREE = 5
"""Degree of the polynomial of the background."""

FEW_COUNTS = 50
"""Fewer expected counts than this are drawn from the Poisson distribution itself, more from a Gaussian of its mean and
variance, whose skewness 1/√n is then below 0.15."""


def measured_range(drawn: Drawn) -> Bool[Tensor, "batch points"]:
    """Points of the grid that were measured: by the range of the scan, and by what another radiation can reach."""
    first, last = drawn.values["limited_range", "first"], drawn.values["limited_range", "last"]
    other, wavelength = drawn.present["other_radiation"], drawn.wavelengths[:, 2]
    for end, limit in (("first", 0.0), ("last", 180.0)):
        moved, _ = angle_at_copper(drawn.values["other_radiation", end], wavelength=wavelength)
        moved = torch.where(other, moved.nan_to_num(180.0), limit)
        first, last = (torch.maximum(first, moved), last) if end == "first" else (first, torch.minimum(last, moved))
    two_theta = torch.tensor(GRID.two_theta, device=first.device)
    return (two_theta >= first[:, None]) & (two_theta <= last[:, None])


def hidden_windows(measured: Bool[Tensor, "batch points"]) -> Bool[Tensor, "batch windows"]:
    """Windows of which hardly anything was measured."""
    fraction: Tensor = measured.reshape(len(measured), GRID.windows, -1).float().mean(dim=2)
    return fraction < LEAST_WINDOW


def draw_background(drawn: Drawn, *, generator: torch.Generator) -> Float[Tensor, "batch points"]:
    """Polynomial, hump and fluorescence, in shares of the strongest line; at least 0."""
    value = {name: values.float()[:, None] for (effect, name), values in drawn.values.items() if effect == "background"}
    batch, device = len(value["smooth"]), generator.device
    place = torch.linspace(-1, 1, GRID.points, device=device)
    orders = torch.arange(DEGREE + 1, device=device)
    chebyshev = torch.cos(orders[:, None] * torch.acos(place))
    curve = (torch.randn((batch, DEGREE + 1), generator=generator, device=device) / (orders + 1)) @ chebyshev
    low, high = curve.aminmax(dim=1, keepdim=True)
    total = curve.sub_(low).mul_(value["smooth"] / (high - low).clamp(min=1e-6)).add_(value["fluorescence"])
    two_theta = torch.tensor(GRID.two_theta, dtype=torch.float32, device=device)
    steepness = 4 * math.log(2) / value["hump_width"].clamp(min=1e-3) ** 2
    hump = (two_theta - value["hump_position"]).square_().mul_(-steepness).exp_()
    return total.addcmul_(hump, value["hump"])


def count_photons(
    profile: Float[Tensor, "batch points"],
    background: Float[Tensor, "batch points"] | None,
    drawn: Drawn,
    *,
    generator: torch.Generator,
) -> Float[Tensor, "batch points"]:
    """The profile (strongest line 1) as counted over its background, which is then subtracted but for what remains."""
    if background is None and "counting_noise" not in drawn.occurring:
        return profile
    expected = profile if background is None else profile + background
    observed = expected
    if "counting_noise" in drawn.occurring:
        counts = drawn.values["counting_noise", "counts"].float()[:, None]
        noise = torch.randn(profile.shape, generator=generator, device=profile.device)
        observed = noise.mul_((expected / counts).sqrt_()).add_(expected)
        few = (expected * counts < FEW_COUNTS).nonzero(as_tuple=True)
        per_line = counts.squeeze(1)[few[0]]
        observed[few] = torch.poisson(expected[few] * per_line, generator=generator) / per_line
    if background is None:
        return observed
    return observed.addcmul(background, drawn.values["background", "remains"].float()[:, None] - 1)
