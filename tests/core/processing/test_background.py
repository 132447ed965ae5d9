from __future__ import annotations

import numpy as np
import pytest
from pybaselines import Baseline

from xxact_core.patterns.grid import GRID
from xxact_core.processing.background import ARPLS_ITERATIONS, baseline


def measured(points: int, *, noise: float, seed: int = 0) -> np.ndarray:
    """Counts of a scan with an air scatter that falls, an amorphous hump and some sharp peaks."""
    generator = np.random.default_rng(seed)
    two_theta = GRID.start + GRID.step * np.arange(points)
    counts = 400 * np.exp(-two_theta / 15) + 120 * np.exp(-(((two_theta - 22) / 6) ** 2)) + 30
    for position in generator.uniform(two_theta[0], two_theta[-1], 12):
        counts += 900 * generator.random() * np.exp(-(((two_theta - position) / 0.08) ** 2))
    return counts + noise * np.sqrt(counts) * generator.standard_normal(points)


@pytest.mark.parametrize("points", [25, 26, 400, 4250])
@pytest.mark.parametrize("stiffness", [1e3, 1e6])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_arpls_agrees_with_pybaselines(points: int, stiffness: float, noise: float) -> None:
    counts = measured(points, noise=noise)
    scale = np.abs(counts).max()
    expected, _ = Baseline(check_finite=True).arpls(counts / scale, lam=stiffness, max_iter=ARPLS_ITERATIONS)
    assert baseline(counts, stiffness=stiffness) == pytest.approx(scale * expected, abs=1e-6 * scale)


def test_background_of_a_straight_line_is_the_line() -> None:
    line = np.linspace(50, 20, 1000)
    assert baseline(line) == pytest.approx(line, rel=1e-6)
