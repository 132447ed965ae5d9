"""Scans: their points, counts, noise and smoothing are those of a diffractometer and of our own processing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import (
    Background,
    CountingNoise,
    DetectorBins,
    Effect,
    ProcessedBins,
    ProcessedSmoothing,
    ScanStep,
    Smoothing,
)
from xxact_core.augmentation.sampling import sample_effects
from xxact_core.augmentation.scans import (
    ScanPoints,
    grid_to_scan,
    interpolate_rows,
    measure_scans,
    reprocess,
    scan_to_grid,
)
from xxact_core.patterns.grid import GRID
from xxact_core.processing.resampling import points_to_grid


def points_of(*steps: float, before: float = 2.3) -> ScanPoints:
    count = int(GRID.points * GRID.step / min(steps)) + 7
    return ScanPoints(torch.tensor(steps), torch.full((len(steps),), before), count)


def angles_of(points: ScanPoints, row: int = 0) -> np.ndarray:
    return GRID.start + (np.arange(points.count) - float(points.before[row])) * float(points.step[row])


def measured(profile: torch.Tensor, *effects: Effect, seed: int = 0) -> torch.Tensor:
    config = AugmentationConfig.only(*effects)
    drawn = sample_effects(config, len(profile), generator=torch.Generator().manual_seed(seed))
    return measure_scans(profile, drawn, generator=torch.Generator().manual_seed(seed + 1))


def noise_spectrum(observed: torch.Tensor) -> np.ndarray:
    """Power of the noise at each frequency relative to its mean over all, averaged over rows and 25 neighbours."""
    deviation = observed - observed.mean(dim=1, keepdim=True)
    power = (torch.fft.rfft(deviation).abs() ** 2).mean(dim=0).numpy()[1:2126]
    return power.reshape(-1, 25).mean(axis=1) / power.mean()


@pytest.mark.parametrize("step", [0.01, 0.0131, 0.02, 0.026, 0.05, 0.1])
def test_points_return_to_the_grid_as_those_of_a_measured_file(step: float) -> None:
    points = points_of(step)
    scan = torch.rand((1, points.count), generator=torch.Generator().manual_seed(2))
    on_grid = scan_to_grid(scan, points)[0].numpy()
    of_file = points_to_grid(angles_of(points), scan[0].double().numpy(), grid=GRID)
    np.testing.assert_allclose(on_grid, of_file, rtol=0, atol=1e-3)  # positions are in single precision


@pytest.mark.parametrize("step", [0.02, 0.026, 0.05, 0.1])
def test_bins_keep_the_counts_of_every_peak(step: float) -> None:
    two_theta = torch.tensor(GRID.two_theta, dtype=torch.float32)
    centres = torch.linspace(10.3, 80.1, 16)
    profile = torch.exp(-0.5 * ((two_theta - centres[:, None]) / 0.04) ** 2)
    points = points_of(*[step] * 16)
    binned = grid_to_scan(profile, points, binned=torch.ones(16, dtype=torch.bool))
    areas = profile.sum(dim=1) * GRID.step
    torch.testing.assert_close(binned.sum(dim=1) * step, areas, rtol=1e-3, atol=0)
    sampled = grid_to_scan(profile, points, binned=torch.zeros(16, dtype=torch.bool))
    if step > 0.08:  # a point in 0.1° misses part of a peak of σ = 0.04°, or counts it twice
        assert float((sampled.sum(dim=1) * step / areas - 1).abs().max()) > 0.02


def test_noise_of_a_coarse_scan_is_that_of_its_points_and_correlated_between_them() -> None:
    profile = torch.full((256, GRID.points), 0.5)
    noise = CountingNoise(counts=(1e4, 1e4)), Background(smooth=(0, 0), hump=(0, 0), fluorescence=(0, 0))
    white = measured(profile, *noise)
    coarse = measured(profile, *noise, ScanStep(share=1, step=(0.1, 0.1)))
    variance = 0.5 / 1e4
    assert float(white.var()) == pytest.approx(variance, rel=0.02)
    # Linear interpolation keeps 2/3 of the variance of points on average: ∫ (1 - f)² + f² df.
    assert float(coarse.var()) == pytest.approx(variance * 2 / 3, rel=0.03)
    spectrum = noise_spectrum(white)
    assert spectrum.min() > 0.85
    assert spectrum.max() < 1.15
    spectrum = noise_spectrum(coarse)
    assert spectrum[:5].mean() > 4.0  # frequencies below those of the points
    assert spectrum[-20:].mean() < 0.1


def test_noise_of_fine_steps_is_averaged() -> None:
    profile = torch.full((256, GRID.points), 0.5)
    fine = measured(profile, CountingNoise(counts=(1e4, 1e4)), ScanStep(share=1, step=(0.005, 0.005)))
    # Four intervals of 0.005° a cell, whose end points share their weight with the neighbouring cells.
    assert float(fine.var()) == pytest.approx(0.22 * 0.5 / 1e4, rel=0.04)
    assert noise_spectrum(fine)[-20:].mean() > 0.5


@pytest.mark.parametrize("method", ["gaussian", "moving_average", "savitzky_golay"])
def test_smoothing_correlates_noise_and_keeps_the_level(method: str) -> None:
    profile = torch.full((128, GRID.points), 0.5)
    smoothed = measured(
        profile, CountingNoise(counts=(1e4, 1e4)), Smoothing(share=1, width=(0.06, 0.06), methods=(method,))
    )
    assert float(smoothed.mean()) == pytest.approx(0.5, rel=1e-3)
    spectrum = noise_spectrum(smoothed)
    assert spectrum[:3].mean() > 5
    assert spectrum[-30:].mean() < 0.1
    # A Gaussian of σ = 3 points, 11 points, and a parabola through 23 points, by the squares of their weights.
    expected = {"gaussian": 1 / (2 * np.sqrt(np.pi) * 3), "moving_average": 1 / 11, "savitzky_golay": 0.0981}[method]
    assert float(smoothed.var()) == pytest.approx(0.5 / 1e4 * expected, rel=0.04)


def test_gaussian_smoothing_equals_that_of_scipy() -> None:
    from scipy.ndimage import gaussian_filter1d

    profile = torch.rand((4, GRID.points), generator=torch.Generator().manual_seed(0))
    smoothed = measured(profile, Smoothing(share=1, width=(0.08, 0.08), methods=("gaussian",)))
    expected = gaussian_filter1d(profile.double().numpy(), 4.0, mode="nearest", truncate=12)
    np.testing.assert_allclose(smoothed.numpy(), expected, atol=1e-4)


def test_savitzky_golay_equals_that_of_scipy() -> None:
    from scipy.signal import savgol_filter

    profile = torch.rand((4, GRID.points), generator=torch.Generator().manual_seed(0))
    smoothed = measured(profile, Smoothing(share=1, width=(0.04, 0.04), methods=("savitzky_golay",)))
    expected = savgol_filter(profile.double().numpy(), 15, 2, mode="nearest")  # 7 points × 9/4
    np.testing.assert_allclose(smoothed.numpy()[:, 50:-50], expected[:, 50:-50], atol=1e-4)


def test_smoothing_of_cut_noise_makes_a_base_line_that_is_subtracted_in_part() -> None:
    config = AugmentationConfig.only(ProcessedSmoothing(share=1, width=(0.1, 0.1), subtracted=(0, 0)))
    noise = torch.randn((16, GRID.points), generator=torch.Generator().manual_seed(0)).clamp(min=0)
    measured = torch.ones_like(noise, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    base = reprocess(noise.clone(), measured, sample_effects(config, 16, generator=generator), generator=generator)
    assert float(base.mean()) == pytest.approx(1 / np.sqrt(2 * np.pi), rel=0.02)  # mean of the positive half of noise
    assert float((base == 0).float().mean()) == 0
    config = AugmentationConfig.only(ProcessedSmoothing(share=1, width=(0.1, 0.1), subtracted=(1, 1)))
    without = reprocess(noise.clone(), measured, sample_effects(config, 16, generator=generator), generator=generator)
    assert float((without == 0).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_bins_of_a_processed_pattern_keep_its_area_and_stay_in_the_measured_range() -> None:
    config = AugmentationConfig.only(ProcessedBins(share=1, step=(0.05, 0.05)))
    profile = torch.rand((8, GRID.points), generator=torch.Generator().manual_seed(0))
    measured = torch.zeros_like(profile, dtype=torch.bool)
    measured[:, 500:3000] = True
    generator = torch.Generator().manual_seed(0)
    effects = sample_effects(config, 8, generator=generator)
    binned = reprocess(profile.mul(measured), measured, effects, generator=generator)
    torch.testing.assert_close(binned.sum(dim=1), profile.mul(measured).sum(dim=1), rtol=5e-3, atol=0)
    assert not binned[~measured].any()


def test_bins_without_a_step_of_their_own_change_nothing() -> None:
    profile = torch.rand((4, GRID.points), generator=torch.Generator().manual_seed(0))
    assert torch.equal(measured(profile, DetectorBins(share=1)), profile)


def test_interpolation_is_linear_and_constant_beyond_the_ends() -> None:
    values = torch.tensor([[0.0, 2.0, 1.0]])
    position = torch.tensor([[-1.0, 0.0, 0.25, 1.5, 2.0, 7.0]])
    torch.testing.assert_close(interpolate_rows(values, position), torch.tensor([[0.0, 0.0, 0.5, 1.5, 1.0, 1.0]]))
