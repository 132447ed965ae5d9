"""Structure → how its cell may change without losing its symmetry, and what that does to its lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xxact_core.peak_profiles.corrections import entries_to_metric, strain_to_metric_change
from xxact_core.search_match.fit import Lines
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

_KEPT = 0.01
"""A strain that symmetry leaves less of is forbidden: cells are stored in single precision."""


def free_cell(lines: Lines, *, hkl: np.ndarray, cell: np.ndarray, rotations: np.ndarray) -> Lines:
    """The lines with every strain that the crystal system allows: one if cubic, two to four, or six if triclinic.

    Calculated cells have the symmetry of their atoms nearly; the lines are put where they stand in a cell that has it.
    The first strain is that of all axes alike. The others keep the volume and are as large: symmetric matrices of
    Frobenius norm √3.

    Args:
        lines: with one strain, as of `sticks_to_lines`.
        hkl: Miller indices, shape (lines, 3).
        cell: a, b, c [Å], α, β, γ [deg], shape (6,).
        rotations: the Laue group modulo inversion in that cell, shape (rotations, 3, 3).
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
    averaged = inverse @ (down - up) @ inverse.T / 4  # what the symmetry leaves of each unit, to first order
    averaged -= np.eye(3) * (np.trace(averaged, axis1=1, axis2=2) / 3)[:, None, None]
    _, sizes, directions = np.linalg.svd(averaged.reshape(6, 9))
    strains = np.sqrt(3) * directions[: int((sizes > _KEPT).sum())].reshape(-1, 3, 3)
    metric_change = -2 * frame @ strains @ frame.T
    hkl = hkl.astype(np.float64)
    squared = np.einsum("lh,hk,lk->l", hkl, metric, hkl)
    change = np.einsum("lh,shk,lk->sl", hkl, metric_change, hkl)
    return replace(lines, inverse_d_squared=squared, change=np.concatenate([-2 * squared[None], change]))
