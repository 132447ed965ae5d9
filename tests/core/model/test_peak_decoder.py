"""The decoder of masked windows: its evidence lies where reflections do, and it learns to place a sharp peak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from xxact_core.checkpoint import make_model
from xxact_core.errors import RecipeError
from xxact_core.model.config import ModelConfig, preset
from xxact_core.model.inputs import ModelInput
from xxact_core.model.peak_decoder import PeakDecoder, spacing_ratios
from xxact_core.model.xxact import Xxact
from xxact_core.objectives.masked_patterns import sharp_reconstruction_loss
from xxact_core.patterns.grid import GRID

CONFIG = replace(preset("tiny"), intensity_scale="sqrt", decoder="peaks")
TWO_THETA = GRID.start + GRID.step * np.arange(GRID.points)


def peak_positions(cell: float, squares: tuple[float, ...]) -> np.ndarray:
    """2θ [deg] of the cubic reflections with these h² + k² + l², Cu Kα."""
    return 2 * np.rad2deg(np.arcsin(1.54184 * np.sqrt(squares) / (2 * cell)))


def pattern(positions: np.ndarray) -> torch.Tensor:
    peaks = 100 * np.exp(-0.5 * ((TWO_THETA - positions[:, None]) / 0.1) ** 2)
    return torch.tensor(peaks.sum(axis=0), dtype=torch.float32).unsqueeze(0)


def window_of(two_theta: float) -> int:
    return int((two_theta - GRID.start) / GRID.step) // GRID.window_points


def masked(windows: list[int]) -> torch.Tensor:
    mask = torch.zeros(1, GRID.windows, dtype=torch.bool)
    mask[0, windows] = True
    return mask


ROCKSALT = (3, 4, 8, 11, 12, 16, 19, 20)


def test_copies_of_a_cubic_pattern_have_a_peak_where_a_masked_reflection_is() -> None:
    positions = peak_positions(5.64, ROCKSALT)
    hidden = positions[2]
    window = window_of(hidden)
    scaled = (pattern(positions) / 100).sqrt()
    seen = scaled.masked_fill(masked([window]).repeat_interleave(GRID.window_points, dim=1), 0.0)
    copies = PeakDecoder(CONFIG)._copies(seen, torch.tensor([0]), torch.tensor([window]))[0]
    point = round((hidden - GRID.start) / GRID.step) - window * GRID.window_points
    by_ratio = dict(zip(spacing_ratios(), copies[:, point].tolist(), strict=True))
    for visible in (3, 4, 11, 12, 16):
        assert by_ratio[8 / visible] > 0.95, visible
    # Ratios that lead to no reflection give nothing: 8 / 7 leads to 7, which no sum of three squares is.
    assert by_ratio[8 / 7] < 0.05


def test_sums_of_visible_peaks_mark_a_masked_reflection() -> None:
    positions = peak_positions(5.64, ROCKSALT)
    window = window_of(positions[3])
    scaled = (pattern(positions) / 100).sqrt()
    mask = masked([window])
    seen = scaled.masked_fill(mask.repeat_interleave(GRID.window_points, dim=1), 0.0)
    sums = PeakDecoder(CONFIG)._sums(seen, mask, torch.tensor([0]), torch.tensor([window]))[0]
    place = (positions[3] - GRID.start) / GRID.step - window * GRID.window_points
    assert abs(int(sums[0].argmax()) - place) <= 2  # 3 + 8 = 11
    # Parallelograms lead to all multiples of a*²; nothing lies between 11 and 12.
    assert float(sums[4, round(place)]) > 1
    between = peak_positions(5.64, (11.5,))[0]
    point = round((between - GRID.start) / GRID.step) - window * GRID.window_points
    assert not 0 <= point < GRID.window_points or float(sums[4, point]) < 0.1


def test_visible_windows_come_back_as_they_are_and_nothing_of_masked_ones_is_read() -> None:
    model = make_model(CONFIG, seed=0).eval()
    assert isinstance(model, Xxact)
    positions = peak_positions(5.64, ROCKSALT)
    mask = masked([window_of(positions[2]), 11])

    def reconstruct(intensity: torch.Tensor) -> torch.Tensor:
        inputs = ModelInput(intensity, mask, torch.tensor([[11, 17]]), torch.tensor([[0.5, 0.5]]))
        with torch.inference_mode():
            return model.reconstruct_intensity(inputs)

    whole = pattern(positions)
    found = reconstruct(whole)
    torch.testing.assert_close(found[~mask], whole.unflatten(1, (GRID.windows, -1))[~mask], atol=1e-3, rtol=1e-4)
    changed = whole.unflatten(1, (GRID.windows, -1)).clone()
    changed[mask] = 17.0
    torch.testing.assert_close(reconstruct(changed.flatten(1)), found)


def test_a_sharp_peak_of_an_unseen_cell_is_placed_after_a_short_training() -> None:
    """Rock salt cells of one structure type: the masked window of another cell has its peak where it belongs."""
    torch.manual_seed(0)
    model = make_model(CONFIG, seed=0)
    assert isinstance(model, Xxact)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)

    def inputs_for(cells: np.ndarray) -> tuple[ModelInput, torch.Tensor]:
        positions = [peak_positions(cell, ROCKSALT) for cell in cells]
        intensity = torch.cat([pattern(row) for row in positions])
        mask = torch.cat([masked([window_of(row[2])]) for row in positions])
        count = len(cells)
        return ModelInput(intensity, mask, torch.full((count, 1), 11), torch.ones(count, 1)), mask

    random = np.random.default_rng(0)
    for _ in range(160):
        inputs, mask = inputs_for(random.uniform(5.2, 6.2, 8))
        rebuilt = model.reconstruct(model.fuse(model.encode(inputs)), inputs)
        loss = sharp_reconstruction_loss(rebuilt, (inputs.intensity / 100).sqrt(), mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    inputs, mask = inputs_for(np.array([5.41, 5.77, 6.03]))
    with torch.inference_mode():
        found = model.eval().reconstruct_intensity(inputs)[mask]
    true = inputs.intensity.unflatten(1, (GRID.windows, -1))[mask]
    assert ((found.argmax(dim=1) - true.argmax(dim=1)).abs() <= 2).all()
    assert float((found - true).square().mean()) < 0.25 * float(true.square().mean())


def test_a_linear_intensity_scale_is_refused() -> None:
    with pytest.raises(RecipeError, match="intensity_scale"):
        replace(CONFIG, intensity_scale="linear")
    with pytest.raises(RecipeError, match="decoder"):
        ModelConfig.from_dict({**CONFIG.to_dict(), "decoder": "fractal"})
