"""What a laboratory adds to an ideal pattern, effect by effect: physical units, and the ranges to draw from.

The formulas are in `line_corrections` and `line_shapes`; `distortions` puts effects together; batches are distorted in
`xxact_core.augmentation.pipeline`. `docs/explanation/augmentation.md` shows each effect.

Where no source is named for a range, it is the range that powder diffractometers and specimens are usually found in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from xxact_core.errors import RecipeError
from xxact_core.peak_profiles.shapes import doublet_wavelengths

Range = tuple[float, float]
LOW_PLANES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (1, -1, 0))
"""Planes along which crystals cleave and grow flat."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One thing that laboratories do; `share` of the distorted patterns have it, the others are without.

    Every other setting is a range (low, high) from which each pattern draws its own value, evenly, or evenly in the
    logarithm where the name is among `LOGARITHMIC`. `LIMITS` says what is possible at all.
    """

    share: float = 1.0

    LIMITS: ClassVar[Mapping[str, Range]] = {}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what cannot be: `RecipeError` names setting, value and limits."""
        check_number(type(self).__name__, "share", self.share, limits=(0.0, 1.0))
        for name, limits in self.LIMITS.items():
            check_range(type(self).__name__, name, getattr(self, name), limits=limits)
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML."""
        return {item.name: _to_plain(getattr(self, item.name)) for item in fields(self)}


@dataclass(frozen=True, kw_only=True)
class ZeroShift(Effect):
    """The zero point of the 2θ axis is off by `shift` [deg]."""

    shift: Range = (-0.05, 0.05)

    LIMITS: ClassVar[Mapping[str, Range]] = {"shift": (-5, 5)}


@dataclass(frozen=True, kw_only=True)
class Displacement(Effect):
    """The specimen lies `displacement` [mm] too low on a goniometer of `radius` [mm]: `displacement_shift`."""

    displacement: Range = (-0.1, 0.1)
    radius: Range = (150, 240)

    LIMITS: ClassVar[Mapping[str, Range]] = {"displacement": (-5, 5), "radius": (10, 2000)}


@dataclass(frozen=True, kw_only=True)
class Strain(Effect):
    """The lattice differs from the calculated one: `strain_to_metric_change`.

    isotropic: relative change of all spacings. A calculated lattice is off by about 1 %. Source: Haas, Tran & Blaha
    (2009), Phys. Rev. B 79, 085104 (PBE). anisotropic: standard deviation of the entries of a random symmetric strain.
    """

    isotropic: Range = (-0.01, 0.01)
    anisotropic: Range = (0, 0.005)

    LIMITS: ClassVar[Mapping[str, Range]] = {"isotropic": (-0.2, 0.2), "anisotropic": (0, 0.05)}


@dataclass(frozen=True, kw_only=True)
class InstrumentWidth(Effect):
    """Width of the instrument's lines, FWHM² = U tan²θ + V tan θ + W: `line_shapes.caglioti_fwhm_squared`.

    fwhm: √W, the width at low angles [deg]. u: U [deg²]. dip: c in V = -2 c √(U W); at c = 1 the width would vanish at
    one angle, so that every draw below 1 is an instrument. Source: Caglioti, Paoletti & Ricci (1958).
    """

    fwhm: Range = (0.07, 0.2)
    u: Range = (0, 0.03)
    dip: Range = (0, 0.8)

    LIMITS: ClassVar[Mapping[str, Range]] = {"fwhm": (0.001, 5), "u": (0, 10), "dip": (0, 0.99)}


@dataclass(frozen=True, kw_only=True)
class CrystalliteSize(Effect):
    """Crystallites of `size` [nm] widen lines: `line_shapes.scherrer_fwhm`. Source: Scherrer (1918)."""

    size: Range = (20, 500)

    LIMITS: ClassVar[Mapping[str, Range]] = {"size": (0.5, 1e6)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"size"})


@dataclass(frozen=True, kw_only=True)
class Microstrain(Effect):
    """Spacings vary by `strain` (relative) within the specimen: `line_shapes.strain_fwhm`.

    Source: Stokes & Wilson (1944).
    """

    strain: Range = (0, 0.002)

    LIMITS: ClassVar[Mapping[str, Range]] = {"strain": (0, 0.2)}


@dataclass(frozen=True, kw_only=True)
class LineForm(Effect):
    """Pseudo-Voigt lines of a Lorentzian share `lorentzian`. Source: Thompson, Cox & Hastings (1987)."""

    lorentzian: Range = (0, 0.8)

    LIMITS: ClassVar[Mapping[str, Range]] = {"lorentzian": (0, 1)}


@dataclass(frozen=True, kw_only=True)
class Texture(Effect):
    """Crystallites lie along a plane drawn from `planes`: `march_dollase_factor` with `r`.

    Source: March (1932), Dollase (1986).
    """

    share: float = 0.5
    r: Range = (0.6, 1.6)
    planes: tuple[tuple[int, int, int], ...] = LOW_PLANES

    LIMITS: ClassVar[Mapping[str, Range]] = {"r": (0.05, 20)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"r"})

    def __post_init__(self) -> None:
        """Check that there is a plane to lie along, too."""
        super().__post_init__()
        planes = self.planes if isinstance(self.planes, tuple | list) else ()
        if not planes or not all(_is_plane(plane) for plane in planes):
            msg = f"Texture: planes is {self.planes!r}; expected Miller indices from -9 to 9, such as [[0, 0, 1]]"
            raise RecipeError(msg, code="E_RECIPE")
        object.__setattr__(self, "planes", tuple(tuple(plane) for plane in planes))


@dataclass(frozen=True, kw_only=True)
class ThermalMotion(Effect):
    """Atoms vibrate, which weakens lines at high angles: `thermal_factor` with `b` [Å²], alike for all atoms.

    The range holds most inorganic crystals at room temperature. Source: Peng et al. (1996), Acta Cryst. A52, 456-470.
    """

    b: Range = (0, 1.2)

    LIMITS: ClassVar[Mapping[str, Range]] = {"b": (0, 20)}


@dataclass(frozen=True, kw_only=True)
class Graininess(Effect):
    """Too few crystallites in the beam: each line's intensity is off by a log-normal factor of this `spread`.

    Source: de Wolff, Taylor & Parrish (1959), J. Appl. Phys. 30, 63-69.
    """

    share: float = 0.5
    spread: Range = (0, 0.4)

    LIMITS: ClassVar[Mapping[str, Range]] = {"spread": (0, 3)}


@dataclass(frozen=True, kw_only=True)
class Impurity(Effect):
    """Lines of a second material, whose strongest has `weight` of the strongest line of the first."""

    share: float = 0.2
    weight: Range = (0.005, 0.15)

    LIMITS: ClassVar[Mapping[str, Range]] = {"weight": (1e-6, 10)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"weight"})


@dataclass(frozen=True, kw_only=True)
class Doublet(Effect):
    """Kα1 and Kα2 both reach the specimen, 2 : 1, as without a monochromator: `line_shapes.doublet_wavelengths`."""

    share: float = 0.8


@dataclass(frozen=True, kw_only=True)
class OtherRadiation(Effect):
    """Measured with another anode than Cu, then moved to Cu Kα through q, as measured patterns are.

    The lines' ratios are those of the other angles (`lorentz_polarisation`), widths and shifts are made there, and the
    range is what a scan from `first` to `last` [deg 2θ there] shows.
    """

    share: float = 0.15
    anodes: tuple[str, ...] = ("Co", "Mo", "Fe", "Cr", "Ag")
    first: Range = (5, 15)
    last: Range = (80, 140)

    LIMITS: ClassVar[Mapping[str, Range]] = {"first": (0, 60), "last": (60, 179)}

    def __post_init__(self) -> None:
        """Check that the anodes are known, too; `WavelengthError` lists them."""
        super().__post_init__()
        if not isinstance(self.anodes, tuple | list) or not self.anodes:
            msg = f"OtherRadiation: anodes is {self.anodes!r}; expected a list of elements, such as ['Co', 'Mo']"
            raise RecipeError(msg, code="E_RECIPE")
        for anode in self.anodes:
            doublet_wavelengths(anode)
        object.__setattr__(self, "anodes", tuple(self.anodes))


@dataclass(frozen=True, kw_only=True)
class Background(Effect):
    """What lies under the lines, in shares of the strongest, and how much of it stays after subtraction.

    smooth: a Chebyshev polynomial of degree 5 with random coefficients, at least 0. hump: a Gaussian, as of glass, at
    `hump_position` [deg] of `hump_width` (FWHM) [deg]. fluorescence: a constant. remains: share left after subtraction,
    below 0 where too much was taken away; (1, 1) subtracts nothing. The model reads patterns whose background is
    subtracted (`gridding.put_on_grid`), so little remains by default; but counting noise knows the whole.
    """

    smooth: Range = (0, 0.15)
    hump: Range = (0, 0.1)
    hump_position: Range = (15, 35)
    hump_width: Range = (4, 10)
    fluorescence: Range = (0, 0.15)
    remains: Range = (-0.1, 0.1)

    LIMITS: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("smooth", "hump", "fluorescence"), (0, 100)),
        "hump_position": (0, 180),
        "hump_width": (0.5, 90),
        "remains": (-1, 1),
    }


@dataclass(frozen=True, kw_only=True)
class CountingNoise(Effect):
    """Counts are drawn from a Poisson distribution; the strongest line has `counts` above its background."""

    counts: Range = (300, 1e5)

    LIMITS: ClassVar[Mapping[str, Range]] = {"counts": (1, 1e9)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"counts"})


@dataclass(frozen=True, kw_only=True)
class LimitedRange(Effect):
    """Measured from `first` to `last` [deg 2θ at Cu Kα] only; the rest is hidden from the model."""

    share: float = 0.4
    first: Range = (5, 25)
    last: Range = (55, 90)

    LIMITS: ClassVar[Mapping[str, Range]] = {"first": (0, 45), "last": (45, 180)}


def check_number(owner: str, name: str, value: object, *, limits: Range) -> None:
    """Refuse what is no finite number within the limits; `RecipeError` names the setting."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not limits[0] <= value <= limits[1]:  # type: ignore[operator]  # a number, by the line above
        msg = f"{owner}: {name} is {value!r}; expected a number from {limits[0]:g} to {limits[1]:g}"
        raise RecipeError(msg, code="E_RECIPE")


def check_range(owner: str, name: str, value: object, *, limits: Range) -> None:
    """Refuse what is no range (low, high) within the limits; `RecipeError` names the setting."""
    if not isinstance(value, tuple | list) or len(value) != 2:  # noqa: PLR2004 - low and high
        msg = f"{owner}: {name} is {value!r}; expected two numbers, [low, high]"
        raise RecipeError(msg, code="E_RECIPE")
    for end in value:
        check_number(owner, name, end, limits=limits)
    if value[0] > value[1]:
        msg = f"{owner}: {name} is {value!r}; expected the lower number first"
        raise RecipeError(msg, code="E_RECIPE")


def _is_plane(plane: object) -> bool:
    if not isinstance(plane, tuple | list) or len(plane) != 3:  # noqa: PLR2004 - h, k, l
        return False
    return all(isinstance(index, int) and abs(index) <= 9 for index in plane) and any(plane)  # noqa: PLR2004 - as said


def _to_plain(value: object) -> object:
    return [_to_plain(item) for item in value] if isinstance(value, tuple) else value
