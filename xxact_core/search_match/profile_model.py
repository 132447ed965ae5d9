"""Reflections of several phases → calculated profile, and its derivatives by everything that is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from xxact_core.peak_profiles.corrections import lorentz_polarisation, march_dollase_factor, thermal_factor
from xxact_core.search_match.phase_lines import PhaseLines

_GAUSS_AREA = 2 * math.sqrt(math.log(2) / math.pi)
_GAUSS_EXPONENT = 4 * math.log(2)
_LORENTZ_AREA = 2 / math.pi

_TCH = (2.69269, 2.42843, 4.47163, 0.07842)
"""Coefficients of the width of a Voigt peak. Source: Thompson, Cox & Hastings (1987), J. Appl. Cryst. 20, 79-83."""

_SMALLEST_WIDTH = 1e-3
_STEP = 1e-4

MERGED_ABOVE, MERGED_WITHIN = 300, 0.15
"""Peaks of a phase that has more than this number are merged where they are closer than this fraction of their width,
which a profile does not show. Ours."""

_SMALLEST_SQUARE, _LARGEST_SQUARE = 1e-6, 0.99
"""Range of sin²θ: elsewhere the Lorentz factor diverges."""


@dataclass(frozen=True)
class Radiation:
    """The wavelengths of a measurement."""

    wavelength: float
    """Wavelength of the first line [Å]: that of Kα1 where there is a doublet."""
    second: float = 0.0
    """Wavelength of Kα2 [Å]; 0 where there is one line."""
    ratio: float = 0.0
    """Intensity of Kα2 relative to Kα1."""

    def scaled(self, scale: float) -> Radiation:
        """The wavelengths multiplied by a factor."""
        return Radiation(self.wavelength * scale, self.second * scale, self.ratio)

    @property
    def lines(self) -> tuple[tuple[float, float], ...]:
        """Wavelengths [Å] with their share of the intensity."""
        if not self.second:
            return ((self.wavelength, 1.0),)
        return (self.wavelength, 1 / (1 + self.ratio)), (self.second, self.ratio / (1 + self.ratio))


@dataclass(frozen=True, eq=False)
class InstrumentWidth:
    """Width of the peaks of ideal crystals: Γ_G² = U tan²θ + V tan θ + W, Γ_L = X / cos θ + Y tan θ."""

    u: float = 0.0
    """U [deg²]."""
    v: float = 0.0
    """V [deg²]."""
    w: float = 0.0
    """W [deg²]."""
    x: float = 0.0
    """X [deg]."""
    y: float = 0.0
    """Y [deg]."""

    def gaussian(self, tangent: np.ndarray) -> np.ndarray:
        """Gaussian width [deg] at tan θ."""
        squared = (self.u * tangent + self.v) * tangent + self.w
        width: np.ndarray = np.sqrt(np.maximum(squared, _SMALLEST_WIDTH**2))
        return width

    def lorentzian(self, tangent: np.ndarray) -> np.ndarray:
        """Lorentzian width [deg] at tan θ."""
        width: np.ndarray = np.maximum(self.x * np.sqrt(1 + tangent**2) + self.y * tangent, 0)
        return width


@dataclass(frozen=True, eq=False)
class PhaseState:
    """A phase with the values that are fitted to it."""

    lines: PhaseLines
    strain: np.ndarray
    """Strains of the cell, shape (strains,)."""
    scale: float = 0.0
    """Scale of the intensities."""
    size_width: float = 0.0
    """Lorentzian width by crystallite size [deg]: Γ = X / cos θ."""
    strain_width: float = 0.0
    """Lorentzian width by microstrain [deg]: Γ = Y tan θ."""
    b: float = 0.6
    """Isotropic displacement parameter B [Å²]."""
    texture: float = 1.0
    """March-Dollase coefficient r; 1 for random orientation."""
    texture_axis: tuple[int, int, int] | None = None
    """Miller indices of the texture axis, which every operation of the Laue group keeps or inverts."""

    @property
    def factor(self) -> np.ndarray:
        """Factors of the intensities by preferred orientation, shape (reflections,)."""
        if self.texture_axis is None:
            return np.ones(len(self.lines.power))
        metric, axis = self.lines.metric, np.array(self.texture_axis, dtype=np.float64)
        hkl = self.lines.hkl.astype(np.float64)
        along = hkl @ metric @ axis
        squared = np.einsum("lh,hk,lk->l", hkl, metric, hkl) * float(axis @ metric @ axis)
        return march_dollase_factor(np.minimum(along**2 / squared, 1.0), r=self.texture)


@dataclass(frozen=True, eq=False)
class ModelState:
    """Everything that determines the calculated profile."""

    phases: tuple[PhaseState, ...]
    instrument: InstrumentWidth
    zero: float = 0.0
    """Zero shift [deg 2θ]."""
    displacement: float = 0.0
    """Shift by sample displacement at θ = 0 [deg 2θ], in proportion to cos θ."""
    background: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Coefficients of the smooth correction of the background."""


@dataclass(frozen=True, eq=False)
class PhaseProfile:
    """The calculated profile of one phase of scale 1, with derivatives."""

    profile: np.ndarray
    """Shape (points,)."""
    derivatives: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Derivatives by zero shift, displacement, w, u, size, microstrain and b, each of shape (points,), and by strain,
    shape (strains, points); empty where they were not asked for."""

    def derivative(self, name: str, number: int = 0) -> np.ndarray:
        """Derivative by one value, shape (points,)."""
        if name == "strain":
            by_strain: np.ndarray = self.derivatives[name][number]
            return by_strain
        return self.derivatives[name]


def voigt_width(gaussian: np.ndarray, lorentzian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Full width at half maximum and Lorentzian fraction η of pseudo-Voigt peaks, from the widths of both parts.

    Source: Thompson, Cox & Hastings (1987), J. Appl. Cryst. 20, 79-83.
    """
    fifth = gaussian**5 + lorentzian**5
    for power, coefficient in enumerate(_TCH, start=1):
        fifth += coefficient * gaussian ** (5 - power) * lorentzian**power
    width = fifth**0.2
    ratio = np.minimum(lorentzian / width, 1)
    return width, np.clip(1.36603 * ratio - 0.47719 * ratio**2 + 0.11116 * ratio**3, 0, 1)


def line_positions(
    lines: PhaseLines, strain: np.ndarray, *, wavelength: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2θ without shifts [deg], NaN where unreachable, sin²θ, and 1/d² [Å⁻²] of the reflections."""
    squared = lines.inverse_d_squared + strain @ lines.change
    sine_squared = squared * (wavelength / 2) ** 2
    with np.errstate(invalid="ignore"):
        two_theta = np.degrees(2 * np.arcsin(np.sqrt(sine_squared)))
    return two_theta, sine_squared, squared


def line_areas(state: PhaseState, *, wavelength: float) -> np.ndarray:
    """Integrated intensities of the reflections of a phase of scale 1, shape (reflections,)."""
    _, sine_squared, squared = line_positions(state.lines, state.strain, wavelength=wavelength)
    safe = np.clip(sine_squared, 1e-6, 0.995)
    areas: np.ndarray = state.lines.power * lorentz_polarisation(safe) * thermal_factor(squared, b=state.b)
    return areas if state.texture_axis is None else areas * state.factor


@dataclass(frozen=True, eq=False)
class _Peaks:
    """All peaks of a phase: every reflection at every wavelength."""

    position: np.ndarray
    area: np.ndarray
    tangent: np.ndarray
    cosine: np.ndarray
    slope: np.ndarray
    """Derivative of the position by each strain [deg], shape (strains, peaks)."""
    inverse_d_squared: np.ndarray


def _phase_peaks(state: PhaseState, model: ModelState, radiation: Radiation, *, weakest: float) -> _Peaks:
    area = line_areas(state, wavelength=radiation.wavelength)
    kept = area > weakest * area.max(initial=0.0)
    parts = []
    for wavelength, share in radiation.lines:
        angle, sine_squared, squared = line_positions(state.lines, state.strain, wavelength=wavelength)
        with np.errstate(invalid="ignore"):
            good = kept & (sine_squared < _LARGEST_SQUARE) & (sine_squared > _SMALLEST_SQUARE)
        sine = np.sqrt(sine_squared[good])
        cosine = np.sqrt(1 - sine**2)
        by_square = np.degrees((wavelength / 2) ** 2 / (sine * cosine))  # d2θ / d(1/d²)
        parts.append(
            _Peaks(
                position=angle[good] + model.zero + model.displacement * cosine,
                area=area[good] * share,
                tangent=sine / cosine,
                cosine=cosine,
                slope=by_square * state.lines.change[:, good],
                inverse_d_squared=squared[good],
            )
        )
    return _Peaks(*(np.concatenate([getattr(one, item.name) for one in parts], axis=-1) for item in fields(_Peaks)))


def _peak_widths(
    peaks: _Peaks, state: PhaseState, model: ModelState
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gaussian, Lorentzian and full widths [deg], and the Lorentzian fraction of the peaks."""
    gaussian = model.instrument.gaussian(peaks.tangent)
    lorentzian = (
        model.instrument.lorentzian(peaks.tangent)
        + state.size_width / peaks.cosine
        + state.strain_width * peaks.tangent
    )
    return gaussian, lorentzian, *voigt_width(gaussian, lorentzian)


def _merged(peaks: _Peaks, width: np.ndarray) -> _Peaks:
    """Peaks closer than `MERGED_WITHIN` widths as one at their centre of gravity."""
    order = np.argsort(peaks.position, kind="stable")
    place = np.concatenate([[0.0], np.cumsum(np.diff(peaks.position[order]) / (MERGED_WITHIN * width[order][1:]))])
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.unique(place.astype(np.int64), return_inverse=True)[1]
    area = np.bincount(group, peaks.area)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, values * peaks.area) / np.maximum(area, 1e-300)

    return _Peaks(
        position=mean(peaks.position),
        area=area,
        tangent=mean(peaks.tangent),
        cosine=mean(peaks.cosine),
        slope=np.stack([mean(slope) for slope in peaks.slope]),
        inverse_d_squared=mean(peaks.inverse_d_squared),
    )


def phase_profile(
    state: PhaseState,
    model: ModelState,
    two_theta: np.ndarray,
    radiation: Radiation,
    *,
    derivatives: bool = False,
    reach: float = 8.0,
    weakest: float = 0.0,
) -> PhaseProfile:
    """The profile of a phase of scale 1 on ascending angles.

    Args:
        state: the phase.
        model: shared shifts and widths.
        two_theta: angles [deg], shape (points,).
        radiation: wavelengths.
        derivatives: with all derivatives.
        reach: distance from a peak, in widths, at which its tails are cut.
        weakest: reflections weaker than this fraction of the strongest are left out.
    """
    peaks = _phase_peaks(state, model, radiation, weakest=weakest)
    if len(peaks.area) > MERGED_ABOVE:
        peaks = _merged(peaks, _peak_widths(peaks, state, model)[2])
    points = two_theta.size
    gaussian, lorentzian, width, eta = _peak_widths(peaks, state, model)
    low = np.searchsorted(two_theta, peaks.position - reach * width)
    lengths = np.searchsorted(two_theta, peaks.position + reach * width) - low
    peak = np.repeat(np.arange(len(lengths)), lengths)
    at = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths - low, lengths)
    inverse_width = 1 / width
    t = (two_theta[at] - peaks.position[peak]) * inverse_width[peak]
    gauss = _GAUSS_AREA * np.exp(-_GAUSS_EXPONENT * t * t)
    core = 1 / (1 + 4 * t * t)
    lorentz = _LORENTZ_AREA * core
    share = eta[peak]
    scaled = (peaks.area * inverse_width)[peak]
    values = scaled * ((1 - share) * gauss + share * lorentz)
    profile = np.bincount(at, values, minlength=points)
    if not derivatives:
        return PhaseProfile(profile)

    def summed(of_points: np.ndarray, of_peaks: np.ndarray) -> np.ndarray:
        return np.bincount(at, of_points * of_peaks[peak], minlength=points)

    inverse = inverse_width[peak]
    by_position = scaled * inverse * t * ((1 - share) * gauss * (2 * _GAUSS_EXPONENT) + share * lorentz * core * 8)
    by_width = by_position * t - values * inverse
    by_eta = scaled * (lorentz - gauss)
    wider = (voigt_width(gaussian + _STEP, lorentzian), voigt_width(gaussian, lorentzian + _STEP))
    by_gauss, by_lorentz = (
        by_width * ((new_width - width) / _STEP)[peak] + by_eta * ((new_eta - eta) / _STEP)[peak]
        for new_width, new_eta in wider
    )
    found = {
        "zero": np.bincount(at, by_position, minlength=points),
        "displacement": summed(by_position, peaks.cosine),
        "strain": np.stack([summed(by_position, slope) for slope in peaks.slope]),
        "w": summed(by_gauss, 1 / (2 * gaussian)),
        "u": summed(by_gauss, peaks.tangent**2 / (2 * gaussian)),
        "size": summed(by_lorentz, 1 / peaks.cosine),
        "microstrain": summed(by_lorentz, peaks.tangent),
        "b": summed(values, -peaks.inverse_d_squared / 2),
    }
    return PhaseProfile(profile, found)
