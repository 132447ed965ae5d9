"""Structure → the strains of its cell that keep its symmetry, and their effect on the reflections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xxact_core.peak_profiles.corrections import entries_to_metric, strain_to_metric_change
from xxact_core.search_match.fit import CalculatedReflections
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

_SMALLEST_MODE = 0.01
"""Strains of which symmetry averaging leaves less are forbidden; cells are stored in single precision."""


def free_cell(
    reflections: CalculatedReflections, *, hkl: np.ndarray, cell: np.ndarray, rotations: np.ndarray
) -> CalculatedReflections:
    """The reflections with every strain that the crystal system allows: one if cubic, two to four, or six if triclinic.

    Calculated cells have their symmetry only approximately; the reflections are moved to a cell that has it exactly.
    The first strain is isotropic. The others keep the volume and are equally large: symmetric matrices of Frobenius
    norm √3.

    Args:
        reflections: with the isotropic strain alone, from `sticks_to_calculated_reflections`.
        hkl: Miller indices, shape (reflections, 3).
        cell: a, b, c [Å], α, β, γ [deg], shape (6,).
        rotations: the Laue group modulo inversion in that cell, shape (rotations, 3, 3).
    """
    metric, metric_change = cell_strain_modes(cell, rotations)
    hkl = hkl.astype(np.float64)
    squared = np.einsum("lh,hk,lk->l", hkl, metric, hkl)
    change = np.einsum("lh,shk,lk->sl", hkl, metric_change, hkl)
    return replace(reflections, inverse_d_squared=squared, change=change)


def cell_strain_modes(cell: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reciprocal metric that has the symmetry exactly, and its changes by the strains that keep the symmetry.

    Args:
        cell: a, b, c [Å], α, β, γ [deg], shape (6,).
        rotations: the Laue group modulo inversion in that cell, shape (rotations, 3, 3).

    Returns:
        The metric [Å⁻²], shape (3, 3), and its derivative by each strain, shape (strains, 3, 3). The first strain is
        isotropic; the others keep the volume, as symmetric matrices of Frobenius norm √3.
    """
    rotations = rotations.astype(np.float64)
    metric = entries_to_metric(cell_to_reciprocal_metric(cell))
    metric = (rotations @ metric @ rotations.swapaxes(1, 2)).mean(axis=0)
    frame = np.linalg.cholesky(metric)
    weights = np.full(len(rotations), 1 / len(rotations))
    units = np.zeros((6, 3, 3))
    for unit, (row, column) in zip(units, [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)], strict=True):
        unit[row, column] = unit[column, row] = 1
    up, down = (strain_to_metric_change(frame, sign * units, rotations, weights=weights) for sign in (1, -1))
    inverse = np.linalg.inv(frame)
    averaged = inverse @ (down - up) @ inverse.T / 4  # each unit strain averaged over the symmetry, to first order
    averaged -= np.eye(3) * (np.trace(averaged, axis1=1, axis2=2) / 3)[:, None, None]
    _, sizes, directions = np.linalg.svd(averaged.reshape(6, 9))
    strains = np.sqrt(3) * directions[: int((sizes > _SMALLEST_MODE).sum())].reshape(-1, 3, 3)
    metric_change = -2 * frame @ strains @ frame.T
    return metric, np.concatenate([-2 * metric[None], metric_change])
