"""Patterns, sticks and formulas for hypothesis to draw."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import Pattern, Sticks


@st.composite
def sticks(draw: st.DrawFn) -> Sticks:
    """One to thirty reflections on the grid."""
    positions = draw(st.lists(st.floats(6, 89), min_size=1, max_size=30, unique=True))
    heights = draw(st.lists(st.floats(0.1, 100), min_size=len(positions), max_size=len(positions)))
    return Sticks(two_theta=np.sort(positions), intensity=np.array(heights), wavelength=CU_K_ALPHA)


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    """A scan that covers most of the grid, some peaks over a background, any wavelength near Cu."""
    step = draw(st.floats(0.005, 0.08))
    start = draw(st.floats(3, 12))
    two_theta = np.arange(start, draw(st.floats(70, 130)), step)
    intensity = np.full(two_theta.size, draw(st.floats(0, 500)))
    for _ in range(draw(st.integers(1, 8))):
        center, width = draw(st.floats(15, 65)), draw(st.floats(0.05, 0.3))
        intensity += draw(st.floats(50, 5000)) * np.exp(-0.5 * ((two_theta - center) / width) ** 2)
    return Pattern(two_theta=two_theta, intensity=intensity, wavelength=draw(st.floats(1.3, 1.8)))


@st.composite
def compositions(draw: st.DrawFn) -> Composition:
    """One to six elements with whole amounts."""
    symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=6, unique=True))
    amounts = draw(st.lists(st.integers(1, 30), min_size=len(symbols), max_size=len(symbols)))
    return Composition(symbols=tuple(symbols), amounts=tuple(float(amount) for amount in amounts))
