"""The steps that say where the points of a measured pattern lie, up to the angles of Cu Kα; and what a step is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from xxact_core.errors import PatternError, PreparationError, RecipeError, WavelengthError
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
from xxact_core.peak_profiles.corrections import displacement_shift
from xxact_core.processing.profile import Profile
from xxact_core.setting_types import check_types

_NOTED_SHIFT = 0.005
"""A wavelength further than this [Å] from Cu Kα is worth a note: Kα1 against the Kα mean is not."""


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One step of a preparation: a value that can be compared, written down and applied.

    NAME: in files. BEFORE: steps that it must stand in front of. REPEATS: whether it may occur twice. LIMITS: lowest
    and highest value of its numbers.
    """

    NAME: ClassVar[str]
    BEFORE: ClassVar[tuple[str, ...]] = ()
    REPEATS: ClassVar[bool] = False
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {}

    def __post_init__(self) -> None:
        """Refuse what cannot be: `PreparationError` names step, setting and what was expected."""
        owner = f"step {self.NAME!r}"
        try:
            check_types(owner, type(self), {item.name: getattr(self, item.name) for item in fields(self)})
        except RecipeError as error:
            raise PreparationError(str(error), code="E_PREPARATION") from error
        for name, (low, high) in self.LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                msg = f"{owner}: {name} is {value:g}; expected a number from {low:g} to {high:g}"
                raise PreparationError(msg, code="E_PREPARATION")

    @abstractmethod
    def apply(self, profile: Profile) -> Profile:
        """The pattern after this step."""

    def to_dict(self) -> dict[str, Any]:
        """Name and settings as plain values for JSON."""
        return {"step": self.NAME, **{item.name: getattr(self, item.name) for item in fields(self)}}


@dataclass(frozen=True, kw_only=True)
class ReadAxis(Step):
    """What the positions of the file are, where they are not 2θ in degrees and the file does not say so.

    Of q and d no wavelength need be known: they belong to the material, and become the angles of Cu Kα.

    kind: one of `conversions.AXIS_KINDS`.
    """

    kind: AxisKind

    NAME: ClassVar[str] = "read_axis"
    BEFORE: ClassVar[tuple[str, ...]] = ("zero_shift", "displacement", "to_copper", "keep_range", "subtract_background")

    def apply(self, profile: Profile) -> Profile:
        """Angles increasing; what no angle shows is left out."""
        angles = axis_to_two_theta(profile.two_theta, kind=self.kind, wavelength=CU_K_ALPHA)
        if np.nanmax(angles) > 180:  # noqa: PLR2004 - the range of a scattering angle
            msg = f"{profile.name}: the axis taken as {self.kind} ends at 2θ = {angles[-1]:.4g}°; expected up to 180°"
            raise PatternError(msg, code="E_AXIS")
        order = slice(None, None, -1) if self.kind == "d" else slice(None)
        at_copper = self.kind in {"q", "q_per_nm", "d"}
        return replace(profile.at(angles[order], profile.intensity[order]), at_copper=at_copper)


@dataclass(frozen=True, kw_only=True)
class ZeroShift(Step):
    """`shift` [deg] is added to the measured angles."""

    shift: float

    NAME: ClassVar[str] = "zero_shift"
    BEFORE: ClassVar[tuple[str, ...]] = ("to_copper",)
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"shift": (-5, 5)}

    def apply(self, profile: Profile) -> Profile:
        """The same intensities at angles that are `shift` higher."""
        return profile.at(profile.two_theta + self.shift, profile.intensity)


@dataclass(frozen=True, kw_only=True)
class Displacement(Step):
    """A specimen that lay `displacement` [mm] too low, on a goniometer of `radius` [mm]: its shift is taken back.

    See `line_corrections.displacement_shift`.
    """

    displacement: float
    radius: float

    NAME: ClassVar[str] = "displacement"
    BEFORE: ClassVar[tuple[str, ...]] = ("to_copper",)
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"displacement": (-5, 5), "radius": (50, 2000)}

    def apply(self, profile: Profile) -> Profile:
        """The same intensities at the angles of a specimen in its place."""
        cos_theta = np.cos(np.deg2rad(profile.two_theta) / 2)
        shift = displacement_shift(cos_theta, displacement=self.displacement, radius=self.radius)
        return profile.at(profile.two_theta - shift, profile.intensity)


@dataclass(frozen=True, kw_only=True)
class ToCopper(Step):
    """Angles are moved to Cu Kα through q. wavelength: of the measurement [Å], or its name; None as the file says."""

    wavelength: float | str | None = None

    NAME: ClassVar[str] = "to_copper"
    BEFORE: ClassVar[tuple[str, ...]] = ("strip_kalpha2", "put_on_grid")
    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {"wavelength": (MIN_WAVELENGTH, MAX_WAVELENGTH)}

    def __post_init__(self) -> None:
        """Names of wavelengths become numbers; `WavelengthError` lists the names."""
        if isinstance(self.wavelength, str):
            object.__setattr__(self, "wavelength", parse_wavelength(self.wavelength))
        super().__post_init__()

    def apply(self, profile: Profile) -> Profile:
        """The angles at which Cu Kα shows the same; what it cannot reach is left out, and what came from q or d stays.

        Raises:
            WavelengthError: neither the step nor the pattern says the wavelength.
        """
        measured = profile.wavelength if self.wavelength is None else parse_wavelength(self.wavelength)
        if profile.at_copper:
            return replace(profile, wavelength=measured, background=None)
        if measured is None:
            msg = (
                f"{profile.name}: the source does not say its wavelength; give one, a number in Å or one of "
                f"{', '.join(WAVELENGTHS)}"
            )
            raise WavelengthError(msg, code="E_WAVELENGTH")
        angles = change_wavelength(profile.two_theta, measured=measured, wanted=CU_K_ALPHA)
        moved = abs(measured - CU_K_ALPHA) > _NOTED_SHIFT
        note = f"angles moved from {measured:g} Å to Cu Kα ({CU_K_ALPHA:g} Å) through q"
        notes = (*profile.notes, note) if moved else profile.notes
        return replace(profile.at(angles, profile.intensity), wavelength=measured, notes=notes)
