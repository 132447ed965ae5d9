"""Measured pattern beside the lines of a known material → how well they agree, and at which shift and cell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import GriddedPattern, Sticks
from xxact_core.peak_profiles.corrections import thermal_factor
from xxact_core.search_match.peak_axis import bins_to_two_theta, spread, two_theta_to_bins, widen

LARGEST_SHIFT = 0.3
"""Zero shift that is tried, up and down [deg 2θ]."""

LARGEST_STRAIN = 0.03
"""Change of the cell that is tried, up and down: calculated (PBE) cells are off by as much at most. Ours."""

THERMAL_B = 0.6
"""Debye-Waller factor that calculated lines are weakened by [Å²], usual in hard matter at room temperature. Ours."""

WEAKEST = 0.3
"""Lines weaker than this [% of the strongest] are left out while the shift and the scale are searched."""

USUAL_STRAIN, STRAIN_SPREAD = -0.01, 0.01
"""Strain that makes a calculated cell a measured one, and how much it differs between materials and directions.

Source: Haas, Tran & Blaha (2009), Phys. Rev. B 79, 085104: PBE lattice constants are too large by 1 % on the whole."""

USUAL_SHIFT = 0.15
"""Zero shifts that diffractometers have [deg 2θ]. Ours."""

COST = 0.004
"""Score that a fit loses for being one `STRAIN_SPREAD` or `USUAL_SHIFT` off. Ours."""

LEAST_LINE = 4.0
"""Strongest line, smoothed and less the noise, in sizes of the noise: noise alone reaches 2, weak patterns 40. Ours."""

_SHIFTS = np.linspace(-LARGEST_SHIFT, LARGEST_SHIFT, 7)
_STRAINS = np.linspace(-LARGEST_STRAIN, LARGEST_STRAIN, 31)
_NOISE_WIDTH = 2
_FLOOR = 1e-9


@dataclass(frozen=True, eq=False)
class Profile:
    """A measured pattern on the axis of `line_axis`, of sum 1.

    density: shape (bins,), 0 where nothing was measured. covered: which bins were measured, shape (bins,).
    """

    density: np.ndarray
    covered: np.ndarray


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of a material, and how its cell may change.

    inverse_d_squared: 1/d² [Å⁻²], shape (lines,). height: shape (lines,).
    change: what each strain of 1 adds to 1/d² [Å⁻²], shape (strains, lines). The first strain is that of all axes.
    width: of the lines on the axis of `line_axis`; small crystals have wide lines.
    """

    inverse_d_squared: np.ndarray
    height: np.ndarray
    change: np.ndarray
    width: float = 1.0


@dataclass(frozen=True, eq=False)
class Fit:
    """score: 0-1. shift: added to the calculated angles [deg 2θ]. strain: of each kind, shape (strains,)."""

    score: float
    shift: float
    strain: np.ndarray

    @property
    def cost(self) -> float:
        """What the score loses for shift and strains that are unlikely."""
        return float(COST * (np.square(_free_to_units(np.array([self.shift, *self.strain]))).sum()))

    @property
    def merit(self) -> float:
        """What candidates are ranked by: score less cost."""
        return self.score - self.cost


def _free_to_units(free: np.ndarray) -> np.ndarray:
    """Shift and strains in units of how far they usually are from what is usual."""
    usual, spread_of = _usual(len(free) - 1)
    return (free - usual) / spread_of


def _usual(strains: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.array([0.0, USUAL_STRAIN, *[0.0] * (strains - 1)])
    return first, np.array([USUAL_SHIFT, *[STRAIN_SPREAD] * strains])


def pattern_to_profile(pattern: GriddedPattern) -> Profile:
    """The pattern as shares of its intensity, without what noise alone makes.

    Noise is told from the differences of neighbouring points, which lines hardly change.

    Raises:
        PatternError: no line rises above the noise (E_VALUES).
    """
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    intensity = pattern.intensity.astype(np.float64)
    steps = np.abs(np.diff(intensity))[(intensity[1:] > 0) | (intensity[:-1] > 0)]
    noise = 1.4826 * float(np.median(steps)) / np.sqrt(2)
    above = np.clip(gaussian_filter1d(intensity, _NOISE_WIDTH) - noise, 0, None) * pattern.coverage
    if above.max() < LEAST_LINE * noise:
        msg = f"{pattern.name}: no line rises above the noise: the largest is {above.max() / noise:.1f} times its size"
        raise PatternError(msg, code="E_VALUES")
    covered = np.interp(bins_to_two_theta(), pattern.grid.two_theta, pattern.coverage) > 0.5  # noqa: PLR2004 - nearest
    places, _ = two_theta_to_bins(pattern.grid.two_theta)
    density = spread(places, above) * covered
    return Profile(density / density.sum(), covered)


def sticks_to_lines(sticks: Sticks) -> Lines:
    """Lines whose cell may grow and shrink, alike in all directions."""
    squared = (2 * np.sin(np.radians(sticks.two_theta / 2)) / sticks.wavelength) ** 2
    height = sticks.intensity * thermal_factor(squared, b=THERMAL_B)
    return Lines(squared, height / height.max(), -2 * squared[None])


def lines_to_two_theta(lines: Lines, fit: Fit) -> np.ndarray:
    """Angles of the lines at Cu Kα [deg], shape (lines,), NaN where it cannot reach them."""
    with np.errstate(invalid="ignore"):
        sine = np.sqrt(lines.inverse_d_squared + fit.strain @ lines.change) * (CU_K_ALPHA / 2)
        return np.degrees(2 * np.arcsin(sine)) + fit.shift


def lines_to_density(lines: Lines, fit: Fit, profile: Profile) -> np.ndarray:
    """The lines as shares of what would be seen of them in the measured range, shape (bins,)."""
    places, _ = two_theta_to_bins(lines_to_two_theta(lines, fit))
    density = spread(places, lines.height, width=lines.width) * profile.covered
    return density / max(density.sum(), _FLOOR)


def search(profile: Profile, lines: Lines) -> Fit:
    """The best of a grid of shifts and scales of the whole cell.

    Σ √(hₖ p(2θₖ)) over the lines finds the place quickly; the score there is that of `score_fit`.
    """
    strong = lines.height > WEAKEST / 100
    height, squared = lines.height[strong], lines.inverse_d_squared[strong]
    with np.errstate(invalid="ignore"):
        sine = np.sqrt(squared * (1 - 2 * _STRAINS[:, None])) * (CU_K_ALPHA / 2)
        angles = np.degrees(2 * np.arcsin(sine))
    places, _ = two_theta_to_bins(angles[:, None, :] + _SHIFTS[:, None])
    inside = np.isfinite(places)
    bins = np.where(inside, places, 0).astype(np.int64)
    inside &= profile.covered[bins]
    found = (np.sqrt(profile.density)[bins] * inside) @ np.sqrt(height)
    seen = inside @ height
    of_grid = found / np.sqrt(np.maximum(seen, 0.05 * height.sum()))
    best: Fit | None = None
    for cell in np.argsort(-of_grid, axis=None)[[0, 4]]:
        strain, shift = np.unravel_index(cell, of_grid.shape)
        fit = Fit(0.0, float(_SHIFTS[shift]), np.concatenate([_STRAINS[[strain]], np.zeros(len(lines.change) - 1)]))
        fit = replace(fit, score=score_fit(profile, lines, fit))
        best = fit if best is None or fit.score > best.score else best
    assert best is not None
    return best


def score_fit(profile: Profile, lines: Lines, fit: Fit) -> float:
    """Bhattacharyya coefficient Σ √(p q) of the shares of intensity p measured and q calculated: 1 if they are alike.

    The square root keeps the strongest line from deciding alone, so that texture costs little; an impurity that holds
    a share s of the measured intensity takes a part 1 - √(1 - s), and so do calculated lines that are not there.

    Source: Bhattacharyya (1943), Bull. Calcutta Math. Soc. 35, 99-109.
    """
    return float(np.sqrt(profile.density * lines_to_density(lines, fit, profile)).sum())


def refine(profile: Profile, lines: Lines, start: Fit) -> Fit:
    """The fit of highest merit near another one, over the shift and all strains of the lines, by L-BFGS-B."""
    from scipy.optimize import minimize  # noqa: PLC0415 - slow to import

    usual, units = _usual(len(lines.change))
    limits = np.array([LARGEST_SHIFT, *[LARGEST_STRAIN] * len(lines.change)])
    found = minimize(
        lambda steps: _loss(usual + steps * units, profile, lines),
        _free_to_units(np.array([start.shift, *start.strain])),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([(-limits - usual) / units, (limits - usual) / units], axis=1),
        options={"maxiter": 25, "maxfun": 40, "ftol": 1e-5},
    )
    free = usual + found.x * units
    fit = Fit(0.0, float(free[0]), free[1:])
    return replace(fit, score=score_fit(profile, lines, fit))


def _loss(free: np.ndarray, profile: Profile, lines: Lines) -> tuple[float, np.ndarray]:
    """Minus the merit, and its derivatives by shift and strains in the units of `_usual`."""
    fit = Fit(0.0, float(free[0]), free[1:])
    angles = lines_to_two_theta(lines, fit)
    places, bins_a_degree = two_theta_to_bins(angles)
    density = spread(places, lines.height, width=lines.width) * profile.covered + _FLOOR
    total = density.sum()
    roots = np.sqrt(profile.density / density)
    score = float(roots @ density) / np.sqrt(total)
    by_density = (roots / (2 * np.sqrt(total)) - score / (2 * total)) * profile.covered
    by_density = widen(by_density, width=lines.width)
    inside = np.isfinite(places)
    lower = np.where(inside, places, 0).astype(np.int64)
    step = by_density[np.minimum(lower + 1, len(by_density) - 1)] - by_density[lower]
    by_angle = np.where(inside, lines.height * step * bins_a_degree, 0.0)
    sine_cosine = np.sin(np.radians(angles - fit.shift)) / 2
    by_square = np.degrees(by_angle * (CU_K_ALPHA / 2) ** 2 / np.where(inside, sine_cosine, 1.0))
    gradient = np.array([by_angle.sum(), *(lines.change @ by_square)])
    steps = _free_to_units(free)
    return COST * float(steps @ steps) - score, 2 * COST * steps - gradient * _usual(len(fit.strain))[1]
