"""Data set → batches: sticks smeared on the fly, on the device, with the composition and the labels beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.dataset.distortions import Distortions, Drawn, distort_profile, distort_sticks, draw_distortions
from xxact_core.dataset.store import StickTable
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import LEAST_WINDOW

SIGMA = 0.1
"""Gaussian width of the paper's patterns [deg 2θ]. Source: XxaCT-NN section 3.3."""

REACH = 5.0
"""A line is summed within this many σ; beyond it a Gaussian is below 4e-6 of its height."""


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
    """A stick table on a device, from which batches are cut by row number."""

    def __init__(
        self,
        table: StickTable,
        *,
        device: torch.device,
        distortions: Distortions | None = None,
        sigma: float = SIGMA,
    ) -> None:
        self.device = device
        self.distortions = distortions
        self.sigma = sigma
        self.peak_start = torch.from_numpy(table.peak_start).to(device)
        self.two_theta = torch.from_numpy(table.two_theta).to(device)
        self.intensity = torch.from_numpy(table.intensity).to(device)
        self.element_start = torch.from_numpy(table.element_start).to(device)
        self.atomic_number = torch.from_numpy(table.atomic_number.astype(np.int64)).to(device)
        self.fraction = torch.from_numpy(table.fraction).to(device)
        self.targets = {name: torch.from_numpy(values).to(device) for name, values in table.targets.items()}

    def batch(self, rows: np.ndarray, *, seed: int) -> Batch:
        """The batch of these rows; the same seed draws the same distortions."""
        generator = torch.Generator(self.device).manual_seed(seed)
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64)).to(self.device)
        drawn = draw_distortions(self.distortions, len(index), sigma=self.sigma, generator=generator)
        peaks, sample = ragged_index(self.peak_start, index)
        sticks = distort_sticks(self.two_theta[peaks], self.intensity[peaks], sample, drawn, generator=generator)
        profile = scale_to_one(smear_batch(*sticks, sigma=drawn.sigma))
        intensity, hidden = self._measure(distort_profile(profile, drawn, generator=generator), drawn)
        atomic_numbers, fractions = self._elements(index)
        targets = {name: values[index] for name, values in self.targets.items()}
        return Batch(intensity, hidden, atomic_numbers, fractions, targets, index)

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


def ragged_index(start: Int[Tensor, " materials_and_end"], rows: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
    """Flat indices of the entries of these rows, and the place in the batch of each; both of shape (entries,)."""
    counts = start[rows + 1] - start[rows]
    sample = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts)
    offset = torch.arange(len(sample), device=rows.device) - (counts.cumsum(0) - counts)[sample]
    return start[rows][sample] + offset, sample


def smear_batch(
    two_theta: Float[Tensor, " peaks"],
    intensity: Float[Tensor, " peaks"],
    sample: Int[Tensor, " peaks"],
    *,
    sigma: Float[Tensor, " batch"],
) -> Float[Tensor, "batch points"]:
    """Sum of Gaussians on the shared grid, each line within ±5 σ.

    `xxact_core.patterns.smearing.smear` is the reference.

    two_theta [deg], intensity: one entry a line; sample: its pattern in the batch. sigma: of each pattern [deg].
    """
    reach = int(np.ceil(REACH * float(sigma.max()) / GRID.step))
    width = GRID.points + 4 * reach
    place = (two_theta.double() - GRID.start) / GRID.step
    centre = place.round().clamp(-reach, GRID.points + reach - 1)
    distance = ((centre - place) * GRID.step).float()
    offsets = torch.arange(-reach, reach + 1, device=two_theta.device)
    spread = distance[:, None] + offsets.float() * GRID.step
    heights = torch.exp(spread.square_().mul_((-0.5 / sigma[sample] ** 2)[:, None])).mul_(intensity[:, None])
    # A margin of 2 · reach on both sides takes what falls off the grid, so that no index has to be checked.
    index = (sample * width + centre.long() + 2 * reach)[:, None] + offsets
    profile = heights.new_zeros(len(sigma) * width)
    profile.index_add_(0, index.flatten(), heights.flatten())
    return profile.view(len(sigma), width)[:, 2 * reach : 2 * reach + GRID.points]


def scale_to_one(profile: Float[Tensor, "batch points"]) -> Float[Tensor, "batch points"]:
    """Each pattern divided by its maximum; a pattern of zeros stays so."""
    return profile / profile.amax(dim=1, keepdim=True).clamp(min=1e-12)


def shuffled_rows(rows: np.ndarray, *, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Rows of a training step: every epoch is a new permutation, and a step's rows follow from its number alone."""
    first = step * batch_size
    chosen: list[np.ndarray] = []
    while sum(map(len, chosen)) < batch_size:
        epoch, start = divmod(first + sum(map(len, chosen)), len(rows))
        order = np.random.default_rng((seed, epoch)).permutation(rows)
        chosen.append(order[start : start + batch_size - sum(map(len, chosen))])
    return np.concatenate(chosen)


def rows_in_order(rows: np.ndarray, *, batch_size: int) -> Iterator[np.ndarray]:
    """All rows once, in order, for evaluation."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]
