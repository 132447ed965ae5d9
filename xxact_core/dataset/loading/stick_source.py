"""Rows of a dataset → reflections and lattices, as tensors on a device."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from xxact_core.dataset.store import INTENSITY_STEP
from xxact_core.dataset.table import StickTable
from xxact_core.peak_profiles.ragged_sticks import SticksOfRows, ragged_index
from xxact_core.simulation.lattice import cell_to_reciprocal_metric


def upload_sticks(table: StickTable, *, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Miller indices, intensities and starts of all materials on a device.

    Intensities are reinterpreted as signed integers, because torch cannot index unsigned ones on every device.
    """
    intensity = torch.from_numpy(table.intensity.view(np.int16)).to(device)
    return torch.from_numpy(table.hkl).to(device), intensity, torch.from_numpy(table.peak_start).to(device)


class StickSource:
    """Reflections of a dataset on a device: uploaded once if they are in memory, else batch by batch."""

    def __init__(self, table: StickTable, *, device: torch.device) -> None:
        self.table, self.device = table, device
        self.uploaded = upload_sticks(table, device=device) if table.resident and device.type != "cpu" else None

    def take(self, rows: np.ndarray, *, symmetry: bool = True) -> SticksOfRows:
        """Reflections of these rows, in this order; with their rotations if `symmetry`, else with the identity."""
        if self.uploaded is not None:
            all_hkl, all_intensity, start = self.uploaded
            total = int((self.table.peak_start[rows + 1] - self.table.peak_start[rows]).sum())
            peaks, sample = ragged_index(start, self._to_device(rows), total=total)
            hkl, intensity = all_hkl[peaks], all_intensity[peaks].int() & 0xFFFF
        else:
            taken = self.table.take_sticks(rows)
            hkl = self._to_device(taken.hkl)
            intensity = self._to_device(taken.intensity.view(np.int16)).int() & 0xFFFF
            count = self._to_device(np.asarray(taken.count, dtype=np.int64))
            sample = torch.repeat_interleave(torch.arange(len(rows), device=self.device), count, output_size=len(hkl))
        rotations, rotation_count = self.rotations(rows) if symmetry else self._both_to_device(_identities(len(rows)))
        return SticksOfRows(
            hkl=hkl.double(),
            intensity=intensity.float() * INTENSITY_STEP,
            sample=sample,
            metric=self._to_device(cell_to_reciprocal_metric(self.table.cell[rows])),
            rotations=rotations,
            rotation_count=rotation_count,
            wavelength=self.table.wavelength,
        )

    def _to_device(self, numbers: np.ndarray) -> Tensor:
        """Copy to the device without blocking the host."""
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)

    def _both_to_device(self, numbers: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
        return self._to_device(numbers[0]), self._to_device(numbers[1])

    def rotations(self, rows: np.ndarray) -> tuple[Int[Tensor, "batch rotations 3 3"], Int[Tensor, " batch"]]:
        """Rotations of these rows, and how many each has; the identity where none."""
        return self._both_to_device(self._rotations(rows))

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
