"""Lattices and observed peaks: which reflections a lattice allows, its refined cell, and its figure of merit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xxact_core.quantities import CRYSTAL_SYSTEMS
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, cell_volume

Centring = Literal["P", "A", "B", "C", "I", "F", "R"]

CENTRINGS: dict[str, tuple[Centring, ...]] = {
    "cubic": ("P", "I", "F"),
    "tetragonal": ("P", "I"),
    "hexagonal": ("P",),
    "trigonal": ("P", "R"),
    "orthorhombic": ("P", "A", "B", "C", "I", "F"),
    "monoclinic": ("P", "C", "I"),
    "triclinic": ("P",),
}
"""Centrings of the lattices of each crystal system, in the cells of `Lattice`."""

MERIT_LINES = 20
"""Number of peaks of the figure of merit. Source: de Wolff (1968), J. Appl. Cryst. 1, 108-113."""

TOLERANCE = 0.12
"""Largest distance between a peak and the reflection that explains it [deg 2θ]. Ours."""

LEFT_OUT_POWER = 4
"""Power of the fraction of indexed peaks in the rank of a lattice. Ours: a tenth left out costs a third."""

FEWEST_INDEXED = 0.8
"""Smallest fraction of the peaks that a lattice must index. Ours: of 20 peaks, four may be of another phase."""

_ROUNDS = 6
_MOST_INDEX = 40
_SAME_Q = 1e-6

_METRIC_ROWS: dict[str, tuple[tuple[int, ...], ...]] = {
    "cubic": ((1, 1, 1, 0, 0, 0),),
    "tetragonal": ((1, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0)),
    "hexagonal": ((2, 2, 0, 1, 0, 0), (0, 0, 1, 0, 0, 0)),
    "trigonal": ((2, 2, 0, 1, 0, 0), (0, 0, 1, 0, 0, 0)),
    "orthorhombic": ((1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0)),
    "monoclinic": ((1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0), (0, 0, 0, 0, 1, 0)),
    "triclinic": tuple(tuple(int(i == j) for j in range(6)) for i in range(6)),
}
"""Free parts of the reciprocal metric G*₁₁, G*₂₂, G*₃₃, G*₁₂, G*₁₃, G*₂₃ of each system; monoclinic b is unique."""

assert set(_METRIC_ROWS) == set(CRYSTAL_SYSTEMS) == set(CENTRINGS)


@dataclass(frozen=True, eq=False)
class Lattice:
    """A lattice: trigonal and hexagonal ones in the hexagonal cell, monoclinic ones with unique axis b."""

    system: str
    """One of `xxact_core.quantities.CRYSTAL_SYSTEMS`."""
    centring: Centring
    """P, A, B, C, I, F or R."""
    cell: np.ndarray
    """Cell a, b, c [Å], α, β, γ [deg], shape (6,)."""

    @property
    def volume(self) -> float:
        """Volume of the cell [Å³]."""
        return float(cell_volume(self.cell))


@dataclass(frozen=True, eq=False)
class IndexedLattice:
    """A lattice that explains the peaks of a pattern."""

    lattice: Lattice
    """Refined on the peaks."""
    u_cell: np.ndarray
    """Standard uncertainties of the cell, 0 where a value is fixed by symmetry, shape (6,)."""
    zero_shift: float
    """Zero shift of the peaks [deg 2θ]."""
    figure_of_merit: float
    """M of de Wolff for the first 20 peaks, or for all where there are fewer; above 10 a lattice is usually right."""
    indexed: int
    """Number of peaks that it explains."""
    peaks: int
    """Number of peaks."""
    hkl: np.ndarray
    """Indices of each peak, shape (peaks, 3); zeros for a peak that it does not explain."""

    @property
    def rank(self) -> float:
        """The figure of merit, lowered where peaks are left."""
        return self.figure_of_merit * (self.indexed / self.peaks) ** LEFT_OUT_POWER


def lattice_to_hkl(lattice: Lattice, *, most_q: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of one reflection for each value of Q = 1/d² up to `most_q` [Å⁻²], shape (reflections, 3), and Q.

    In ascending order; reflections that the centring forbids are left out.
    """
    metric = cell_to_reciprocal_metric(lattice.cell)
    largest = np.minimum(np.floor(lattice.cell[:3] * np.sqrt(most_q)).astype(int), _MOST_INDEX)
    axes = [np.arange(0, largest[0] + 1), *(np.arange(-most, most + 1) for most in largest[1:])]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    hkl = hkl[_allowed(hkl, lattice.centring)]
    q = hkl_to_q(hkl, metric)
    kept = (q > _SAME_Q) & (q <= most_q)
    hkl, q = hkl[kept], q[kept]
    order = np.lexsort((-hkl.sum(axis=1), np.round(q, 9)))
    hkl, q = hkl[order], q[order]
    first = np.diff(q, prepend=-1.0) > _SAME_Q
    return hkl[first], q[first]


def hkl_to_q(hkl: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Q = 1/d² [Å⁻²] of indices, shape (reflections, 3), in a reciprocal metric, shape (6,)."""
    q: np.ndarray = _metric_terms(hkl) @ metric
    return q


def _metric_terms(hkl: np.ndarray) -> np.ndarray:
    """What each entry of the reciprocal metric contributes to Q, shape (reflections, 6)."""
    h, k, ell = (hkl[:, axis].astype(np.float64) for axis in range(3))
    return np.stack([h * h, k * k, ell * ell, 2 * h * k, 2 * h * ell, 2 * k * ell], axis=1)


def _allowed(hkl: np.ndarray, centring: Centring) -> np.ndarray:
    h, k, ell = hkl.T
    conditions: dict[str, np.ndarray] = {
        "A": (k + ell) % 2 == 0,
        "B": (h + ell) % 2 == 0,
        "C": (h + k) % 2 == 0,
        "I": (h + k + ell) % 2 == 0,
        "F": ((h + k) % 2 == 0) & ((h + ell) % 2 == 0),
        "R": (-h + k + ell) % 3 == 0,
    }
    return conditions.get(centring, np.ones(len(hkl), dtype=np.bool_))


def index_peaks(lattice: Lattice, two_theta: np.ndarray, *, wavelength: float) -> IndexedLattice | None:
    """Index peaks with a lattice and refine its cell and a zero shift on them; None where too few peaks fit.

    The figure of merit is M = Q_N / (2 <ΔQ> N_calc): Q_N of the last of the first N = 20 peaks, the mean deviation of
    the peaks that are indexed, and the number of different Q up to Q_N that the lattice allows. It is multiplied by the
    fraction of those peaks that is indexed.

    Source: de Wolff (1968), J. Appl. Cryst. 1, 108-113.

    Args:
        lattice: with a cell to start from.
        two_theta: positions of the peaks [deg], ascending, shape (peaks,).
        wavelength: of the positions [Å].
    """
    free = np.array(_METRIC_ROWS[lattice.system], dtype=np.float64)
    zero, u_cell, residual = 0.0, np.full(6, np.nan), np.array([])
    near = np.zeros(two_theta.size, dtype=np.bool_)
    assigned = np.zeros((two_theta.size, 3), dtype=np.int64)
    for _ in range(_ROUNDS):
        sines = 2 * np.sin(np.deg2rad(two_theta - zero) / 2) / wavelength
        hkl, q = lattice_to_hkl(lattice, most_q=float(sines[-1] ** 2) * 1.02)
        if not q.size:
            return None
        calculated = np.degrees(2 * np.arcsin(np.minimum(np.sqrt(q) * wavelength / 2, 1))) + zero
        closest = np.abs(two_theta[:, None] - calculated[None]).argmin(axis=1)
        near = np.abs(two_theta - calculated[closest]) <= TOLERANCE
        assigned = hkl[closest]
        if near.sum() < max(FEWEST_INDEXED * two_theta.size, len(free) + 2):
            return None
        terms = _metric_terms(assigned[near]) @ free.T
        observed = sines[near] ** 2
        slope = 2 * sines[near] * np.cos(np.deg2rad(two_theta[near] - zero) / 2) / wavelength * np.deg2rad(1)
        design = np.column_stack([terms, slope])  # Q = terms · metric + slope · further zero shift
        weights = 1 / slope  # equal uncertainties of the angles
        solution, *_ = np.linalg.lstsq(design * weights[:, None], observed * weights, rcond=None)
        refined = _metric_to_cell(solution[:-1] @ free)
        if refined is None:
            return None
        residual = (observed - design @ solution) * weights
        covariance = np.linalg.pinv((design * weights[:, None]).T @ (design * weights[:, None]))
        spread = float(residual @ residual) / max(residual.size - design.shape[1], 1)
        u_cell = _cell_uncertainties(solution[:-1], covariance[:-1, :-1] * spread, free)
        lattice, zero = replace(lattice, cell=refined), zero + float(solution[-1])
    merit = _figure_of_merit(lattice, two_theta - zero, near, assigned, wavelength=wavelength)
    return IndexedLattice(
        lattice=lattice,
        u_cell=u_cell,
        zero_shift=zero,
        figure_of_merit=merit,
        indexed=int(near.sum()),
        peaks=two_theta.size,
        hkl=np.where(near[:, None], assigned, 0),
    )


def _figure_of_merit(
    lattice: Lattice, two_theta: np.ndarray, near: np.ndarray, assigned: np.ndarray, *, wavelength: float
) -> float:
    first = slice(0, MERIT_LINES)
    q = (2 * np.sin(np.deg2rad(two_theta[first]) / 2) / wavelength) ** 2
    calculated = hkl_to_q(assigned[first], cell_to_reciprocal_metric(lattice.cell))
    kept = near[first]
    if not kept.any():
        return 0.0
    deviation = float(np.abs(q - calculated)[kept].mean())
    possible = len(lattice_to_hkl(lattice, most_q=float(q[-1]) * (1 + 1e-9))[1])
    return float(q[-1] / (2 * max(deviation, 1e-9) * max(possible, 1)) * kept.mean())


def _metric_to_cell(metric: np.ndarray) -> np.ndarray | None:
    """Cell of a reciprocal metric, None where it is of no lattice; 90 and 120° exactly where they are."""
    g = np.array(
        [[metric[0], metric[3], metric[4]], [metric[3], metric[1], metric[5]], [metric[4], metric[5], metric[2]]]
    )
    if not np.isfinite(g).all() or np.linalg.eigvalsh(g).min() <= 0:
        return None
    direct = np.linalg.inv(g)
    lengths = np.sqrt(np.diag(direct))
    cosines = [direct[i, j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    special = np.array([90.0, 120.0])
    nearest = special[np.abs(angles[:, None] - special).argmin(axis=1)]
    return np.concatenate([lengths, np.where(np.abs(angles - nearest) < 1e-7, nearest, angles)])  # noqa: PLR2004 - round-off


def _cell_uncertainties(free_metric: np.ndarray, covariance: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Standard uncertainties of the cell, by differences."""
    at = _metric_to_cell(free_metric @ free)
    columns = []
    for place, value in enumerate(free_metric):
        step = max(abs(value), 1e-6) * 1e-5
        changed = free_metric.copy()
        changed[place] += step
        other = _metric_to_cell(changed @ free)
        columns.append(np.zeros(6) if other is None or at is None else (other - at) / step)
    derivative = np.array(columns).T
    return np.sqrt(np.maximum(np.diag(derivative @ covariance @ derivative.T), 0))


def related_lattices(lattice: Lattice) -> Iterator[Lattice]:
    """The lattice with every centring, and with axes divided by 2 or 3, which a search may not have tried."""
    together = {
        "cubic": ((0, 1, 2),),
        "tetragonal": ((0, 1), (2,), (0, 1, 2)),
        "hexagonal": ((0, 1), (2,), (0, 1, 2)),
        "trigonal": ((0, 1), (2,), (0, 1, 2)),
    }.get(lattice.system, ((0,), (1,), (2,)))
    cells = [lattice.cell]
    for axes in together:
        for divisor in (2, 3):
            cell = lattice.cell.copy()
            cell[list(axes)] /= divisor
            cells.append(cell)
    for cell in cells:
        for centring in CENTRINGS[lattice.system]:
            yield Lattice(lattice.system, centring, cell)
        if lattice.system == "hexagonal":
            yield Lattice("trigonal", "R", cell)
