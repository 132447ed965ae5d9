"""Data set → batches: sticks smeared on the fly, on the device, with the composition and the labels beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.dataset.distortions import Distortions, Drawn, distort_profile, distort_sticks, draw_distortions
from xxact_core.dataset.ideal_patterns import compile_stick_loops, sticks_to_patterns
from xxact_core.dataset.smearing import smear_lines
from xxact_core.dataset.stick_source import SticksOfRows, StickSource, ragged_index
from xxact_core.dataset.table import StickTable
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import LEAST_WINDOW
from xxact_core.patterns.smearing import SIGMA
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

_TOGETHER = 4096
"""Patterns made at once where no loops are compiled: keeps a device busy and fits into its memory."""


@dataclass(frozen=True)
class Batch:
    """What a model is fed with, and what it shall answer.

    intensity: 0-100 on the shared grid. hidden: windows of which hardly anything was measured. targets: NaN where
    unknown; class index for classes. rows: row of the data set.
    """

    intensity: Float[Tensor, "batch points"]
    hidden: Bool[Tensor, "batch windows"]
    atomic_numbers: Int[Tensor, "batch elements"]
    fractions: Float[Tensor, "batch elements"]
    targets: Mapping[str, Float[Tensor, " batch"]]
    rows: Int[Tensor, " batch"]

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.rows)


class BatchMaker:
    """A stick table near a device, from which batches are cut by row number.

    distortions: what a laboratory adds; None for ideal patterns. sigma: Gaussian width of ideal lines [deg].
    threads: processors that make ideal patterns, where they are made on a processor.
    """

    def __init__(
        self,
        table: StickTable,
        *,
        device: torch.device,
        distortions: Distortions | None = None,
        sigma: float = SIGMA,
        threads: int = 1,
    ) -> None:
        self.table = table
        self.device = device
        self.distortions = distortions
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
        index = torch.from_numpy(rows).to(self.device)
        generator = torch.Generator(self.device).manual_seed(seed)
        distorted = self._draw_distorted(len(rows), generator=generator)
        intensity = torch.empty((len(rows), GRID.points), device=self.device)
        hidden = torch.zeros((len(rows), GRID.windows), dtype=torch.bool, device=self.device)
        if distorted.any():
            chosen = torch.from_numpy(np.flatnonzero(distorted)).to(self.device)
            intensity[chosen], hidden[chosen] = self._distorted(rows[distorted], generator=generator)
        if distorted.any() and not distorted.all():
            chosen = torch.from_numpy(np.flatnonzero(~distorted)).to(self.device)
            intensity[chosen] = self._ideal(rows[~distorted])
        elif len(rows) and not distorted.any():
            self._ideal(rows, out=intensity)
        atomic_numbers, fractions = self._elements(index)
        targets = {name: values[index] for name, values in self.targets.items()}
        return Batch(intensity, hidden, atomic_numbers, fractions, targets, index)

    def _draw_distorted(self, batch: int, *, generator: torch.Generator) -> np.ndarray:
        """Which patterns of a batch a laboratory touches, shape (batch,)."""
        if self.distortions is None:
            return np.zeros(batch, dtype=np.bool_)
        drawn = torch.rand(batch, generator=generator, device=self.device) < self.distortions.share
        return drawn.cpu().numpy()

    def _ideal(self, rows: np.ndarray, *, out: Tensor | None = None) -> Float[Tensor, "batch points"]:
        """Patterns of Gaussian lines at their calculated places, written to `out` where it is given."""
        if out is None:
            out = torch.empty((len(rows), GRID.points), device=self.device)
        if self.compiled:
            metric = cell_to_reciprocal_metric(self.table.cell[rows])
            if self.table.resident:
                hkl, intensity, start = self.table.hkl, self.table.intensity, self.table.peak_start
            else:
                taken = self.table.take_sticks(rows)
                hkl, intensity, rows = taken.hkl, taken.intensity, np.arange(len(rows))
                start = np.concatenate([[0], np.cumsum(taken.count, dtype=np.int64)])
            wavelength, threads = self.table.wavelength, self.threads
            sticks_to_patterns(
                hkl, intensity, start, rows, metric, out.numpy(),
                wavelength=wavelength, sigma=self.sigma, threads=threads,
            )  # fmt: skip
            return out
        for first in range(0, len(rows), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            sticks = self.source.take(rows[part])
            angles = sticks_to_two_theta(sticks, wavelength=self.table.wavelength)
            sigma = torch.full((len(sticks.metric),), self.sigma, device=self.device)
            smear_lines(
                angles, sticks.intensity, sticks.sample,
                batch=len(sigma), sigma=sigma, widest=self.sigma, out=out[part],
            )  # fmt: skip
            out[part] *= 100 / out[part].amax(dim=1, keepdim=True).clamp(min=1e-12)
        return out

    def _distorted(self, rows: np.ndarray, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        sticks = self.source.take(rows)
        drawn = draw_distortions(
            self.distortions and replace(self.distortions, share=1.0), len(rows), sigma=self.sigma, generator=generator
        )
        angles = sticks_to_two_theta(sticks, wavelength=self.table.wavelength)
        lines = distort_sticks(angles, sticks.intensity, sticks.sample, drawn, generator=generator)
        profile = scale_to_one(smear_lines(*lines, batch=len(rows), sigma=drawn.sigma))
        return self._measure(distort_profile(profile, drawn, generator=generator), drawn)

    def _measure(self, profile: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Cut to the measured range and scale to 100 there; windows hardly measured are hidden."""
        two_theta = torch.tensor(GRID.two_theta, dtype=torch.float32, device=profile.device)
        measured = (two_theta >= drawn.first[:, None]) & (two_theta <= drawn.last[:, None])
        hidden = measured.unflatten(1, (GRID.windows, -1)).float().mean(dim=2) < LEAST_WINDOW
        return 100 * scale_to_one(profile * measured), hidden

    def _elements(self, index: Tensor) -> tuple[Tensor, Tensor]:
        entries, sample = ragged_index(self.element_start, index)
        counts = self.element_start[index + 1] - self.element_start[index]
        slot = torch.arange(len(entries), device=self.device) - (counts.cumsum(0) - counts)[sample]
        shape = (len(index), int(counts.max()))
        atomic_numbers = torch.zeros(shape, dtype=torch.long, device=self.device)
        fractions = torch.zeros(shape, device=self.device)
        atomic_numbers[sample, slot] = self.atomic_number[entries]
        fractions[sample, slot] = self.fraction[entries]
        return atomic_numbers, fractions


def sticks_to_two_theta(sticks: SticksOfRows, *, wavelength: float) -> Float[Tensor, " peaks"]:
    """Angles 2θ = 2 asin(λ √(hᵀ G* h) / 2) [deg] of lines at a wavelength λ [Å], in double precision."""
    sine_squared = sticks_to_inverse_d_squared(sticks.hkl, sticks.metric[sticks.sample]) * (wavelength / 2) ** 2
    return torch.rad2deg(2 * torch.asin(sine_squared.sqrt()))


def sticks_to_inverse_d_squared(
    hkl: Float[Tensor, "peaks 3"], metric: Float[Tensor, "peaks 6"]
) -> Float[Tensor, " peaks"]:
    """1/d² = hᵀ G* h [Å⁻²] of lines, each with the metric of its own lattice."""
    h, k, ell = hkl.unbind(1)
    g11, g22, g33, g12, g13, g23 = metric.unbind(1)
    return h * (g11 * h + 2 * (g12 * k + g13 * ell)) + k * (g22 * k + 2 * g23 * ell) + g33 * ell * ell


def scale_to_one(profile: Float[Tensor, "batch points"]) -> Float[Tensor, "batch points"]:
    """Each pattern divided by its maximum; a pattern of zeros stays so."""
    return profile / profile.amax(dim=1, keepdim=True).clamp(min=1e-12)


def shuffled_rows(rows: np.ndarray, *, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Rows of a training step: every epoch is a new permutation, and a step's rows follow from its number alone."""
    first = step * batch_size
    chosen: list[np.ndarray] = []
    while sum(map(len, chosen)) < batch_size:
        epoch, start = divmod(first + sum(map(len, chosen)), len(rows))
        order = _permutation(len(rows), seed, epoch)
        chosen.append(rows[order[start : start + batch_size - sum(map(len, chosen))]])
    return np.concatenate(chosen)


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch; kept, because drawing it anew for every step would take longer than the step."""
    order = np.random.default_rng((seed, epoch)).permutation(count)
    order.setflags(write=False)
    return order


def rows_in_order(rows: np.ndarray, *, batch_size: int) -> Iterator[np.ndarray]:
    """All rows once, in order, for evaluation."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def _loops_compile() -> bool:
    """Whether numba is there; machines with a GPU do without."""
    try:
        compile_stick_loops()
    except ImportError:
        return False
    return True
