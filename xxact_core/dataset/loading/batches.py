"""Data set → batches: sticks smeared on the fly, on the device, with the composition and the labels beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.augmentation.config import Distortions
from xxact_core.augmentation.effects import Strain
from xxact_core.augmentation.peaks import strain_lattices
from xxact_core.augmentation.pipeline import measure_sticks
from xxact_core.dataset.loading.ideal_patterns import compile_stick_loops, sticks_to_patterns
from xxact_core.dataset.loading.stick_source import StickSource
from xxact_core.dataset.table import StickTable
from xxact_core.model.inputs import ModelInput
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.ragged_sticks import ragged_index, sticks_to_two_theta
from xxact_core.peak_profiles.reference import SIGMA
from xxact_core.peak_profiles.torch_kernels import broaden_peaks
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

_TOGETHER = 4096
"""Patterns made at once where no loops are compiled: keeps a device busy and fits into its memory."""

_CACHED = 128
"""Patterns distorted at once on a processor: their arrays stay in its cache."""


@dataclass(frozen=True)
class Batch(ModelInput):
    """What a model reads, and what it shall predict."""

    targets: Mapping[str, Float[Tensor, " batch"]]
    """NaN where unknown; class index for classes."""

    rows: Int[Tensor, " batch"]
    """Rows of the dataset."""

    def part(self, chosen: slice) -> Batch:
        """Some of its materials, without a copy."""
        targets = {name: values[chosen] for name, values in self.targets.items()}
        return replace(self, **self._tensors(chosen), targets=targets, rows=self.rows[chosen])


class BatchMaker:
    """A stick table near a device, from which batches are cut by row number.

    distortions: what a laboratory adds; None for ideal patterns. relatives: of the others, a share is of relatives, the
    same structure on a lattice that is strained within its crystal system. sigma: Gaussian width of ideal lines [deg].
    threads: processors that make ideal patterns, where they are made on a processor.
    """

    def __init__(
        self,
        table: StickTable,
        *,
        device: torch.device,
        distortions: Distortions | None = None,
        relatives: Strain | None = None,
        sigma: float = SIGMA,
        threads: int = 1,
    ) -> None:
        self.table = table
        self.device = device
        self.distortions = distortions
        self.relatives = relatives
        self.sigma = sigma
        self.threads = threads
        self.source = StickSource(table, device=device)
        self.compiled = device.type == "cpu" and _loops_compile()
        self.element_start = torch.from_numpy(table.element_start).to(device)
        self.atomic_number = torch.from_numpy(table.atomic_number.astype(np.int64)).to(device)
        self.fraction = torch.from_numpy(table.fraction).to(device)
        self.targets = {name: torch.from_numpy(values).to(device) for name, values in table.targets.items()}

    def batch(self, rows: np.ndarray, *, seed: int) -> Batch:
        """The batch of these rows; the same seed draws the same distortions."""
        rows = np.asarray(rows, dtype=np.int64)
        index = self._near(rows)
        # Drawn by the processor, which has to know: a device would have to be waited for.
        host = torch.Generator().manual_seed(seed)
        distorted = self._draw_distorted(len(rows), generator=host)
        generator = host if self.device.type == "cpu" else torch.Generator(self.device).manual_seed(seed)
        intensity = torch.empty((len(rows), GRID.points), device=self.device)
        hidden = torch.zeros((len(rows), GRID.windows), dtype=torch.bool, device=self.device)
        if self.distortions is not None and distorted.any():
            chosen = self._near(np.flatnonzero(distorted))
            intensity[chosen], hidden[chosen] = self._distorted(rows[distorted], self.distortions, generator=generator)
        if distorted.any() and not distorted.all():
            chosen = self._near(np.flatnonzero(~distorted))
            intensity[chosen] = self._ideal(rows[~distorted], generator=generator)
        elif len(rows) and not distorted.any():
            self._ideal(rows, generator=generator, out=intensity)
        atomic_numbers, fractions = self._elements(rows, index)
        targets = {name: values[index] for name, values in self.targets.items()}
        return Batch(intensity, hidden, atomic_numbers, fractions, targets, index)

    def _near(self, numbers: np.ndarray) -> Tensor:
        """Numbers of the processor, on their way to the device: the processor does not wait until they are there."""
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)

    def _draw_distorted(self, batch: int, *, generator: torch.Generator) -> np.ndarray:
        """Which patterns of a batch a laboratory touches, shape (batch,)."""
        if self.distortions is None:
            return np.zeros(batch, dtype=np.bool_)
        return (torch.rand(batch, generator=generator) < self.distortions.share).numpy()

    def _lattices(self, rows: np.ndarray, *, generator: torch.Generator) -> Float[Tensor, "batch 6"]:
        """Entries of G* of these rows [Å⁻²], of the materials themselves or of relatives."""
        metric = self._near(cell_to_reciprocal_metric(self.table.cell[rows]))
        if self.relatives is None:
            return metric
        even = torch.rand((3, len(rows)), generator=generator, device=self.device, dtype=torch.float64)
        limits = (self.relatives.isotropic, self.relatives.anisotropic)
        drawn = even[0] < self.relatives.share
        isotropic, anisotropic = (
            torch.where(drawn, low + (high - low) * place, 0.0)
            for place, (low, high) in zip(even[1:], limits, strict=True)
        )
        rotations, count = self.source.rotations(rows)
        return strain_lattices(metric, rotations, count, isotropic, anisotropic, generator=generator)

    def _ideal(
        self, rows: np.ndarray, *, generator: torch.Generator, out: Tensor | None = None
    ) -> Float[Tensor, "batch points"]:
        """Patterns of Gaussian lines at their places at Cu Kα, written to `out` where it is given."""
        if out is None:
            out = torch.empty((len(rows), GRID.points), device=self.device)
        if self.compiled:
            metric = self._lattices(rows, generator=generator).numpy()
            if self.table.resident:
                hkl, intensity, start = self.table.hkl, self.table.intensity, self.table.peak_start
            else:
                taken = self.table.take_sticks(rows)
                hkl, intensity, rows = taken.hkl, taken.intensity, np.arange(len(rows))
                start = np.concatenate([[0], np.cumsum(taken.count, dtype=np.int64)])
            sticks_to_patterns(
                hkl, intensity, start, rows, metric, out.numpy(),
                wavelength=CU_K_ALPHA, sigma=self.sigma, threads=self.threads,
            )  # fmt: skip
            return out
        for first in range(0, len(rows), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            sticks = self.source.take(rows[part], symmetry=False)
            sticks = replace(sticks, metric=self._lattices(rows[part], generator=generator))
            angles = sticks_to_two_theta(sticks, wavelength=CU_K_ALPHA)
            sigma = torch.full((len(sticks.metric),), self.sigma, device=self.device)
            broaden_peaks(
                angles, sticks.intensity, sticks.sample,
                batch=len(sigma), sigma=sigma, widest=self.sigma, out=out[part],
            )  # fmt: skip
            out[part] *= 100 / out[part].amax(dim=1, keepdim=True).clamp(min=1e-12)
        return out

    def _distorted(
        self, rows: np.ndarray, distortions: Distortions, *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch points"], Bool[Tensor, "batch windows"]]:
        """Patterns as a laboratory would measure them, and the windows that it would not."""
        together = _CACHED if self.device.type == "cpu" else _TOGETHER
        parts = [
            measure_sticks(
                self.source.take(rows[first : first + together]), distortions, sigma=self.sigma, generator=generator
            )
            for first in range(0, len(rows), together)
        ]
        intensity, hidden = zip(*parts, strict=True)
        return torch.cat(intensity), torch.cat(hidden)

    def _elements(self, rows: np.ndarray, index: Tensor) -> tuple[Tensor, Tensor]:
        most = self.table.element_start[rows + 1] - self.table.element_start[rows]
        entries, sample = ragged_index(self.element_start, index, total=int(most.sum()))
        counts = self.element_start[index + 1] - self.element_start[index]
        slot = torch.arange(len(entries), device=self.device) - (counts.cumsum(0) - counts)[sample]
        shape = (len(index), int(most.max()))
        atomic_numbers = torch.zeros(shape, dtype=torch.long, device=self.device)
        fractions = torch.zeros(shape, device=self.device)
        atomic_numbers[sample, slot] = self.atomic_number[entries]
        fractions[sample, slot] = self.fraction[entries]
        return atomic_numbers, fractions


def _loops_compile() -> bool:
    """Whether numba is there; machines with a GPU do without."""
    try:
        compile_stick_loops()
    except ImportError:
        return False
    return True
