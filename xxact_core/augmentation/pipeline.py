"""Sticks of a batch → patterns as a laboratory would measure them, on any device, from one generator.

In this order: the lattice is strained; texture, thermal motion, grains and another phase change the intensities; the
doublet, the specimen's height and the zero point move the lines; instrument, crystallites and microstrain widen them;
they are smeared; a background is added, photons are counted, the background is subtracted again; and what lies outside
the measured range is taken away.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xxact_core.augmentation.config import Distortions
from xxact_core.augmentation.peaks import reflections_to_lines, sticks_to_reflections
from xxact_core.augmentation.profiles import count_photons, draw_background, hidden_windows, measured_range
from xxact_core.augmentation.sampling import Drawn, draw_effects
from xxact_core.peak_profiles.ragged_sticks import SticksOfRows
from xxact_core.peak_profiles.torch_kernels import broaden_peaks


def measure_sticks(
    sticks: SticksOfRows, distortions: Distortions, *, sigma: float, generator: torch.Generator
) -> tuple[Float[Tensor, "batch points"], Bool[Tensor, "batch windows"]]:
    """Patterns on the shared grid, 0-100, and which windows were not measured; every one of them is distorted.

    The same generator state gives the same patterns.

    Args:
        sticks: of the batch.
        distortions: effects; its `share` is not looked at.
        sigma: width of lines where no instrument is drawn [deg].
        generator: on the device of the sticks.
    """
    drawn = draw_effects(distortions, len(sticks.metric), generator=generator)
    reflections = sticks_to_reflections(sticks, drawn, generator=generator)
    lines = reflections_to_lines(reflections, drawn, sigma=sigma, wavelength=sticks.wavelength)
    profile = broaden_peaks(
        lines.two_theta,
        lines.height,
        lines.sample,
        batch=len(sticks.metric),
        peak_sigma=lines.sigma,
        peak_lorentzian=_shares(distortions, drawn, lines.sample),
    )
    measured = measured_range(drawn)
    profile.mul_(measured)
    profile.div_(profile.amax(dim=1, keepdim=True).clamp(min=1e-12))
    background = draw_background(drawn, generator=generator) if distortions.background else None
    profile = count_photons(profile, background, drawn, generator=generator).clamp(min=0).mul_(measured)
    profile.mul_(100 / profile.amax(dim=1, keepdim=True).clamp(min=1e-12))
    return profile, hidden_windows(measured)


def _shares(distortions: Distortions, drawn: Drawn, sample: Tensor) -> Float[Tensor, " peaks"] | None:
    if distortions.line_form is None:
        return None
    return drawn.values["line_form", "lorentzian"].float()[sample]
