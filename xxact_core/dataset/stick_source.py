"""Rows of a stick table → their lines and lattices, as tensors on a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from xxact_core.dataset.store import INTENSITY_STEP
from xxact_core.dataset.table import StickTable
from xxact_core.simulation.lattice import cell_to_reciprocal_metric


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


def upload_sticks(table: StickTable, *, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Miller indices, intensities and starts of all materials on a device.

    torch cannot index 16-bit numbers without sign on every device: intensities have the same bits, with sign.
    """
    intensity = torch.from_numpy(table.intensity.view(np.int16)).to(device)
    return torch.from_numpy(table.hkl).to(device), intensity, torch.from_numpy(table.peak_start).to(device)


class StickSource:
    """The sticks of a table, near a device: those that lie in memory are taken to it once, others batch by batch."""

    def __init__(self, table: StickTable, *, device: torch.device) -> None:
        self.table, self.device = table, device
        self.uploaded = upload_sticks(table, device=device) if table.resident and device.type != "cpu" else None

    def take(self, rows: np.ndarray, *, symmetry: bool = True) -> SticksOfRows:
        """Lines of these rows, in this order; with their rotations where `symmetry`, else with the identity alone."""
        if self.uploaded is not None:
            all_hkl, all_intensity, start = self.uploaded
            total = int((self.table.peak_start[rows + 1] - self.table.peak_start[rows]).sum())
            peaks, sample = ragged_index(start, self._near(rows), total=total)
            hkl, intensity = all_hkl[peaks], all_intensity[peaks].int() & 0xFFFF
        else:
            taken = self.table.take_sticks(rows)
            hkl = self._near(taken.hkl)
            intensity = self._near(taken.intensity.view(np.int16)).int() & 0xFFFF
            count = self._near(np.asarray(taken.count, dtype=np.int64))
            sample = torch.repeat_interleave(torch.arange(len(rows), device=self.device), count, output_size=len(hkl))
        rotations, rotation_count = self.rotations(rows) if symmetry else self._both_near(_identities(len(rows)))
        return SticksOfRows(
            hkl=hkl.double(),
            intensity=intensity.float() * INTENSITY_STEP,
            sample=sample,
            metric=self._near(cell_to_reciprocal_metric(self.table.cell[rows])),
            rotations=rotations,
            rotation_count=rotation_count,
            wavelength=self.table.wavelength,
        )

    def _near(self, numbers: np.ndarray) -> Tensor:
        """Numbers of the processor, on their way to the device: the processor does not wait until they are there."""
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)

    def _both_near(self, numbers: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
        return self._near(numbers[0]), self._near(numbers[1])

    def rotations(self, rows: np.ndarray) -> tuple[Int[Tensor, "batch rotations 3 3"], Int[Tensor, " batch"]]:
        """Rotations of these rows, and how many each has; the identity where none."""
        return self._both_near(self._rotations(rows))

    def _rotations(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        start = self.table.rotation_start[rows]
        count = self.table.rotation_start[rows + 1] - start
        place = np.arange(max(int(count.max(initial=0)), 1))
        if not len(self.table.rotations):
            return _identities(len(rows))
        index = np.minimum(start[:, None] + np.where(place < count[:, None], place, 0), len(self.table.rotations) - 1)
        rotations = self.table.rotations[index]
        rotations[count == 0] = np.eye(3, dtype=np.int8)
        return rotations, np.maximum(count, 1)


def _identities(batch: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tile(np.eye(3, dtype=np.int8), (batch, 1, 1, 1)), np.ones(batch, dtype=np.int64)


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
