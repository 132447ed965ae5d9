"""Sticks of a batch → measured peaks: their positions, heights and widths under the sampled effects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.augmentation.sampling import SampledEffects
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.peak_profiles.corrections import (
    AXIAL_NODES,
    axial_divergence_parts,
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
"""Larger than twice any Miller index of a texture axis."""

STRONG = 0.03
"""Intensity relative to the strongest peak from which a reflection has visible Kβ and W Lα peaks."""

_VISIBLE = 0.15
"""Shift relative to the width σ from which the asymmetry of a peak is visible."""

FARTHEST = 0.999
"""Largest sin θ of a peak (2θ = 174°): goniometers reach no further, and 1 / cos θ diverges."""


@dataclass(frozen=True)
class Reflections:
    """Reflections of a batch, before instrument effects."""

    inverse_d_squared: Float[Tensor, " peaks"]
    """1/d² [Å⁻²]."""
    intensity: Float[Tensor, " peaks"]
    """Integrated intensity."""
    sample: Int[Tensor, " peaks"]
    """Row of the batch."""


@dataclass(frozen=True)
class InstrumentPeaks:
    """Peaks of a batch, with instrument effects."""

    two_theta: Float[Tensor, " peaks"]
    """Position [deg 2θ at Cu Kα]; NaN where it cannot be measured."""
    height: Float[Tensor, " peaks"]
    """Peak height."""
    sample: Int[Tensor, " peaks"]
    """Row of the batch."""
    sigma: Float[Tensor, " peaks"]
    """Gaussian width σ [deg]."""


def sticks_to_reflections(
    sticks: SticksOfRows,
    effects: SampledEffects,
    *,
    generator: torch.Generator,
    cell_is_measured: Bool[Tensor, " batch"] | None = None,
) -> Reflections:
    """Reflections with sample effects: lattice scale and strain, texture, thermal motion, graininess and impurity.

    Args:
        sticks: of the batch.
        effects: sampled for the batch.
        generator: on the device of the sticks.
        cell_is_measured: cells that `calculated_cell` leaves as they are; None for none.
    """
    if "calculated_cell" in effects.occurring:
        scale = effects.values["calculated_cell", "scale"]
        if cell_is_measured is not None:
            scale = torch.where(cell_is_measured, 1.0, scale)
        sticks = replace(sticks, metric=sticks.metric / scale[:, None] ** 2)
    metric = _strain_lattice(sticks, effects, generator=generator)
    sample = sticks.sample
    inverse_d_squared = hkl_to_inverse_d_squared(sticks.hkl, metric[sample])
    intensity = sticks.intensity.double()
    if "texture" in effects.occurring:
        intensity = intensity * _texture_factor(replace(sticks, metric=metric), inverse_d_squared, effects)
    if "thermal_motion" in effects.occurring:
        intensity = intensity * thermal_factor(inverse_d_squared, b=effects.values["thermal_motion", "b"][sample])
    if "graininess" in effects.occurring:
        normal = torch.randn(len(sample), generator=generator, device=sample.device)
        intensity = intensity * torch.exp(effects.values["graininess", "spread"][sample] * normal)
    reflections = Reflections(inverse_d_squared, intensity, sample)
    return _add_impurities(reflections, sticks, effects) if "impurity" in effects.occurring else reflections


def _strain_lattice(
    sticks: SticksOfRows, effects: SampledEffects, *, generator: torch.Generator
) -> Float[Tensor, "batch 6"]:
    if "strain" not in effects.occurring:
        return sticks.metric
    isotropic, anisotropic = effects.values["strain", "isotropic"], effects.values["strain", "anisotropic"]
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
    """Lattices with random strains that keep their crystal systems.

    Args:
        metric: entries of the reciprocal metric tensors G* [Å⁻²].
        rotations: of the Laue groups, padded.
        rotation_count: number of rotations of each lattice.
        isotropic: relative change of all spacings.
        anisotropic: standard deviation of the entries of the additional random strain.
        generator: on the device of the tensors.

    Returns:
        Entries of the strained G* [Å⁻²].
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


def _texture_factor(
    sticks: SticksOfRows, inverse_d_squared: Tensor, effects: SampledEffects
) -> Float[Tensor, " peaks"]:
    """Mean of the March-Dollase factor over the equivalent axes of each pattern; 1 without texture."""
    turned = torch.einsum("bi,brij->brj", effects.axis.double(), sticks.rotations.double())
    # Axes of either sign have the same code; duplicates are dropped, since all occur equally often.
    codes = (turned * torch.tensor([_BEYOND**2, _BEYOND, 1.0], device=turned.device)).sum(dim=2).abs()
    codes, order = codes.sort(dim=1)
    new = torch.ones_like(codes, dtype=torch.bool)
    new[:, 1:] = codes[:, 1:] != codes[:, :-1]
    new &= effects.present["texture"][:, None]
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
    factor = march_dollase_factor(cos_squared, r=effects.values["texture", "r"][sticks.sample[line]])
    total = torch.zeros_like(inverse_d_squared).index_add_(0, line, factor)
    return torch.where(effects.present["texture"][sticks.sample], total / count.clamp(min=1)[sticks.sample], 1.0)


def _add_impurities(reflections: Reflections, sticks: SticksOfRows, effects: SampledEffects) -> Reflections:
    """Add reflections of another material of the batch, without strain and texture.

    A material of the same batch is of the same split, and its reflections are in memory.
    """
    start = torch.nn.functional.pad(torch.bincount(sticks.sample, minlength=len(effects.partner)).cumsum(0), (1, 0))
    impure = effects.present["impurity"].nonzero().squeeze(1)
    entries, place = ragged_index(start, effects.partner[impure])
    sample = impure[place]
    squared = hkl_to_inverse_d_squared(sticks.hkl[entries], sticks.metric[effects.partner][sample])
    intensity = sticks.intensity[entries] * effects.values["impurity", "weight"][sample]
    return Reflections(
        torch.cat([reflections.inverse_d_squared, squared]),
        torch.cat([reflections.intensity, intensity]),
        torch.cat([reflections.sample, sample]),
    )


def reflections_to_peaks(
    reflections: Reflections, effects: SampledEffects, *, sigma: float, wavelength: float = CU_K_ALPHA
) -> InstrumentPeaks:
    """Peaks with instrument effects, converted to Cu Kα through q as measured patterns are.

    Args:
        reflections: with sample effects.
        effects: sampled for the batch.
        sigma: peak width of patterns without instrument effects [deg], to which heights are normalised.
        wavelength: for which the intensities were calculated [Å].
    """
    sample, intensity = reflections.sample, reflections.intensity
    sine = reflections.inverse_d_squared.sqrt() / 2
    first, second, mean = effects.wavelengths.unbind(1)
    other = effects.present["other_radiation"]
    if "other_radiation" in effects.occurring:
        there, here = ((sine * length).clamp(max=FARTHEST) ** 2 for length in (mean[sample], wavelength))
        ratio = lorentz_polarisation(there) / lorentz_polarisation(here)
        intensity = torch.where(other[sample], intensity * ratio, intensity)
    doubled = effects.present["doublet"][sample]
    residual = _residual_peaks(sine, intensity, sample, effects) if "filter_lines" in effects.occurring else None
    if "doublet" in effects.occurring:
        of_first, of_second = _doublet_shares(effects)
        again = doubled.nonzero().squeeze(1)
        sine = torch.cat([sine * first[sample], (sine * second[sample])[again]])
        intensity = torch.cat([intensity * of_first[sample], (intensity * of_second[sample])[again]])
        sample = torch.cat([sample, sample[again]])
    else:
        sine = sine * mean[sample]
    if residual is not None:
        sine, intensity, sample = (torch.cat(pair) for pair in zip((sine, intensity, sample), residual, strict=True))
    sine = torch.where(sine < FARTHEST, sine, torch.nan)
    cos_theta = (1 - sine**2).sqrt()
    width = _peak_sigma(sine / cos_theta, cos_theta, sample, effects, sigma=sigma)
    two_theta = torch.rad2deg(2 * torch.asin(sine)) + effects.values["zero_shift", "shift"][sample]
    two_theta += displacement_shift(
        cos_theta,
        displacement=effects.values["displacement", "displacement"][sample],
        radius=effects.values["displacement", "radius"][sample],
    )
    if "axial_divergence" in effects.occurring:
        two_theta, intensity, sample, width = _spread_axially(two_theta, intensity, sample, width, effects)
    height = heights_of_equal_area(intensity, sigma=width, reference=sigma)
    if "other_radiation" in effects.occurring:
        shifted = other[sample].nonzero().squeeze(1)
        two_theta[shifted], stretched = angle_at_copper(two_theta[shifted], wavelength=mean[sample[shifted]])
        width[shifted] *= stretched
    # Peaks that cannot be measured have no width; their position stays NaN.
    return InstrumentPeaks(two_theta, height.float(), sample, width.nan_to_num(sigma).float())


def _doublet_shares(effects: SampledEffects) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Fractions of Kα1 and Kα2 in the intensity of each pattern; 1 and 0 without a doublet."""
    doubled = effects.present["doublet"]
    if "k_alpha2" not in effects.occurring:
        return torch.where(doubled, K_ALPHA_SHARES[0], 1.0), torch.where(doubled, K_ALPHA_SHARES[1], 0.0)
    second = effects.values["k_alpha2", "ratio"] / (1 + effects.values["k_alpha2", "ratio"])
    second = torch.where(doubled, second, 0.0)
    return 1 - second, second


def _residual_peaks(
    half_inverse_d: Tensor, intensity: Tensor, sample: Tensor, effects: SampledEffects
) -> tuple[Tensor, Tensor, Tensor]:
    """Sin θ, intensities and patterns of the Kβ and W Lα peaks of strong reflections."""
    strong = (relative_intensity(intensity, sample, len(effects.wavelengths)) >= STRONG) & effects.present[
        "filter_lines"
    ][sample]
    chosen = strong.nonzero().squeeze(1)
    row = sample[chosen]
    fractions = [effects.values["filter_lines", name][row] for name in ("k_beta", "tungsten")]
    return (
        torch.cat([half_inverse_d[chosen] * effects.residual_wavelengths[row, column] for column in (0, 1)]),
        torch.cat([intensity[chosen] * fraction for fraction in fractions]),
        torch.cat([row, row]),
    )


def relative_intensity(intensity: Tensor, sample: Tensor, batch: int) -> Float[Tensor, " peaks"]:
    """Intensities relative to the strongest of each pattern."""
    strongest = torch.zeros(batch, dtype=intensity.dtype, device=intensity.device)
    strongest.scatter_reduce_(0, sample, intensity, "amax")
    relative: Tensor = intensity / strongest.clamp(min=1e-30)[sample]
    return relative


def _spread_axially(
    two_theta: Tensor, intensity: Tensor, sample: Tensor, width: Tensor, effects: SampledEffects
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Low-angle peaks as several parts at lower angles: their positions, intensities, patterns and widths."""
    divergence = torch.where(
        effects.present["axial_divergence"], effects.values["axial_divergence", "divergence"], 0.0
    )[sample]
    cotangent = 1 / torch.tan(torch.deg2rad(two_theta.clamp(min=1.0)))
    farthest, _, _ = axial_divergence_parts(cotangent, divergence=divergence, part=AXIAL_NODES // 2)
    visible = -farthest > _VISIBLE * width  # false for peaks without a position, and at high angles
    parts = [(two_theta[~visible], intensity[~visible], sample[~visible], width[~visible])]
    cotangent, divergence = cotangent[visible], divergence[visible]
    for part in range(AXIAL_NODES):
        shift, spread, fraction = axial_divergence_parts(cotangent, divergence=divergence, part=part)
        broadened = (width[visible].square() + spread.square()).sqrt()
        parts.append((two_theta[visible] + shift, intensity[visible] * fraction, sample[visible], broadened))
    joined = [torch.cat(columns) for columns in zip(*parts, strict=True)]
    return joined[0], joined[1], joined[2], joined[3]


def angle_at_copper(two_theta: Tensor, *, wavelength: Tensor) -> tuple[Tensor, Tensor]:
    """Angle at Cu Kα [deg 2θ] of peaks at `two_theta` [deg] measured with a wavelength [Å], and d2θ(Cu) / d2θ.

    NaN where Cu Kα cannot reach the angle. The same as `patterns.conversions.change_wavelength`, on tensors.
    """
    theta = torch.deg2rad(two_theta) / 2
    ratio = CU_K_ALPHA / wavelength
    sine = torch.sin(theta) * ratio
    sine = torch.where(sine.abs() < FARTHEST, sine, torch.nan)
    return torch.rad2deg(2 * torch.asin(sine)), ratio * torch.cos(theta) / (1 - sine**2).sqrt()


def _peak_sigma(
    tan_theta: Tensor, cos_theta: Tensor, sample: Tensor, effects: SampledEffects, *, sigma: float
) -> Float[Tensor, " peaks"]:
    """Width σ of each peak at the measured angle [deg]: instrument, crystallite size and microstrain."""
    present = effects.present["instrument_width"]
    fwhm = torch.where(present, effects.values["instrument_width", "fwhm"], sigma_to_fwhm(sigma))
    u = effects.values["instrument_width", "u"]
    v = -2 * effects.values["instrument_width", "dip"] * u.sqrt() * fwhm
    instrument = caglioti_fwhm_squared(tan_theta, u=u[sample], v=v[sample], w=fwhm[sample] ** 2).sqrt()
    # K λ / L with λ of each pattern, expressed as a size at Cu Kα.
    size = effects.values["crystallite_size", "size"] * CU_K_ALPHA / effects.wavelengths[:, 2]
    grains = scherrer_fwhm(cos_theta, size=size[sample])
    strain = strain_fwhm(tan_theta, strain=effects.values["microstrain", "strain"][sample])
    return fwhm_to_sigma(combine_fwhm(instrument, grains, strain))
