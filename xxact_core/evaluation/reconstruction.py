"""Masked windows of a pattern → what a model expects in them, held against what is there."""

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


@dataclass(frozen=True)
class Reconstruction:
    """What a model expects of a pattern some of whose windows it was not shown.

    expected: intensity (0-100), shape (points,). masked: hidden on purpose; unmeasured: hidden because hardly anything
    of them was measured; both of shape (windows,). error: root mean square of expected less measured intensity over
    the measured points of a masked window, [% of the strongest line], NaN in other windows. empty: the same if nothing
    at all were expected; an error below it says that something was learned. Both of shape (windows,).
    """

    expected: np.ndarray
    masked: np.ndarray
    unmeasured: np.ndarray
    error: np.ndarray
    empty: np.ndarray


@dataclass(frozen=True)
class WindowErrors:
    """Errors over many patterns, for each window: shape (windows,); see `Reconstruction` for what they are.

    patterns: how many have the window masked. NaN where none has.
    """

    patterns: np.ndarray
    error: np.ndarray
    empty: np.ndarray

    @property
    def total(self) -> tuple[float, float]:
        """Error and empty over all masked windows."""
        return self._over_windows(self.error), self._over_windows(self.empty)

    def _over_windows(self, values: np.ndarray) -> float:
        known = self.patterns > 0
        shares = self.patterns[known] / self.patterns.sum()
        return float(np.sqrt((shares * values[known] ** 2).sum()))


def trained_to_reconstruct(about: Mapping[str, Any]) -> bool:
    """Whether the training that a checkpoint tells of masked windows; otherwise its reconstruction means nothing."""
    return "mxm" in about.get("recipe", {}).get("objectives", ())


def draw_windows(visible: np.ndarray, *, ratio: float, seed: int) -> np.ndarray:
    """Windows to mask, as training draws them: a share of the `visible` ones, but one at least; shape (windows,)."""
    uniform = torch.rand((1, len(visible)), generator=torch.Generator().manual_seed(seed))
    return draw_mask(torch.tensor(visible).unsqueeze(0), uniform, ratio=ratio)[0].numpy()


def reconstruct_pattern(
    checkpoint: Checkpoint, pattern: GriddedPattern, composition: Composition, *, masked: np.ndarray
) -> Reconstruction:
    """What the model expects in the windows of `masked`, shape (windows,), from the others and the composition.

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
) -> WindowErrors:
    """Errors over rows of a data set, of each of which windows are masked at random.

    Raises:
        CheckpointError: the model was not trained to reconstruct.
    """
    model = _reconstructing(checkpoint)
    generator = torch.Generator().manual_seed(seed)
    count, error, empty = torch.zeros((3, GRID.windows), dtype=torch.float64)
    for number, chosen in enumerate(rows_in_order(rows, batch_size=batch_size)):
        batch = maker.batch(chosen, seed=seed + number)
        masked = draw_mask(~batch.window_mask, torch.rand(batch.window_mask.shape, generator=generator), ratio=ratio)
        expected = _expect(model, batch.hide(masked))
        truth = batch.intensity.unflatten(1, (GRID.windows, -1))
        error += ((expected - truth).square().mean(dim=2) * masked).sum(dim=0)
        empty += (truth.square().mean(dim=2) * masked).sum(dim=0)
        count += masked.sum(dim=0)
    patterns = count.numpy().astype(int)
    return WindowErrors(patterns, *((values / count).sqrt().numpy() for values in (error, empty)))


def _reconstructing(checkpoint: Checkpoint) -> Xxact:
    if not trained_to_reconstruct(checkpoint.about) or not isinstance(checkpoint.model, Xxact):
        msg = "the model was not trained to reconstruct masked windows; one of the recipe pretrain-mxm is"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    return checkpoint.model


@torch.inference_mode()
def _expect(model: Xxact, inputs: ModelInput) -> Tensor:
    """Intensities (0-100) of every window, shape (batch, windows, points)."""
    scaled = model.reconstruct(model.fuse(model.encode(inputs)))
    return 100 * (scaled if model.config.intensity_scale == "linear" else scaled.square())


def _root_mean_square(values: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Of each of these windows over what is not NaN; NaN of the others."""
    squares = np.full(len(windows), np.nan)
    squares[windows] = np.nanmean(values[windows] ** 2, axis=1)
    roots: np.ndarray = np.sqrt(squares)
    return roots
