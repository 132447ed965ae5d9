"""Peaks with known positions, widths and areas are found as they are, and noise is none."""

from __future__ import annotations

import numpy as np
import pytest

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import change_wavelength, two_theta_to_d
from xxact_core.patterns.pattern import Pattern
from xxact_core.peak_profiles.shapes import doublet_wavelengths, gaussian, lorentzian
from xxact_core.readers.read import read_pattern
from xxact_core.search_match.peak_search import find_peaks
from xxact_core.shipped import example_path

ANGLES = np.arange(10, 120, 0.02)
TRUE = ((25.0, 1000.0), (45.0, 5000.0), (45.3, 2000.0), (80.0, 800.0), (110.0, 1500.0))
WIDTH = 0.1
FIRST, SECOND, MEAN = doublet_wavelengths("Cu")


def profile(centre: float) -> np.ndarray:
    distance = ANGLES - centre
    return 0.5 * lorentzian(distance, fwhm=WIDTH) + 0.5 * gaussian(distance, fwhm=WIDTH)


def pattern(*, doublet: bool, seed: int = 1, wavelength: float | None = MEAN, scale: float = 1.0) -> Pattern:
    counts = np.full_like(ANGLES, 100.0)
    for centre, height in TRUE:
        counts += height * profile(centre)
        if doublet:
            moved = change_wavelength(np.array([centre]), measured=FIRST, target=SECOND)
            counts += height / 2 * profile(float(moved[0]))
    counts = np.random.default_rng(seed).poisson(counts).astype(np.float64)
    return Pattern(ANGLES, scale * counts, wavelength=wavelength)


@pytest.mark.parametrize("doublet", [True, False])
def test_positions_widths_heights_and_areas_are_those_of_the_peaks(doublet: bool) -> None:
    found = find_peaks(pattern(doublet=doublet, wavelength=MEAN if doublet else 0.8), least_height=1)
    assert found.doublet == doublet
    assert [peak.two_theta for peak in found.peaks] == pytest.approx([centre for centre, _ in TRUE], abs=0.004)
    assert [peak.height for peak in found.peaks] == pytest.approx([height for _, height in TRUE], rel=0.05)
    assert [peak.fwhm for peak in found.peaks] == pytest.approx([WIDTH] * len(TRUE), rel=0.08)
    of_unit = WIDTH * (np.pi / 4 + np.sqrt(np.pi / np.log(2)) / 4) * (1.5 if doublet else 1.0)
    assert [peak.area for peak in found.peaks] == pytest.approx([height * of_unit for _, height in TRUE], rel=0.06)
    spacings = two_theta_to_d(np.array([peak.two_theta for peak in found.peaks]), wavelength=found.wavelength)
    assert [peak.d for peak in found.peaks] == pytest.approx(spacings.tolist())
    assert found.wavelength == pytest.approx(FIRST if doublet else 0.8)
    assert found.relative_heights.max() == 100


def test_uncertainties_of_positions_are_those_of_repeated_measurements() -> None:
    repeated = [find_peaks(pattern(doublet=True, seed=seed), least_height=10).peaks for seed in range(12)]
    scatter = np.std([[peak.two_theta for peak in peaks] for peaks in repeated], axis=0)
    stated = np.mean([[peak.u_two_theta for peak in peaks] for peaks in repeated], axis=0)
    assert (stated > scatter / 4).all()
    assert (stated < 8 * scatter).all()


def test_lines_without_their_second_one_are_not_taken_for_doublets() -> None:
    monochromatic = find_peaks(pattern(doublet=False, wavelength=FIRST), least_height=1)
    assert monochromatic.doublet is False
    assert monochromatic.wavelength == FIRST
    assert [peak.two_theta for peak in monochromatic.peaks] == pytest.approx([centre for centre, _ in TRUE], abs=0.004)
    assert find_peaks(pattern(doublet=False, wavelength=FIRST), doublet=True).doublet is True


def test_the_unit_of_the_intensity_changes_heights_and_areas_alone() -> None:
    counts, rate = find_peaks(pattern(doublet=True)), find_peaks(pattern(doublet=True, scale=1e-3))
    assert len(counts.peaks) == len(rate.peaks)
    for one, other in zip(counts.peaks, rate.peaks, strict=True):
        assert other.two_theta == pytest.approx(one.two_theta, abs=1e-4)
        assert other.area == pytest.approx(one.area / 1000, rel=1e-2)


def test_noise_is_no_peak_and_a_pattern_without_a_wavelength_has_no_spacings() -> None:
    noise = np.random.default_rng(0).poisson(1000, ANGLES.size).astype(np.float64)
    assert find_peaks(Pattern(ANGLES, noise)).peaks == ()
    unknown = find_peaks(pattern(doublet=False, wavelength=None))
    assert unknown.wavelength is None
    assert np.isnan([peak.d for peak in unknown.peaks]).all()


def test_too_few_points_are_refused() -> None:
    with pytest.raises(PatternError, match="needs at least 25") as raised:
        find_peaks(Pattern(np.arange(10.0, 15.0), np.ones(5)))
    assert raised.value.code == "E_RANGE"


def test_a_background_that_is_given_replaces_the_fitted_one() -> None:
    found = find_peaks(pattern(doublet=False, wavelength=0.8), background=np.full_like(ANGLES, -400.0))
    assert found.peaks[0].height > 1000


def test_the_lines_of_corundum_have_its_spacings() -> None:
    found = find_peaks(read_pattern(example_path("corundum.prn"), wavelength="CuKa"), least_height=8)
    spacings = np.array([peak.d for peak in found.peaks])
    for expected in (3.4788, 2.5508, 2.3794, 2.0852, 1.7401, 1.6014, 1.4045, 1.3739):  # ICSD, a 4.759 Å, c 12.993 Å
        assert np.abs(spacings / expected - 1).min() < 0.004
