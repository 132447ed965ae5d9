"""The steps of a preparation behind its axis: Kα2, range, grid, background, noise; and all steps by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import gaussian_filter1d

from xxact_core.errors import PatternError, PreparationError, WavelengthError
from xxact_core.patterns.conversions import change_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.shapes import doublet_wavelengths
from xxact_core.processing.axis_steps import Displacement, ReadAxis, Step, ToCopper, ZeroShift
from xxact_core.processing.background import (
    ARPLS_STIFFNESS,
    SNIP_HALF_WINDOW,
    BackgroundMethod,
    baseline,
    points_to_baseline,
)
from xxact_core.processing.kalpha2 import strip_kalpha2, wavelength_to_anode
from xxact_core.processing.profile import Profile, axis_hint
from xxact_core.processing.resampling import angles_to_coverage, points_to_grid


@dataclass(frozen=True, kw_only=True)
class StripKAlpha2(Step):
    """The weaker line of the Kα doublet is taken away. ratio: of the intensities of Kα2 and Kα1, 0.5 of a bare tube.

    The lines that are left belong to Kα1, so where the wavelength was that of the mean, angles are moved to suit.
    """

    ratio: float = 0.5

    NAME: ClassVar[str] = "strip_kalpha2"
    BEFORE: ClassVar[tuple[str, ...]] = ("put_on_grid",)
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"ratio": (0.01, 0.9)}

    def apply(self, profile: Profile) -> Profile:
        """The pattern of Kα1 alone; `WavelengthError` where the radiation is unknown or not that of an x-ray tube."""
        if profile.wavelength is None:
            msg = f"{profile.name}: no wavelength is known, and Kα2 cannot be stripped; give one to the step to_copper"
            raise WavelengthError(msg, code="E_WAVELENGTH")
        anode = wavelength_to_anode(profile.wavelength)
        alpha_1 = doublet_wavelengths(anode)[0]
        single = strip_kalpha2(profile.two_theta, profile.intensity, anode=anode, ratio=self.ratio)
        angles = change_wavelength(profile.two_theta, measured=alpha_1, wanted=profile.wavelength)
        return replace(profile.at(angles, single), wavelength=alpha_1)


@dataclass(frozen=True, kw_only=True)
class KeepRange(Step):
    """Only what lies from `start` to `stop` [deg 2θ, at Cu Kα behind `to_copper`]; the rest counts as unmeasured."""

    start: float = 0.0
    stop: float = 180.0

    NAME: ClassVar[str] = "keep_range"
    REPEATS: ClassVar[bool] = True
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"start": (0, 180), "stop": (0, 180)}

    def __post_init__(self) -> None:
        """The lower end first."""
        super().__post_init__()
        if self.start >= self.stop:
            msg = f"step {self.NAME!r}: start is {self.start:g} and stop {self.stop:g}; expected the lower one first"
            raise PreparationError(msg, code="E_PREPARATION")

    def apply(self, profile: Profile) -> Profile:
        """Points outside are dropped; on the grid, they become uncovered."""
        kept = (profile.two_theta >= self.start) & (profile.two_theta <= self.stop) & profile.covered
        if not kept.any():
            msg = f"{profile.name}: no point lies within {self.start:g}-{self.stop:g}°"
            raise PatternError(msg, code="E_RANGE")
        if profile.on_grid:
            return replace(profile, intensity=np.where(kept, profile.intensity, 0.0), covered=kept, background=None)
        return profile.at(profile.two_theta[kept], profile.intensity[kept])


@dataclass(frozen=True, kw_only=True)
class PutOnGrid(Step):
    """A finer measured step is averaged over each cell of the grid, a coarser one interpolated; gaps stay uncovered."""

    NAME: ClassVar[str] = "put_on_grid"
    BEFORE: ClassVar[tuple[str, ...]] = ("smooth",)

    def apply(self, profile: Profile) -> Profile:
        """Points of the shared grid; `PatternError` where none of them was measured."""
        angles = profile.two_theta
        covered = angles_to_coverage(angles, grid=GRID)
        if not covered.any():
            reach = f"{angles[0]:.2f}-{angles[-1]:.2f}°" if angles.size else "no angle"
            grid = f"the grid {GRID.start:g}-{GRID.stop:g}°"
            msg = f"{profile.name}: covers {reach} at Cu Kα; nothing of it lies on {grid}{axis_hint(profile)}"
            raise PatternError(msg, code="E_RANGE")
        values = np.where(covered, points_to_grid(angles, profile.intensity, grid=GRID), 0.0)
        on_grid = profile.at(GRID.two_theta, values)
        return replace(on_grid, covered=covered, on_grid=True)


@dataclass(frozen=True, kw_only=True)
class SubtractBackground(Step):
    """The smooth curve under the lines is taken away, of every stretch without a gap; see `background.baseline`.

    method: `arpls`, `snip` or `none`. stiffness: of arpls, more for a straighter curve. half_window: of snip [deg].
    """

    method: BackgroundMethod = "arpls"
    stiffness: float = ARPLS_STIFFNESS
    half_window: float = SNIP_HALF_WINDOW * GRID.step

    NAME: ClassVar[str] = "subtract_background"
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"stiffness": (1, 1e15), "half_window": (0.04, 20)}

    def apply(self, profile: Profile) -> Profile:
        """The pattern without the curve, and the curve at its `background`."""
        settings: dict[str, Any] = {
            "method": self.method,
            "stiffness": self.stiffness,
            "half_window": max(1, round(self.half_window / GRID.step)),
        }
        curve = np.zeros_like(profile.intensity)
        for run in profile.stretches():
            if profile.on_grid:
                curve[run] = baseline(profile.intensity[run], **settings)
            else:
                curve[run] = points_to_baseline(profile.two_theta[run], profile.intensity[run], **settings)
        return replace(profile, intensity=profile.intensity - curve, background=curve)


@dataclass(frozen=True, kw_only=True)
class Smooth(Step):
    """A Gaussian of σ = `sigma` [deg] is laid over every stretch: less noise, wider lines."""

    sigma: float

    NAME: ClassVar[str] = "smooth"
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (0, 2)}

    def apply(self, profile: Profile) -> Profile:
        """The smoothed pattern; nothing is carried across a gap."""
        values = profile.intensity.copy()
        for run in profile.stretches() if self.sigma > 0 else []:
            values[run] = gaussian_filter1d(values[run], self.sigma / GRID.step, mode="nearest")
        return replace(profile, intensity=values, background=None)


STEPS: dict[str, type[Step]] = {
    step.NAME: step
    for step in (
        ReadAxis,
        ZeroShift,
        Displacement,
        ToCopper,
        StripKAlpha2,
        KeepRange,
        PutOnGrid,
        SubtractBackground,
        Smooth,
    )
}
"""Every step by its name, in the order in which they usually stand."""
