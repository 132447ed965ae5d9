"""Measured pattern → its peaks: position, spacing, height, width and area, from fits of pseudo-Voigt profiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import two_theta_to_d
from xxact_core.patterns.pattern import Pattern
from xxact_core.peak_profiles.shapes import K_ALPHA_SHARES, doublet_wavelengths, gaussian, lorentzian
from xxact_core.processing.background import points_to_baseline
from xxact_core.processing.kalpha2 import wavelength_to_anode
from xxact_core.processing.resampling import angles_to_stretches
from xxact_core.search_match.measured_profile import peak_width
from xxact_core.search_match.peak_finding import find_maxima, prominences

SIGNIFICANCE = 5.0
"""Height of the weakest peak in units of the noise of the smoothed pattern. Ours."""

LEAST_HEIGHT = 0.5
"""Height of the weakest peak [% of the highest]. Ours."""

MOST_PEAKS = 300
"""Largest number of peaks; the highest are kept."""

FEWEST_POINTS = 25
"""Smallest number of points of a pattern."""

_REACH = 3.0
"""Distance from its outermost peaks up to which a group is fitted, and from which peaks are fitted apart, in widths."""

_GROUP = 6
"""Largest number of peaks that are fitted together."""

_WIDEST, _NARROWEST = 5.0, 0.3
"""Limits of the width of a fitted peak, relative to the usual width of the pattern."""

_HIGH, _TRIED, _CLEARLY = 0.1, 8, 0.6
"""Height relative to the highest from which peaks decide about Kα2, their largest number, and the ratio of the squared
residuals without and with Kα2 below which there is none. Ours."""

_FLAT = 0.455
"""Median of the squares of normally distributed numbers of variance 1."""

_BLOCK = 100


@dataclass(frozen=True)
class Peak:
    """A peak of a measured pattern; of a Kα doublet, its Kα1 line."""

    two_theta: float
    """Position [deg 2θ]."""
    u_two_theta: float
    """Standard uncertainty of the position by counting [deg 2θ]."""
    d: float
    """Lattice spacing [Å]; NaN where the wavelength is unknown."""
    height: float
    """Height above the background, in the unit of the pattern."""
    fwhm: float
    """Full width at half maximum [deg 2θ], as measured."""
    area: float
    """Area above the background, both lines of a doublet together [unit of the pattern × deg]."""


@dataclass(frozen=True, eq=False)
class PeakList:
    """The peaks of a pattern, by ascending angle."""

    peaks: tuple[Peak, ...]
    wavelength: float | None
    """Wavelength [Å] that belongs to the positions: that of Kα1 where `doublet`; None where it is unknown."""
    doublet: bool
    """Whether each peak was fitted with its Kα2 line."""

    @property
    def relative_heights(self) -> np.ndarray:
        """Heights [% of the highest], shape (peaks,)."""
        return _relative([peak.height for peak in self.peaks])

    @property
    def relative_areas(self) -> np.ndarray:
        """Areas [% of the largest], shape (peaks,)."""
        return _relative([peak.area for peak in self.peaks])

    def to_columns(self) -> dict[str, np.ndarray]:
        """The peaks as columns: position, spacing, height, width, area and relative values."""
        names = ("two_theta", "u_two_theta", "d", "height", "fwhm", "area")
        columns = {name: np.array([getattr(peak, name) for peak in self.peaks], dtype=np.float64) for name in names}
        return {**columns, "relative_height": self.relative_heights, "relative_area": self.relative_areas}


def find_peaks(
    pattern: Pattern,
    *,
    background: np.ndarray | None = None,
    significance: float = SIGNIFICANCE,
    least_height: float = LEAST_HEIGHT,
    doublet: bool | None = None,
) -> PeakList:
    """Find the peaks of a measured pattern and fit their profiles.

    Maxima of the smoothed pattern above its background are fitted as pseudo-Voigt peaks, close ones together. In a
    pattern with Kα2 each peak is a doublet, and the maximum of its Kα2 line is no peak.

    Args:
        pattern: as measured.
        background: of the pattern, shape (points,); by default fitted by arPLS.
        significance: height of the weakest peak in units of the noise.
        least_height: height of the weakest peak [% of the highest].
        doublet: whether Kα1 and Kα2 are in the pattern; by default where the wavelength is the Kα of an anode, unless
            single lines fit the highest peaks clearly better, as after a monochromator for Kα1.

    Raises:
        PatternError: the pattern has too few points (E_RANGE).
    """
    if pattern.two_theta.size < FEWEST_POINTS:
        msg = f"{pattern.name}: {pattern.two_theta.size} points; a peak search needs at least {FEWEST_POINTS}"
        raise PatternError(msg, code="E_RANGE")
    second = _second_line(pattern.wavelength, doublet=doublet)
    angles, intensity = pattern.two_theta, pattern.intensity
    if background is None:
        background = np.zeros_like(intensity)
        for run in angles_to_stretches(angles):
            background[run] = points_to_baseline(angles[run], intensity[run])
    net = intensity - background
    width = peak_width(angles, net)
    if doublet is None and second is not None and _are_single(angles, net, width=width, second=second):
        second = None
    wavelength = pattern.wavelength if second is None else second[0]
    found: list[Peak] = []
    for run in angles_to_stretches(angles):
        if angles[run].size >= FEWEST_POINTS:
            found += _peaks_of_run(angles[run], net[run], width=width, second=second, significance=significance)
    highest = max((peak.height for peak in found), default=0.0)
    kept = [peak for peak in found if peak.height >= least_height / 100 * highest]
    kept = sorted(sorted(kept, key=lambda peak: -peak.height)[:MOST_PEAKS], key=lambda peak: peak.two_theta)
    if wavelength is not None:
        spacings = two_theta_to_d(np.array([peak.two_theta for peak in kept]), wavelength=wavelength)
        kept = [
            Peak(peak.two_theta, peak.u_two_theta, float(d), peak.height, peak.fwhm, peak.area)
            for peak, d in zip(kept, spacings, strict=True)
        ]
    return PeakList(tuple(kept), wavelength, second is not None)


_Doublet = tuple[float, float, float]
"""Wavelengths of Kα1 and Kα2 [Å], and the intensity of the second relative to the first."""


def _second_line(wavelength: float | None, *, doublet: bool | None) -> _Doublet | None:
    """The doublet of a wavelength; None where there is one line."""
    if wavelength is None or doublet is False:
        return None
    try:
        first, second, _ = doublet_wavelengths(wavelength_to_anode(wavelength))
    except WavelengthError:
        return None
    return first, second, K_ALPHA_SHARES[1] / K_ALPHA_SHARES[0]


def _are_single(angles: np.ndarray, net: np.ndarray, *, width: float, second: _Doublet) -> bool:
    """Whether single lines fit the highest peaks clearly better than doublets, each fitted alone."""
    deviation = _noise(net)
    places = find_maxima(net, height=_HIGH * float(net.max()), distance=max(1, round(2 * width / _step(angles))))
    highest = places[np.argsort(-net[places], kind="stable")[:_TRIED]]
    single, double = (
        sum(_fit_group(angles, net, deviation, np.array([place]), width=width, second=kind)[1] for place in highest)
        for kind in (None, second)
    )
    return single < _CLEARLY * double


def _step(angles: np.ndarray) -> float:
    return float(np.median(np.diff(angles)))


def _peaks_of_run(
    angles: np.ndarray, net: np.ndarray, *, width: float, second: _Doublet | None, significance: float
) -> list[Peak]:
    """The peaks of a run of points without a gap."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    step = _step(angles)
    points = max(width / step / 2.35 / 1.5, 0.5)
    smooth = gaussian_filter1d(net, points)
    deviation = _noise(net)
    least = significance * deviation * np.sqrt(min(1.0, 1 / (2 * np.sqrt(np.pi) * points)))
    least = np.maximum(least, 1e-9 * float(np.abs(net).max(initial=0.0)))
    places = find_maxima(smooth, height=0.0, distance=max(1, round(width / step / 2)))
    places = places[smooth[places] >= least[places]]
    places = places[prominences(smooth, places) >= np.maximum(least[places], 0.02 * smooth[places])]
    if second is not None:
        places = _without_second_lines(angles, smooth, places, second=second, width=width)
    peaks: list[Peak] = []
    for group in _to_groups(angles[places], width=width):
        peaks += _fit_group(angles, net, deviation, places[group], width=width, second=second)[0]
    return [peak for peak in peaks if peak.height >= float(np.interp(peak.two_theta, angles, least)) / 2]


def _noise(net: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise at each point, from second differences, which peaks hardly change."""
    curvature = net[1:-1] - (net[2:] + net[:-2]) / 2
    parts = np.array_split(curvature, max(1, curvature.size // _BLOCK))
    levels = np.array([np.sqrt(np.median(np.square(part)) / _FLAT / 1.5) for part in parts])
    centres = (np.arange(levels.size) + 0.5) * net.size / levels.size
    noise: np.ndarray = np.interp(np.arange(net.size), centres, levels)
    return noise


def _shift_of_second(angles: np.ndarray, second: _Doublet) -> np.ndarray:
    """Distance of Kα2 from Kα1 [deg 2θ] at angles of Kα1."""
    sine = np.minimum(np.sin(np.deg2rad(angles) / 2) * second[1] / second[0], 1.0)
    shift: np.ndarray = 2 * np.rad2deg(np.arcsin(sine)) - angles
    return shift


def _without_second_lines(
    angles: np.ndarray, smooth: np.ndarray, places: np.ndarray, *, second: _Doublet, width: float
) -> np.ndarray:
    """The maxima without those of Kα2 lines: at the distance of Kα2 above a maximum, and as high as Kα2 or less."""
    positions, heights = angles[places], smooth[places]
    expected = positions + _shift_of_second(positions, second)
    kept = np.ones(places.size, dtype=np.bool_)
    for number in range(places.size):
        below = (positions < positions[number] - 1e-9) & kept
        near = np.abs(expected - positions[number]) <= 0.35 * width
        tall = heights[number] <= 1.35 * second[2] * heights
        kept[number] = not np.any(below & near & tall)
    return places[kept]


def _to_groups(positions: np.ndarray, *, width: float) -> list[slice]:
    """Runs of peaks that overlap; long ones are cut where their peaks are farthest apart."""
    cuts = (np.flatnonzero(np.diff(positions) > 2 * _REACH * width) + 1).tolist()
    pending = [slice(*ends) for ends in zip([0, *cuts], [*cuts, positions.size], strict=True) if ends[0] < ends[1]]
    groups = []
    while pending:
        group = pending.pop()
        if group.stop - group.start <= _GROUP:
            groups.append(group)
            continue
        cut = group.start + 1 + int(np.argmax(np.diff(positions[group])))
        pending += [slice(group.start, cut), slice(cut, group.stop)]
    return sorted(groups, key=lambda group: group.start)


def _fit_group(
    angles: np.ndarray, net: np.ndarray, deviation: np.ndarray, places: np.ndarray, *, width: float,
    second: _Doublet | None,
) -> tuple[list[Peak], float]:  # fmt: skip
    """Fit overlapping peaks on a straight line: positions, widths and mixing by Gauss-Newton, heights linearly.

    Returns the peaks, and half the sum of the squared weighted residuals.
    """
    from scipy.optimize import least_squares  # noqa: PLC0415 - slow to import

    starts = angles[places]
    inside = (angles >= starts[0] - _REACH * width) & (angles <= starts[-1] + _REACH * width)
    x, y = angles[inside], net[inside]
    weight = 1 / np.maximum(_errors(y, deviation[inside]), 1e-12)
    count = places.size
    if x.size < 3 * count + 3:
        return [], 0.0

    def profiles(free: np.ndarray) -> np.ndarray:
        """Peaks of height 1 and the line, shape (peaks + 2, points)."""
        centres, widths, mixing = free[:count], np.exp(free[count : 2 * count]), free[2 * count]
        shapes = _pseudo_voigt(x[None] - centres[:, None], widths[:, None], mixing)
        if second is not None:
            moved = centres + _shift_of_second(centres, second)
            shapes = shapes + second[2] * _pseudo_voigt(x[None] - moved[:, None], widths[:, None], mixing)
        return np.concatenate([shapes, np.ones((1, x.size)), (x - x.mean())[None]])

    def heights_at(shapes: np.ndarray) -> np.ndarray:
        heights: np.ndarray = np.linalg.lstsq((shapes * weight).T, y * weight, rcond=None)[0]
        return heights

    def residuals(free: np.ndarray) -> np.ndarray:
        shapes = profiles(free)
        rest: np.ndarray = (heights_at(shapes) @ shapes - y) * weight
        return rest

    start = np.concatenate([starts, np.full(count, np.log(width)), [0.5]])
    span = np.full(count, 0.5 * width)
    low = np.concatenate([starts - span, np.full(count, np.log(_NARROWEST * width)), [0.0]])
    high = np.concatenate([starts + span, np.full(count, np.log(_WIDEST * width)), [1.0]])
    fitted = least_squares(residuals, start, bounds=(low, high), max_nfev=30, xtol=1e-5, ftol=1e-5)
    heights = heights_at(profiles(fitted.x))[:count]
    return _to_peaks(fitted.x, fitted.jac, heights, second=second), float(fitted.cost)


def _errors(net: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Standard deviations for the weights: the noise, 2 % of the intensity, and 0.3 % of the highest, for the shape."""
    level = np.maximum(net, 0)
    spread: np.ndarray = np.sqrt(deviation**2 + (0.02 * level) ** 2 + (0.003 * level.max(initial=0.0)) ** 2)
    return spread


def _pseudo_voigt(distance: np.ndarray, fwhm: np.ndarray, mixing: float) -> np.ndarray:
    shape: np.ndarray = mixing * lorentzian(distance, fwhm=fwhm) + (1 - mixing) * gaussian(distance, fwhm=fwhm)
    return shape


def _to_peaks(free: np.ndarray, jacobian: np.ndarray, heights: np.ndarray, *, second: _Doublet | None) -> list[Peak]:
    count = heights.size
    mixing = float(free[2 * count])
    normal = np.linalg.pinv(jacobian.T @ jacobian)
    errors = np.sqrt(np.maximum(np.diag(normal)[:count], 0))
    of_unit = mixing * np.pi / 2 + (1 - mixing) * np.sqrt(np.pi / np.log(2)) / 2
    lines = 1 + (0.0 if second is None else second[2])
    widths = np.exp(free[count : 2 * count])
    areas = heights * widths * of_unit * lines
    columns = np.stack([free[:count], errors, np.full(count, np.nan), heights, widths, areas], axis=1)
    return [Peak(*row) for row in columns[heights > 0].tolist()]


def _relative(values: list[float]) -> np.ndarray:
    largest = max(values, default=0.0)
    return np.array([100 * value / largest if largest > 0 else 0.0 for value in values])
