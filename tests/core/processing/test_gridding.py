"""A measured pattern ends on the same grid, scale and wavelength as a simulated one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import patterns

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS, change_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern, Pattern, Sticks
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.processing.background import baseline, estimate_background, subtract_background
from xxact_core.processing.gridding import put_on_grid

LINES = Sticks([28.44, 47.3, 56.12, 69.13, 76.4, 88.0], [100.0, 55.0, 30.0, 6.0, 11.0, 12.0], CU_K_ALPHA)


def scan(
    two_theta: np.ndarray, *, sigma: float = 0.1, background: float = 0.0, wavelength: float = CU_K_ALPHA
) -> Pattern:
    """The lines above as a diffractometer would record them."""
    positions = change_wavelength(LINES.two_theta, measured=CU_K_ALPHA, target=wavelength)
    intensity = np.zeros_like(two_theta)
    for position, height in zip(positions, LINES.intensity, strict=True):
        if np.isfinite(position):
            intensity += 10 * height * np.exp(-0.5 * ((two_theta - position) / sigma) ** 2)
    slope = background * (1 + np.exp(-two_theta / 30))
    return Pattern(two_theta=two_theta, intensity=intensity + slope, wavelength=wavelength)


def peak_positions(gridded: GriddedPattern) -> np.ndarray:
    from scipy.signal import find_peaks

    return GRID.two_theta[find_peaks(gridded.intensity, height=4)[0]]


def test_a_simulated_pattern_read_as_a_measured_one_is_the_same_object() -> None:
    simulated = broaden_sticks(LINES)
    measured = put_on_grid(Pattern(GRID.two_theta, simulated.intensity, CU_K_ALPHA), background="none")
    assert type(measured) is type(simulated)
    assert measured.grid is simulated.grid
    np.testing.assert_allclose(measured.intensity, simulated.intensity, atol=1e-5)
    assert measured.coverage.all()


@pytest.mark.parametrize("step", [0.004, 0.013, 0.02, 0.033, 0.05])
def test_every_step_gives_the_pattern_that_was_simulated(step: float) -> None:
    gridded = put_on_grid(scan(np.arange(4, 95, step), background=200.0))
    assert np.abs(gridded.intensity - broaden_sticks(LINES).intensity).max() < 2.5
    np.testing.assert_allclose(peak_positions(gridded), LINES.two_theta, atol=0.021)


@pytest.mark.parametrize("radiation", ["CuKa1", "MoKa", "CoKa", "FeKa", "CrKa", "AgKa"])
def test_lines_of_every_anode_land_where_copper_shows_them(radiation: str) -> None:
    wavelength = WAVELENGTHS[radiation]
    pattern = scan(np.arange(1, 140, 0.005), sigma=0.03, wavelength=wavelength)
    gridded = put_on_grid(pattern)
    reachable = LINES.two_theta[
        np.isin(
            LINES.two_theta,
            LINES.two_theta[gridded.coverage[np.round((LINES.two_theta - GRID.start) / GRID.step).astype(int)]],
        )
    ]
    np.testing.assert_allclose(peak_positions(gridded), reachable, atol=0.021)
    assert any("converted from" in note for note in gridded.warnings) == (radiation != "CuKa1")


def test_without_a_wavelength_nothing_is_assumed() -> None:
    silent = Pattern(GRID.two_theta, broaden_sticks(LINES).intensity, wavelength=None)
    with pytest.raises(WavelengthError, match=r"do not state the wavelength.*CuKa") as refusal:
        put_on_grid(silent)
    assert refusal.value.code == "E_WAVELENGTH"
    assert put_on_grid(silent, wavelength=CU_K_ALPHA).coverage.all()


def test_the_given_wavelength_goes_before_that_of_the_file() -> None:
    wrong = scan(np.arange(4, 95, 0.02))
    moved = put_on_grid(wrong, wavelength=1.78896)
    expected = change_wavelength(LINES.two_theta[:1], measured=1.78896, target=CU_K_ALPHA)
    assert peak_positions(moved)[0] == pytest.approx(expected[0], abs=0.021)


@settings(max_examples=25, deadline=None)
@given(patterns())
def test_any_scan_becomes_finite_non_negative_and_at_most_100(pattern: Pattern) -> None:
    gridded = put_on_grid(pattern, override_coverage=True)
    assert np.isfinite(gridded.intensity).all()
    assert gridded.intensity.min() >= 0
    assert gridded.intensity.max() == 100
    assert not gridded.intensity[~gridded.coverage].any()


@settings(max_examples=15, deadline=None)
@given(patterns())
def test_counting_longer_changes_nothing(pattern: Pattern) -> None:
    longer = Pattern(pattern.two_theta, 7 * pattern.intensity, pattern.wavelength)
    first, second = (put_on_grid(each, override_coverage=True).intensity for each in (pattern, longer))
    np.testing.assert_allclose(second, first, atol=0.02)


def test_a_partial_scan_is_masked_and_says_what_it_covers() -> None:
    gridded = put_on_grid(scan(np.arange(20, 60, 0.02), background=50.0))
    np.testing.assert_array_equal(gridded.coverage, (GRID.two_theta > 19.99) & (GRID.two_theta < 60))
    assert not gridded.intensity[~gridded.coverage].any()
    assert gridded.window_coverage.tolist()[:4] == pytest.approx([0, 0, 0, 1])
    assert any(note.startswith("covers 20-59.98° of 5-90°") for note in gridded.warnings)


def test_a_gap_in_the_scan_is_not_bridged() -> None:
    two_theta = np.concatenate([np.arange(5, 45, 0.02), np.arange(50, 90, 0.02)])
    gridded = put_on_grid(scan(two_theta, background=50.0))
    inside = (GRID.two_theta > 45) & (GRID.two_theta < 49.98)
    assert not gridded.coverage[inside].any()
    assert gridded.coverage[~inside].mean() > 0.999


def test_under_thirty_percent_needs_an_override_and_no_overlap_is_refused() -> None:
    short = scan(np.arange(25, 40, 0.02))
    with pytest.raises(PatternError, match="covers 18%") as refusal:
        put_on_grid(short)
    assert refusal.value.code == "E_COVERAGE"
    assert put_on_grid(short, override_coverage=True).covered_fraction == pytest.approx(0.1765, abs=1e-3)
    with pytest.raises(PatternError, match="nothing of it lies on the grid") as refusal:
        put_on_grid(scan(np.arange(100, 140, 0.02)), override_coverage=True)
    assert refusal.value.code == "E_RANGE"


def test_averaging_a_fine_step_takes_noise_out() -> None:
    generator = np.random.default_rng(1)
    coarse, fine = (
        Pattern(x, generator.normal(1000, 30, x.size), CU_K_ALPHA)
        for x in (np.arange(5, 90, 0.02), np.arange(5, 90, 0.002))
    )
    spread = [
        np.std(put_on_grid(each, background="none").intensity * each.intensity.max() / 100) for each in (coarse, fine)
    ]
    assert spread[1] < 0.45 * spread[0]


def test_smearing_makes_a_sharp_measurement_as_wide_as_the_simulated_lines() -> None:
    sharp = scan(np.arange(4, 95, 0.005), sigma=0.04)
    wide = put_on_grid(sharp, broadening=np.sqrt(0.1**2 - 0.04**2), background="none")
    np.testing.assert_allclose(wide.intensity, broaden_sticks(LINES).intensity, atol=1.0)


def test_a_zero_shift_is_added_to_the_angles() -> None:
    shifted = Pattern(np.arange(4, 95, 0.02) - 0.3, scan(np.arange(4, 95, 0.02)).intensity, CU_K_ALPHA)
    np.testing.assert_allclose(peak_positions(put_on_grid(shifted, zero_shift=0.3)), LINES.two_theta, atol=0.021)


@pytest.mark.parametrize("intensity", [np.zeros(4250), np.full(4250, 7.0), np.linspace(900, 100, 4250)])
def test_a_pattern_of_nothing_but_background_is_refused(intensity: np.ndarray) -> None:
    with pytest.raises(PatternError, match="nothing rises above"):
        put_on_grid(Pattern(np.arange(5, 90, 0.02), intensity, CU_K_ALPHA))


@pytest.mark.parametrize("method", ["arpls", "snip"])
@pytest.mark.parametrize("step", [0.01, 0.02, 0.05])
def test_the_background_is_found_at_any_step(method: str, step: float) -> None:
    two_theta = np.arange(5, 90, step)
    truth = 200 * (1 + np.exp(-two_theta / 30))
    found = estimate_background(scan(two_theta, background=200.0), method=method)
    assert np.abs(found - truth).max() < 0.02 * 1000
    taken = subtract_background(scan(two_theta, background=200.0), method=method)
    assert np.abs(np.median(taken.intensity)) < 5


def test_no_background_is_no_background_and_an_unknown_method_is_named() -> None:
    assert not baseline(np.ones(100), method="none").any()
    with pytest.raises(ValueError, match=r"'als'.*arpls, snip, none"):
        baseline(np.ones(100), method="als")
