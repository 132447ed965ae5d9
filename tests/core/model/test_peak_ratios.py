"""Ratios of peaks: they do not depend on the size of the cell, and a new readout changes nothing at first."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from xxact_core.checkpoint import make_model
from xxact_core.errors import RecipeError
from xxact_core.model.config import preset
from xxact_core.model.inference import encode_with_compositions
from xxact_core.model.inputs import ModelInput
from xxact_core.model.peak_ratios import BIN_WIDTH, BINS, ratio_histogram
from xxact_core.model.xxact import Xxact
from xxact_core.patterns.grid import GRID

TWO_THETA = GRID.start + GRID.step * np.arange(GRID.points)
NOTHING_MASKED = torch.zeros(1, GRID.windows, dtype=torch.bool)


def cubic(cell: float, squares: tuple[int, ...] = (3, 4, 8, 11, 12)) -> torch.Tensor:
    """Peaks of one height at the reflections with these h² + k² + l², Cu Kα."""
    positions = 2 * np.rad2deg(np.arcsin(1.54184 * np.sqrt(squares) / (2 * cell)))
    peaks = 100 * np.exp(-0.5 * ((TWO_THETA - positions[:, None]) / 0.1) ** 2)
    return torch.tensor(peaks.sum(axis=0), dtype=torch.float32).unsqueeze(0)


def test_histogram_holds_the_ratios_of_all_pairs_for_any_cell() -> None:
    small, large = (ratio_histogram(cubic(cell), NOTHING_MASKED, peaks=5)[0] for cell in (4.6, 5.9))
    torch.testing.assert_close(small, large, atol=0.1, rtol=0)
    weighted = small[:BINS]
    assert float(weighted.sum()) == pytest.approx(10, abs=0.05)  # pairs of five peaks of height 1
    for ratio in (4 / 3, 8 / 3, 11 / 3, 4, 2, 11 / 4, 3, 11 / 8, 3 / 2, 12 / 11):
        place = round(math.log(ratio) / BIN_WIDTH)
        assert float(weighted[place - 1 : place + 2].sum()) == pytest.approx(1, abs=0.05), ratio


def test_peaks_of_masked_windows_are_not_counted() -> None:
    pattern, mask = cubic(5.0), NOTHING_MASKED.clone()
    mask[0, :8] = True  # up to 45°, two of the five reflections
    hidden = ratio_histogram(pattern, mask, peaks=5)[0]
    assert float(hidden[:BINS].sum()) == pytest.approx(3, abs=0.05)


def test_a_new_readout_changes_nothing_and_learns() -> None:
    before = make_model(preset("tiny"), seed=0).eval()
    after = make_model(replace(preset("tiny"), peak_ratios=8), seed=0).eval()
    missing, unexpected = after.load_state_dict(before.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("peak_ratios.") for name in missing)
    inputs = ModelInput(cubic(5.0), NOTHING_MASKED, torch.tensor([[11, 17]]), torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(after.embed(inputs), before.embed(inputs))
    after.embed(inputs).square().sum().backward()
    assert isinstance(after, Xxact)
    assert after.peak_ratios is not None
    assert float(after.peak_ratios.out.weight.grad.abs().sum()) > 0


def test_one_pattern_with_several_compositions_has_the_ratios_of_its_own() -> None:
    model = make_model(replace(preset("tiny"), peak_ratios=8), seed=0).eval()
    assert isinstance(model, Xxact)
    assert model.peak_ratios is not None
    torch.nn.init.normal_(model.peak_ratios.out.weight)
    inputs = ModelInput(
        cubic(5.0).expand(2, -1),
        NOTHING_MASKED.expand(2, -1),
        torch.tensor([[11, 17], [12, 8]]),
        torch.tensor([[0.5, 0.5], [0.5, 0.5]]),
    )
    with torch.inference_mode():
        together, _ = encode_with_compositions(model, inputs)
        torch.testing.assert_close(together, model.features(inputs), atol=1e-5, rtol=1e-5)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(RecipeError, match="peak_ratios"):
        replace(preset("tiny"), peak_ratios=-1)
