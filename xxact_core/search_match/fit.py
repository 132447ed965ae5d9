"""Measured pattern and calculated reflections → score, zero shift and cell of the best fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import GriddedPattern, Sticks
from xxact_core.peak_profiles.corrections import thermal_factor
from xxact_core.search_match.peak_axis import bins_to_two_theta, spread, two_theta_to_bins, widen

LARGEST_SHIFT = 0.3
"""Largest zero shift searched, in both directions [deg 2θ]."""

LARGEST_STRAIN = 0.03
"""Largest strain of the cell searched, in both directions: the largest error of calculated (PBE) cells. Ours."""

THERMAL_B = 0.6
"""Isotropic displacement parameter B of calculated intensities [Å²], typical of hard solids at 300 K. Ours."""

WEAKEST = 0.3
"""Reflections weaker than this are left out of the grid search [% of the strongest]."""

USUAL_STRAIN, STRAIN_SPREAD = -0.01, 0.01
"""Mean strain from a calculated to a measured cell, and its standard deviation between materials and directions.

Source: Haas, Tran & Blaha (2009), Phys. Rev. B 79, 085104: PBE lattice constants are 1 % too large on average."""

USUAL_SHIFT = 0.15
"""Typical zero shift of a diffractometer [deg 2θ]. Ours."""

PENALTY = 0.004
"""Penalty on the score for a deviation by one `STRAIN_SPREAD` or `USUAL_SHIFT`. Ours."""

SMALLEST_PEAK = 4.0
"""Smallest height of the strongest peak, smoothed and less the noise, in units of the noise. Noise alone reaches 2,
weak patterns 40. Ours."""

_SHIFTS = np.linspace(-LARGEST_SHIFT, LARGEST_SHIFT, 7)
_STRAINS = np.linspace(-LARGEST_STRAIN, LARGEST_STRAIN, 31)
_NOISE_WIDTH = 2
_FLOOR = 1e-9


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


@dataclass(frozen=True, eq=False)
class Fit:
    """Zero shift and strains, with the score that they reach."""

    score: float
    """Agreement as of `score_fit`, 0-1."""
    shift: float
    """Zero shift, added to the calculated angles [deg 2θ]."""
    strain: np.ndarray
    """Strains, shape (strains,)."""

    @property
    def penalty(self) -> float:
        """Penalty on the score for an unlikely shift or strain."""
        return float(PENALTY * (np.square(_standardise(np.array([self.shift, *self.strain]))).sum()))

    @property
    def merit(self) -> float:
        """Score less penalty, by which candidates are ranked."""
        return self.score - self.penalty


def _standardise(free: np.ndarray) -> np.ndarray:
    """Deviation of shift and strains from their usual values, in standard deviations."""
    usual, deviation = _usual(len(free) - 1)
    standardised: np.ndarray = (free - usual) / deviation
    return standardised


def _usual(strains: int) -> tuple[np.ndarray, np.ndarray]:
    """Usual shift and strains, and their standard deviations."""
    first = np.array([0.0, USUAL_STRAIN, *[0.0] * (strains - 1)])
    return first, np.array([USUAL_SHIFT, *[STRAIN_SPREAD] * strains])


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
    covered = np.interp(bins_to_two_theta(), pattern.grid.two_theta, pattern.coverage) > 0.5  # noqa: PLR2004 - nearest
    positions, _ = two_theta_to_bins(pattern.grid.two_theta)
    density = spread(positions, above) * covered
    return IntensityDistribution(density / density.sum(), covered)


def sticks_to_calculated_reflections(sticks: Sticks) -> CalculatedReflections:
    """Reflections with the isotropic strain of the cell alone."""
    squared = (2 * np.sin(np.radians(sticks.two_theta / 2)) / sticks.wavelength) ** 2
    height = sticks.intensity * thermal_factor(squared, b=THERMAL_B)
    return CalculatedReflections(squared, height / height.max(), -2 * squared[None])


def reflections_to_two_theta(reflections: CalculatedReflections, fit: Fit) -> np.ndarray:
    """Angles of the reflections [deg 2θ at Cu Kα], shape (reflections,); NaN beyond the limiting sphere."""
    with np.errstate(invalid="ignore"):
        sine = np.sqrt(reflections.inverse_d_squared + fit.strain @ reflections.change) * (CU_K_ALPHA / 2)
        angles: np.ndarray = np.degrees(2 * np.arcsin(sine)) + fit.shift
    return angles


def reflections_to_density(reflections: CalculatedReflections, fit: Fit, measured: IntensityDistribution) -> np.ndarray:
    """Calculated intensity normalised to a sum of 1 within the measured range, shape (bins,)."""
    positions, _ = two_theta_to_bins(reflections_to_two_theta(reflections, fit))
    density: np.ndarray = spread(positions, reflections.height, width=reflections.width) * measured.covered
    density /= max(density.sum(), _FLOOR)
    return density


def grid_search(measured: IntensityDistribution, reflections: CalculatedReflections) -> Fit:
    """Best fit on a grid of zero shifts and isotropic strains.

    The grid is searched by Σ √(hₖ p(2θₖ)) over the reflections, which is fast; the best points are rescored by
    `score_fit`.
    """
    strong = reflections.height > WEAKEST / 100
    height, squared = reflections.height[strong], reflections.inverse_d_squared[strong]
    with np.errstate(invalid="ignore"):
        sine = np.sqrt(squared * (1 - 2 * _STRAINS[:, None])) * (CU_K_ALPHA / 2)
        angles = np.degrees(2 * np.arcsin(sine))
    positions, _ = two_theta_to_bins(angles[:, None, :] + _SHIFTS[:, None])
    inside = np.isfinite(positions)
    bins = np.where(inside, positions, 0).astype(np.int64)
    inside &= measured.covered[bins]
    found = (np.sqrt(measured.density)[bins] * inside) @ np.sqrt(height)
    seen = inside @ height
    of_grid = found / np.sqrt(np.maximum(seen, 0.05 * height.sum()))
    best: Fit | None = None
    for cell in np.argsort(-of_grid, axis=None)[[0, 4]]:
        strain, shift = np.unravel_index(cell, of_grid.shape)
        fit = Fit(
            0.0, float(_SHIFTS[shift]), np.concatenate([_STRAINS[[strain]], np.zeros(len(reflections.change) - 1)])
        )
        fit = replace(fit, score=score_fit(measured, reflections, fit))
        best = fit if best is None or fit.score > best.score else best
    assert best is not None
    return best


def score_fit(measured: IntensityDistribution, reflections: CalculatedReflections, fit: Fit) -> float:
    """Bhattacharyya coefficient Σ √(p q) of normalised intensities p measured and q calculated; 1 if identical.

    The square root limits the weight of the strongest peak and so the effect of texture; an impurity with a fraction s
    of the measured intensity lowers the score by 1 - √(1 - s), and so do calculated reflections that are absent.

    Source: Bhattacharyya (1943), Bull. Calcutta Math. Soc. 35, 99-109.
    """
    return float(np.sqrt(measured.density * reflections_to_density(reflections, fit, measured)).sum())


def refine(measured: IntensityDistribution, reflections: CalculatedReflections, start: Fit) -> Fit:
    """Fit of highest merit near a starting fit, over the shift and all strains, by L-BFGS-B."""
    from scipy.optimize import minimize  # noqa: PLC0415 - slow to import

    usual, units = _usual(len(reflections.change))
    limits = np.array([LARGEST_SHIFT, *[LARGEST_STRAIN] * len(reflections.change)])
    found = minimize(
        lambda steps: _loss(usual + steps * units, measured, reflections),
        _standardise(np.array([start.shift, *start.strain])),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([(-limits - usual) / units, (limits - usual) / units], axis=1),
        options={"maxiter": 25, "maxfun": 40, "ftol": 1e-5},
    )
    free = usual + found.x * units
    fit = Fit(0.0, float(free[0]), free[1:])
    return replace(fit, score=score_fit(measured, reflections, fit))


def _loss(
    free: np.ndarray, measured: IntensityDistribution, reflections: CalculatedReflections
) -> tuple[float, np.ndarray]:
    """Negative merit, and its derivatives by the standardised shift and strains."""
    fit = Fit(0.0, float(free[0]), free[1:])
    angles = reflections_to_two_theta(reflections, fit)
    positions, bins_a_degree = two_theta_to_bins(angles)
    density = spread(positions, reflections.height, width=reflections.width) * measured.covered + _FLOOR
    total = density.sum()
    roots = np.sqrt(measured.density / density)
    score = float(roots @ density) / np.sqrt(total)
    by_density = (roots / (2 * np.sqrt(total)) - score / (2 * total)) * measured.covered
    by_density = widen(by_density, width=reflections.width)
    inside = np.isfinite(positions)
    lower = np.where(inside, positions, 0).astype(np.int64)
    step = by_density[np.minimum(lower + 1, len(by_density) - 1)] - by_density[lower]
    by_angle = np.where(inside, reflections.height * step * bins_a_degree, 0.0)
    sine_cosine = np.sin(np.radians(angles - fit.shift)) / 2
    by_square = np.degrees(by_angle * (CU_K_ALPHA / 2) ** 2 / np.where(inside, sine_cosine, 1.0))
    gradient = np.array([by_angle.sum(), *(reflections.change @ by_square)])
    steps = _standardise(free)
    return PENALTY * float(steps @ steps) - score, 2 * PENALTY * steps - gradient * _usual(len(fit.strain))[1]
