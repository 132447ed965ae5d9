"""Sticks of a batch → patterns with random instrument and sample effects, on any device, from one generator.

Effects are applied in this order: lattice strain; texture, thermal motion, graininess and an impurity, which change
intensities; the Kα doublet, sample displacement and zero shift, which move peaks; broadening by the instrument,
crystallite size and microstrain; a background, counting noise and the subtraction of the background; a limited range.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.peaks import reflections_to_peaks, sticks_to_reflections
from xxact_core.augmentation.profiles import count_photons, hidden_windows, measured_range, sample_background
from xxact_core.augmentation.sampling import SampledEffects, sample_effects
from xxact_core.peak_profiles.ragged_sticks import SticksOfRows
from xxact_core.peak_profiles.torch_kernels import broaden_peaks


def augment_sticks(
    sticks: SticksOfRows, augmentation: AugmentationConfig, *, sigma: float, generator: torch.Generator
) -> tuple[Float[Tensor, "batch points"], Bool[Tensor, "batch windows"]]:
    """Augmented patterns on the grid, 0-100, and the windows that were not measured.

    The same generator state gives the same patterns.

    Args:
        sticks: of the batch.
        augmentation: effects; all patterns are augmented, its `share` is ignored.
        sigma: peak width of patterns without instrument effects [deg].
        generator: on the device of the sticks.
    """
    effects = sample_effects(augmentation, len(sticks.metric), generator=generator)
    reflections = sticks_to_reflections(sticks, effects, generator=generator)
    peaks = reflections_to_peaks(reflections, effects, sigma=sigma, wavelength=sticks.wavelength)
    profile = broaden_peaks(
        peaks.two_theta,
        peaks.height,
        peaks.sample,
        batch=len(sticks.metric),
        peak_sigma=peaks.sigma,
        peak_lorentzian=_lorentzian_fractions(augmentation, effects, peaks.sample),
    )
    measured = measured_range(effects)
    profile.mul_(measured)
    profile.div_(profile.amax(dim=1, keepdim=True).clamp(min=1e-12))
    background = sample_background(effects, generator=generator) if augmentation.background else None
    profile = count_photons(profile, background, effects, generator=generator).clamp(min=0).mul_(measured)
    profile.mul_(100 / profile.amax(dim=1, keepdim=True).clamp(min=1e-12))
    return profile, hidden_windows(measured)


def _lorentzian_fractions(
    augmentation: AugmentationConfig, effects: SampledEffects, sample: Tensor
) -> Float[Tensor, " peaks"] | None:
    if augmentation.peak_shape is None:
        return None
    return effects.values["peak_shape", "lorentzian"].float()[sample]
