"""Sticks of a batch → patterns with random instrument and sample effects, on any device, from one generator.

Effects are applied in this order: scale and strain of the lattice; texture, thermal motion, graininess and an impurity,
which change intensities; the Kα doublet, residual Kβ and W Lα, sample displacement and zero shift, which move peaks;
broadening by the instrument, crystallite size and microstrain, and asymmetry; white radiation behind a filter and a
background; the points of the scan, its counting noise and smoothing; resampling to the grid, the subtraction of the
background, a limited range, and smoothing or binning of the processed pattern.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.peaks import reflections_to_peaks, sticks_to_reflections
from xxact_core.augmentation.profiles import (
    add_filter_edges,
    hidden_windows,
    measured_range,
    sample_background,
    subtract_background,
)
from xxact_core.augmentation.sampling import SampledEffects, sample_effects
from xxact_core.augmentation.scans import measure_scans, reprocess
from xxact_core.peak_profiles.ragged_sticks import SticksOfRows
from xxact_core.peak_profiles.torch_kernels import broaden_peaks


def augment_sticks(
    sticks: SticksOfRows,
    augmentation: AugmentationConfig,
    *,
    sigma: float,
    generator: torch.Generator,
    cell_is_measured: Bool[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch points"], Bool[Tensor, "batch windows"]]:
    """Augmented patterns on the grid, 0-100, and the windows that were not measured.

    The same generator state gives the same patterns.

    Args:
        sticks: of the batch.
        augmentation: effects; all patterns are augmented, its `share` is ignored.
        sigma: peak width of patterns without instrument effects [deg].
        generator: on the device of the sticks.
        cell_is_measured: whether a cell was measured, so that it is not scaled as a calculated one; None for none.
    """
    effects = sample_effects(augmentation, len(sticks.metric), generator=generator)
    reflections = sticks_to_reflections(sticks, effects, generator=generator, cell_is_measured=cell_is_measured)
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
    if "filter_edge" in effects.occurring:
        add_filter_edges(profile, reflections, effects)
    background = sample_background(effects, generator=generator) if augmentation.background else None
    observed = measure_scans(profile if background is None else profile + background, effects, generator=generator)
    profile = subtract_background(observed, background, effects).clamp(min=0).mul_(measured)
    if effects.occurring & {"processed_smoothing", "processed_bins"}:
        profile = reprocess(profile, measured, effects, generator=generator)
    profile.mul_(100 / profile.amax(dim=1, keepdim=True).clamp(min=1e-12))
    return profile, hidden_windows(measured)


def _lorentzian_fractions(
    augmentation: AugmentationConfig, effects: SampledEffects, sample: Tensor
) -> Float[Tensor, " peaks"] | None:
    if augmentation.peak_shape is None:
        return None
    return effects.values["peak_shape", "lorentzian"].float()[sample]
