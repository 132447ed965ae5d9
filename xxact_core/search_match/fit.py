"""Measured pattern and calculated reflections → score, zero shift and cell of the best fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import GriddedPattern, Sticks
from xxact_core.peak_profiles.corrections import thermal_factor
from xxact_core.search_match.peak_axis import bin_count, bins_to_two_theta, spread, two_theta_to_bins, widen

LARGEST_SHIFT = 0.4
"""Largest zero shift, in both directions [deg 2θ]."""

LARGEST_STRAIN = 0.04
"""Largest strain of the cell, in both directions: the largest error of calculated (PBE) cells. Ours."""

THERMAL_B = 0.6
"""Isotropic displacement parameter B of calculated intensities [Å²], typical of hard solids at 300 K. Ours."""

WEAKEST = 0.2
"""Reflections weaker than this are left out of the fit [% of the strongest]."""

CALCULATED_STRAIN, CALCULATED_SPREAD = -0.011, 0.006
"""Mean strain from a calculated to a measured cell, and its standard deviation between materials and directions.

Source: ours, of measured minerals; PBE lattice constants are about 1 % too large (Haas, Tran & Blaha (2009), Phys.
Rev. B 79, 085104)."""

MEASURED_SPREAD = 0.004
"""Standard deviation of the strain between two specimens of one mineral, which differ in composition. Ours."""

USUAL_SHIFT, USUAL_DISPLACEMENT = 0.1, 0.05
"""Typical zero shift of a diffractometer, and typical shift by sample displacement [deg 2θ]. Ours."""

PENALTY = 0.003
"""Penalty on the score for a deviation of shift, displacement or a strain by one standard deviation. Ours."""

SMALLEST_PEAK = 4.0
"""Smallest height of the strongest peak, smoothed and less the noise, in units of the noise. Noise alone reaches 2,
weak patterns 40. Ours."""

_NOISE_WIDTH = 2
_FLOOR = 1e-9
_INSTRUMENT = 2
"""Number of free parameters of the instrument: zero shift and displacement."""

_STEPS, _TRIALS, _SMALLEST_GAIN, _LARGEST_STEP = 6, 4, 2e-5, 3.0


@dataclass(frozen=True, eq=False)
class IntensityDistribution:
    """A measured pattern on the axis of `peak_axis`, normalised to a sum of 1."""

    density: np.ndarray
    """Fraction of the intensity in each bin, 0 where nothing was measured, shape (bins,)."""
    covered: np.ndarray
    """Whether each bin was measured, shape (bins,)."""


@dataclass(frozen=True, eq=False)
class CalculatedReflections:
    """Reflections of a reference phase, and the strains of its cell that may be fitted."""

    inverse_d_squared: np.ndarray
    """1/d² [Å⁻²], shape (reflections,)."""
    height: np.ndarray
    """Peak height relative to the strongest, shape (reflections,)."""
    change: np.ndarray
    """Derivative of 1/d² by each strain [Å⁻²], shape (strains, reflections); the first strain is isotropic."""
    width: float = 1.0
    """Peak width on the axis of `peak_axis`; small crystallites give wide peaks."""
    experimental: bool = False
    """Whether the cell was measured, so that its scale is expected to be 1."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Zero shift, sample displacement and strains, with the score that they reach."""

    score: float
    """Agreement as of `score_fit`, 0-1."""
    shift: float
    """Zero shift, added to the calculated angles [deg 2θ]."""
    strain: np.ndarray
    """Strains, shape (strains,)."""
    displacement: float = 0.0
    """Shift by sample displacement at 2θ = 0: times cos θ, it is added to the calculated angles [deg 2θ]."""
    penalty: float = 0.0
    """Penalty on the score for an unlikely shift, displacement or strain."""

    @property
    def merit(self) -> float:
        """Score less penalty, by which candidates are ranked."""
        return self.score - self.penalty


def usual_strains(experimental: np.ndarray) -> np.ndarray:
    """The most likely strain of each cell, by whether it was measured; shape (phases,)."""
    return np.where(experimental, 0.0, CALCULATED_STRAIN)


def pattern_to_distribution(pattern: GriddedPattern) -> IntensityDistribution:
    """The pattern normalised to its total intensity, less the noise.

    The noise is estimated from differences between adjacent points, to which peaks contribute little.

    Raises:
        PatternError: no peak rises above the noise (E_VALUES).
    """
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    intensity = pattern.intensity.astype(np.float64)
    steps = np.abs(np.diff(intensity))[(intensity[1:] > 0) | (intensity[:-1] > 0)]
    noise = 1.4826 * float(np.median(steps)) / np.sqrt(2)
    above = np.clip(gaussian_filter1d(intensity, _NOISE_WIDTH) - noise, 0, None) * pattern.coverage
    if above.max() < SMALLEST_PEAK * noise:
        msg = (
            f"{pattern.name}: no peak rises above the noise: the strongest is {above.max() / noise:.1f} times the noise"
        )
        raise PatternError(msg, code="E_VALUES")
    return profile_to_distribution(pattern.grid.two_theta, above, pattern.coverage)


def profile_to_distribution(
    two_theta: np.ndarray, intensity: np.ndarray, coverage: np.ndarray
) -> IntensityDistribution:
    """A profile, of a whole pattern or of what some phases leave unexplained of it, normalised to a sum of 1.

    Args:
        two_theta: positions [deg at Cu Kα], shape (points,).
        intensity: at least 0, with a positive sum, shape (points,).
        coverage: whether each point was measured, shape (points,).
    """
    covered = np.interp(bins_to_two_theta(), two_theta, coverage) > 0.5  # noqa: PLR2004 - nearest
    positions, _ = two_theta_to_bins(two_theta)
    density = spread(positions, intensity) * covered
    return IntensityDistribution(density / density.sum(), covered)


def sticks_to_calculated_reflections(sticks: Sticks, *, experimental: bool = False) -> CalculatedReflections:
    """Reflections with the isotropic strain of the cell alone.

    Args:
        sticks: calculated reflections.
        experimental: whether the cell was measured.
    """
    squared = (2 * np.sin(np.radians(sticks.two_theta / 2)) / sticks.wavelength) ** 2
    height = sticks.intensity * thermal_factor(squared, b=THERMAL_B)
    return CalculatedReflections(squared, height / height.max(), -2 * squared[None], experimental=experimental)


def reflections_to_two_theta(reflections: CalculatedReflections, fit: Fit) -> np.ndarray:
    """Angles of the reflections [deg 2θ at Cu Kα], shape (reflections,); NaN beyond the limiting sphere."""
    with np.errstate(invalid="ignore"):
        theta = np.arcsin(np.sqrt(reflections.inverse_d_squared + fit.strain @ reflections.change) * (CU_K_ALPHA / 2))
    angles: np.ndarray = np.degrees(2 * theta) + fit.shift + fit.displacement * np.cos(theta)
    return angles


def reflections_to_density(reflections: CalculatedReflections, fit: Fit, measured: IntensityDistribution) -> np.ndarray:
    """Calculated intensity normalised to a sum of 1 within the measured range, shape (bins,)."""
    positions, _ = two_theta_to_bins(reflections_to_two_theta(reflections, fit))
    density: np.ndarray = spread(positions, reflections.height, width=reflections.width) * measured.covered
    density /= max(density.sum(), _FLOOR)
    return density


def score_fit(measured: IntensityDistribution, reflections: CalculatedReflections, fit: Fit) -> float:
    """Bhattacharyya coefficient Σ √(p q) of normalised intensities p measured and q calculated; 1 if identical.

    The square root limits the weight of the strongest peak and so the effect of texture; an impurity with a fraction s
    of the measured intensity lowers the score by 1 - √(1 - s), and so do calculated reflections that are absent.

    Source: Bhattacharyya (1943), Bull. Calcutta Math. Soc. 35, 99-109.
    """
    return float(np.sqrt(measured.density * reflections_to_density(reflections, fit, measured)).sum())


def strong_reflections(reflections: CalculatedReflections) -> CalculatedReflections:
    """The reflections without those too weak to matter in a fit."""
    strong = reflections.height > WEAKEST / 100
    return replace(
        reflections,
        inverse_d_squared=reflections.inverse_d_squared[strong],
        height=reflections.height[strong],
        change=reflections.change[:, strong],
    )


def refine(measured: IntensityDistribution, reflections: CalculatedReflections, start: Fit) -> Fit:
    """Fit of highest merit near a starting fit, over shift, displacement and all strains.

    As Σ √(p q) = 1 - ½ Σ (√p - √q)², it is a problem of least squares, solved by damped Gauss-Newton steps.
    """
    strains = len(reflections.change)
    spread_of_strain = MEASURED_SPREAD if reflections.experimental else CALCULATED_SPREAD
    unit = np.array([USUAL_SHIFT, USUAL_DISPLACEMENT, *[spread_of_strain] * strains])
    usual = np.zeros(len(unit))
    usual[_INSTRUMENT] = 0.0 if reflections.experimental else CALCULATED_STRAIN
    limits = np.array([LARGEST_SHIFT, LARGEST_SHIFT, *[LARGEST_STRAIN] * strains])
    lower, upper = (-limits - usual) / unit, (limits - usual) / unit
    steps = np.clip((np.array([start.shift, start.displacement, *start.strain]) - usual) / unit, lower, upper)
    roots = np.sqrt(measured.density)
    state = calculate(measured, roots, reflections, usual + steps * unit)
    merit, damping = state.score - PENALTY * float(steps @ steps), 1e-3
    for _ in range(_STEPS):
        jacobian = state.derivative * unit[:, None]
        hessian = jacobian @ jacobian.T + 2 * PENALTY * np.eye(len(unit))
        gradient = jacobian @ (roots - state.roots) - 2 * PENALTY * steps
        before = merit
        for _ in range(_TRIALS):
            damped = hessian + damping * np.diag(np.diag(hessian))
            change = np.clip(np.linalg.solve(damped, gradient), -_LARGEST_STEP, _LARGEST_STEP)
            tried = np.clip(steps + change, lower, upper)
            other = calculate(measured, roots, reflections, usual + tried * unit)
            reached = other.score - PENALTY * float(tried @ tried)
            if reached > merit:
                steps, state, merit = tried, other, reached
                damping = max(damping / 10, 1e-4)
                break
            damping = max(10 * damping, 1e-2)
        if merit - before < _SMALLEST_GAIN:
            break
    free = usual + steps * unit
    return Fit(state.score, float(free[0]), free[_INSTRUMENT:], float(free[1]), penalty=PENALTY * float(steps @ steps))


@dataclass(frozen=True, eq=False)
class CalculatedPattern:
    """A calculated pattern: its score, square roots √q, and the derivatives of √q by all free parameters."""

    score: float
    roots: np.ndarray
    derivative: np.ndarray


def calculate(
    measured: IntensityDistribution, roots: np.ndarray, reflections: CalculatedReflections, free: np.ndarray
) -> CalculatedPattern:
    """The calculated pattern for shift, displacement and strains `free`."""
    squared = np.maximum(reflections.inverse_d_squared + free[_INSTRUMENT:] @ reflections.change, _FLOOR)
    sine = np.minimum(np.sqrt(squared) * (CU_K_ALPHA / 2), 1)
    cosine = np.sqrt(1 - sine * sine)
    angles = np.degrees(2 * np.arcsin(sine)) + free[0] + free[1] * cosine
    positions, bins_a_degree = two_theta_to_bins(angles)
    inside = np.isfinite(positions) & (sine < 1)
    positions = np.where(inside, positions, 0)
    lower = positions.astype(np.intp)
    upper_share, height = positions - lower, np.where(inside, reflections.height, 0)
    by_square = np.degrees((CU_K_ALPHA / 2) ** 2 / np.maximum(sine * cosine, _FLOOR))
    by_free = np.empty((len(free), len(height)))
    by_free[0], by_free[1] = 1, cosine
    np.multiply(reflections.change, by_square, out=by_free[_INSTRUMENT:])
    by_free *= height * bins_a_degree
    count = bin_count() + 1
    rows = np.empty((len(free) + 1, count))
    rows[0] = np.bincount(lower, height * (1 - upper_share), count) + np.bincount(
        lower + 1, height * upper_share, count
    )
    for row, weight in zip(rows[1:], by_free, strict=True):
        row[:] = np.bincount(lower + 1, weight, count) - np.bincount(lower, weight, count)
    rows = widen(rows[:, :-1], width=reflections.width) * measured.covered
    total = rows.sum(axis=1)
    density = (rows[0] + _FLOOR) / (total[0] + _FLOOR * count)
    square_roots = np.sqrt(density)
    derivative = (rows[1:] - density * total[1:, None]) / (2 * (total[0] + _FLOOR * count) * square_roots)
    return CalculatedPattern(float(roots @ square_roots), square_roots, derivative)
