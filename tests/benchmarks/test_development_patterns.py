"""Totals of measured patterns for development, from a few made-up ones."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.development_patterns import (
    Answers,
    Label,
    development_to_page,
    rebin,
    smooth,
    smooth_on_grid,
    to_answers,
)
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import Pattern
from xxact_core.prediction.prediction import Prediction, doubt_warning, rank_classes
from xxact_core.quantities import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS

TWO_THETA = np.arange(10, 80, 0.01)
PEAK = Pattern(TWO_THETA, 1000 * np.exp(-0.5 * ((TWO_THETA - 40) / 0.06) ** 2) + 5, wavelength=CU_K_ALPHA)


def test_smoothing_widens_a_peak_and_keeps_its_area() -> None:
    smoothed = smooth(PEAK, sigma=0.08)
    assert smoothed.intensity.sum() == pytest.approx(PEAK.intensity.sum(), rel=1e-6)
    assert smoothed.intensity.max() == pytest.approx(5 + 1000 * 0.06 / np.hypot(0.06, 0.08), rel=1e-3)
    on_grid = smooth_on_grid(PEAK)
    assert on_grid.intensity.max() == pytest.approx(100)
    assert (on_grid.intensity > 50).sum() * on_grid.grid.step == pytest.approx(2.355 * np.hypot(0.06, 0.08), abs=0.05)


def test_rebinning_averages_the_points_of_a_step() -> None:
    rebinned = rebin(PEAK, step=0.05)
    assert len(rebinned.two_theta) == len(TWO_THETA) // 5
    np.testing.assert_allclose(np.diff(rebinned.two_theta), 0.05, atol=1e-9)
    assert rebinned.intensity[0] == pytest.approx(PEAK.intensity[:5].mean())


def prediction(system: str, share: float, *, doubtful: bool = False) -> Prediction:
    probabilities = np.full(7, (1 - share) / 6)
    probabilities[CRYSTAL_SYSTEMS.index(system)] = share
    return Prediction(
        "NaCl", 1.0, None, None, rank_classes(CRYSTAL_SYSTEM, probabilities), (),
        warnings=tuple(doubt_warning(0.5 if doubtful else 0.1)), crystal_system_set=(system,),
    )  # fmt: skip


def three_answers() -> Answers:
    cubic = Label("a", "NaCl", CRYSTAL_SYSTEMS.index("cubic"), 225)
    return to_answers([
        (cubic, prediction("cubic", 0.9), True),
        (cubic, prediction("cubic", 0.8), False),
        (cubic, prediction("trigonal", 0.4, doubtful=True), False),
    ])  # fmt: skip


def test_figures_are_shares_of_patterns_in_the_table_and_not_and_of_flagged_ones() -> None:
    figures = three_answers().figures()
    assert figures["top1"] == pytest.approx(2 / 3)
    assert (figures["top1_held"], figures["top1_not_held"]) == (1.0, 0.5)
    assert (figures["set_coverage_held"], figures["set_coverage_not_held"]) == (1.0, 0.5)
    assert figures["flagged"] == pytest.approx(1 / 3)
    assert (figures["top1_flagged"], figures["top1_not_flagged"]) == (0.0, 1.0)
    assert figures["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.4) / 3)
    assert figures["not_held"] == 2


def test_page_has_totals_alone() -> None:
    page = development_to_page({"as measured, model alone": three_answers().figures()})
    assert "| as measured, model alone | 3 | 67% | 100% | 50% |" in page
    assert "NaCl" not in page
