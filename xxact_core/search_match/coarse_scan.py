"""Strongest lines of all reference phases and a measured pattern → the phases worth fitting.

On an axis of ln(1/d) a change of the cell scale moves all lines of a phase equally. So the measured pattern is written
once into a table over that axis, for every combination of cell scale and zero shift, and each phase sums the entries at
its lines: one product of a sparse matrix with the table, a tenth of a second for 150,000 phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.peak_profiles.corrections import thermal_factor
from xxact_core.search_match.database import ReferenceDatabase, StrongestLines
from xxact_core.search_match.fit import THERMAL_B, USUAL_SHIFT, IntensityDistribution, usual_strains
from xxact_core.search_match.peak_axis import BINS_PER_WIDTH, two_theta_to_bins

STEP = 0.001
"""Width of a bin on the axis of ln(1/d)."""

FIRST, BINS = -2.95, 2950
"""Start of the axis, and number of its bins: from 20 Å to 1 Å."""

SCALES = np.linspace(-0.02, 0.02, 11)
"""Deviations of the cell scale from the usual one of its source that are compared. Ours: more than three standard
deviations of calculated cells, in steps of a peak width at 60°."""

SHIFTS = np.array([-0.12, 0.0, 0.12])
"""Zero shifts that are compared [deg 2θ]. Ours."""

SCALE_PENALTY = 0.002
"""Penalty on the agreement for a cell scale that deviates by 0.006, or a zero shift of `USUAL_SHIFT`. Ours."""

SMALLEST_FRACTION_IN_RANGE = 0.05
"""Lower bound on the fraction of a phase's intensity within the measured range."""

RESOLUTION = 2.5
"""Lines closer than this many peak widths of `peak_axis` count as one. Ours."""

FEW = 0.2
"""A scan of less than this fraction of the phases prepares the lines of these phases alone. Ours."""

_TOGETHER = 16384


@dataclass(frozen=True, eq=False)
class Scan:
    """Agreement of phases with a pattern, in the order of `rows`."""

    rows: np.ndarray
    """Rows of the database, shape (phases,)."""
    agreement: np.ndarray
    """Σ √(p h) over the lines at the best cell scale and shift, less the penalty; about 0.2-0.5 for a phase that is
    present. Shape (phases,), float32."""
    strain: np.ndarray
    """ln(measured / calculated cell length) there, shape (phases,)."""
    shift: np.ndarray
    """Zero shift there [deg 2θ], shape (phases,)."""

    def best(self, count: int, order: np.ndarray | None = None) -> Scan:
        """The phases of highest agreement, or of highest `order`, best first."""
        order = self.agreement if order is None else order
        count = min(count, len(self.rows))
        chosen = np.argpartition(-order, count - 1)[:count] if count else np.zeros(0, dtype=np.intp)
        chosen = chosen[np.argsort(-order[chosen], kind="stable")]
        return Scan(self.rows[chosen], self.agreement[chosen], self.strain[chosen], self.shift[chosen])


@dataclass(frozen=True, eq=False)
class LineIndex:
    """The strongest lines of a database, prepared for scans; derived from its columns in a fraction of a second."""

    references: ReferenceDatabase

    def scan(self, measured: IntensityDistribution, rows: np.ndarray | None = None) -> Scan:
        """Compare phases with a pattern, or with what other phases leave unexplained of it.

        Args:
            measured: intensities to compare with; `fit.intensity_to_distribution` makes them from a profile.
            rows: of the phases to compare; by default all.
        """
        index = np.arange(len(self.references)) if rows is None else np.asarray(rows, dtype=np.intp)
        table, covered = _lookup(measured)
        bins, height = self._lines(rows)
        agreement = np.empty(len(index), dtype=np.float32)
        place = np.empty(len(index), dtype=np.intp)
        for first in range(0, len(index), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            agreement[part], place[part] = _compare(bins[part], height[part], table, covered)
        scale, shift = np.unravel_index(place, (len(SCALES), len(SHIFTS)))
        usual = usual_strains(self.references.experimental[index])
        return Scan(index, agreement, usual + SCALES[scale], SHIFTS[shift])

    def _lines(self, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Bins, shape (phases, lines), and heights of the lines, at the usual cell scale of each phase."""
        if rows is None:
            return self._all
        if "_all" in self.__dict__ or len(rows) > FEW * len(self.references):
            bins, height = self._all
            return bins[rows], height[rows]
        return _rows_to_bins(self.references, rows)

    @cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(self.references))
        parts = [_rows_to_bins(self.references, rows[first : first + _TOGETHER]) for first in rows[::_TOGETHER]]
        bins, height = (np.concatenate(part) for part in zip(*parts, strict=True))
        return bins, height


def _rows_to_bins(references: ReferenceDatabase, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins and heights of the lines of these phases, in batches so that little memory is needed."""
    return _lines_to_bins(references.lines_of(rows), usual_strains(references.experimental[rows]))


def _lines_to_bins(lines: StrongestLines, strain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins, int16, and heights of the lines, float32, with cells of this strain; both of shape (phases, lines).

    Lines that a pattern does not resolve become one: as square roots of heights are summed, a peak that a structure of
    low symmetry splits would count more often than that of its parent.
    """
    position = lines.position - strain[:, None].astype(np.float32)
    inside = (position > FIRST) & (position < FIRST + STEP * (BINS - 1))  # not NaN
    position = np.where(inside, position, FIRST)
    height = lines.height * thermal_factor(np.exp(2 * position), b=THERMAL_B).astype(np.float32)
    height = np.where(inside, height, 0)
    sine = np.minimum(np.exp(position) * np.float32(CU_K_ALPHA / 2), 1)
    place, _ = two_theta_to_bins(np.degrees(2 * np.arcsin(sine)))
    apart = np.diff(np.nan_to_num(place), axis=1, prepend=-np.inf) > RESOLUTION * BINS_PER_WIDTH
    count = height.shape[1]
    group = (np.cumsum(apart, axis=1) - 1 + count * np.arange(len(height))[:, None]).ravel()
    merged = np.bincount(group, height.ravel(), minlength=height.size)
    centre = np.bincount(group, (height * position).ravel(), minlength=height.size) / np.maximum(merged, 1e-9)
    bins = np.where(merged > 0, np.rint((centre - FIRST) / STEP), 0)
    return bins.reshape(height.shape).astype(np.int16), merged.reshape(height.shape).astype(np.float32)


def _lookup(measured: IntensityDistribution) -> tuple[np.ndarray, np.ndarray]:
    """√p at each bin for all cell scales and shifts, less none of the penalty; and whether the bin was measured.

    Returns:
        Shapes (bins, scales x shifts) and (bins,), float32.
    """
    spacing = np.exp(FIRST + STEP * np.arange(BINS)[:, None, None] - SCALES[:, None]) * (CU_K_ALPHA / 2)
    angles = np.degrees(2 * np.arcsin(np.minimum(spacing, 1))) + SHIFTS
    positions, _ = two_theta_to_bins(angles)
    inside = np.isfinite(positions)
    lower = np.where(inside, positions, 0).astype(np.intp)
    fraction = np.where(inside, positions - lower, 0)
    roots = np.sqrt(measured.density)
    values = roots[lower] * (1 - fraction) + roots[np.minimum(lower + 1, len(roots) - 1)] * fraction
    covered = (
        inside[:, len(SCALES) // 2, len(SHIFTS) // 2] & measured.covered[lower[:, len(SCALES) // 2, len(SHIFTS) // 2]]
    )
    return (values * inside).reshape(BINS, -1).astype(np.float32), covered.astype(np.float32)


def _compare(
    bins: np.ndarray, height: np.ndarray, table: np.ndarray, covered: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Best agreement of each phase, and at which scale and shift; shape (phases,)."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

    phases, lines = bins.shape
    starts = np.arange(0, (phases + 1) * lines, lines, dtype=np.int32)[: phases + 1]
    matrix = csr_array((np.sqrt(height).ravel(), bins.ravel().astype(np.int32), starts), shape=(phases, len(table)))
    seen = (height * covered[bins]).sum(axis=1)
    seen = np.maximum(seen, SMALLEST_FRACTION_IN_RANGE * height.sum(axis=1) + np.float32(1e-9))
    found = (matrix @ table) / np.sqrt(seen)[:, None] - _PENALTIES
    place = found.argmax(axis=1)
    return found[np.arange(phases), place], place


_PENALTIES = (
    (SCALE_PENALTY * (np.square(SCALES / 0.006)[:, None] + np.square(SHIFTS / USUAL_SHIFT))).ravel().astype(np.float32)
)
