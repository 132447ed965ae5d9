"""Reconstruction of masked windows of a pattern, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xxact_core.checkpoint import Checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import rows_in_order
from xxact_core.errors import CheckpointError
from xxact_core.model.inputs import ModelInput, pattern_to_input
from xxact_core.model.xxact import Xxact
from xxact_core.objectives.masked_patterns import draw_mask
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.quantities import CRYSTAL_SYSTEMS


@dataclass(frozen=True)
class Reconstruction:
    """A pattern that was reconstructed from its unmasked windows."""

    expected: np.ndarray
    """Reconstructed intensity (0-100), shape (points,)."""

    masked: np.ndarray
    """True for windows that were masked, shape (windows,)."""

    unmeasured: np.ndarray
    """True for windows that the model does not see because they were hardly measured, shape (windows,)."""

    error: np.ndarray
    """Root mean square error over the measured points of masked windows [% of the strongest peak], NaN in other
    windows, shape (windows,)."""

    empty: np.ndarray
    """The same of an empty reconstruction, as a baseline, shape (windows,)."""


@dataclass(frozen=True)
class WindowErrors:
    """Errors of each window over many patterns; see `Reconstruction`."""

    patterns: np.ndarray
    """Number of patterns in which the window is masked, shape (windows,)."""

    error: np.ndarray
    """Root mean square error [% of the strongest peak], NaN for windows that are never masked, shape (windows,)."""

    empty: np.ndarray
    """The same of an empty reconstruction, shape (windows,)."""

    @property
    def total(self) -> tuple[float, float]:
        """Error and empty over all masked windows."""
        return self._over_windows(self.error), self._over_windows(self.empty)

    @property
    def gain(self) -> float:
        """Part by which the error lies below that of an empty reconstruction, over all masked windows; at most 1."""
        error, empty = self.total
        return 1 - error / empty

    def _over_windows(self, values: np.ndarray) -> float:
        known = self.patterns > 0
        shares = self.patterns[known] / self.patterns.sum()
        return float(np.sqrt((shares * values[known] ** 2).sum()))


@dataclass(frozen=True)
class RowErrors:
    """Errors of each window of many patterns, each of shape (rows, windows)."""

    masked: np.ndarray
    """Whether the window is masked."""

    error: np.ndarray
    """Mean square error of the reconstruction [% of the strongest peak, squared]; 0 where it is not masked."""

    empty: np.ndarray
    """The same of an empty reconstruction."""

    def over_windows(self, rows: np.ndarray | None = None) -> WindowErrors:
        """The errors of each window, of all rows or of those of a mask or of indices."""
        chosen = np.arange(len(self.masked)) if rows is None else rows
        patterns = self.masked[chosen].sum(axis=0)
        with np.errstate(invalid="ignore"):
            error, empty = (np.sqrt(values[chosen].sum(axis=0) / patterns) for values in (self.error, self.empty))
        return WindowErrors(patterns.astype(int), error, empty)


def reconstruction_metrics(errors: RowErrors, systems: np.ndarray) -> dict[str, float]:
    """`reconstruction_gain` and `reconstruction_gain_cubic`, see `WindowErrors.gain`; without those of no material.

    Args:
        errors: of some materials.
        systems: index of the crystal system of each material, shape (rows,); NaN where unknown.
    """
    groups = {"": np.ones(len(systems), dtype=bool), "_cubic": systems == CRYSTAL_SYSTEMS.index("cubic")}
    return {
        f"reconstruction_gain{name}": errors.over_windows(members).gain
        for name, members in groups.items()
        if errors.masked[members].any()
    }


def trained_to_reconstruct(about: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was trained with masked windows; otherwise its reconstructions are meaningless."""
    return "mxm" in about.get("recipe", {}).get("objectives", ())


def draw_windows(visible: np.ndarray, *, ratio: float, seed: int) -> np.ndarray:
    """Windows to mask, drawn as in training: a fraction of the `visible` ones, at least one; shape (windows,)."""
    uniform = torch.rand((1, len(visible)), generator=torch.Generator().manual_seed(seed))
    return draw_mask(torch.tensor(visible).unsqueeze(0), uniform, ratio=ratio)[0].numpy()


def reconstruct_pattern(
    checkpoint: Checkpoint, pattern: GriddedPattern, composition: Composition, *, masked: np.ndarray
) -> Reconstruction:
    """Reconstruct the windows of `masked`, shape (windows,), from the others and the composition.

    Raises:
        CheckpointError: the model was not trained to reconstruct.
    """
    model = _reconstructing(checkpoint)
    unmeasured = pattern.hidden_windows
    masked = masked & ~unmeasured
    inputs = pattern_to_input(pattern, [composition]).hide(torch.tensor(masked).unsqueeze(0))
    expected = _expect(model, inputs)[0].numpy()
    truth = np.where(pattern.coverage, pattern.intensity, np.nan).reshape(GRID.windows, -1)
    error, empty = (_root_mean_square(values, masked) for values in (expected - truth, truth))
    return Reconstruction(expected.reshape(-1), masked, unmeasured, error, empty)


def reconstruct_rows(
    checkpoint: Checkpoint, maker: BatchMaker, rows: np.ndarray, *, ratio: float, seed: int = 0, batch_size: int = 64
) -> RowErrors:
    """Errors over rows of a dataset, with randomly masked windows.

    Raises:
        CheckpointError: the model was not trained to reconstruct.
    """
    model = _reconstructing(checkpoint)
    generator = torch.Generator().manual_seed(seed)
    parts: list[tuple[np.ndarray, ...]] = []
    for number, chosen in enumerate(rows_in_order(rows, batch_size=batch_size)):
        batch = maker.batch(chosen, seed=seed + number)
        masked = draw_mask(~batch.window_mask, torch.rand(batch.window_mask.shape, generator=generator), ratio=ratio)
        expected = _expect(model, batch.hide(masked))
        truth = batch.intensity.unflatten(1, (GRID.windows, -1))
        error, empty = ((values.square().mean(dim=2) * masked).double() for values in (expected - truth, truth))
        parts.append((masked.numpy(), error.numpy(), empty.numpy()))
    return RowErrors(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _reconstructing(checkpoint: Checkpoint) -> Xxact:
    if not trained_to_reconstruct(checkpoint.about) or not isinstance(checkpoint.model, Xxact):
        msg = "the model was not trained to reconstruct masked windows; expected one trained with the objective "
        msg += "'mxm', for instance by the recipe pretrain-mxm"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    return checkpoint.model


@torch.inference_mode()
def _expect(model: Xxact, inputs: ModelInput) -> Tensor:
    """Intensities (0-100) of every window, shape (batch, windows, points)."""
    return model.reconstruct_intensity(inputs)


def _root_mean_square(values: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Root mean square of each of these windows, ignoring NaN; NaN for the others."""
    squares = np.full(len(windows), np.nan)
    squares[windows] = np.nanmean(values[windows] ** 2, axis=1)
    roots: np.ndarray = np.sqrt(squares)
    return roots
