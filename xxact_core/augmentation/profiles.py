"""Background and its subtraction, white radiation, and limited range of augmented patterns."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xxact_core.augmentation.peaks import FARTHEST, STRONG, Reflections, angle_at_copper, relative_intensity
from xxact_core.augmentation.sampling import SampledEffects
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import LEAST_WINDOW

DEGREE = 5
"""Degree of the polynomial of the background."""

TRANSMITTED = 1.2
"""Wavelength relative to that of the edge up to which a filter's white radiation is modelled. Ours."""


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


def add_filter_edges(profile: Float[Tensor, "batch points"], reflections: Reflections, effects: SampledEffects) -> None:
    """Add white radiation behind a Kβ filter to profiles of maximum 1: steps that fall to zero linearly."""
    present = effects.present["filter_edge"]
    relative = relative_intensity(reflections.intensity, reflections.sample, len(profile))
    chosen = ((relative >= STRONG) & present[reflections.sample]).nonzero().squeeze(1)
    row = reflections.sample[chosen]
    edge, mean = effects.residual_wavelengths[row, 2], effects.wavelengths[row, 2]
    sine = reflections.inverse_d_squared[chosen].sqrt() / 2 * edge
    height = effects.values["filter_edge", "height"][row] * relative[chosen]
    ends = [
        angle_at_copper(torch.rad2deg(2 * torch.asin((sine * factor).clamp(max=FARTHEST))), wavelength=mean)[0]
        for factor in (1.0, TRANSMITTED)
    ]
    first, last = (((end.nan_to_num(180.0) - GRID.start) / GRID.step).round() for end in ends)
    slope = height / (last - first).clamp(min=1.0)
    # A step of height h at `first` and a slope of -h / (last - first) until `last`, as sums of differences.
    rows = present.nonzero().squeeze(1)
    row = (present.cumsum(0) - 1)[row]
    changes = torch.zeros((2, len(rows), GRID.points + 1), dtype=torch.float64, device=row.device)
    inside = first.clamp(0, GRID.points).long()
    end = last.clamp(0, GRID.points).long()
    changes[0].index_put_((row, inside), height - slope * (inside - first), accumulate=True)
    changes[1].index_put_((row, inside), -slope, accumulate=True)
    changes[1].index_put_((row, end), slope, accumulate=True)
    changes[0].index_put_((row, end), -(height - slope * (end - first)), accumulate=True)
    slopes = torch.nn.functional.pad(changes[1].cumsum(1), (1, 0))[:, :-1]
    profile[rows] += (changes[0] + slopes).cumsum(1)[:, :-1].clamp(min=0).float()


def subtract_background(
    observed: Float[Tensor, "batch points"], background: Float[Tensor, "batch points"] | None, effects: SampledEffects
) -> Float[Tensor, "batch points"]:
    """Subtract most of the background."""
    if background is None:
        return observed
    return observed.addcmul(background, effects.values["background", "remains"].float()[:, None] - 1)
