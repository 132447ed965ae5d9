"""Residual of a fit and the strongest lines of many phases → the phases that explain it best.

Both are compared on an axis u on which an error of the cell blurs all peaks equally, du = d2θ / √(a² + (b tan θ)²), as
on the axis of `peak_axis`, but for any wavelength and peak width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.peak_profiles.corrections import lorentz_polarisation, thermal_factor
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.measured_profile import MeasuredProfile
from xxact_core.search_match.phase_lines import (
    COMPUTED_SCALE,
    COMPUTED_SPREAD,
    MEASURED_SCALE,
    MEASURED_SPREAD,
)
from xxact_core.search_match.profile_fit import USUAL_B

SHEAR = 0.003
"""Error of a cell length after the volume is fitted, which blurs the lines. Ours."""

BLUR = 1.2
"""Width of the blur by instrument and zero shift, in widths of the peaks. Ours."""

SMALLEST_BLUR = 0.05
"""Smallest standard deviation of that blur [deg 2θ]. Ours."""

RELATIVE_ERROR = 0.25
"""Error of a blurred calculated intensity, relative to the measured one. Ours."""

DETECTION = 0.01
"""Area of a peak relative to the strongest below which misfit is ignored. Ours."""

STRAIN_STEP = 0.0025
STRAIN_REACH = 3.0
"""Strains searched: up to this many standard deviations from the usual one, in these steps. Ours."""

BINS = 3
"""Bins in a standard deviation of the blur."""

_NEIGHBOURS = 6
_TOGETHER = 4096
_FEWEST_SEEN = 0.1


@dataclass(frozen=True, eq=False)
class Proposal:
    """A phase that may explain a residual."""

    row: int
    """Row of the database."""
    gain: float
    """Decrease of the blurred weighted sum of squares."""
    strain: float
    """Isotropic strain of the cell at which it is largest."""


@dataclass(frozen=True, eq=False)
class ScanAxis:
    """The axis u of a measured profile."""

    measured: MeasuredProfile

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """2θ in small steps [deg] and u there [bins]."""
        angles = np.linspace(
            self.measured.two_theta[0], self.measured.two_theta[-1], 2 + round(np.ptp(self.measured.two_theta) / 0.01)
        )
        blur = np.hypot(
            max(BLUR * self.measured.width / 2.355, SMALLEST_BLUR),
            np.degrees(2 * SHEAR) * np.tan(np.radians(angles / 2)),
        )
        density = BINS / blur
        steps = np.diff(angles) * (density[1:] + density[:-1]) / 2
        return angles, np.concatenate([[0], np.cumsum(steps)])

    @cached_property
    def bins(self) -> int:
        """Number of bins."""
        return int(self._table[1][-1]) + 2

    def to_bins(self, two_theta: np.ndarray) -> np.ndarray:
        """Positions [bins], NaN outside the measured range."""
        angles, bins = self._table
        with np.errstate(invalid="ignore"):
            positions: np.ndarray = np.interp(two_theta, angles, bins, left=np.nan, right=np.nan)
        return positions

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position = self.to_bins(self.measured.two_theta)
        lower = np.minimum(position.astype(np.int64), self.bins - 2)
        return lower, position - lower, np.gradient(self.measured.two_theta)

    def areas(self, curve: np.ndarray) -> np.ndarray:
        """Blurred area of a curve over the measured angles in each bin, shape (bins,)."""
        lower, part, widths = self._points
        area = curve * np.minimum(widths, 2 * self.measured.step)
        spread = np.bincount(lower, area * (1 - part), minlength=self.bins)
        spread += np.bincount(lower + 1, area * part, minlength=self.bins)
        return _blurred(spread[: self.bins], BINS)

    @cached_property
    def covered(self) -> np.ndarray:
        """Whether something was measured in each bin, shape (bins,)."""
        return self.areas(np.ones_like(self.measured.two_theta)) > 0

    @cached_property
    def weight(self) -> np.ndarray:
        """Weights of the blurred areas, shape (bins,); 0 where nothing was measured."""
        net = self.areas(self.measured.envelope)
        lower, _, widths = self._points
        variance = np.bincount(lower, self.measured.variance * widths**2, minlength=self.bins)[: self.bins]
        noise = _blurred(variance, BINS / np.sqrt(2)) / (2 * np.sqrt(np.pi) * BINS)
        weight: np.ndarray = self.covered / (noise + (RELATIVE_ERROR * net) ** 2 + (DETECTION * net.max()) ** 2)
        return weight / BINS


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    blurred: np.ndarray = gaussian_filter1d(values, sigma, mode="constant", truncate=3.5)
    return blurred


def scan_rows(
    axis: ScanAxis, residual: np.ndarray, references: ReferenceDatabase, rows: np.ndarray, *, zero: float = 0.0
) -> list[Proposal]:
    """The phases of these rows with their gain on the residual, largest first; those without gain are left out.

    The gain of the profile q of a phase on the residual r is (Σ w r q)² / Σ w q², the decrease of Σ w (r - s q)² by the
    best scale s, at the best of several isotropic strains.

    Args:
        axis: of the measured profile.
        residual: intensity to explain at the measured angles, shape (points,).
        references: the database.
        rows: of the phases.
        zero: zero shift, added to the calculated angles [deg 2θ].
    """
    towards = _blurred(axis.weight * axis.areas(residual), BINS)
    norm = _blurred(axis.weight, BINS / np.sqrt(2))
    found = []
    for first in range(0, len(rows), _TOGETHER):
        part = rows[first : first + _TOGETHER]
        gain, strain = _gains(axis, towards, norm, references, part, zero=zero)
        found += [
            Proposal(int(row), float(of_row), float(best))
            for row, of_row, best in zip(part, gain, strain, strict=True)
            if of_row > 0
        ]
    return sorted(found, key=lambda proposal: -proposal.gain)


def _gains(
    axis: ScanAxis,
    towards: np.ndarray,
    norm: np.ndarray,
    references: ReferenceDatabase,
    rows: np.ndarray,
    *,
    zero: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Largest gain of each row, and the strain there; shapes (rows,)."""
    wavelength = axis.measured.radiation.wavelength
    lines = references.lines_of(rows)
    inverse_d = np.exp(lines.position.astype(np.float64))
    with np.errstate(invalid="ignore"):
        at_cu = np.clip((inverse_d * (CU_K_ALPHA / 2)) ** 2, 1e-6, 0.99)
        here = np.clip((inverse_d * (wavelength / 2)) ** 2, 1e-6, 0.99)
        area = lines.height * lorentz_polarisation(here) / lorentz_polarisation(at_cu)
        area = np.nan_to_num(area * thermal_factor(inverse_d**2, b=USUAL_B))
    measured = np.asarray(references.experimental)[rows]
    mean = np.where(measured, 1 - 1 / MEASURED_SCALE, 1 - 1 / COMPUTED_SCALE)
    spread = np.where(measured, MEASURED_SPREAD, COMPUTED_SPREAD)
    best, best_strain = np.zeros(len(rows)), mean.copy()
    reach = STRAIN_REACH * COMPUTED_SPREAD
    for offset in np.arange(-reach, reach + STRAIN_STEP / 2, STRAIN_STEP):
        inside = np.abs(offset) <= STRAIN_REACH * spread + STRAIN_STEP / 2
        if not inside.any():
            continue
        strain = mean + offset
        gain = _gain_at(axis, towards, norm, inverse_d * np.sqrt(1 - 2 * strain)[:, None], area, zero=zero)
        better = inside & (gain > best)
        best[better], best_strain[better] = gain[better], strain[better]
    return best, best_strain


def _gain_at(
    axis: ScanAxis, towards: np.ndarray, norm: np.ndarray, inverse_d: np.ndarray, area: np.ndarray, *, zero: float
) -> np.ndarray:
    """Gains with lines at these 1/d, shape (rows,)."""
    with np.errstate(invalid="ignore"):
        angle = np.degrees(2 * np.arcsin(inverse_d * (axis.measured.radiation.wavelength / 2))) + zero
    position = axis.to_bins(angle)
    seen = np.isfinite(position)
    lower = np.where(seen, position, 0).astype(np.int64)
    part = np.where(seen, position - lower, 0)
    seen &= axis.covered[lower]
    shown = np.where(seen, area, 0)
    product = (shown * (towards[lower] * (1 - part) + towards[np.minimum(lower + 1, axis.bins - 1)] * part)).sum(axis=1)
    squares = (shown**2 * norm[lower]).sum(axis=1)
    place = np.where(seen, position, -1e3)
    for distance in range(1, min(_NEIGHBOURS, shown.shape[1] - 1) + 1):
        apart = place[:, distance:] - place[:, :-distance]
        middle = ((lower[:, distance:] + lower[:, :-distance]) // 2).clip(0, axis.bins - 1)
        overlap = np.exp(-np.square(apart / (2 * BINS)))
        squares += 2 * (shown[:, distance:] * shown[:, :-distance] * overlap * norm[middle]).sum(axis=1)
    squares /= 2 * np.sqrt(np.pi) * BINS
    visible = shown.sum(axis=1) / np.maximum(area.sum(axis=1), 1e-30)
    gain = np.square(np.maximum(product, 0)) / np.maximum(squares, 1e-30)
    return np.where((squares > 0) & (visible > _FEWEST_SEEN), gain, 0.0)
