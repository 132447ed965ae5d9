"""What a laboratory does to an ideal pattern, on the device, a batch at a time.

Lives here and not in `patterns/` because it works on torch batches, and `patterns/` is free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

K_ALPHA_1_SHIFT = 1.54056 / 1.54184
K_ALPHA_2_SHIFT = 1.54439 / 1.54184
K_ALPHA_2_SHARE = 1 / 3
"""Kα1 and Kα2 relative to the weighted mean of Cu. Source: pymatgen's CuKa1, CuKa2 and CuKa; intensities 2 : 1."""


@dataclass(frozen=True)
class Distortions:
    """Ranges from which each distorted pattern draws its own values; `share` of the patterns are distorted at all.

    sigma: Gaussian width [deg 2θ]. lattice_scale: relative change of all d-spacings (a calculated lattice is off by
    about 1 %). zero_shift: of the 2θ axis [deg]. texture: spread of the logarithm of each line's intensity.
    background: left over after subtraction, share of the maximum. noise: standard deviation, share of the maximum.
    limited_range: how many of them were measured over a part of the range only.
    """

    share: float = 0.4
    sigma: tuple[float, float] = (0.04, 0.2)
    lattice_scale: float = 0.01
    zero_shift: float = 0.08
    texture: float = 0.4
    background: float = 0.02
    noise: float = 0.02
    limited_range: float = 0.4


@dataclass(frozen=True)
class Drawn:
    """One draw for a batch, each of shape (batch,); undistorted patterns have neutral values.

    sigma [deg]; lattice_scale (factor); zero_shift [deg]; texture, background and noise (amplitudes);
    first, last: measured range [deg]; distorted: which patterns are.
    """

    distorted: Tensor
    sigma: Tensor
    lattice_scale: Tensor
    zero_shift: Tensor
    texture: Tensor
    background: Tensor
    noise: Tensor
    first: Tensor
    last: Tensor


def draw_distortions(distortions: Distortions | None, batch: int, *, sigma: float, generator: torch.Generator) -> Drawn:
    """Values for each pattern of a batch; with None every pattern is ideal, of width `sigma` [deg]."""
    device = generator.device

    def uniform(low: float, high: float) -> Float[Tensor, " batch"]:
        return low + (high - low) * torch.rand(batch, generator=generator, device=device)

    if distortions is None:
        none, nothing = torch.zeros(batch, dtype=torch.bool, device=device), torch.zeros(batch, device=device)
        one = torch.ones(batch, device=device)
        return Drawn(none, sigma * one, one, nothing, nothing, nothing, nothing, 0 * one, 180 * one)
    distorted = uniform(0, 1) < distortions.share
    limited = distorted & (uniform(0, 1) < distortions.limited_range)

    def where(values: Tensor, neutral: float) -> Tensor:
        return torch.where(distorted, values, torch.full_like(values, neutral))

    return Drawn(
        distorted=distorted,
        sigma=where(uniform(*distortions.sigma), sigma),
        lattice_scale=where(1 + uniform(-distortions.lattice_scale, distortions.lattice_scale), 1.0),
        zero_shift=where(uniform(-distortions.zero_shift, distortions.zero_shift), 0.0),
        texture=where(uniform(0, distortions.texture), 0.0),
        background=where(uniform(0, distortions.background), 0.0),
        noise=where(uniform(0, distortions.noise), 0.0),
        first=torch.where(limited, uniform(5, 25), torch.full_like(distorted, 0.0, dtype=torch.float32)),
        last=torch.where(limited, uniform(55, 90), torch.full_like(distorted, 180.0, dtype=torch.float32)),
    )


def distort_sticks(
    two_theta: Float[Tensor, " peaks"],
    intensity: Float[Tensor, " peaks"],
    sample: Tensor,
    drawn: Drawn,
    *,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sticks moved and scaled as drawn, with the Kα doublet split where distorted: (two_theta, intensity, sample)."""
    if not bool(drawn.distorted.any()):
        return two_theta, intensity, sample
    factor = torch.exp(drawn.texture[sample] * torch.randn(len(sample), generator=generator, device=sample.device))
    intensity = intensity * factor
    sine = torch.sin(torch.deg2rad(two_theta) / 2) / drawn.lattice_scale[sample]
    split = drawn.distorted[sample]
    first = torch.where(split, sine * K_ALPHA_1_SHIFT, sine)
    second = sine[split] * K_ALPHA_2_SHIFT
    sines = torch.cat([first, second]).clamp(max=1.0)
    samples = torch.cat([sample, sample[split]])
    weights = torch.cat(
        [torch.where(split, intensity * (1 - K_ALPHA_2_SHARE), intensity), intensity[split] * K_ALPHA_2_SHARE]
    )
    angles = torch.rad2deg(2 * torch.asin(sines)) + drawn.zero_shift[samples]
    return torch.where(sines < 1, angles, torch.full_like(angles, 180.0)), weights, samples


def distort_profile(
    profile: Float[Tensor, "batch points"], drawn: Drawn, *, generator: torch.Generator
) -> Float[Tensor, "batch points"]:
    """A profile of maximum 1 with what background subtraction leaves: a smooth remainder and clipped noise."""
    if not bool(drawn.distorted.any()):
        return profile
    batch, points = profile.shape
    knots = torch.rand(batch, 1, 9, generator=generator, device=profile.device)
    smooth = torch.nn.functional.interpolate(knots, size=points, mode="linear", align_corners=True).squeeze(1)
    noise = torch.randn(batch, points, generator=generator, device=profile.device)
    added = drawn.background[:, None] * smooth + drawn.noise[:, None] * noise * (0.5 + profile.clamp(min=0).sqrt())
    return (profile + added).clamp(min=0)
