"""Instrument and sample effects of augmentation: each with its settings in physical units, as ranges to sample.

The formulas are in `xxact_core.peak_profiles.corrections` and `xxact_core.peak_profiles.shapes`;
`docs/explanation/augmentation.md` shows each effect. A range without a source covers common diffractometers and
specimens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from xxact_core.errors import RecipeError
from xxact_core.peak_profiles.shapes import doublet_wavelengths
from xxact_core.peak_profiles.smoothing import SMOOTHING_FILTERS

Range = tuple[float, float]
LOW_PLANES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (1, -1, 0))
"""Miller indices of common cleavage and growth planes."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """An instrument or sample effect.

    Every setting but `share` is a range (low, high), from which a value is sampled for each pattern.
    """

    share: float = 1.0
    """Fraction of augmented patterns that have the effect, 0-1."""

    LIMITS: ClassVar[Mapping[str, Range]] = {}
    """Smallest and largest valid value of each range."""
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset()
    """Ranges sampled uniformly in the logarithm; the others are sampled uniformly."""

    def __post_init__(self) -> None:
        """Check all settings; `RecipeError` names setting, value and limits."""
        check_number(type(self).__name__, "share", self.share, limits=(0.0, 1.0))
        for name, limits in self.LIMITS.items():
            check_range(type(self).__name__, name, getattr(self, name), limits=limits)
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML."""
        return {item.name: _to_plain(getattr(self, item.name)) for item in fields(self)}


@dataclass(frozen=True, kw_only=True)
class ZeroPointError(Effect):
    """Zero shift of the 2θ axis."""

    shift: Range = (-0.05, 0.05)
    """Zero shift [deg]."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"shift": (-5, 5)}


@dataclass(frozen=True, kw_only=True)
class SampleDisplacement(Effect):
    """Displacement of the specimen below the goniometer axis: `corrections.displacement_shift`."""

    displacement: Range = (-0.1, 0.1)
    """Displacement below the axis [mm]."""
    radius: Range = (150, 240)
    """Radius of the goniometer [mm]."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"displacement": (-5, 5), "radius": (10, 2000)}


@dataclass(frozen=True, kw_only=True)
class Strain(Effect):
    """Strain of the lattice within its crystal system: `corrections.strain_to_metric_change`.

    It stands for temperature, impurities in solution, and errors of cells that `calculated_cell` leaves. Source: scales
    of measured cells fitted to measured patterns of minerals are 0.997 to 1.003 (ours).
    """

    isotropic: Range = (-0.006, 0.006)
    """Relative change of all spacings."""
    anisotropic: Range = (0, 0.005)
    """Standard deviation of the entries of an additional random symmetric strain."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"isotropic": (-0.2, 0.2), "anisotropic": (0, 0.05)}


@dataclass(frozen=True, kw_only=True)
class InstrumentWidth(Effect):
    """Instrumental broadening, FWHM² = U tan²θ + V tan θ + W: `shapes.caglioti_fwhm_squared`.

    Source: Caglioti, Paoletti & Ricci (1958); range: measured patterns of minerals have peaks of 0.06 to 0.2° (5-95 %),
    size and strain included (ours).
    """

    fwhm: Range = (0.03, 0.15)
    """√W, the FWHM at low angles [deg]."""
    u: Range = (0, 0.02)
    """U [deg²]."""
    dip: Range = (0, 0.8)
    """c in V = -2 c √(U W); the width vanishes at one angle for c = 1."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"fwhm": (0.001, 5), "u": (0, 10), "dip": (0, 0.99)}


@dataclass(frozen=True, kw_only=True)
class CrystalliteSize(Effect):
    """Size broadening: `shapes.scherrer_fwhm`. Source: Scherrer (1918)."""

    size: Range = (20, 2000)
    """Volume-weighted crystallite size [nm], sampled logarithmically."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"size": (0.5, 1e6)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"size"})


@dataclass(frozen=True, kw_only=True)
class Microstrain(Effect):
    """Strain broadening: `shapes.strain_fwhm`. Source: Stokes & Wilson (1944)."""

    strain: Range = (0, 0.0012)
    """Relative variation of lattice spacings."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"strain": (0, 0.2)}


@dataclass(frozen=True, kw_only=True)
class PseudoVoigt(Effect):
    """Pseudo-Voigt peak shape. Source: Thompson, Cox & Hastings (1987)."""

    lorentzian: Range = (0, 0.8)
    """Lorentzian fraction η."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"lorentzian": (0, 1)}


@dataclass(frozen=True, kw_only=True)
class Texture(Effect):
    """Preferred orientation: `corrections.march_dollase_factor`. Source: March (1932), Dollase (1986).

    Range: with graininess, intensities of measured minerals differ from calculated ones by a standard deviation of the
    logarithm of 0.35 (5-95 %: 0.1 to 0.65; ours).
    """

    share: float = 0.7
    """Fraction of augmented patterns that have the effect, 0-1."""
    r: Range = (0.5, 1.8)
    """March-Dollase parameter, sampled logarithmically; 1 is no texture."""
    planes: tuple[tuple[int, int, int], ...] = LOW_PLANES
    """Miller indices of the planes, one of which is sampled."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"r": (0.05, 20)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"r"})

    def __post_init__(self) -> None:
        """Check the planes, too."""
        super().__post_init__()
        planes = self.planes if isinstance(self.planes, tuple | list) else ()
        if not planes or not all(_is_plane(plane) for plane in planes):
            msg = f"Texture: planes is {self.planes!r}; expected Miller indices from -9 to 9, such as [[0, 0, 1]]"
            raise RecipeError(msg, code="E_RECIPE")
        object.__setattr__(self, "planes", tuple(tuple(plane) for plane in planes))


@dataclass(frozen=True, kw_only=True)
class ThermalMotion(Effect):
    """Debye-Waller factor, alike for all atoms: `corrections.thermal_factor`.

    The range covers most inorganic crystals at room temperature. Source: Peng et al. (1996), Acta Cryst. A52, 456-470.
    """

    b: Range = (0, 1.2)
    """Isotropic displacement parameter B [Å²]."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"b": (0, 20)}


@dataclass(frozen=True, kw_only=True)
class Graininess(Effect):
    """Errors of intensities due to too few crystallites in the beam, log-normally distributed.

    Source: de Wolff, Taylor & Parrish (1959), J. Appl. Phys. 30, 63-69.
    """

    share: float = 0.7
    """Fraction of augmented patterns that have the effect, 0-1."""
    spread: Range = (0, 0.5)
    """Standard deviation of the logarithm of the intensities."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"spread": (0, 3)}


@dataclass(frozen=True, kw_only=True)
class Impurity(Effect):
    """Reflections of a second phase."""

    share: float = 0.2
    """Fraction of augmented patterns that have the effect, 0-1."""
    weight: Range = (0.005, 0.15)
    """Strongest reflection relative to that of the main phase, sampled logarithmically."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"weight": (1e-6, 10)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"weight"})


@dataclass(frozen=True, kw_only=True)
class Doublet(Effect):
    """Kα1 and Kα2 peaks with intensities 2 : 1, as without a monochromator: `shapes.doublet_wavelengths`."""

    share: float = 0.8
    """Fraction of augmented patterns that have the effect, 0-1."""


@dataclass(frozen=True, kw_only=True)
class OtherRadiation(Effect):
    """Measurement with another anode than Cu, converted to Cu Kα through q as measured patterns are.

    Intensity ratios, widths and shifts are those at the measured angles (`corrections.lorentz_polarisation`).
    """

    share: float = 0.15
    """Fraction of augmented patterns that have the effect, 0-1."""
    anodes: tuple[str, ...] = ("Co", "Mo", "Fe", "Cr", "Ag")
    """Elements of the anodes, one of which is sampled."""
    first: Range = (5, 15)
    """First measured angle [deg 2θ with this radiation]."""
    last: Range = (80, 140)
    """Last measured angle [deg 2θ with this radiation]."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"first": (0, 60), "last": (60, 179)}

    def __post_init__(self) -> None:
        """Check the anodes, too; `WavelengthError` lists the known ones."""
        super().__post_init__()
        if not isinstance(self.anodes, tuple | list) or not self.anodes:
            msg = f"OtherRadiation: anodes is {self.anodes!r}; expected a list of elements, such as ['Co', 'Mo']"
            raise RecipeError(msg, code="E_RECIPE")
        for anode in self.anodes:
            doublet_wavelengths(anode)
        object.__setattr__(self, "anodes", tuple(self.anodes))


@dataclass(frozen=True, kw_only=True)
class Background(Effect):
    """Background relative to the strongest peak, most of which is subtracted.

    Models read patterns whose background is subtracted, so little remains by default; counting noise is that of the
    full background. Source of `remains`: in quiet parts of measured patterns, 46 to 53 % of the points are 0 after the
    subtraction (5-95 %; ours), so that little but noise is left.
    """

    smooth: Range = (0, 0.15)
    """Height of a random Chebyshev polynomial of degree 5."""
    hump: Range = (0, 0.1)
    """Height of a Gaussian hump, as of glass."""
    hump_position: Range = (15, 35)
    """Position of the hump [deg 2θ]."""
    hump_width: Range = (4, 10)
    """FWHM of the hump [deg 2θ]."""
    fluorescence: Range = (0, 0.15)
    """Height of a constant background."""
    remains: Range = (-0.03, 0.03)
    """Fraction left after subtraction, negative if too much was subtracted; (1, 1) subtracts nothing."""

    LIMITS: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("smooth", "hump", "fluorescence"), (0, 100)),
        "hump_position": (0, 180),
        "hump_width": (0.5, 90),
        "remains": (-1, 1),
    }


@dataclass(frozen=True, kw_only=True)
class CountingNoise(Effect):
    """Poisson noise."""

    counts: Range = (300, 1e5)
    """Counts of the strongest peak above the background, sampled logarithmically."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"counts": (1, 1e9)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"counts"})


@dataclass(frozen=True, kw_only=True)
class LimitedRange(Effect):
    """Measurement of part of the 2θ range; the rest is masked."""

    share: float = 0.4
    """Fraction of augmented patterns that have the effect, 0-1."""
    first: Range = (5, 25)
    """First measured angle [deg 2θ at Cu Kα]."""
    last: Range = (55, 90)
    """Last measured angle [deg 2θ at Cu Kα]."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"first": (0, 45), "last": (45, 180)}


@dataclass(frozen=True, kw_only=True)
class CalculatedCell(Effect):
    """Calculated cells scaled to measured ones; measured cells (`xxact build --measured-cells`) stay as they are.

    A uniform range of the mean 0.989 and the standard deviation 0.005. Source: scales of calculated cells fitted to
    measured patterns, ours; Haas, Tran & Blaha (2009), Phys. Rev. B 79, 085104: PBE lattices are about 1 % too long.
    """

    scale: Range = (0.98, 0.998)
    """Factor of all spacings."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"scale": (0.8, 1.2)}


@dataclass(frozen=True, kw_only=True)
class AxialDivergence(Effect):
    """Asymmetry of low-angle peaks by axial divergence: `corrections.axial_divergence_parts`.

    Source: Finger, Cox & Jephcoat (1994), J. Appl. Cryst. 27, 892-900; Soller slits of 1.5 to 5°.
    """

    share: float = 0.6
    """Fraction of augmented patterns that have the effect, 0-1."""
    divergence: Range = (0.005, 0.035)
    """S/L = H/L: half the axial size of sample and receiving slit, relative to the radius of the goniometer."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"divergence": (0, 0.2)}


@dataclass(frozen=True, kw_only=True)
class KAlpha2Ratio(Effect):
    """Kα2 weaker or stronger than half of Kα1, as behind a monochromator or after stripping in software.

    It changes patterns that have the effect `doublet`.
    """

    share: float = 0.3
    """Fraction of augmented patterns that have the effect, 0-1."""
    ratio: Range = (0.0, 0.6)
    """Intensity of Kα2 relative to Kα1."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"ratio": (0, 1)}


@dataclass(frozen=True, kw_only=True)
class FilterLines(Effect):
    """Residual Kβ and W Lα of the tube: weak copies of strong peaks at lower angles, as behind a filter.

    Source: Jenkins & Snyder (1996), Introduction to X-ray Powder Diffractometry, chapter 4: filters leave 0.5 to 2 % of
    Kβ; tungsten of the filament grows on the anode with the age of the tube.
    """

    share: float = 0.35
    """Fraction of augmented patterns that have the effect, 0-1."""
    k_beta: Range = (0.0005, 0.02)
    """Intensity of Kβ relative to Kα, sampled logarithmically."""
    tungsten: Range = (0.0002, 0.01)
    """Intensity of W Lα relative to Kα, sampled logarithmically."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"k_beta": (1e-6, 1), "tungsten": (1e-6, 1)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"k_beta", "tungsten"})


@dataclass(frozen=True, kw_only=True)
class FilterEdge(Effect):
    """White radiation that a Kβ filter transmits: a step of the background below strong peaks, at its absorption edge.

    The step is where the reflection diffracts the edge of the filter (Ni for Cu), and falls to zero towards longer
    wavelengths. Source: Jenkins & Snyder (1996), chapter 4.
    """

    share: float = 0.15
    """Fraction of augmented patterns that have the effect, 0-1."""
    height: Range = (0.001, 0.01)
    """Height of the step relative to the peak, sampled logarithmically."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"height": (1e-6, 1)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"height"})


@dataclass(frozen=True, kw_only=True)
class ScanStep(Effect):
    """Points measured at another step than the grid's, and interpolated to it as those of a file are.

    Counting noise is that of the measured points: interpolation makes it smoother, averaging of fine steps whiter and
    weaker. Source of the range: step widths of the instrument files and measured patterns that we hold.
    """

    share: float = 0.35
    """Fraction of augmented patterns that have the effect, 0-1."""
    step: Range = (0.01, 0.1)
    """Step [deg 2θ], sampled logarithmically."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"step": (0.005, 0.5)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"step"})


@dataclass(frozen=True, kw_only=True)
class DetectorBins(Effect):
    """Measured points that are means over a detector bin as wide as the step, instead of values at an angle."""

    share: float = 0.5
    """Fraction of augmented patterns that have the effect, 0-1."""


@dataclass(frozen=True, kw_only=True)
class Smoothing(Effect):
    """Smoothing of the measured points by the software of an instrument, which correlates their noise.

    Source: Savitzky & Golay (1964), Anal. Chem. 36, 1627-1639, of second order; moving averages and Gaussians are
    offered beside it.
    """

    share: float = 0.2
    """Fraction of augmented patterns that have the effect, 0-1."""
    width: Range = (0.01, 0.1)
    """Standard deviation of the filter [deg 2θ], sampled logarithmically; for a Savitzky-Golay filter that of the
    moving average with the same noise."""
    methods: tuple[str, ...] = ("gaussian", "moving_average", "savitzky_golay")
    """Filters, one of which is sampled."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"width": (0.001, 0.5)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"width"})

    def __post_init__(self) -> None:
        """Check the methods, too."""
        super().__post_init__()
        methods = self.methods if isinstance(self.methods, tuple | list) else ()
        if not methods or any(method not in SMOOTHING_FILTERS for method in methods):
            msg = f"Smoothing: methods is {self.methods!r}; expected a list of {', '.join(SMOOTHING_FILTERS)}"
            raise RecipeError(msg, code="E_RECIPE")
        object.__setattr__(self, "methods", tuple(self.methods))


@dataclass(frozen=True, kw_only=True)
class ProcessedSmoothing(Effect):
    """Gaussian smoothing of a pattern without background whose negative values were cut, as software exports it.

    The mean of cut noise is above 0, so that smoothing makes a base line of it.
    """

    share: float = 0.17
    """Fraction of augmented patterns that have the effect, 0-1."""
    width: Range = (0.015, 0.1)
    """Standard deviation of the Gaussian [deg 2θ], sampled logarithmically."""
    subtracted: Range = (0, 1)
    """Fraction of the base line, the median of the pattern, that is subtracted again."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"width": (0.001, 0.5), "subtracted": (0, 1)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"width"})


@dataclass(frozen=True, kw_only=True)
class ProcessedBins(Effect):
    """Means over bins of a pattern without background whose negative values were cut, interpolated to the grid."""

    share: float = 0.08
    """Fraction of augmented patterns that have the effect, 0-1."""
    step: Range = (0.03, 0.1)
    """Width of the bins [deg 2θ], sampled logarithmically."""

    LIMITS: ClassVar[Mapping[str, Range]] = {"step": (0.02, 0.5)}
    LOGARITHMIC: ClassVar[frozenset[str]] = frozenset({"step"})


def check_number(owner: str, name: str, value: object, *, limits: Range) -> None:
    """Check that a value is a finite number within the limits; `RecipeError` names the setting."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not limits[0] <= value <= limits[1]:  # type: ignore[operator]  # a number, by the line above
        msg = f"{owner}: {name} is {value!r}; expected a number from {limits[0]:g} to {limits[1]:g}"
        raise RecipeError(msg, code="E_RECIPE")


def check_range(owner: str, name: str, value: object, *, limits: Range) -> None:
    """Check that a value is a range (low, high) within the limits; `RecipeError` names the setting."""
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
