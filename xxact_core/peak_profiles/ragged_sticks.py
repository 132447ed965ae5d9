"""The sticks of a batch of materials as tensors, one after another, and their angles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SticksOfRows:
    """Lines of some materials and what their positions follow from.

    hkl: Miller indices. intensity: strongest 100. sample: the row that each line belongs to, in order.
    metric: entries of G* as of `cell_to_reciprocal_metric` [Å⁻²]. rotations: W of each Laue group (h' = h W); rows with
    fewer than the most have their first one again. rotation_count: how many are a row's own. wavelength: that the
    intensities were calculated for [Å].
    """

    hkl: Float[Tensor, "peaks 3"]
    intensity: Float[Tensor, " peaks"]
    sample: Int[Tensor, " peaks"]
    metric: Float[Tensor, "batch 6"]
    rotations: Int[Tensor, "batch rotations 3 3"]
    rotation_count: Int[Tensor, " batch"]
    wavelength: float


def ragged_index(
    start: Int[Tensor, " materials_and_end"], rows: Int[Tensor, " batch"], *, total: int | None = None
) -> tuple[Tensor, Tensor]:
    """Flat indices of the entries of these rows, and the place in the batch of each; both of shape (entries,).

    `total` entries, where it is known how many they are; else a device is waited for.
    """
    counts = start[rows + 1] - start[rows]
    sample = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts, output_size=total)
    offset = torch.arange(len(sample), device=rows.device) - (counts.cumsum(0) - counts)[sample]
    return start[rows][sample] + offset, sample


def sticks_to_two_theta(sticks: SticksOfRows, *, wavelength: float) -> Float[Tensor, " peaks"]:
    """Angles 2θ = 2 asin(λ √(hᵀ G* h) / 2) [deg] of lines at a wavelength λ [Å], in double precision."""
    squared = hkl_to_inverse_d_squared(sticks.hkl, sticks.metric[sticks.sample])
    return torch.rad2deg(2 * torch.asin(squared.sqrt() * (wavelength / 2)))


def hkl_to_inverse_d_squared(
    hkl: Float[Tensor, "peaks 3"], metric: Float[Tensor, "peaks 6"]
) -> Float[Tensor, " peaks"]:
    """1/d² = hᵀ G* h [Å⁻²] of lines, each with the metric of its own lattice."""
    h, k, ell = hkl.unbind(1)
    g11, g22, g33, g12, g13, g23 = metric.unbind(1)
    return h * (g11 * h + 2 * (g12 * k + g13 * ell)) + k * (g22 * k + 2 * g23 * ell) + g33 * ell * ell
