"""Widths, forms and doublets are what the textbooks say, for arrays and tensors alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import WAVELENGTHS, two_theta_to_d
from xxact_core.peak_profiles.shapes import (
    PeakShape,
    caglioti_fwhm_squared,
    check_caglioti,
    combine_fwhm,
    doublet_wavelengths,
    fwhm_to_sigma,
    gaussian,
    heights_of_equal_area,
    lorentzian,
    scherrer_fwhm,
    sigma_to_fwhm,
    split_doublet,
    strain_fwhm,
)

X = np.arange(-60, 60, 0.001)


def test_crystallites_of_10_nm_widen_a_line_at_40_degrees_by_0_846_degrees() -> None:
    assert scherrer_fwhm(math.cos(math.radians(20)), size=10.0, wavelength=1.5418) == pytest.approx(0.8461, abs=1e-4)


def test_half_the_crystallite_doubles_the_width() -> None:
    assert scherrer_fwhm(0.9, size=5.0) == pytest.approx(2 * scherrer_fwhm(0.9, size=10.0))


def test_microstrain_of_a_thousandth_widens_a_line_at_90_degrees_by_4_milliradians() -> None:
    assert strain_fwhm(1.0, strain=1e-3) == pytest.approx(math.degrees(4e-3))


def test_strain_is_the_spread_of_bragg_angles_of_stretched_lattices() -> None:
    two_theta, strain = np.array([30.0, 60.0, 90.0]), 1e-4
    spacing = two_theta_to_d(two_theta, wavelength=1.54)
    stretched = (2 * np.degrees(np.arcsin(1.54 / (2 * spacing * factor))) for factor in (1 - strain, 1 + strain))
    low, high = stretched
    np.testing.assert_allclose(strain_fwhm(np.tan(np.radians(two_theta / 2)), strain=strain), low - high, rtol=1e-3)


def test_instrument_is_w_at_zero_and_the_sum_at_90_degrees() -> None:
    assert caglioti_fwhm_squared(0.0, u=0.3, v=-0.2, w=0.05) == 0.05
    assert caglioti_fwhm_squared(1.0, u=0.3, v=-0.2, w=0.05) == pytest.approx(0.15)


@given(st.floats(0.001, 10))
def test_sigma_and_full_width_turn_into_each_other(sigma: float) -> None:
    assert fwhm_to_sigma(sigma_to_fwhm(sigma)) == pytest.approx(sigma)
    assert gaussian(np.array([sigma]), fwhm=sigma_to_fwhm(sigma))[0] == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize("form", [gaussian, lorentzian])
def test_a_line_is_1_at_its_place_and_a_half_where_its_width_ends(form: object) -> None:
    assert callable(form)
    np.testing.assert_allclose(form(np.array([-0.2, 0.0, 0.2]), fwhm=0.4), [0.5, 1, 0.5])


def test_widths_of_gaussians_add_in_quadrature_as_their_convolution_does() -> None:
    x = np.arange(-5, 5, 0.01)
    first, second = (gaussian(x, fwhm=fwhm) for fwhm in (0.3, 0.4))
    both = np.convolve(first, second, mode="same")
    assert np.ptp(x[both >= both.max() / 2]) == pytest.approx(combine_fwhm(0.3, 0.4), abs=0.02)
    assert combine_fwhm(2.0, 3.0, 6.0) == 7.0


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_lines_of_equal_area_have_equal_areas(share: float) -> None:
    sigma = np.array([0.05, 0.1, 0.4])
    heights = heights_of_equal_area(np.ones(3), sigma=sigma, reference=0.1)
    forms = [
        share * lorentzian(X, fwhm=sigma_to_fwhm(width)) + (1 - share) * gaussian(X, fwhm=sigma_to_fwhm(width))
        for width in sigma
    ]
    areas = [height * form.sum() for height, form in zip(heights, forms, strict=True)]
    np.testing.assert_allclose(areas, areas[1], rtol=0.005)
    assert heights[1] == 1


def test_arrays_and_tensors_give_the_same_widths() -> None:
    tangent = np.linspace(0.05, 1, 7)
    cosine = 1 / np.sqrt(1 + tangent**2)
    size = np.linspace(5, 50, 7)
    for function, argument, parameters in (
        (scherrer_fwhm, cosine, {"size": size}),
        (strain_fwhm, tangent, {"strain": size / 1e4}),
        (caglioti_fwhm_squared, tangent, {"u": size, "v": -size, "w": 2 * size}),
        (lorentzian, tangent, {"fwhm": size}),
        (heights_of_equal_area, tangent, {"sigma": size, "reference": 0.1}),
        (fwhm_to_sigma, tangent, {}),
    ):
        tensors = {name: torch.as_tensor(values) for name, values in parameters.items()}
        np.testing.assert_allclose(
            function(torch.from_numpy(argument), **tensors).numpy(), function(argument, **parameters)
        )


@pytest.mark.parametrize("anode", ["Cu", "Mo", "Cr", "Fe", "Co", "Ag"])
def test_a_doublet_obeys_bragg_and_keeps_the_intensity(anode: str) -> None:
    two_theta, intensity = np.array([12.0, 45.0, 88.0]), np.array([3.0, 100.0, 20.0])
    positions, heights = split_doublet(two_theta, intensity, anode=anode)
    first, second, mean = doublet_wavelengths(anode)
    spacing = two_theta_to_d(two_theta, wavelength=mean)
    np.testing.assert_allclose(two_theta_to_d(positions[:3], wavelength=first), spacing)
    np.testing.assert_allclose(two_theta_to_d(positions[3:], wavelength=second), spacing)
    np.testing.assert_allclose(heights[:3], 2 * heights[3:])
    np.testing.assert_allclose(heights[:3] + heights[3:], intensity)
    # The mean wavelengths of the table are rounded, and some lie a little off the 2:1 mean.
    np.testing.assert_allclose((2 * positions[:3] + positions[3:]) / 3, two_theta, atol=0.003)


def test_copper_splits_a_line_at_88_degrees_by_a_quarter_of_a_degree() -> None:
    positions, _ = split_doublet(np.array([88.0]), np.array([1.0]), anode="Cu")
    assert positions[1] - positions[0] == pytest.approx(0.275, abs=0.005)


def test_the_second_line_of_a_doublet_beyond_180_degrees_is_not_there() -> None:
    positions, _ = split_doublet(np.array([179.9]), np.array([1.0]), anode="Cu")
    assert np.isfinite(positions[0])
    assert np.isnan(positions[1])


def test_an_unknown_anode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WavelengthError, match=r"'W' is not known; expected one of Cu, Mo, Cr, Fe, Co, Ag"):
        split_doublet(np.array([40.0]), np.array([1.0]), anode="W")
    assert all(f"{anode}Ka" in WAVELENGTHS for anode in ("Cu", "Mo", "Cr", "Fe", "Co", "Ag"))


@pytest.mark.parametrize(
    ("parameters", "angle"),
    [
        ((0.0, 0.0, -0.01), "5.0°"),
        ((1.0, -1.0, 0.2), "53.1°"),
        ((0.0, -0.1, 0.05), "90.0°"),
        ((-0.2, 0.0, 0.1), "90.0°"),
        ((0.0, 0.0, 0.0), "5.0°"),
        ((float("nan"), 0.0, 0.1), "nan"),
    ],
)
def test_an_instrument_without_a_width_is_refused_at_its_angle(
    parameters: tuple[float, float, float], angle: str
) -> None:
    with pytest.raises(PatternError, match=angle) as refusal:
        check_caglioti(*parameters)
    assert refusal.value.code == "E_VALUES"


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_an_instrument_is_refused_if_and_only_if_a_width_on_the_grid_is_not_real(u: float, v: float, w: float) -> None:
    squared = caglioti_fwhm_squared(np.tan(np.radians(np.linspace(5, 90, 2001) / 2)), u=u, v=v, w=w)
    if squared.min() <= 0:
        with pytest.raises(PatternError, match="FWHM²"):
            check_caglioti(u, v, w)
    elif squared.min() > 1e-3:
        check_caglioti(u, v, w)


@pytest.mark.parametrize(
    ("impossible", "message"),
    [
        ({"crystallite_size": 0.0}, "crystallite_size is 0.0; expected a size above 0 nm"),
        ({"crystallite_size": float("nan")}, "crystallite_size is nan"),
        ({"microstrain": -0.1}, "microstrain is -0.1"),
        ({"lorentzian": 1.2}, "lorentzian is 1.2; expected a fraction of 0 to 1"),
        ({"caglioti": (0.0, 0.0, -1.0)}, "W = -1 give FWHM² = -1 deg²"),
        ({"anode": "Xx"}, "anode 'Xx'"),
    ],
)
def test_impossible_lines_are_refused_by_name(impossible: dict[str, object], message: str) -> None:
    with pytest.raises(PatternError, match=message):
        PeakShape(**impossible)


def test_a_shape_without_causes_leaves_the_width_alone() -> None:
    np.testing.assert_allclose(PeakShape().sigma(np.array([10.0, 80.0]), sigma=0.07), 0.07)


def test_every_cause_makes_lines_wider_and_size_and_strain_most_at_high_angles() -> None:
    angles = np.array([20.0, 50.0, 85.0])
    for shape in (PeakShape(crystallite_size=30), PeakShape(microstrain=2e-3)):
        widths = shape.sigma(angles, sigma=0.05)
        assert (widths > 0.05).all()
        assert (np.diff(widths) > 0).all()
    both = PeakShape(crystallite_size=30, microstrain=2e-3).sigma(angles, sigma=0.05)
    parts = [PeakShape(crystallite_size=30), PeakShape(microstrain=2e-3)]
    squares = sum(part.sigma(angles, sigma=0.05) ** 2 for part in parts)
    np.testing.assert_allclose(both**2, squares - 0.05**2)


def test_the_instrument_takes_the_place_of_sigma_and_stays_real_beyond_the_grid() -> None:
    shape = PeakShape(caglioti=(0.02, -0.025, 0.01))
    below, first = shape.sigma(np.array([1.0, 5.0]), sigma=9.0)
    assert below == first == shape.sigma(np.array([5.0]), sigma=1.0)[0]
    assert np.isfinite(shape.sigma(np.array([0.1, 120.0, 179.0]), sigma=1.0)).all()
