"""The steps of the processing of a pattern, in their usual order: axis, corrections, wavelength, grid, background."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from xxact_core.errors import PatternError, ProcessingError, RecipeError, WavelengthError
from xxact_core.patterns.conversions import (
    CU_K_ALPHA,
    MAX_WAVELENGTH,
    MIN_WAVELENGTH,
    WAVELENGTHS,
    AxisKind,
    axis_to_two_theta,
    change_wavelength,
    parse_wavelength,
)
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.corrections import displacement_shift
from xxact_core.peak_profiles.shapes import doublet_wavelengths
from xxact_core.processing.background import (
    ARPLS_STIFFNESS,
    SNIP_HALF_WINDOW,
    baseline,
    points_to_baseline,
    points_to_curve,
)
from xxact_core.processing.kalpha2 import strip_kalpha2, wavelength_to_anode
from xxact_core.processing.processed_pattern import ProcessedPattern, axis_hint
from xxact_core.processing.resampling import angles_to_coverage, points_to_grid
from xxact_core.setting_types import check_types

SubtractionMethod = Literal["arpls", "snip", "points", "none"]
SUBTRACTION_METHODS: tuple[SubtractionMethod, ...] = get_args(SubtractionMethod)

MOST_BACKGROUND_POINTS = 200
"""Largest number of background points."""

_NOTED_SHIFT = 0.005
"""Distance from Cu Kα [Å] above which a conversion is noted; that of Kα1 from the Kα mean is below."""


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One step of a processing pipeline; its fields are its settings."""

    NAME: ClassVar[str]
    """Name in files."""

    FORMER_SETTINGS: ClassVar[Mapping[str, str]] = {}
    """Names of settings in files of version 0.1.0 → names now."""

    BEFORE: ClassVar[tuple[str, ...]] = ()
    """Names of the steps that must not precede it."""

    REPEATS: ClassVar[bool] = False
    """Whether it may occur several times."""

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Lowest and highest value of its numbers."""

    def __post_init__(self) -> None:
        """Check the settings; `ProcessingError` names the step, the setting, its value and what was expected."""
        owner = f"step {self.NAME!r}"
        try:
            check_types(owner, type(self), {item.name: getattr(self, item.name) for item in fields(self)})
        except RecipeError as error:
            raise ProcessingError(str(error), code="E_PREPARATION") from error
        for name, (low, high) in self.LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                msg = f"{owner}: {name} is {value:g}; expected a number from {low:g} to {high:g}"
                raise ProcessingError(msg, code="E_PREPARATION")

    @abstractmethod
    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The pattern after this step."""

    def to_dict(self) -> dict[str, Any]:
        """Name and settings as plain values for JSON."""
        return {"step": self.NAME, **{item.name: getattr(self, item.name) for item in fields(self)}}


@dataclass(frozen=True, kw_only=True)
class ConvertAxis(Step):
    """Converts positions that are not 2θ in degrees, where the file does not state its axis.

    q and d are properties of the material and become the angles of Cu Kα; no wavelength is required for them.
    """

    axis: AxisKind
    """Axis of the positions, one of `conversions.AXIS_KINDS`."""

    NAME: ClassVar[str] = "convert_axis"
    FORMER_SETTINGS: ClassVar[Mapping[str, str]] = {"kind": "axis"}
    BEFORE: ClassVar[tuple[str, ...]] = (
        "zero_shift",
        "displacement",
        "convert_wavelength",
        "crop_range",
        "subtract_background",
    )

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The points at increasing angles, without those that no angle reaches; `PatternError` beyond 180°."""
        angles = axis_to_two_theta(pattern.two_theta, kind=self.axis, wavelength=CU_K_ALPHA)
        if np.nanmax(angles) > 180:  # noqa: PLR2004 - the range of a scattering angle
            msg = f"{pattern.name}: the axis taken as {self.axis} ends at 2θ = {angles[-1]:.4g}°; expected up to 180°"
            raise PatternError(msg, code="E_AXIS")
        order = slice(None, None, -1) if self.axis == "d" else slice(None)
        at_copper = self.axis in {"q", "q_per_nm", "d"}
        return replace(pattern.at(angles[order], pattern.intensity[order]), at_copper=at_copper)


@dataclass(frozen=True, kw_only=True)
class CorrectZeroShift(Step):
    """Adds a constant to the measured angles."""

    shift: float
    """Constant [deg 2θ], -5 to 5."""

    NAME: ClassVar[str] = "zero_shift"
    BEFORE: ClassVar[tuple[str, ...]] = ("convert_wavelength",)
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"shift": (-5, 5)}

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The same intensities at angles that are `shift` higher."""
        return pattern.at(pattern.two_theta + self.shift, pattern.intensity)


@dataclass(frozen=True, kw_only=True)
class CorrectDisplacement(Step):
    """Corrects for sample displacement; the shift is that of `peak_profiles.corrections.displacement_shift`."""

    displacement: float
    """Displacement of the sample below the goniometer axis [mm], -5 to 5."""

    radius: float
    """Radius of the goniometer [mm], 50 to 2000."""

    NAME: ClassVar[str] = "displacement"
    BEFORE: ClassVar[tuple[str, ...]] = ("convert_wavelength",)
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"displacement": (-5, 5), "radius": (50, 2000)}

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The same intensities at the angles of a sample without displacement."""
        cos_theta = np.cos(np.deg2rad(pattern.two_theta) / 2)
        shift = displacement_shift(cos_theta, displacement=self.displacement, radius=self.radius)
        return pattern.at(pattern.two_theta - shift, pattern.intensity)


@dataclass(frozen=True, kw_only=True)
class ConvertWavelength(Step):
    """Converts the angles to those of Cu Kα, through q."""

    wavelength: float | str | None = None
    """Wavelength of the measurement, 0.1 to 5 [Å] or by name (`CuKa`); None for that of the file."""

    NAME: ClassVar[str] = "convert_wavelength"
    BEFORE: ClassVar[tuple[str, ...]] = ("strip_kalpha2", "put_on_grid")
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"wavelength": (MIN_WAVELENGTH, MAX_WAVELENGTH)}

    def __post_init__(self) -> None:
        """Names of wavelengths become numbers; `WavelengthError` lists the names."""
        if isinstance(self.wavelength, str):
            object.__setattr__(self, "wavelength", parse_wavelength(self.wavelength))
        super().__post_init__()

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The points at the angles of Cu Kα, without those that it cannot reach; a pattern over q or d is unchanged.

        Raises:
            WavelengthError: neither the step nor the pattern gives the wavelength (E_WAVELENGTH).
        """
        measured = pattern.wavelength if self.wavelength is None else parse_wavelength(self.wavelength)
        if pattern.at_copper:
            return replace(pattern, wavelength=measured, background=None)
        if measured is None:
            msg = (
                f"{pattern.name}: the data do not state the wavelength; give it as a number in Å or as one of "
                f"{', '.join(WAVELENGTHS)}"
            )
            raise WavelengthError(msg, code="E_WAVELENGTH")
        angles = change_wavelength(pattern.two_theta, measured=measured, target=CU_K_ALPHA)
        moved = abs(measured - CU_K_ALPHA) > _NOTED_SHIFT
        note = f"angles converted from {measured:g} Å to Cu Kα ({CU_K_ALPHA:g} Å) through q"
        notes = (*pattern.notes, note) if moved else pattern.notes
        return replace(pattern.at(angles, pattern.intensity), wavelength=measured, notes=notes)


@dataclass(frozen=True, kw_only=True)
class StripKAlpha2(Step):
    """Strips Kα2.

    The remaining peaks are those of Kα1; if the wavelength was that of the mean, the angles are corrected accordingly.
    """

    ratio: float = 0.5
    """Intensity of Kα2 over that of Kα1, 0.01 to 0.9; 0.5 without a monochromator."""

    NAME: ClassVar[str] = "strip_kalpha2"
    BEFORE: ClassVar[tuple[str, ...]] = ("put_on_grid",)
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"ratio": (0.01, 0.9)}

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The pattern of Kα1 alone; `WavelengthError` for an unknown radiation or one that is not of an x-ray tube."""
        if pattern.wavelength is None:
            msg = (
                f"{pattern.name}: Kα2 cannot be stripped without a wavelength; give one to the step convert_wavelength"
            )
            raise WavelengthError(msg, code="E_WAVELENGTH")
        anode = wavelength_to_anode(pattern.wavelength)
        alpha_1 = doublet_wavelengths(anode)[0]
        single = strip_kalpha2(pattern.two_theta, pattern.intensity, anode=anode, ratio=self.ratio)
        angles = change_wavelength(pattern.two_theta, measured=alpha_1, target=pattern.wavelength)
        return replace(pattern.at(angles, single), wavelength=alpha_1)


@dataclass(frozen=True, kw_only=True)
class CropRange(Step):
    """Crops the pattern to a range of 2θ, of Cu Kα after `ConvertWavelength`; the rest counts as not measured."""

    start: float = 0.0
    """Lower end [deg 2θ], 0 to 180."""

    stop: float = 180.0
    """Upper end [deg 2θ], 0 to 180."""

    NAME: ClassVar[str] = "crop_range"
    REPEATS: ClassVar[bool] = True
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"start": (0, 180), "stop": (0, 180)}

    def __post_init__(self) -> None:
        """Check that the lower end comes first."""
        super().__post_init__()
        if self.start >= self.stop:
            msg = f"step {self.NAME!r}: start is {self.start:g} and stop {self.stop:g}; expected the lower one first"
            raise ProcessingError(msg, code="E_PREPARATION")

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The points inside; on the grid, those outside become uncovered."""
        kept = (pattern.two_theta >= self.start) & (pattern.two_theta <= self.stop) & pattern.covered
        if not kept.any():
            msg = f"{pattern.name}: no point lies within {self.start:g}-{self.stop:g}°"
            raise PatternError(msg, code="E_RANGE")
        if pattern.on_grid:
            return replace(pattern, intensity=np.where(kept, pattern.intensity, 0.0), covered=kept, background=None)
        return pattern.at(pattern.two_theta[kept], pattern.intensity[kept])


@dataclass(frozen=True, kw_only=True)
class PutOnGrid(Step):
    """Resamples to the shared grid: finer steps are averaged over each cell, coarser ones interpolated."""

    NAME: ClassVar[str] = "put_on_grid"
    BEFORE: ClassVar[tuple[str, ...]] = ("smooth",)

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """Points of the shared grid; `PatternError` if none of them was measured. Gaps stay uncovered."""
        angles = pattern.two_theta
        covered = angles_to_coverage(angles, grid=GRID)
        if not covered.any():
            reach = f"{angles[0]:.2f}-{angles[-1]:.2f}°" if angles.size else "no angle"
            grid = f"the grid {GRID.start:g}-{GRID.stop:g}°"
            msg = f"{pattern.name}: covers {reach} at Cu Kα; nothing of it lies on {grid}{axis_hint(pattern)}"
            raise PatternError(msg, code="E_RANGE")
        values = np.where(covered, points_to_grid(angles, pattern.intensity, grid=GRID), 0.0)
        on_grid = pattern.at(GRID.two_theta, values)
        return replace(on_grid, covered=covered, on_grid=True)


@dataclass(frozen=True, kw_only=True)
class SubtractBackground(Step):
    """Subtracts the background: of every stretch without a gap as `background.baseline` fits it, or through points."""

    method: SubtractionMethod = "arpls"
    """Method: `arpls`, `snip`, `points` or `none`."""

    stiffness: float = ARPLS_STIFFNESS
    """λ of arpls, 1 to 1e15; a larger one gives a smoother curve."""

    half_window: float = SNIP_HALF_WINDOW * GRID.step
    """Half window of snip [deg 2θ], 0.04 to 20."""

    points: tuple[tuple[float, float | None], ...] = ()
    """Background points of `points`: angle [deg 2θ, as the pattern has them at this step] and intensity, each; without
    an intensity (None), that of the pattern around the angle. At most 200."""

    NAME: ClassVar[str] = "subtract_background"
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"stiffness": (1, 1e15), "half_window": (0.04, 20)}

    def __post_init__(self) -> None:
        """Lists of points become tuples; `ProcessingError` names a wrong one."""
        if isinstance(self.points, list | tuple):
            pairs = tuple(tuple(point) if isinstance(point, list) else point for point in self.points)
            object.__setattr__(self, "points", pairs)
        super().__post_init__()
        if len(self.points) > MOST_BACKGROUND_POINTS:
            msg = f"step {self.NAME!r}: {len(self.points)} points; expected at most {MOST_BACKGROUND_POINTS}"
            raise ProcessingError(msg, code="E_PREPARATION")
        for angle, _ in self.points:
            if not 0 <= angle <= 180:  # noqa: PLR2004 - the range of a scattering angle
                msg = f"step {self.NAME!r}: a point is at {angle:g}; expected 2θ from 0 to 180°"
                raise ProcessingError(msg, code="E_PREPARATION")

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The pattern without its background, which is in `background`."""
        if self.method == "points":
            kept, curve = pattern.covered, np.zeros_like(pattern.intensity)
            curve[kept] = points_to_curve(pattern.two_theta[kept], pattern.intensity[kept], points=self.points)
            return replace(pattern, intensity=pattern.intensity - curve, background=curve)
        settings: dict[str, Any] = {
            "method": self.method,
            "stiffness": self.stiffness,
            "half_window": max(1, round(self.half_window / GRID.step)),
        }
        curve = np.zeros_like(pattern.intensity)
        for run in pattern.stretches():
            if pattern.on_grid:
                curve[run] = baseline(pattern.intensity[run], **settings)
            else:
                curve[run] = points_to_baseline(pattern.two_theta[run], pattern.intensity[run], **settings)
        return replace(pattern, intensity=pattern.intensity - curve, background=curve)

    def to_dict(self) -> dict[str, Any]:
        """Name and settings as plain values for JSON, with points only where there are some."""
        values = super().to_dict()
        points = [list(point) for point in values.pop("points")]
        return {**values, "points": points} if points else values


@dataclass(frozen=True, kw_only=True)
class Smooth(Step):
    """Convolves every stretch without a gap with a Gaussian: less noise, broader peaks."""

    sigma: float
    """Standard deviation of the Gaussian [deg 2θ], 0 to 2."""

    NAME: ClassVar[str] = "smooth"
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (0, 2)}

    def apply(self, pattern: ProcessedPattern) -> ProcessedPattern:
        """The smoothed pattern; gaps are not bridged."""
        from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

        values = pattern.intensity.copy()
        for run in pattern.stretches() if self.sigma > 0 else []:
            values[run] = gaussian_filter1d(values[run], self.sigma / GRID.step, mode="nearest")
        return replace(pattern, intensity=values, background=None)


STEPS: dict[str, type[Step]] = {
    step.NAME: step
    for step in (
        ConvertAxis,
        CorrectZeroShift,
        CorrectDisplacement,
        ConvertWavelength,
        StripKAlpha2,
        CropRange,
        PutOnGrid,
        SubtractBackground,
        Smooth,
    )
}
"""Every step by its name, in the usual order."""

FORMER_NAMES = {"read_axis": "convert_axis", "to_copper": "convert_wavelength", "keep_range": "crop_range"}
"""Names of steps in files of version 0.1.0 → names now."""


def update_step(values: Mapping[str, Any]) -> dict[str, Any]:
    """A step as `Step.to_dict` writes it now, from one of any version; unknown names and settings are kept."""
    name = values.get("step")
    name = FORMER_NAMES.get(name, name) if isinstance(name, str) else name
    former = STEPS[name].FORMER_SETTINGS if isinstance(name, str) and name in STEPS else {}
    return {former.get(key, key): name if key == "step" else value for key, value in values.items()}
