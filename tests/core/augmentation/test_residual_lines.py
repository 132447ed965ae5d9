"""Asymmetry, residual lines and filter edges stand where physics puts them, as strong as stated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import (
    AxialDivergence,
    CalculatedCell,
    Doublet,
    Effect,
    FilterEdge,
    FilterLines,
    KAlpha2Ratio,
)
from xxact_core.augmentation.peaks import InstrumentPeaks, Reflections, reflections_to_peaks, sticks_to_reflections
from xxact_core.augmentation.profiles import add_filter_edges
from xxact_core.augmentation.sampling import SampledEffects, sample_effects
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.corrections import AXIAL_NODES, axial_divergence_parts
from xxact_core.peak_profiles.ragged_sticks import SticksOfRows
from xxact_core.peak_profiles.shapes import FILTER_EDGES, TUNGSTEN_L_ALPHA

SPACINGS = (3.0, 2.0, 1.5)


def sampled(*effects: Effect, batch: int = 1) -> SampledEffects:
    return sample_effects(AugmentationConfig.only(*effects), batch, generator=torch.Generator().manual_seed(0))


def reflections(intensity: Sequence[float] = (100.0, 50.0, 1.0)) -> Reflections:
    squared = torch.tensor(SPACINGS, dtype=torch.float64) ** -2
    return Reflections(squared, torch.tensor(intensity, dtype=torch.float64), torch.zeros(3, dtype=torch.long))


def peaks_with(*effects: Effect) -> InstrumentPeaks:
    return reflections_to_peaks(reflections(), sampled(*effects), sigma=0.1)


def bragg(d: float, wavelength: float) -> float:
    return float(np.degrees(2 * np.arcsin(wavelength / 2 / d)))


def test_residual_lines_of_strong_reflections_stand_at_their_wavelengths() -> None:
    peaks = peaks_with(FilterLines(share=1, k_beta=(0.01, 0.01), tungsten=(0.005, 0.005)))
    found = dict(zip(peaks.two_theta.tolist(), peaks.height.tolist(), strict=True))
    assert len(found) == 3 + 2 * 2  # the weakest reflection has none that could be seen
    for d, strength in zip(SPACINGS[:2], (100, 50), strict=True):
        for wavelength, share in ((CU_K_ALPHA, 1), (WAVELENGTHS["CuKb1"], 0.01), (TUNGSTEN_L_ALPHA, 0.005)):
            place = min(found, key=lambda angle: abs(angle - bragg(d, wavelength)))
            assert place == pytest.approx(bragg(d, wavelength), abs=1e-6)
            assert found[place] == pytest.approx(share * strength, rel=1e-5)


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5])
def test_kalpha2_has_the_sampled_ratio_and_the_sum_stays(ratio: float) -> None:
    peaks = peaks_with(Doublet(share=1), KAlpha2Ratio(share=1, ratio=(ratio, ratio)))
    first, second = (float(part.sum()) for part in (peaks.height[:3], peaks.height[3:]))
    assert second / first == pytest.approx(ratio, abs=1e-6)
    assert first + second == pytest.approx(151, rel=1e-5)


def test_axial_divergence_keeps_areas_and_moves_low_angle_peaks_to_lower_angles() -> None:
    peaks = peaks_with(AxialDivergence(share=1, divergence=(0.06, 0.06)))
    area = float((peaks.height * peaks.sigma).sum()) / 0.1
    assert area == pytest.approx(151, rel=1e-5)
    assert float(peaks.two_theta.min()) < bragg(SPACINGS[0], CU_K_ALPHA) - 0.2
    assert float(peaks.two_theta.max()) <= bragg(SPACINGS[2], CU_K_ALPHA) + 1e-6
    mean = float((peaks.two_theta * peaks.height * peaks.sigma).sum() / (peaks.height * peaks.sigma).sum())
    straight = peaks_with()
    assert mean < float((straight.two_theta * straight.height).sum() / straight.height.sum())


@pytest.mark.parametrize(("two_theta", "divergence"), [(10.0, 0.02), (10.0, 0.035), (25.0, 0.035)])
def test_few_parts_stand_for_many(two_theta: float, divergence: float) -> None:
    x = np.linspace(two_theta - 1.2, two_theta + 0.5, 1701)

    def profile(parts: int) -> np.ndarray:
        total = np.zeros_like(x)
        for part in range(parts):
            shift, spread, fraction = axial_divergence_parts(
                1 / np.tan(np.radians(two_theta)), divergence=divergence, part=part, parts=parts
            )
            sigma = float(np.hypot(0.04, spread))
            total += fraction * np.exp(-0.5 * ((x - two_theta - shift) / sigma) ** 2) / sigma
        return total

    exact = profile(200)
    assert np.abs(profile(AXIAL_NODES) - exact).max() < 0.06 * exact.max()


def test_fractions_of_the_parts_add_up() -> None:
    cotangent = np.array([1.0])
    fractions = [axial_divergence_parts(cotangent, divergence=0.03, part=part)[2] for part in range(AXIAL_NODES)]
    assert sum(fractions) == pytest.approx(1)


def test_filter_edge_is_a_step_at_the_edge_of_nickel_that_falls_to_zero() -> None:
    profile = torch.zeros((1, GRID.points))
    add_filter_edges(profile, reflections((100.0, 0.0, 0.0)), sampled(FilterEdge(share=1, height=(0.01, 0.01))))
    edges = profile[0].numpy()
    edge = bragg(SPACINGS[0], FILTER_EDGES["Cu"])
    below, above = GRID.two_theta < edge - 0.02, GRID.two_theta > edge + 0.02
    assert not edges[below].any()
    assert edges[above][0] == pytest.approx(0.01, rel=0.02)
    assert edges.max() == pytest.approx(0.01, rel=1e-3)
    assert edges[GRID.two_theta > bragg(SPACINGS[0], 1.2 * FILTER_EDGES["Cu"]) + 0.04].max() < 1e-9
    assert (np.diff(edges[above]) <= 1e-9).all()


def test_calculated_cells_shrink_and_measured_ones_stay() -> None:
    sticks = SticksOfRows(
        hkl=torch.tensor([[1.0, 0, 0], [1, 0, 0]], dtype=torch.float64),
        intensity=torch.ones(2),
        sample=torch.tensor([0, 1]),
        metric=torch.tensor([[1 / 16, 1 / 16, 1 / 16, 0, 0, 0]] * 2, dtype=torch.float64),
        rotations=torch.eye(3, dtype=torch.int8).repeat(2, 1, 1, 1),
        rotation_count=torch.ones(2, dtype=torch.long),
        wavelength=CU_K_ALPHA,
    )
    effects = sampled(CalculatedCell(scale=(0.989, 0.989)), batch=2)
    found = sticks_to_reflections(
        sticks, effects, generator=torch.Generator(), cell_is_measured=torch.tensor([False, True])
    )
    spacing = found.inverse_d_squared**-0.5
    torch.testing.assert_close(spacing, torch.tensor([0.989 * 4, 4.0], dtype=torch.float64))


def test_scales_of_calculated_cells_have_the_stated_mean_and_spread() -> None:
    scale = sampled(CalculatedCell(), batch=20_000).values["calculated_cell", "scale"]
    assert float(scale.mean()) == pytest.approx(0.989, abs=2e-4)
    assert float(scale.std()) == pytest.approx(0.005, rel=0.05)
