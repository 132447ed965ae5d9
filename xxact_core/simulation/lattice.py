"""Cell → lattice geometry: volume, reciprocal metric, and angles of reflections."""

from __future__ import annotations

import numpy as np


def cell_to_reciprocal_metric(cell: np.ndarray) -> np.ndarray:
    """Reciprocal metric tensor as its six entries G*₁₁, G*₂₂, G*₃₃, G*₁₂, G*₁₃, G*₂₃ [Å⁻²], so that 1/d² = hᵀ G* h.

    Source: International Tables for Crystallography B (2006), section 1.1.2. A cell without volume gives inf or NaN.

    Args:
        cell: a, b, c [Å], α, β, γ [deg], shape (..., 6).

    Returns:
        Shape (..., 6), float64.
    """
    a, b, c, alpha, beta, gamma = _entries(cell)
    cos_alpha, cos_beta, cos_gamma = _cosine(alpha), _cosine(beta), _cosine(gamma)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / _volume_factor(cos_alpha, cos_beta, cos_gamma)
        entries = (
            (1 - cos_alpha * cos_alpha) * scale / (a * a),
            (1 - cos_beta * cos_beta) * scale / (b * b),
            (1 - cos_gamma * cos_gamma) * scale / (c * c),
            (cos_alpha * cos_beta - cos_gamma) * scale / (a * b),
            (cos_alpha * cos_gamma - cos_beta) * scale / (a * c),
            (cos_beta * cos_gamma - cos_alpha) * scale / (b * c),
        )
    if np.ndim(a) < 2:  # noqa: PLR2004 - one cell or a row of them: faster
        return np.array(entries).T
    return np.stack(entries, axis=-1)


def cell_volume(cell: np.ndarray) -> np.ndarray:
    """Volume [Å³], shape (...,), of cells a, b, c [Å], α, β, γ [deg] of shape (..., 6); NaN where they do not close."""
    a, b, c, alpha, beta, gamma = _entries(cell)
    with np.errstate(invalid="ignore"):
        volume: np.ndarray = a * b * c * np.sqrt(_volume_factor(_cosine(alpha), _cosine(beta), _cosine(gamma)))
    return volume


def _entries(array: np.ndarray) -> tuple[np.ndarray, ...]:
    """The columns of an array, in double precision."""
    array = np.asarray(array, dtype=np.float64)
    return tuple(array[..., column] for column in range(array.shape[-1]))


def _cosine(angle: np.ndarray) -> np.ndarray:
    cosine: np.ndarray = np.cos(np.radians(angle))
    return cosine


def _volume_factor(cos_alpha: np.ndarray, cos_beta: np.ndarray, cos_gamma: np.ndarray) -> np.ndarray:
    """(V / abc)²; at or below 0 the three angles do not close to a cell."""
    squares = cos_alpha * cos_alpha + cos_beta * cos_beta + cos_gamma * cos_gamma
    factor: np.ndarray = 1 - squares + 2 * cos_alpha * cos_beta * cos_gamma
    return factor


def hkl_to_two_theta(hkl: np.ndarray, reciprocal_metric: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Angles 2θ = 2 asin(λ √(hᵀ G* h) / 2) [deg] of reflections; NaN where the wavelength cannot reach them.

    Args:
        hkl: Miller indices, shape (..., 3).
        reciprocal_metric: as of `cell_to_reciprocal_metric`, shape (..., 6) or (6,) [Å⁻²].
        wavelength: of the radiation [Å].
    """
    h, k, ell = _entries(hkl)
    g11, g22, g33, g12, g13, g23 = _entries(reciprocal_metric)
    squared = g11 * h * h + g22 * k * k + g33 * ell * ell + 2 * (g12 * h * k + g13 * h * ell + g23 * k * ell)
    with np.errstate(invalid="ignore"):
        two_theta: np.ndarray = np.degrees(2 * np.arcsin(np.sqrt(squared) * (wavelength / 2)))
    return two_theta
