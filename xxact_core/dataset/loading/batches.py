"""Dataset → batches: broadened and augmented patterns, compositions and targets, made on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import Strain
from xxact_core.augmentation.peaks import strain_lattices
from xxact_core.augmentation.pipeline import augment_sticks
from xxact_core.dataset.loading.ideal_patterns import compile_stick_loops, sticks_to_patterns
from xxact_core.dataset.loading.stick_source import StickSource
from xxact_core.dataset.table import StickTable, polymorph_groups
from xxact_core.model.inputs import ModelInput
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.ragged_sticks import ragged_index, sticks_to_two_theta
from xxact_core.peak_profiles.reference import SIGMA
from xxact_core.peak_profiles.torch_kernels import broaden_peaks
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

_TOGETHER = 4096
"""Patterns made together without compiled loops: enough to keep a device busy, few enough for its memory."""

_AUGMENTED_TOGETHER = 128
"""Patterns augmented together on a CPU: their arrays stay in its cache."""

_PIECE_SEEDS = 86_028_121
"""Offset of the seeds of two pieces of a batch, a prime: each piece has its own random numbers."""


@dataclass(frozen=True)
class Batch(ModelInput):
    """Inputs and targets of a model."""

    targets: Mapping[str, Float[Tensor, " batch"]]
    """NaN where unknown; class index for classes."""

    rows: Int[Tensor, " batch"]
    """Rows of the dataset."""

    energy_is_exact: Bool[Tensor, " batch"]
    """Whether the formation energy belongs to the structure itself."""

    from_teacher: Bool[Tensor, " batch"]
    """Whether the formation energy is that of a teacher."""

    polymorph_group: Int[Tensor, " batch"]
    """Equal for materials of one formula whose formation energies are of one kind, DFT or teacher."""

    def part(self, part: slice) -> Batch:
        """A slice of the batch, without a copy."""
        targets = {name: values[part] for name, values in self.targets.items()}
        names = ("rows", "energy_is_exact", "from_teacher", "polymorph_group")
        own = {name: getattr(self, name)[part] for name in names}
        return replace(self, **self._tensors(part), targets=targets, **own)


class BatchMaker:
    """Makes batches of the materials of a dataset on a device, by row number."""

    def __init__(
        self,
        table: StickTable,
        *,
        device: torch.device,
        augmentation: AugmentationConfig | None = None,
        lattice_strain: Strain | None = None,
        sigma: float = SIGMA,
        threads: int = 1,
    ) -> None:
        """Make batches of `table` on `device`.

        Args:
            table: the dataset.
            device: of the batches.
            augmentation: instrument and sample effects; None for ideal patterns.
            lattice_strain: strain of the lattices of ideal patterns, within their crystal systems; None for none.
            sigma: Gaussian width of ideal peaks [deg].
            threads: number of threads that make ideal patterns on a CPU.
        """
        self.table = table
        self.device = device
        self.augmentation = augmentation
        self.lattice_strain = lattice_strain
        self.sigma = sigma
        self.threads = threads
        self.source = StickSource(table, device=device)
        self.compiled = device.type == "cpu" and _loops_compile()
        self.element_start = torch.from_numpy(table.element_start).to(device)
        self.atomic_number = torch.from_numpy(table.atomic_number.astype(np.int64)).to(device)
        self.fraction = torch.from_numpy(table.fraction).to(device)
        self.energy_is_exact = torch.from_numpy(table.energy_is_exact | table.from_teacher).to(device)
        self.from_teacher = torch.from_numpy(table.from_teacher).to(device)
        self.polymorph_group = torch.from_numpy(polymorph_groups(table)).to(device)
        self.targets = {name: torch.from_numpy(values).to(device) for name, values in table.targets.items()}

    def batch(self, rows: np.ndarray, *, seed: int, pieces: int = 1, part: slice | None = None) -> Batch:
        """The batch of these rows; the same seed gives the same augmentation.

        Args:
            rows: rows of the dataset.
            seed: of the augmentation.
            pieces: number of pieces of the batch that have random numbers of their own, and whose patterns are
                impurities of each other, see `piece_edges`.
            part: makes only these of the rows, exactly as they are in the whole batch; None for all.
        """
        rows = np.asarray(rows, dtype=np.int64)
        own = slice(*(part or slice(None)).indices(len(rows))[:2])
        intensity, hidden = self._patterns(rows, own, seed=seed, pieces=pieces)
        slots = (self.table.element_start[rows + 1] - self.table.element_start[rows]).max(initial=0)
        rows = rows[own]
        index = self._to_device(rows)
        atomic_numbers, fractions = self._elements(rows, index, slots=int(slots))
        targets = {name: values[index] for name, values in self.targets.items()}
        return Batch(
            intensity,
            hidden,
            atomic_numbers,
            fractions,
            targets,
            index,
            self.energy_is_exact[index],
            self.from_teacher[index],
            self.polymorph_group[index],
        )

    def _patterns(
        self, rows: np.ndarray, own: slice, *, seed: int, pieces: int
    ) -> tuple[Float[Tensor, "batch points"], Bool[Tensor, "batch windows"]]:
        """Patterns of the `own` rows, and their windows that were not measured.

        Augmented patterns are made for whole pieces, ideal ones for the own rows only.
        """
        edges = piece_edges(len(rows), pieces=pieces)
        numbers = [
            number for number, (low, high) in enumerate(pairwise(edges)) if max(low, own.start) < min(high, own.stop)
        ]
        low, high = (edges[numbers[0]], edges[numbers[-1] + 1]) if numbers else (0, 0)
        intensity = torch.empty((high - low, GRID.points), device=self.device)
        hidden = torch.zeros((high - low, GRID.windows), dtype=torch.bool, device=self.device)
        augmented = np.zeros(high - low, dtype=np.bool_)
        lattices = []
        for number in numbers:
            # Sampled on the host, which needs the result; a transfer from the device would block.
            host = torch.Generator().manual_seed(seed + _PIECE_SEEDS * number)
            generator = host
            if self.device.type != "cpu":
                generator = torch.Generator(self.device).manual_seed(seed + _PIECE_SEEDS * number)
            piece = slice(edges[number] - low, edges[number + 1] - low)
            members = rows[edges[number] : edges[number + 1]]
            augmented[piece] = chosen = self._sample_augmented(len(members), generator=host)
            if self.augmentation is not None and chosen.any():
                places = self._to_device(np.flatnonzero(chosen) + piece.start)
                made = self._augment(members[chosen], self.augmentation, generator=generator)
                intensity[places], hidden[places] = made
            if not chosen.all():
                lattices.append(self._lattices(members[~chosen], generator=generator))
        inside = slice(own.start - low, own.stop - low) if numbers else slice(0, 0)
        ideal = np.flatnonzero(~augmented)
        wanted = (ideal >= inside.start) & (ideal < inside.stop)
        if wanted.any():
            metric = torch.cat(lattices)
            if not wanted.all():
                metric = metric[self._to_device(np.flatnonzero(wanted))]
            ideal = ideal[wanted]
            if len(ideal) == inside.stop - inside.start:
                self._ideal(rows[own], metric, out=intensity[inside])
            else:
                intensity[self._to_device(ideal)] = self._ideal(rows[ideal + low], metric)
        return intensity[inside], hidden[inside]

    def _to_device(self, numbers: np.ndarray) -> Tensor:
        """Copy to the device without blocking the host."""
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)

    def _sample_augmented(self, batch: int, *, generator: torch.Generator) -> np.ndarray:
        """Which patterns of a batch are augmented, shape (batch,)."""
        if self.augmentation is None:
            return np.zeros(batch, dtype=np.bool_)
        return (torch.rand(batch, generator=generator) < self.augmentation.share).numpy()

    def _lattices(self, rows: np.ndarray, *, generator: torch.Generator) -> Float[Tensor, "batch 6"]:
        """Entries of G* of these rows [Å⁻²], with `lattice_strain`."""
        metric = self._to_device(cell_to_reciprocal_metric(self.table.cell[rows]))
        if self.lattice_strain is None:
            return metric
        uniform = torch.rand((3, len(rows)), generator=generator, device=self.device, dtype=torch.float64)
        limits = (self.lattice_strain.isotropic, self.lattice_strain.anisotropic)
        strained = uniform[0] < self.lattice_strain.share
        isotropic, anisotropic = (
            torch.where(strained, low + (high - low) * place, 0.0)
            for place, (low, high) in zip(uniform[1:], limits, strict=True)
        )
        rotations, count = self.source.rotations(rows)
        return strain_lattices(metric, rotations, count, isotropic, anisotropic, generator=generator)

    def _ideal(
        self, rows: np.ndarray, lattices: Float[Tensor, "batch 6"], *, out: Tensor | None = None
    ) -> Float[Tensor, "batch points"]:
        """Patterns of Gaussian peaks at Cu Kα, of these lattices, written to `out` where it is given."""
        if out is None:
            out = torch.empty((len(rows), GRID.points), device=self.device)
        if self.compiled:
            if self.table.resident:
                hkl, intensity, start = self.table.hkl, self.table.intensity, self.table.peak_start
            else:
                taken = self.table.take_sticks(rows)
                hkl, intensity, rows = taken.hkl, taken.intensity, np.arange(len(rows))
                start = np.concatenate([[0], np.cumsum(taken.count, dtype=np.int64)])
            sticks_to_patterns(
                hkl, intensity, start, rows, lattices.numpy(), out.numpy(),
                wavelength=CU_K_ALPHA, sigma=self.sigma, threads=self.threads,
            )  # fmt: skip
            return out
        for first in range(0, len(rows), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            sticks = replace(self.source.take(rows[part], symmetry=False), metric=lattices[part])
            angles = sticks_to_two_theta(sticks, wavelength=CU_K_ALPHA)
            sigma = torch.full((len(sticks.metric),), self.sigma, device=self.device)
            broaden_peaks(
                angles, sticks.intensity, sticks.sample,
                batch=len(sigma), sigma=sigma, widest=self.sigma, out=out[part],
            )  # fmt: skip
            out[part] *= 100 / out[part].amax(dim=1, keepdim=True).clamp(min=1e-12)
        return out

    def _augment(
        self, rows: np.ndarray, augmentation: AugmentationConfig, *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch points"], Bool[Tensor, "batch windows"]]:
        """Augmented patterns, and the windows that were not measured."""
        together = _AUGMENTED_TOGETHER if self.device.type == "cpu" else _TOGETHER
        parts = [
            augment_sticks(
                self.source.take(rows[first : first + together]),
                augmentation,
                sigma=self.sigma,
                generator=generator,
                cell_is_measured=self._to_device(self.table.cell_is_measured[rows[first : first + together]]),
            )
            for first in range(0, len(rows), together)
        ]
        intensity, hidden = zip(*parts, strict=True)
        return torch.cat(intensity), torch.cat(hidden)

    def _elements(self, rows: np.ndarray, index: Tensor, *, slots: int) -> tuple[Tensor, Tensor]:
        most = self.table.element_start[rows + 1] - self.table.element_start[rows]
        entries, sample = ragged_index(self.element_start, index, total=int(most.sum()))
        counts = self.element_start[index + 1] - self.element_start[index]
        slot = torch.arange(len(entries), device=self.device) - (counts.cumsum(0) - counts)[sample]
        shape = (len(index), slots)
        atomic_numbers = torch.zeros(shape, dtype=torch.long, device=self.device)
        fractions = torch.zeros(shape, device=self.device)
        atomic_numbers[sample, slot] = self.atomic_number[entries]
        fractions[sample, slot] = self.fraction[entries]
        return atomic_numbers, fractions


def piece_edges(batch: int, *, pieces: int) -> list[int]:
    """First rows of the pieces of a batch, whose sizes differ by one at most, and its size: pieces + 1 numbers.

    Processes that train together, where their number divides that of the pieces, have whole pieces.
    """
    return [batch * number // pieces for number in range(pieces + 1)]


def _loops_compile() -> bool:
    """Whether numba is installed; machines with a GPU do without."""
    try:
        compile_stick_loops()
    except ImportError:
        return False
    return True
