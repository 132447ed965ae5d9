"""The reference broadening is the exact sum of Gaussians, on the scale 0-100."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import sticks

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import CU_K_ALPHA, change_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Sticks
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.peak_profiles.shapes import PeakShape, sigma_to_fwhm, split_doublet


def test_one_stick_becomes_a_gaussian_of_sigma_a_tenth_of_a_degree() -> None:
    smeared = broaden_sticks(Sticks(two_theta=[40.0], intensity=[7.0], wavelength=CU_K_ALPHA))
    np.testing.assert_allclose(smeared.intensity, 100 * np.exp(-50 * (GRID.two_theta - 40.0) ** 2), atol=1e-5)
    assert smeared.coverage.all()
    assert smeared.warnings == ()


@given(sticks(), st.floats(0.01, 100))
def test_the_scale_and_order_of_sticks_do_not_matter(drawn: Sticks, factor: float) -> None:
    smeared = broaden_sticks(drawn)
    turned = Sticks(drawn.two_theta[::-1], factor * drawn.intensity[::-1], drawn.wavelength)
    np.testing.assert_allclose(broaden_sticks(turned).intensity, smeared.intensity, atol=1e-4)
    assert smeared.intensity.max() == 100
    assert smeared.intensity.min() >= 0


def test_two_sticks_at_one_place_are_one_of_their_sum() -> None:
    two = broaden_sticks(Sticks([30.0, 30.0, 50.0], [40.0, 60.0, 50.0], CU_K_ALPHA))
    one = broaden_sticks(Sticks([30.0, 50.0], [100.0, 50.0], CU_K_ALPHA))
    np.testing.assert_allclose(two.intensity, one.intensity, rtol=1e-6)


def test_more_sticks_than_a_block_equal_the_direct_sum() -> None:
    positions = np.random.default_rng(0).uniform(5, 90, 1000)
    every = broaden_sticks(Sticks(positions, np.ones(1000), CU_K_ALPHA))
    direct = np.exp(-50 * (GRID.two_theta[:, None] - positions) ** 2).sum(axis=1)
    np.testing.assert_allclose(every.intensity, 100 * direct / direct.max(), rtol=1e-5)


def test_sticks_of_another_wavelength_land_where_copper_shows_them_and_say_so() -> None:
    at_copper = np.array([28.4, 47.3, 56.1])
    at_molybdenum = change_wavelength(at_copper, measured=CU_K_ALPHA, target=0.71073)
    moved = broaden_sticks(Sticks(at_molybdenum, [100.0, 60.0, 30.0], 0.71073))
    straight = broaden_sticks(Sticks(at_copper, [100.0, 60.0, 30.0], CU_K_ALPHA))
    np.testing.assert_allclose(moved.intensity, straight.intensity, atol=1e-4)
    assert "converted from 0.71073" in moved.warnings[0]


@pytest.mark.parametrize(("positions", "heights"), [([], []), ([2.0, 120.0], [1.0, 1.0]), ([40.0], [0.0])])
def test_no_reflection_on_the_grid_is_refused(positions: list[float], heights: list[float]) -> None:
    with pytest.raises(PatternError, match="no reflection") as refusal:
        broaden_sticks(Sticks(positions, heights, CU_K_ALPHA))
    assert refusal.value.code == "E_RANGE"


@pytest.mark.parametrize("sigma", [0.0, -0.1, float("nan"), float("inf")])
def test_a_width_that_is_none_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma"):
        broaden_sticks(Sticks([40.0], [1.0], CU_K_ALPHA), sigma=sigma)


def test_an_instrument_of_constant_width_is_a_sigma() -> None:
    drawn = Sticks([20.0, 40.0, 80.0], [10.0, 100.0, 30.0], CU_K_ALPHA)
    shaped = broaden_sticks(drawn, shape=PeakShape(caglioti=(0.0, 0.0, sigma_to_fwhm(0.06) ** 2)))
    np.testing.assert_allclose(shaped.intensity, broaden_sticks(drawn, sigma=0.06).intensity, atol=1e-4)


def test_small_crystals_keep_areas_and_lower_the_wide_lines_of_high_angles() -> None:
    drawn = Sticks([20.0, 80.0], [100.0, 100.0], CU_K_ALPHA)
    low, high = np.split(broaden_sticks(drawn, shape=PeakShape(crystallite_size=10.0)).intensity, [2250])
    assert high.max() < 0.9 * low.max()
    assert high.sum() == pytest.approx(low.sum(), rel=1e-3)
    kept = broaden_sticks(drawn, shape=PeakShape(crystallite_size=10.0, equal_area=False)).intensity[2250:]
    assert kept.max() == pytest.approx(100, abs=0.1)


def test_a_lorentzian_is_half_as_high_where_the_gaussian_is_and_has_its_tails() -> None:
    stick = Sticks([40.0], [1.0], CU_K_ALPHA)
    half = round((40.0 + sigma_to_fwhm(0.1) / 2 - GRID.start) / GRID.step)
    gaussian, mixed, lorentzian = (
        broaden_sticks(stick, shape=PeakShape(lorentzian=share)).intensity for share in (0.0, 0.5, 1.0)
    )
    assert gaussian[half] == pytest.approx(50, abs=3)
    assert lorentzian[half] == pytest.approx(gaussian[half], abs=0.5)
    np.testing.assert_allclose(mixed, (gaussian + lorentzian) / 2, atol=1e-4)
    at_42 = 100 / (1 + (2 * 2.0 / sigma_to_fwhm(0.1)) ** 2)
    assert lorentzian[round(37 / GRID.step)] == pytest.approx(at_42, rel=1e-4)


def test_a_doublet_is_the_sum_of_its_two_lines() -> None:
    stick = Sticks([80.0], [90.0], CU_K_ALPHA)
    positions, heights = split_doublet(np.array([80.0]), np.array([90.0]), anode="Cu")
    two = broaden_sticks(Sticks(positions, heights, CU_K_ALPHA), sigma=0.04)
    doublet = broaden_sticks(stick, sigma=0.04, shape=PeakShape(anode="Cu"))
    np.testing.assert_allclose(doublet.intensity, two.intensity, atol=1e-4)
    assert doublet.intensity[round((positions[1] - GRID.start) / GRID.step)] == pytest.approx(50, abs=3)
