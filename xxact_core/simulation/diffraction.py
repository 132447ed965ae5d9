"""Structure → sticks: ideal powder reflections from arrays, equal to pymatgen's `XRDCalculator` and much faster.

The phase exp(2πi(hx + ky + lz)) separates into three factors, so one matrix product per element replaces the sum over
atoms and reflections; reflections are merged by sorting, without families of Miller indices.
"""

from __future__ import annotations

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.patterns.pattern import Sticks
from xxact_core.simulation.scattering import scattering_factor

CU_K_ALPHA = 1.54184
"""Cu Kα wavelength [Å]. Source: pymatgen's `CuKa`, the radiation of XxaCT-NN section 3.3."""

MERGE_TOLERANCE = 1e-5
"""Reflections in the same bin of this width [deg 2θ] are one line. Source: pymatgen `TWO_THETA_TOL`."""

WEAKEST_LINE = 1e-3
"""Lines at or below this share of the strongest [%] are dropped. Source: pymatgen `SCALED_INTENSITY_TOL`."""

LARGEST_BOX = 20_000_000
"""Miller indices enumerated at most for one structure; beyond it the cell is refused as unreasonably large."""


def metric_tensor(cell: np.ndarray) -> np.ndarray:
    """Metric tensor [Å²], shape (3, 3), of a cell given as a, b, c [Å] and α, β, γ [deg]."""
    lengths = np.asarray(cell[:3], dtype=np.float64)
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(np.asarray(cell[3:6], dtype=np.float64)))
    cosines = np.array([[1, cos_gamma, cos_beta], [cos_gamma, 1, cos_alpha], [cos_beta, cos_alpha, 1]])
    return np.outer(lengths, lengths) * cosines


def arrays_to_sticks(
    *,
    cell: np.ndarray,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray | None = None,
    wavelength: float = CU_K_ALPHA,
    two_theta_range: tuple[float, float] = (5.0, 90.0),
) -> Sticks:
    """Powder sticks of a crystal structure, scaled to a maximum of 100.

    I = 2 |Σ_j o_j f_j exp(2πi h·r_j)|² (1 + cos² 2θ) / (sin² θ cos θ), summed over coincident reflections; the factor 2
    is Friedel's mate.

    Source: De Graef & McHenry, Structure of Materials (2007), chapters 11-12; conventions of pymatgen ≥ 2026.10
    `XRDCalculator` (no thermal motion, no anomalous scattering).

    Args:
        cell: a, b, c [Å], α, β, γ [deg], shape (6,).
        atomic_numbers: one per atom, shape (atoms,); a mixed site is several atoms.
        frac_coords: fractional coordinates, shape (atoms, 3).
        occupancies: shape (atoms,); all 1 where not given.
        wavelength: of the radiation [Å].
        two_theta_range: first and last angle [deg].

    Raises:
        StructureError: a cell without volume, no reflection in the range, or an element without scattering factor.
    """
    metric = metric_tensor(cell)
    volume_squared = np.linalg.det(metric)
    if not np.isfinite(metric).all() or volume_squared < 1e-3:  # noqa: PLR2004 - Å⁶, far below any atom
        msg = f"the cell {np.round(cell, 4).tolist()} has no volume"
        raise StructureError(msg, code="E_STRUCTURE")
    if occupancies is None:
        occupancies = np.ones(len(atomic_numbers))
    hkl, spacing = _reflections_in_shell(metric, wavelength=wavelength, two_theta_range=two_theta_range)
    amplitude = _structure_factors(hkl, (spacing / 2) ** 2, atomic_numbers, frac_coords, occupancies)
    theta = np.arcsin(np.clip(wavelength * spacing / 2, -1, 1))
    lorentz_polarisation = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    intensity = 2 * np.abs(amplitude) ** 2 * lorentz_polarisation
    return _merge_lines(np.degrees(2 * theta), intensity, hkl, wavelength=wavelength)


def _reflections_in_shell(
    metric: np.ndarray, *, wavelength: float, two_theta_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Miller indices of one Friedel half, shape (n, 3), and 1/d [1/Å], in order of 1/d, then of falling h, k, l."""
    low, high = (2 * np.sin(np.radians(angle / 2)) / wavelength for angle in two_theta_range)
    reciprocal = np.linalg.inv(metric)
    most = np.floor(high * np.sqrt(np.diag(metric)) + 1e-9).astype(int)
    if np.prod(2.0 * most + 1) > LARGEST_BOX:
        msg = f"the cell is so large that more than {LARGEST_BOX:,} reflections would have to be looked at"
        raise StructureError(msg, code="E_STRUCTURE")
    h = np.arange(most[0] + 1, dtype=np.float64)[:, None, None]
    k = np.arange(-most[1], most[1] + 1, dtype=np.float64)[None, :, None]
    ell = np.arange(-most[2], most[2] + 1, dtype=np.float64)[None, None, :]
    squared = (reciprocal[0, 0] * h * h + reciprocal[1, 1] * k * k + 2 * reciprocal[0, 1] * h * k) + (
        reciprocal[2, 2] * ell * ell + (2 * reciprocal[0, 2] * h + 2 * reciprocal[1, 2] * k) * ell
    )
    half = (h > 0) | ((h == 0) & (k > 0)) | ((h == 0) & (k == 0) & (ell > 0))
    inside = half & (squared <= high**2 + 1e-12) & (squared >= low**2)
    indices = np.argwhere(inside)
    if not len(indices):
        msg = f"no reflection lies between {two_theta_range[0]:g}° and {two_theta_range[1]:g}°"
        raise StructureError(msg, code="E_STRUCTURE")
    hkl = indices - np.array([0, most[1], most[2]])
    spacing = np.sqrt(squared[inside])
    order = np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], spacing))
    return hkl[order], spacing[order]


def _structure_factors(
    hkl: np.ndarray,
    s_squared: np.ndarray,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray,
) -> np.ndarray:
    """Σ_j o_j f_j exp(2πi h·r_j) for each row of hkl, complex, shape (n,)."""
    low, high = hkl.min(axis=0), hkl.max(axis=0)
    plane = (hkl[:, 0] - low[0]) * (high[1] - low[1] + 1) + (hkl[:, 1] - low[1])
    planes, plane_of = np.unique(plane, return_inverse=True)
    h, k = np.divmod(planes, high[1] - low[1] + 1)
    h, k = h + low[0], k + low[1]
    ell = np.arange(low[2], high[2] + 1)
    total = np.zeros(len(hkl), dtype=np.complex128)
    turn = 2j * np.pi
    for number in np.unique(atomic_numbers):
        of_element = atomic_numbers == number
        x, y, z = frac_coords[of_element].astype(np.float64).T
        in_plane = np.exp(turn * (np.outer(h, x) + np.outer(k, y))) * occupancies[of_element]
        along = np.exp(turn * np.outer(z, ell))
        phases = in_plane @ along
        total += scattering_factor(int(number), s_squared) * phases[plane_of, hkl[:, 2] - low[2]]
    return total


def _merge_lines(two_theta: np.ndarray, intensity: np.ndarray, hkl: np.ndarray, *, wavelength: float) -> Sticks:
    """Sum reflections that share a bin; the line stands at the smallest angle of its bin, as in pymatgen."""
    bins = np.round(two_theta / MERGE_TOLERANCE).astype(np.int64)
    first = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1))
    summed = np.add.reduceat(intensity, first)
    strongest = summed.max()
    if not (np.isfinite(strongest) and strongest > 0):
        msg = "the structure scatters nothing in this range"
        raise StructureError(msg, code="E_STRUCTURE")
    scaled = summed / strongest * 100
    kept = scaled > WEAKEST_LINE
    return Sticks(two_theta[first][kept], scaled[kept], wavelength=wavelength, hkl=hkl[first][kept])
