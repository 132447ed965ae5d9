"""Angles, q and d agree with each other and with known reflections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xxact_core.errors import WavelengthError
from xxact_core.patterns import conversions

SILICON = 5.43102


def test_silicon_111_lies_at_28_44_degrees_with_copper_and_12_98_with_molybdenum() -> None:
    d = np.array([SILICON / np.sqrt(3)])
    assert conversions.d_to_two_theta(d, wavelength=1.54056) == pytest.approx(28.442, abs=2e-3)
    moved = conversions.change_wavelength(np.array([28.442]), measured=1.54056, target=0.70930)
    assert moved == pytest.approx(12.988, abs=2e-3)


@given(st.lists(st.floats(0.5, 179), min_size=1), st.floats(0.2, 3))
def test_angles_survive_the_way_through_q_and_d(angles: list[float], wavelength: float) -> None:
    two_theta = np.array(angles)
    q = conversions.two_theta_to_q(two_theta, wavelength=wavelength)
    np.testing.assert_allclose(conversions.q_to_two_theta(q, wavelength=wavelength), two_theta, rtol=1e-6)
    d = conversions.two_theta_to_d(two_theta, wavelength=wavelength)
    np.testing.assert_allclose(d, wavelength / (2 * np.sin(np.deg2rad(two_theta / 2))))
    np.testing.assert_allclose(conversions.d_to_q(d), q)


def test_what_a_wavelength_cannot_reach_is_nan_and_not_an_angle() -> None:
    moved = conversions.change_wavelength(np.array([20.0, 150.0]), measured=0.7093, target=1.54184)
    assert moved[0] == pytest.approx(44.35, abs=0.02)
    assert np.isnan(moved[1])


def test_the_same_wavelength_changes_nothing() -> None:
    angles = np.linspace(5, 90, 11)
    np.testing.assert_array_equal(conversions.change_wavelength(angles, measured=1.5, target=1.5), angles)


def test_named_wavelengths_are_those_of_the_simulator() -> None:
    from pymatgen.analysis.diffraction.xrd import WAVELENGTHS

    assert {name: WAVELENGTHS[name] for name in conversions.WAVELENGTHS} == conversions.WAVELENGTHS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CuKa", 1.54184),
        ("Cu Kα", 1.54184),
        ("cu k-alpha1", 1.54056),
        ("Mo K_alpha2", 0.71359),
        ("CoKβ", 1.63079),
        ("1.5406", 1.5406),
        ("1,5406 Å", 1.5406),
        ("0.8255 angstrom", 0.8255),
        (0.4, 0.4),
    ],
)
def test_wavelengths_are_read_from_names_and_numbers(text: str | float, expected: float) -> None:
    assert conversions.parse_wavelength(text) == expected


@pytest.mark.parametrize(
    "text", ["", "copper", "CuKa3", "0", "-1.54", "15.4", "nan", "1e999", "1.5.4", float("nan"), 0.0]
)
def test_an_unknown_wavelength_is_refused_with_the_choices_or_the_limits(text: str | float) -> None:
    with pytest.raises(WavelengthError, match=r"CuKa1|0\.1-5") as refusal:
        conversions.parse_wavelength(text)
    assert refusal.value.code == "E_WAVELENGTH"
