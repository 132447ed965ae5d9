"""What each window of a pattern looks at: shares that add up, and are those that the model uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from xxact_core.checkpoint import Checkpoint, make_model
from xxact_core.compositions.partial import parse_composition
from xxact_core.errors import CheckpointError, FormulaError
from xxact_core.evaluation.attention import window_attention
from xxact_core.model.config import preset
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern


@pytest.fixture(scope="module")
def pattern() -> GriddedPattern:
    """One line at 30°, measured from 10° on."""
    coverage = GRID.two_theta >= 10
    intensity = 100 * np.exp(-0.5 * ((GRID.two_theta - 30) / 0.1) ** 2) * coverage
    return GriddedPattern(100 * intensity / intensity.max(), coverage)


def checkpoint(**changes: object) -> Checkpoint:
    model = make_model(replace(preset("tiny"), **changes), seed=0).eval()
    return Checkpoint(model, statistics={})


@pytest.mark.parametrize("known", ["Fe2O3", "Fe 40±2 O 60±3", "La,B,?O"])
@pytest.mark.parametrize("tokens_per_window", [1, 5])
def test_the_attention_of_each_window_adds_up_to_one(
    pattern: GriddedPattern, known: str, tokens_per_window: int
) -> None:
    found = window_attention(checkpoint(tokens_per_window=tokens_per_window), pattern, parse_composition(known))
    assert set(found.symbols) == {symbol for symbol in ("Fe", "O", "La", "B") if symbol in known}
    assert found.weights.shape == (len(found.symbols), GRID.windows)
    total = found.cls_weight + found.weights.sum(axis=0)
    assert np.isnan(total).tolist() == pattern.hidden_windows.tolist()
    np.testing.assert_allclose(total[~pattern.hidden_windows], 1, rtol=1e-5)


def test_the_shares_are_those_with_which_the_model_mixes() -> None:
    model = checkpoint().model
    attention = model.fusion.layers[0].cross_attention
    generator = torch.Generator().manual_seed(0)
    width = model.config.fusion.width
    tokens, context = (torch.randn((1, count, width), generator=generator) for count in (18, 4))
    present = torch.tensor([[True, True, True, False]])
    shares = attention.attention_weights(tokens, context, present)
    _, value = attention._split(attention.key_value(context), parts=2)
    mixed = attention.out((shares @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, attention(tokens, context, present))
    assert (shares[..., 3] == 0).all()


def test_without_elements_or_without_windows_there_is_nothing_to_look_at(pattern: GriddedPattern) -> None:
    with pytest.raises(FormulaError, match="composition is unknown"):
        window_attention(checkpoint(), pattern, parse_composition("?"))
    with pytest.raises(CheckpointError, match="'crabnet'"):
        window_attention(checkpoint(architecture="crabnet"), pattern, parse_composition("NaCl"))
