"""Peaks of a diffractometer: width against angle, shape, and the Kα doublet.

The width functions use operators only and take tan θ or cos θ, so that they accept numbers, arrays and tensors.
Parameters may be arrays that broadcast, such as a crystallite size for each pattern of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from xxact_core.errors import PatternError, WavelengthError, shorten
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS, change_wavelength

if TYPE_CHECKING:
    from torch import Tensor

Numbers = TypeVar("Numbers", float, np.ndarray, "Tensor")

FWHM_OF_SIGMA = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian of σ = 1."""

SCHERRER_CONSTANT = 0.9
"""K of the Scherrer equation for spheres and widths at half maximum. Source: Patterson (1939), Phys. Rev. 56, 978."""

K_ALPHA_SHARES = (2 / 3, 1 / 3)
"""Fractions of Kα1 and Kα2 in the intensity of Kα.

Source: International Tables for Crystallography C, section 4.2.2.
"""

TUNGSTEN_L_ALPHA = 1.47639
"""Wavelength of W Lα1 [Å], of tungsten that evaporates from the filament.

Source: Bearden (1967), Rev. Mod. Phys. 39, 78-124.
"""

FILTER_EDGES = {"Cu": 1.48807, "Co": 1.74346, "Mo": 0.68883, "Fe": 1.89643, "Cr": 2.26921, "Ag": 0.53395}
"""Wavelength of the K absorption edge [Å] of the usual Kβ filter of an anode: Ni, Fe, Zr, Mn, V, Rh.

Source: International Tables for Crystallography C, section 4.2.2.
"""

CHECKED_RANGE = (5.0, 90.0)
"""Angles 2θ [deg] at which a width must be real: those of the shared grid."""

_DEGREES = 180 / math.pi


def fwhm_to_sigma(fwhm: Numbers) -> Numbers:
    """σ = FWHM / 2√(2 ln 2) of a Gaussian; same unit, same shape."""
    return fwhm / FWHM_OF_SIGMA


def sigma_to_fwhm(sigma: Numbers) -> Numbers:
    """FWHM = 2√(2 ln 2) σ of a Gaussian; same unit, same shape."""
    return sigma * FWHM_OF_SIGMA


def caglioti_fwhm_squared(tan_theta: Numbers, *, u: float | Numbers, v: float | Numbers, w: float | Numbers) -> Numbers:
    """FWHM² = U tan²θ + V tan θ + W [deg²] of an instrument; shape of `tan_theta`.

    `check_caglioti` says whether it is above 0 everywhere. Source: Caglioti, Paoletti & Ricci (1958), Nucl. Instrum. 3,
    223-228.
    """
    squared: Numbers = (u * tan_theta + v) * tan_theta + w
    return squared


def scherrer_fwhm(cos_theta: Numbers, *, size: float | Numbers, wavelength: float = CU_K_ALPHA) -> Numbers:
    """FWHM = K λ / (L cos θ) [deg 2θ] of crystallites of `size` L [nm] at a wavelength λ [Å]; shape of `cos_theta`.

    Source: Scherrer (1918), Nachr. Ges. Wiss. Göttingen, 98-100; K = 0.9.
    """
    return SCHERRER_CONSTANT * wavelength / 10 * _DEGREES / (size * cos_theta)


def strain_fwhm(tan_theta: Numbers, *, strain: float | Numbers) -> Numbers:
    """FWHM = 4 ε tan θ [deg 2θ] of a microstrain ε (relative, no unit); shape of `tan_theta`.

    Source: Stokes & Wilson (1944), Proc. Phys. Soc. 56, 174.
    """
    return 4 * _DEGREES * strain * tan_theta


def combine_fwhm(first: Numbers, second: Numbers, third: float | Numbers = 0.0) -> Numbers:
    """Width √(Γ₁² + Γ₂² + Γ₃²) of a peak with several contributions [deg]; shapes broadcast.

    Exact for Gaussian contributions. Widths of Lorentzian ones would add; for those this is a convention.
    """
    combined: Numbers = (first**2 + second**2 + third**2) ** 0.5
    return combined


def gaussian(distance: np.ndarray, *, fwhm: np.ndarray | float) -> np.ndarray:
    """exp(-4 ln 2 x² / Γ²): height 1 at x = 0, Γ its full width at half maximum; shapes broadcast."""
    return np.exp(-4 * math.log(2) * (distance / fwhm) ** 2)


def lorentzian(distance: Numbers, *, fwhm: float | Numbers) -> Numbers:
    """1 / (1 + 4x² / Γ²): height 1 at x = 0, Γ its full width at half maximum; shapes broadcast."""
    return 1 / (1 + 4 * (distance / fwhm) ** 2)


def heights_of_equal_area(intensity: Numbers, *, sigma: Numbers, reference: float | Numbers) -> Numbers:
    """Heights I σ₀ / σ of peaks whose areas are proportional to their intensities; shape (peaks,).

    The integrated intensity is the area: a peak broader than `reference` σ₀ is lower. Holds for Gaussians, and for
    pseudo-Voigt peaks of equal η.
    """
    return intensity * (reference / sigma)


def doublet_wavelengths(anode: str) -> tuple[float, float, float]:
    """Wavelengths [Å] of Kα1 and Kα2 of an anode ("Cu", "Mo", ...) and their weighted mean Kα.

    Raises:
        WavelengthError: the anode is not known; the message lists those that are.
    """
    known = tuple(name.removesuffix("Ka") for name in WAVELENGTHS if name.endswith("Ka"))
    if anode not in known:
        msg = f"anode {shorten(anode, limit=40)!r} is not known; expected one of {', '.join(known)}"
        raise WavelengthError(msg, code="E_WAVELENGTH")
    return WAVELENGTHS[f"{anode}Ka1"], WAVELENGTHS[f"{anode}Ka2"], WAVELENGTHS[f"{anode}Ka"]


def residual_wavelengths(anode: str) -> tuple[float, float, float]:
    """Wavelengths [Å] of Kβ of an anode, of W Lα, and of the absorption edge of the anode's Kβ filter.

    Raises:
        WavelengthError: the anode is not known; the message lists those that are.
    """
    doublet_wavelengths(anode)
    return WAVELENGTHS[f"{anode}Kb1"], TUNGSTEN_L_ALPHA, FILTER_EDGES[anode]


def split_doublet(two_theta: np.ndarray, intensity: np.ndarray, *, anode: str) -> tuple[np.ndarray, np.ndarray]:
    """Kα peaks as Kα1 and Kα2: positions [deg] and heights 2:1, shape (2 peaks,), all Kα1 first.

    Positions belong to the weighted mean wavelength of the anode; NaN where Kα2 cannot be scattered.

    Raises:
        WavelengthError: the anode is not known.
    """
    *both, mean = doublet_wavelengths(anode)
    positions = [change_wavelength(two_theta, measured=mean, target=wavelength) for wavelength in both]
    heights = [np.asarray(intensity, dtype=np.float64) * share for share in K_ALPHA_SHARES]
    return np.concatenate(positions), np.concatenate(heights)


def check_caglioti(u: float, v: float, w: float) -> None:
    """Refuse U, V, W [deg²] for which FWHM² is not above 0 somewhere between 5° and 90° 2θ.

    Raises:
        PatternError: the message names the angle at which FWHM² is smallest (E_VALUES).
    """
    first, last = (math.tan(math.radians(angle / 2)) for angle in CHECKED_RANGE)
    turning = min(max(-v / (2 * u), first), last) if u else first
    lowest = min(first, turning, last, key=lambda tan_theta: caglioti_fwhm_squared(tan_theta, u=u, v=v, w=w))
    squared = caglioti_fwhm_squared(lowest, u=u, v=v, w=w)
    if not (math.isfinite(squared) and squared > 0):
        angle = 2 * math.degrees(math.atan(lowest))
        msg = (
            f"U = {u:g}, V = {v:g}, W = {w:g} give FWHM² = {squared:.3g} deg² at 2θ = {angle:.1f}°; "
            f"expected more than 0 within {CHECKED_RANGE[0]:g}-{CHECKED_RANGE[1]:g}°"
        )
        raise PatternError(msg, code="E_VALUES")


@dataclass(frozen=True, kw_only=True)
class PeakShape:
    """Widths and shape of peaks; with the defaults, Gaussians of one width."""

    caglioti: tuple[float, float, float] | None = None
    """U, V, W of the instrument [deg²]; None for one width at all angles."""

    crystallite_size: float = math.inf
    """Crystallite size L [nm], above 0."""

    microstrain: float = 0.0
    """Microstrain ε, relative, at least 0 and below 1."""

    lorentzian: float = 0.0
    """Lorentzian fraction η of the pseudo-Voigt shape, 0 to 1."""

    anode: str | None = None
    """Element whose Kα is split into Kα1 and Kα2; None for a single wavelength."""

    equal_area: bool = True
    """Whether broadened peaks keep their areas; else their heights."""

    def __post_init__(self) -> None:
        """Check the values; `PatternError` or `WavelengthError` names the first bad one."""
        if self.caglioti is not None:
            check_caglioti(*self.caglioti)
        if self.anode is not None:
            doublet_wavelengths(self.anode)
        possible = [
            ("crystallite_size", self.crystallite_size, self.crystallite_size > 0, "a size above 0 nm"),
            ("microstrain", self.microstrain, 0 <= self.microstrain < 1, "a relative change of at least 0, below 1"),
            ("lorentzian", self.lorentzian, 0 <= self.lorentzian <= 1, "a fraction of 0 to 1"),
        ]
        for name, value, holds, expected in possible:
            if not holds:
                msg = f"{name} is {value}; expected {expected}"
                raise PatternError(msg, code="E_VALUES")

    def sigma(self, two_theta: np.ndarray, *, sigma: float) -> np.ndarray:
        """Width σ [deg] of peaks at `two_theta` [deg], shape (peaks,): contributions combined by `combine_fwhm`.

        `sigma` [deg] is the instrumental width without `caglioti`. Outside of 5-90° the instrument is as
        wide as at the end of that range.
        """
        theta = np.deg2rad(np.asarray(two_theta, dtype=np.float64)) / 2
        tan_theta, cos_theta = np.tan(theta), np.cos(theta)
        instrument = np.full_like(theta, sigma_to_fwhm(sigma))
        if self.caglioti is not None:
            u, v, w = self.caglioti
            inside = np.tan(np.deg2rad(np.clip(two_theta, *CHECKED_RANGE)) / 2)
            instrument = np.sqrt(caglioti_fwhm_squared(inside, u=u, v=v, w=w))
        size = scherrer_fwhm(cos_theta, size=self.crystallite_size)
        strain = strain_fwhm(tan_theta, strain=self.microstrain)
        return fwhm_to_sigma(combine_fwhm(instrument, size, strain))
