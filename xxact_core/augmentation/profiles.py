"""Background, counting noise, background subtraction and limited range of augmented patterns."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xxact_core.augmentation.peaks import angle_at_copper
from xxact_core.augmentation.sampling import SampledEffects
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import LEAST_WINDOW

DEGREE = 5
"""Degree of the polynomial of the background."""

FEW_COUNTS = 50
"""Expected counts below which a Poisson distribution is sampled; above, a Gaussian of the same mean and variance,
whose skewness 1/√n is then below 0.15."""


def measured_range(effects: SampledEffects) -> Bool[Tensor, "batch points"]:
    """Points of the grid that were measured: within the range of the scan and that of another radiation."""
    first, last = effects.values["limited_range", "first"], effects.values["limited_range", "last"]
    other, wavelength = effects.present["other_radiation"], effects.wavelengths[:, 2]
    for end, limit in (("first", 0.0), ("last", 180.0)):
        moved, _ = angle_at_copper(effects.values["other_radiation", end], wavelength=wavelength)
        moved = torch.where(other, moved.nan_to_num(180.0), limit)
        first, last = (torch.maximum(first, moved), last) if end == "first" else (first, torch.minimum(last, moved))
    two_theta = torch.tensor(GRID.two_theta, device=first.device)
    return (two_theta >= first[:, None]) & (two_theta <= last[:, None])


def hidden_windows(measured: Bool[Tensor, "batch points"]) -> Bool[Tensor, "batch windows"]:
    """Windows of which less than `LEAST_WINDOW` was measured."""
    fraction: Tensor = measured.reshape(len(measured), GRID.windows, -1).float().mean(dim=2)
    return fraction < LEAST_WINDOW


def sample_background(effects: SampledEffects, *, generator: torch.Generator) -> Float[Tensor, "batch points"]:
    """Polynomial, hump and fluorescence, relative to the strongest peak; at least 0."""
    value = {
        name: values.float()[:, None] for (effect, name), values in effects.values.items() if effect == "background"
    }
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
    effects: SampledEffects,
    *,
    generator: torch.Generator,
) -> Float[Tensor, "batch points"]:
    """Add the background to a profile of maximum 1, sample counts, and subtract most of the background again."""
    if background is None and "counting_noise" not in effects.occurring:
        return profile
    expected = profile if background is None else profile + background
    observed = expected
    if "counting_noise" in effects.occurring:
        counts = effects.values["counting_noise", "counts"].float()[:, None]
        noise = torch.randn(profile.shape, generator=generator, device=profile.device)
        observed = noise.mul_((expected / counts).sqrt_()).add_(expected)
        few = (expected * counts < FEW_COUNTS).nonzero(as_tuple=True)
        per_maximum = counts.squeeze(1)[few[0]]
        observed[few] = torch.poisson(expected[few] * per_maximum, generator=generator) / per_maximum
    if background is None:
        return observed
    return observed.addcmul(background, effects.values["background", "remains"].float()[:, None] - 1)
