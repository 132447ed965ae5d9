"""Sticks of a batch → the lines that a laboratory sees: where they stand, how strong and how wide they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xxact_core.augmentation.sampling import Drawn
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.peak_profiles.corrections import (
    displacement_shift,
    entries_to_metric,
    lorentz_polarisation,
    march_dollase_factor,
    strain_to_metric_change,
    thermal_factor,
)
from xxact_core.peak_profiles.ragged_sticks import SticksOfRows, hkl_to_inverse_d_squared, ragged_index
from xxact_core.peak_profiles.shapes import (
    K_ALPHA_SHARES,
    caglioti_fwhm_squared,
    combine_fwhm,
    fwhm_to_sigma,
    heights_of_equal_area,
    scherrer_fwhm,
    sigma_to_fwhm,
    strain_fwhm,
)

_BEYOND = 1e3
"""Above twice any Miller index of a texture axis."""

_FARTHEST = 0.999
"""Lines at sin θ above this (2θ above 174°) are left out: no goniometer goes there, and 1 / cos θ has no end."""


@dataclass(frozen=True)
class Reflections:
    """Reflections of a batch before any instrument: 1/d² [Å⁻²], intensity (areas), and the pattern of each."""

    inverse_d_squared: Float[Tensor, " peaks"]
    intensity: Float[Tensor, " peaks"]
    sample: Int[Tensor, " peaks"]


@dataclass(frozen=True)
class InstrumentLines:
    """Lines as smeared: 2θ at Cu Kα [deg] (NaN: cannot be seen), height, pattern, and width σ [deg] of each."""

    two_theta: Float[Tensor, " peaks"]
    height: Float[Tensor, " peaks"]
    sample: Int[Tensor, " peaks"]
    sigma: Float[Tensor, " peaks"]


def sticks_to_reflections(sticks: SticksOfRows, drawn: Drawn, *, generator: torch.Generator) -> Reflections:
    """What the specimen scatters: the lattice strained, crystallites textured, atoms moving, another phase mixed in."""
    metric = _strain_lattice(sticks, drawn, generator=generator)
    sample = sticks.sample
    inverse_d_squared = hkl_to_inverse_d_squared(sticks.hkl, metric[sample])
    intensity = sticks.intensity.double()
    if "texture" in drawn.occurring:
        intensity = intensity * _texture_factor(replace(sticks, metric=metric), inverse_d_squared, drawn)
    if "thermal_motion" in drawn.occurring:
        intensity = intensity * thermal_factor(inverse_d_squared, b=drawn.values["thermal_motion", "b"][sample])
    if "graininess" in drawn.occurring:
        normal = torch.randn(len(sample), generator=generator, device=sample.device)
        intensity = intensity * torch.exp(drawn.values["graininess", "spread"][sample] * normal)
    reflections = Reflections(inverse_d_squared, intensity, sample)
    return _add_impurities(reflections, sticks, drawn) if "impurity" in drawn.occurring else reflections


def _strain_lattice(sticks: SticksOfRows, drawn: Drawn, *, generator: torch.Generator) -> Float[Tensor, "batch 6"]:
    if "strain" not in drawn.occurring:
        return sticks.metric
    isotropic, anisotropic = drawn.values["strain", "isotropic"], drawn.values["strain", "anisotropic"]
    return strain_lattices(
        sticks.metric, sticks.rotations, sticks.rotation_count, isotropic, anisotropic, generator=generator
    )


def strain_lattices(
    metric: Float[Tensor, "batch 6"],
    rotations: Int[Tensor, "batch rotations 3 3"],
    rotation_count: Int[Tensor, " batch"],
    isotropic: Float[Tensor, " batch"],
    anisotropic: Float[Tensor, " batch"],
    *,
    generator: torch.Generator,
) -> Float[Tensor, "batch 6"]:
    """Lattices strained at random within their crystal systems: entries of G* [Å⁻²], as `metric`.

    isotropic: relative change of all spacings; anisotropic: standard deviation of the entries of the strain besides.
    """
    batch, device = len(metric), metric.device
    whole = entries_to_metric(metric)
    normal = torch.randn((batch, 3, 3), generator=generator, device=device, dtype=torch.float64)
    strain = (normal + normal.mT) / 2 * anisotropic[:, None, None]
    strain += torch.eye(3, device=device) * isotropic[:, None, None]
    own = torch.arange(rotations.shape[1], device=device) < rotation_count[:, None]
    frame = torch.linalg.cholesky_ex(whole).L
    weights = own / rotation_count[:, None]
    strained: Tensor = whole + strain_to_metric_change(frame, strain, rotations.double(), weights=weights)
    return strained.flatten(1)[:, [0, 4, 8, 1, 2, 5]]


def _texture_factor(sticks: SticksOfRows, inverse_d_squared: Tensor, drawn: Drawn) -> Float[Tensor, " peaks"]:
    """Mean of the March-Dollase factor over the axes equivalent to each pattern's; 1 where there is no texture."""
    turned = torch.einsum("bi,brij->brj", drawn.axis.double(), sticks.rotations.double())
    # Equivalent axes have one code, whatever their sign; repeated ones are left out, for all occur equally often.
    codes = (turned * torch.tensor([_BEYOND**2, _BEYOND, 1.0], device=turned.device)).sum(dim=2).abs()
    codes, order = codes.sort(dim=1)
    new = torch.ones_like(codes, dtype=torch.bool)
    new[:, 1:] = codes[:, 1:] != codes[:, :-1]
    new &= drawn.present["texture"][:, None]
    turned = turned.gather(1, order[:, :, None].expand_as(turned))[new]
    count = new.sum(dim=1)
    start = torch.nn.functional.pad(count.cumsum(0), (1, 0))
    pattern = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    metric = entries_to_metric(sticks.metric)[pattern]
    facing = (turned[:, None, :] @ metric).squeeze(1)
    facing = facing / (facing * turned).sum(dim=1, keepdim=True).sqrt()
    axes, line = ragged_index(start, sticks.sample)
    projected = (sticks.hkl[line] * facing[axes]).sum(dim=1)
    cos_squared = (projected.square() / inverse_d_squared[line]).clamp(max=1.0)
    factor = march_dollase_factor(cos_squared, r=drawn.values["texture", "r"][sticks.sample[line]])
    total = torch.zeros_like(inverse_d_squared).index_add_(0, line, factor)
    return torch.where(drawn.present["texture"][sticks.sample], total / count.clamp(min=1)[sticks.sample], 1.0)


def _add_impurities(reflections: Reflections, sticks: SticksOfRows, drawn: Drawn) -> Reflections:
    """Lines of another material of the batch, unstrained and untextured.

    Of the batch, so that it comes from the same split, and from a place on disk that was read anyway.
    """
    start = torch.nn.functional.pad(torch.bincount(sticks.sample, minlength=len(drawn.partner)).cumsum(0), (1, 0))
    impure = drawn.present["impurity"].nonzero().squeeze(1)
    entries, place = ragged_index(start, drawn.partner[impure])
    sample = impure[place]
    squared = hkl_to_inverse_d_squared(sticks.hkl[entries], sticks.metric[drawn.partner][sample])
    intensity = sticks.intensity[entries] * drawn.values["impurity", "weight"][sample]
    return Reflections(
        torch.cat([reflections.inverse_d_squared, squared]),
        torch.cat([reflections.intensity, intensity]),
        torch.cat([reflections.sample, sample]),
    )


def reflections_to_lines(
    reflections: Reflections, drawn: Drawn, *, sigma: float, wavelength: float = CU_K_ALPHA
) -> InstrumentLines:
    """What the diffractometer makes of them, moved to Cu Kα through q as measured patterns are.

    `sigma` [deg] is the width that lines have where no instrument was drawn, and of which heights keep the area.
    `wavelength` [Å] is the one that intensities were calculated for.
    """
    sample, intensity = reflections.sample, reflections.intensity
    sine = reflections.inverse_d_squared.sqrt() / 2
    first, second, mean = drawn.wavelengths.unbind(1)
    other = drawn.present["other_radiation"]
    if "other_radiation" in drawn.occurring:
        there, here = ((sine * length).clamp(max=_FARTHEST) ** 2 for length in (mean[sample], wavelength))
        ratio = lorentz_polarisation(there) / lorentz_polarisation(here)
        intensity = torch.where(other[sample], intensity * ratio, intensity)
    doubled = drawn.present["doublet"][sample]
    if "doublet" in drawn.occurring:
        shares = torch.where(doubled, K_ALPHA_SHARES[0], 1.0)
        again = doubled.nonzero().squeeze(1)
        sine = torch.cat([sine * first[sample], (sine * second[sample])[again]])
        intensity = torch.cat([intensity * shares, intensity[again] * K_ALPHA_SHARES[1]])
        sample = torch.cat([sample, sample[again]])
    else:
        sine = sine * mean[sample]
    sine = torch.where(sine < _FARTHEST, sine, torch.nan)
    cos_theta = (1 - sine**2).sqrt()
    width = _line_sigma(sine / cos_theta, cos_theta, sample, drawn, sigma=sigma)
    height = heights_of_equal_area(intensity, sigma=width, reference=sigma)
    two_theta = torch.rad2deg(2 * torch.asin(sine)) + drawn.values["zero_shift", "shift"][sample]
    two_theta += displacement_shift(
        cos_theta,
        displacement=drawn.values["displacement", "displacement"][sample],
        radius=drawn.values["displacement", "radius"][sample],
    )
    if "other_radiation" in drawn.occurring:
        chosen = other[sample].nonzero().squeeze(1)
        two_theta[chosen], stretched = angle_at_copper(two_theta[chosen], wavelength=mean[sample[chosen]])
        width[chosen] *= stretched
    # A line that cannot be seen has no width either; its place stays NaN.
    return InstrumentLines(two_theta, height.float(), sample, width.nan_to_num(sigma).float())


def angle_at_copper(two_theta: Tensor, *, wavelength: Tensor) -> tuple[Tensor, Tensor]:
    """Angle 2θ at Cu Kα [deg] of what stands at `two_theta` [deg] at a wavelength [Å], and d2θ(Cu) / d2θ there.

    NaN where Cu Kα cannot reach it. The same as `patterns.conversions.change_wavelength`, on tensors.
    """
    theta = torch.deg2rad(two_theta) / 2
    ratio = CU_K_ALPHA / wavelength
    sine = torch.sin(theta) * ratio
    sine = torch.where(sine.abs() < _FARTHEST, sine, torch.nan)
    return torch.rad2deg(2 * torch.asin(sine)), ratio * torch.cos(theta) / (1 - sine**2).sqrt()


def _line_sigma(
    tan_theta: Tensor, cos_theta: Tensor, sample: Tensor, drawn: Drawn, *, sigma: float
) -> Float[Tensor, " peaks"]:
    """Width σ of each line at the angle at which it was measured [deg]: instrument, crystallite size, microstrain."""
    present = drawn.present["instrument_width"]
    fwhm = torch.where(present, drawn.values["instrument_width", "fwhm"], sigma_to_fwhm(sigma))
    u = drawn.values["instrument_width", "u"]
    v = -2 * drawn.values["instrument_width", "dip"] * u.sqrt() * fwhm
    instrument = caglioti_fwhm_squared(tan_theta, u=u[sample], v=v[sample], w=fwhm[sample] ** 2).sqrt()
    # K λ / L: a wavelength of each pattern's own is a size of its own.
    size = drawn.values["crystallite_size", "size"] * CU_K_ALPHA / drawn.wavelengths[:, 2]
    grains = scherrer_fwhm(cos_theta, size=size[sample])
    strain = strain_fwhm(tan_theta, strain=drawn.values["microstrain", "strain"][sample])
    return fwhm_to_sigma(combine_fwhm(instrument, grains, strain))
