"""Tokens of a pattern: its windows, finer or coarser, and its lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xxact_core.checkpoint import make_model
from xxact_core.errors import RecipeError
from xxact_core.model.config import PRESETS
from xxact_core.model.inputs import ModelInput
from xxact_core.model.pattern_tokens import (
    WINDOW_POINTS,
    WINDOWS,
    ConvolutionTokens,
    WindowTokens,
    intensity_channels,
    scale_intensity,
)
from xxact_core.model.peak_tokens import PeakTokens, find_peaks
from xxact_core.model.xxact import Xxact
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.reference import sum_peaks

VARIANTS = {
    "finer windows": replace(PRESETS["tiny"], tokens_per_window=5),
    "finer convolution": replace(PRESETS["tiny"], tokens_per_window=5, tokenizer="convolution", skip_to_heads=True),
    "two intensities": replace(PRESETS["tiny"], intensity_scale="sqrt_and_log"),
    "lines": replace(PRESETS["tiny"], peak_tokens=12, tokenizer="convolution", intensity_scale="sqrt_and_log"),
    "readouts": replace(PRESETS["tiny"], skip_to_heads=True, element_readout=True, head_hidden_width=24),
}


@pytest.fixture(params=list(VARIANTS))
def model(request: pytest.FixtureRequest) -> Xxact:
    return make_model(VARIANTS[request.param], seed=0).eval()


def nothing_hidden(batch: int) -> torch.Tensor:
    return torch.zeros(batch, WINDOWS, dtype=torch.bool)


def lines(*places: tuple[float, float]) -> torch.Tensor:
    """A pattern of Gaussian lines at (2θ [deg], height)."""
    two_theta, height = np.array(places).T
    return torch.tensor(sum_peaks(two_theta, height, np.full(len(height), 0.1)), dtype=torch.float32).unsqueeze(0)


def shown(intensity: torch.Tensor, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
    batch = len(intensity)
    return {
        "intensity": intensity,
        "window_mask": hidden,
        "atomic_numbers": torch.tensor([[8, 13]]).expand(batch, 2),
        "fractions": torch.tensor([[0.6, 0.4]]).expand(batch, 2),
    }


@given(two_theta=st.floats(6, 89), height=st.floats(1, 100))
def test_single_line_is_found_where_it_is(two_theta: float, height: float) -> None:
    peaks = find_peaks(lines((two_theta, height)), nothing_hidden(1), count=3)
    assert GRID.start + GRID.step * float(peaks.place[0, 0]) == pytest.approx(two_theta, abs=5e-4)
    assert peaks.found[0].tolist() == [True, False, False]
    assert float(peaks.height[0, 0]) == 1.0


def test_lines_come_strongest_first_and_the_faintest_are_left_out() -> None:
    peaks = find_peaks(lines((20, 50), (30, 100), (40, 1), (60, 0.005)), nothing_hidden(1), count=6)
    found = GRID.start + GRID.step * peaks.place[0, peaks.found[0]]
    torch.testing.assert_close(found, torch.tensor([30.0, 20.0, 40.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(peaks.height[0, :3], torch.tensor([1.0, 0.5, 0.01]), atol=1e-3, rtol=0)


def test_line_cut_by_a_hidden_window_is_no_line() -> None:
    edge = GRID.start + 3 * WINDOW_POINTS * GRID.step
    hidden = nothing_hidden(1)
    hidden[0, 2] = True
    peaks = find_peaks(lines((edge - 0.01, 100), (30, 10)), hidden, count=4)
    found = GRID.start + GRID.step * peaks.place[0, peaks.found[0]]
    torch.testing.assert_close(found, torch.tensor([30.0]), atol=1e-3, rtol=0)


def test_empty_pattern_has_no_lines_and_finite_tokens() -> None:
    tokens, present = PeakTokens(VARIANTS["lines"])(torch.zeros(2, GRID.points), nothing_hidden(2))
    assert not bool(present.any())
    assert bool(torch.isfinite(tokens).all())


@pytest.mark.parametrize("name", ["window", "convolution"])
@pytest.mark.parametrize("tokens_per_window", [1, 5])
def test_a_window_has_as_many_tokens_as_asked(name: str, tokens_per_window: int) -> None:
    config = replace(PRESETS["tiny"], tokens_per_window=tokens_per_window, intensity_scale="sqrt_and_log")
    tokens = (WindowTokens if name == "window" else ConvolutionTokens)(config)
    channels = intensity_channels(torch.rand(2, GRID.points), intensity_scale="sqrt_and_log")
    assert tokens(channels).shape == (2, WINDOWS * tokens_per_window, 32)


@pytest.mark.parametrize("tokens_per_window", [1, 5])
def test_window_token_depends_on_its_own_points_only(tokens_per_window: int) -> None:
    tokens = WindowTokens(replace(PRESETS["tiny"], tokens_per_window=tokens_per_window))
    channels = torch.rand(1, 1, GRID.points)
    changed = channels.clone()
    changed[:, :, 3 * WINDOW_POINTS] += 1
    differs = (tokens(channels) != tokens(changed)).any(dim=2)[0]
    assert differs.nonzero().flatten().tolist() == [3 * tokens_per_window]


def test_logarithm_lifts_a_line_that_the_root_leaves_low() -> None:
    scaled = scale_intensity(torch.tensor([[0.0, 0.01, 100.0]]), intensity_scale="sqrt_and_log")
    root, logarithm = intensity_channels(scaled, intensity_scale="sqrt_and_log")[0]
    torch.testing.assert_close(root, torch.tensor([0.0, 0.01, 1.0]))
    torch.testing.assert_close(logarithm, torch.tensor([0.0, 0.2083, 1.0]), atol=1e-4, rtol=0)


def test_hidden_windows_are_not_seen_by_any_kind_of_token(model: Xxact) -> None:
    intensity, hidden = 100 * torch.rand(2, GRID.points), nothing_hidden(2)
    hidden[:, [0, 7]] = True
    changed = intensity.clone().unflatten(1, (WINDOWS, WINDOW_POINTS))
    changed[:, [0, 7]] = 50 * torch.rand(2, 2, WINDOW_POINTS)
    wanted = model(ModelInput(**shown(intensity, hidden)))
    for name, output in model(ModelInput(**shown(changed.flatten(1), hidden))).items():
        assert torch.equal(output, wanted[name])


def test_reconstruction_is_one_of_the_windows_whatever_the_tokens(model: Xxact) -> None:
    data = shown(100 * torch.rand(2, GRID.points), nothing_hidden(2))
    rebuilt = model.reconstruct(model.fuse(model.encode(ModelInput(**data))), ModelInput(**data))
    assert rebuilt.shape == (2, WINDOWS, WINDOW_POINTS)


def test_first_of_the_fused_tokens_is_the_same_when_asked_alone(model: Xxact) -> None:
    encoded = model.encode(ModelInput(**shown(100 * torch.rand(2, GRID.points), nothing_hidden(2))))
    torch.testing.assert_close(model.fuse(encoded, cls_only=True), model.fuse(encoded)[:, :1], atol=1e-5, rtol=1e-5)


def test_every_parameter_of_a_variant_gets_a_finite_gradient(model: Xxact) -> None:
    data = shown(100 * torch.rand(4, GRID.points), nothing_hidden(4))
    data["window_mask"][:, 4] = True
    fused = model.fuse(model.encode(ModelInput(**data)))
    outputs = [model.reconstruct(fused, ModelInput(**data)), *model.heads(fused[:, 0]).values()]
    torch.cat([output.flatten() for output in outputs]).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        if "key_value.bias" not in name:
            assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize(
    "change", [{"tokens_per_window": 2}, {"peak_tokens": -1}, {"peak_tokens": 10_000}, {"intensity_scale": "cube"}]
)
def test_impossible_tokens_are_refused(change: dict) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        replace(PRESETS["tiny"], **change)
