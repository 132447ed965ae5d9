"""Pattern → what a least-squares fit of profiles needs: net intensity, weights, background, peak width, wavelengths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import CU_K_ALPHA, parse_wavelength
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.peak_profiles.shapes import K_ALPHA_SHARES, doublet_wavelengths
from xxact_core.processing.background import points_to_baseline
from xxact_core.processing.kalpha2 import wavelength_to_anode
from xxact_core.processing.resampling import angles_to_stretches
from xxact_core.search_match.peak_finding import find_maxima, prominences, widths_at_half
from xxact_core.search_match.profile_model import Radiation

FIRST_ANGLE, LAST_ANGLE = 3.0, 130.0
"""Range of the fit [deg 2θ]: below, the direct beam; above, broad and weak peaks. Ours."""

MOST_POINTS = 7000
"""Largest number of points of the fit; finer patterns are averaged. Ours."""

POINTS_PER_WIDTH = 5.0
"""Points in the full width of a peak that a fit needs; finer patterns are averaged. Ours."""

RELATIVE_ERROR = 0.12
"""Error of calculated intensities relative to the measured ones: texture, extinction, shape. Ours."""

DETECTION = 0.004
"""Intensity relative to the strongest peak below which misfit is ignored. Ours."""

LOWEST_BACKGROUND = 1e-4
"""Background relative to the strongest peak below which it does not show how the noise grows with the intensity: that
of a calculated pattern is 0 but for rounding. Ours."""

SMALLEST_PEAK = 5.0
"""Smallest height of the strongest peak in units of the noise. Ours."""

FEWEST_POINTS = 50
"""Smallest number of points of a pattern. Ours."""

ROUNDING = 1e-7
"""Largest error by rounding of the intensity above the background, relative to the intensity. Ours."""

KNOT_DISTANCE = 8.0
"""Distance of the knots of the background's correction [deg 2θ]. Ours."""

_USUAL_WIDTH = 0.12
"""Peak width where no peak gives one [deg 2θ]."""

_WIDEST_PEAK = 2.0
_BLOCK = 60


@dataclass(frozen=True, eq=False)
class MeasuredProfile:
    """A measured pattern, prepared for a fit of profiles."""

    two_theta: np.ndarray
    """Angles [deg], ascending, shape (points,)."""
    intensity: np.ndarray
    """Measured intensity, shape (points,)."""
    background: np.ndarray
    """Estimated background, shape (points,)."""
    variance: np.ndarray
    """Variance of the intensity by counting, estimated from the noise, shape (points,)."""
    weight: np.ndarray
    """Weights of the squares, which include the error of calculated intensities, in units of independent points."""
    width: float
    """Typical full width at half maximum of the peaks [deg 2θ]."""
    step: float
    """Median distance of the points [deg 2θ]."""
    radiation: Radiation
    """Wavelengths."""
    name: str
    """Name of the pattern."""
    warnings: tuple[str, ...] = ()
    """Notes for the user."""

    @cached_property
    def net(self) -> np.ndarray:
        """Intensity above the background, shape (points,)."""
        net: np.ndarray = self.intensity - self.background
        return net

    @cached_property
    def highest(self) -> float:
        """Height of the strongest peak above the background."""
        return float(self.envelope.max(initial=0.0))

    @cached_property
    def envelope(self) -> np.ndarray:
        """Smoothed net intensity, at least 0, shape (points,)."""
        return _smoothed(self.net, self.width / self.step / 4)

    @cached_property
    def smooth(self) -> np.ndarray:
        """Piecewise linear functions that correct the background, shape (knots, points)."""
        first, last = self.two_theta[0], self.two_theta[-1]
        knots = np.linspace(first, last, max(2, round((last - first) / KNOT_DISTANCE) + 1))
        return np.stack([np.interp(self.two_theta, knots, unit) for unit in np.eye(len(knots))])

    @cached_property
    def smooth_normal(self) -> np.ndarray:
        """Normal matrix of `smooth`, shape (knots, knots)."""
        normal: np.ndarray = (self.smooth * self.weight) @ self.smooth.T
        return normal

    @cached_property
    def smooth_target(self) -> np.ndarray:
        """Right side of the normal equations of `smooth`, shape (knots,)."""
        target: np.ndarray = (self.smooth * self.weight) @ self.net
        return target

    @cached_property
    def smooth_precision(self) -> np.ndarray:
        """Inverse variances of the corrections, which are small, shape (knots,)."""
        usual = 2 * float(np.sqrt(np.median(self.variance))) + DETECTION / 2 * self.highest
        return np.full(len(self.smooth), 1 / usual**2)


def measure_profile(
    pattern: Pattern | GriddedPattern, *, wavelength: str | float | None = None, doublet: bool | None = None
) -> MeasuredProfile:
    """Prepare a pattern for a fit of profiles.

    Args:
        pattern: as measured, or on the grid (then its background is 0 and its wavelength Cu Kα).
        wavelength: in Å or by name; overrides that of the file.
        doublet: whether Kα1 and Kα2 are in the pattern; by default where the wavelength is the Kα of an anode.

    Raises:
        WavelengthError: neither the file nor the call states the wavelength.
        PatternError: too few points (E_RANGE), or no peak rises above the noise (E_VALUES).
    """
    on_grid = isinstance(pattern, GriddedPattern)
    if isinstance(pattern, GriddedPattern):
        angles, intensity = pattern.grid.two_theta[pattern.coverage], pattern.intensity[pattern.coverage]
        radiation = _radiation(CU_K_ALPHA, doublet=doublet)
    else:
        angles, intensity = pattern.two_theta, pattern.intensity
        stated = parse_wavelength(wavelength) if wavelength is not None else pattern.wavelength
        if stated is None:
            msg = f"{pattern.name}: the file does not state the wavelength; give it, for instance as CuKa"
            raise WavelengthError(msg, code="E_WAVELENGTH")
        radiation = _radiation(stated, doublet=doublet)
    inside = (angles >= FIRST_ANGLE) & (angles <= LAST_ANGLE)
    angles, intensity = np.asarray(angles[inside], np.float64), np.asarray(intensity[inside], np.float64)
    if angles.size < FEWEST_POINTS:
        msg = f"{pattern.name}: {angles.size} points lie between {FIRST_ANGLE:g}° and {LAST_ANGLE:g}° 2θ; "
        msg += f"expected at least {FEWEST_POINTS}"
        raise PatternError(msg, code="E_RANGE")
    background = np.zeros_like(intensity)
    if not on_grid:
        for stretch in angles_to_stretches(angles):
            background[stretch] = points_to_baseline(angles[stretch], intensity[stretch])
    width = peak_width(angles, intensity - background)
    fine = max(width / POINTS_PER_WIDTH, (angles[-1] - angles[0]) / MOST_POINTS)
    angles, intensity, background = _average(angles, intensity, background, step=fine)
    variance = _variance(intensity, background)
    net = intensity - background
    step = float(np.median(np.diff(angles)))
    smooth = _smoothed(net, width / step / 4)
    noise = float(np.sqrt(np.median(variance)))
    rounding = ROUNDING * float(np.abs(intensity).max())
    if smooth.max() < SMALLEST_PEAK * noise / max(1.0, np.sqrt(width / step)) or smooth.max() <= rounding:
        msg = f"{pattern.name}: no peak rises above the noise"
        raise PatternError(msg, code="E_VALUES")
    return MeasuredProfile(
        two_theta=angles,
        intensity=intensity,
        background=background,
        variance=variance,
        weight=_weights(net, variance, width=width, step=step),
        width=width,
        step=step,
        radiation=radiation,
        name=pattern.name,
        warnings=pattern.warnings,
    )


def _radiation(wavelength: float, *, doublet: bool | None) -> Radiation:
    if doublet is not False:
        try:
            first, second, _ = doublet_wavelengths(wavelength_to_anode(wavelength))
        except WavelengthError:
            return Radiation(wavelength)
        return Radiation(first, second, K_ALPHA_SHARES[1] / K_ALPHA_SHARES[0])
    try:
        first, _, mean = doublet_wavelengths(wavelength_to_anode(wavelength))
    except WavelengthError:
        return Radiation(wavelength)
    return Radiation(first if abs(wavelength - first) < abs(wavelength - mean) else mean)


def peak_width(two_theta: np.ndarray, net: np.ndarray) -> float:
    """Median full width at half maximum of the strongest peaks [deg 2θ]."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    step = float(np.median(np.diff(two_theta)))
    smoothing = max(0.03 / step / 2.35, 0.5)
    curve = gaussian_filter1d(net, smoothing)
    peaks = find_maxima(curve, height=0.1 * curve.max())
    prominence = prominences(curve, peaks)
    strongest = np.argsort(-prominence, kind="stable")[:15]
    strongest = strongest[prominence[strongest] >= 0.1 * curve.max()]
    if not len(strongest):
        return _USUAL_WIDTH
    widths = widths_at_half(curve, peaks[strongest], prominence[strongest]) * step
    narrow = np.sqrt(np.maximum(widths**2 - (2.35 * smoothing * step) ** 2, step**2))
    order = np.argsort(narrow)
    share = np.cumsum(prominence[strongest][order])
    usual = float(narrow[order][np.searchsorted(share, 0.4 * share[-1])])
    return min(max(usual, 2 * step, 0.02), _WIDEST_PEAK)


def _average(
    angles: np.ndarray, intensity: np.ndarray, background: np.ndarray, *, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over bins of this width, where the points are at most half as far apart."""
    if step < 2 * float(np.median(np.diff(angles))):
        return angles, intensity, background
    bins = ((angles - angles[0]) / step).astype(np.int64)
    _, which, counts = np.unique(bins, return_inverse=True, return_counts=True)
    return tuple(np.bincount(which, values) / counts for values in (angles, intensity, background))  # type: ignore[return-value]  # three


def _variance(intensity: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Variance from differences between neighbours, which grows with the intensity as counts do."""
    curvature = intensity[1:-1] - (intensity[2:] + intensity[:-2]) / 2
    blocks = max(1, curvature.size // _BLOCK)
    parts = np.array_split(curvature, blocks)
    levels = np.array([np.mean(part) for part in np.array_split(background[1:-1], blocks)])
    local = np.array([np.median(np.square(part)) / 0.455 / 1.5 for part in parts])
    highest = max(float((intensity - background).max()), 1e-9)
    smallest = 1e-6 * highest**2
    local = np.maximum(local, smallest)
    centres = (np.arange(blocks) + 0.5) * intensity.size / blocks
    floor = np.interp(np.arange(intensity.size), centres, local)
    positive = levels > LOWEST_BACKGROUND * highest
    gain = float(np.median(local[positive] / levels[positive])) if positive.sum() >= blocks / 2 else 0.0
    variance: np.ndarray = floor + gain * np.maximum(intensity - background, 0)
    return variance


def _smoothed(net: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    smoothed: np.ndarray = np.maximum(gaussian_filter1d(net, max(sigma, 0.5)), 0)
    return smoothed


def _weights(net: np.ndarray, variance: np.ndarray, *, width: float, step: float) -> np.ndarray:
    """1 / (σ² + (α y)² + (β y_max)²) over the points in a peak: errors of calculated intensities are relative."""
    from scipy.ndimage import maximum_filter1d  # noqa: PLC0415 - slow to import

    points = width / step
    smooth = _smoothed(net, points / 4)
    near = maximum_filter1d(smooth, max(1, round(0.7 * points)))
    near = _smoothed(near, points / 2.35)
    total = variance + (RELATIVE_ERROR * near) ** 2 + (DETECTION * smooth.max()) ** 2
    weight: np.ndarray = 1 / (total * max(points, 1.0))
    return weight
