"""The sticks of a batch of materials as tensors, one after another, and their angles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SticksOfRows:
    """Reflections of a batch of materials, with the lattices that determine their positions."""

    hkl: Float[Tensor, "peaks 3"]
    """Miller indices."""

    intensity: Float[Tensor, " peaks"]
    """Intensities, the strongest of each material 100."""

    sample: Int[Tensor, " peaks"]
    """Row of the material of each reflection, in order."""

    metric: Float[Tensor, "batch 6"]
    """Entries of G* as of `cell_to_reciprocal_metric` [Å⁻²]."""

    rotations: Int[Tensor, "batch rotations 3 3"]
    """Rotations W of each Laue group (h' = h W); shorter groups are padded with their first one."""

    rotation_count: Int[Tensor, " batch"]
    """Number of rotations without the padding."""

    wavelength: float
    """Wavelength of the intensities [Å]."""


def ragged_index(
    start: Int[Tensor, " materials_and_end"], rows: Int[Tensor, " batch"], *, total: int | None = None
) -> tuple[Tensor, Tensor]:
    """Flat indices of the entries of these rows, and the batch index of each; both of shape (entries,).

    total: number of entries, if known; otherwise the device is synchronised.
    """
    counts = start[rows + 1] - start[rows]
    sample = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts, output_size=total)
    offset = torch.arange(len(sample), device=rows.device) - (counts.cumsum(0) - counts)[sample]
    return start[rows][sample] + offset, sample


def sticks_to_two_theta(sticks: SticksOfRows, *, wavelength: float) -> Float[Tensor, " peaks"]:
    """Angles 2θ = 2 asin(λ √(hᵀ G* h) / 2) [deg] of reflections at a wavelength λ [Å], in double precision."""
    squared = hkl_to_inverse_d_squared(sticks.hkl, sticks.metric[sticks.sample])
    return torch.rad2deg(2 * torch.asin(squared.sqrt() * (wavelength / 2)))


def hkl_to_inverse_d_squared(
    hkl: Float[Tensor, "peaks 3"], metric: Float[Tensor, "peaks 6"]
) -> Float[Tensor, " peaks"]:
    """1/d² = hᵀ G* h [Å⁻²] of reflections, each with the metric of its own lattice."""
    h, k, ell = hkl.unbind(1)
    g11, g22, g33, g12, g13, g23 = metric.unbind(1)
    return h * (g11 * h + 2 * (g12 * k + g13 * ell)) + k * (g22 * k + 2 * g23 * ell) + g33 * ell * ell
