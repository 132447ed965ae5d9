"""Maxima of a curve, compared with scipy.signal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks, peak_prominences, peak_widths

from xxact_core.search_match.peak_finding import find_maxima, prominences, widths_at_half


def noisy_curve(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed)
    curve: np.ndarray = gaussian_filter1d(noise.exponential(size=3000) ** 3, 1 + seed)
    return curve


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("distance", [1, 7, 60])
def test_maxima_are_those_of_scipy(seed: int, distance: int) -> None:
    curve = noisy_curve(seed)
    expected, _ = find_peaks(curve, height=0.3 * curve.max(), distance=distance)
    assert len(expected) > 1
    np.testing.assert_array_equal(find_maxima(curve, height=0.3 * curve.max(), distance=distance), expected)


@pytest.mark.parametrize("seed", range(4))
def test_prominences_and_widths_are_those_of_scipy(seed: int) -> None:
    curve = noisy_curve(seed)
    places = find_maxima(curve, height=0.1 * curve.max())
    found = prominences(curve, places)
    np.testing.assert_allclose(found, peak_prominences(curve, places)[0])
    np.testing.assert_allclose(widths_at_half(curve, places, found), peak_widths(curve, places)[0])


def test_a_flat_top_is_one_maximum_and_an_end_is_none() -> None:
    curve = np.array([5.0, 1, 2, 2, 2, 0, 0, 3, 1, 1, 4])
    np.testing.assert_array_equal(find_maxima(curve, height=0.5), find_peaks(curve, height=0.5)[0])
    assert find_maxima(np.ones(5), height=0.5).size == 0
    assert find_maxima(np.array([0.0, 1, 0]), height=2).size == 0
