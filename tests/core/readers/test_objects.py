"""Objects of a Python session are read as files are: with their names, units, gaps and wavelengths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pattern_files import ANGLES, COUNTS

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import two_theta_to_q
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern, read_scans

Q = two_theta_to_q(ANGLES, wavelength=1.5406)
MASKED = np.ma.masked_where((ANGLES > 11) & (ANGLES < 12), COUNTS)


@pytest.mark.parametrize(
    "value",
    [
        (ANGLES, COUNTS),
        [ANGLES, COUNTS],
        np.stack([ANGLES, COUNTS], axis=1),
        np.stack([ANGLES, COUNTS]),
        list(zip(ANGLES, COUNTS, strict=True)),
        pd.DataFrame({"2theta": ANGLES, "I": COUNTS}),
        pd.DataFrame({"norm": COUNTS / 7, "yobs": COUNTS, "2theta": ANGLES}),
        pd.DataFrame({"counts": COUNTS}, index=pd.Index(ANGLES, name="tth")),
        pd.DataFrame({"counts": COUNTS}, index=ANGLES),
        pd.DataFrame(np.stack([ANGLES, COUNTS], axis=1)),
        pd.Series(COUNTS, index=ANGLES),
        xr.DataArray(COUNTS, dims="tth", coords={"tth": ANGLES}),
        xr.DataArray(COUNTS, dims="x", coords={"x": ("x", ANGLES, {"long_name": "2theta"})}),
    ],
    ids=repr,
)
def test_objects_are_patterns(value: object) -> None:
    pattern = read_pattern(value)
    np.testing.assert_allclose(pattern.two_theta, ANGLES)
    np.testing.assert_allclose(pattern.intensity, COUNTS)
    assert pattern.wavelength is None


@pytest.mark.parametrize(
    "value",
    [(ANGLES, MASKED), np.ma.stack([ANGLES, MASKED], axis=1), (ANGLES, MASKED.astype(float).filled(np.nan))],
    ids=["pair", "columns", "nan"],
)
def test_masked_points_and_nan_are_left_out_with_a_note(value: object) -> None:
    pattern = read_pattern(value)
    assert pattern.two_theta.size == 200 - MASKED.mask.sum()
    assert any("points without an intensity" in note for note in pattern.warnings)


def test_the_constructor_refuses_masked_points() -> None:
    with pytest.raises(PatternError, match="masked"):
        Pattern(ANGLES, MASKED)


@pytest.mark.parametrize(
    "wavelength",
    [1.5406, "1.5406 Å", (0.15406, "nm"), "0.15406 nm", "1.5406e-10 m", (8.0478, "keV"), np.array([1.5406])],
)
def test_wavelengths_of_arguments_and_attributes_have_units(wavelength: object) -> None:
    assert read_pattern((ANGLES, COUNTS), wavelength=wavelength).wavelength == pytest.approx(1.5406, abs=1e-4)
    array = xr.DataArray(COUNTS, dims="tth", coords={"tth": ANGLES}, attrs={"wavelength": wavelength})
    assert read_pattern(array).wavelength == pytest.approx(1.5406, abs=1e-4)
    frame = pd.DataFrame({"2theta": ANGLES, "I": COUNTS})
    frame.attrs["wavelength"] = wavelength
    assert read_pattern(frame).wavelength == pytest.approx(1.5406, abs=1e-4)


def test_doublets_give_their_mean_and_other_values_an_error() -> None:
    def with_wavelength(value: object) -> xr.DataArray:
        return xr.DataArray(COUNTS, dims="tth", coords={"tth": ANGLES}, attrs={"wavelength": value})

    mean = read_pattern(with_wavelength(np.array([1.5406, 1.5444]))).wavelength
    assert mean == pytest.approx((2 * 1.5406 + 1.5444) / 3)
    for value in (np.array([1.5406, 0.7]), np.array([1, 2, 3]), "copper", {"a": 1}, "154 Å"):
        with pytest.raises(WavelengthError):
            read_pattern(with_wavelength(value))


def test_the_constructor_takes_a_wavelength_with_its_unit() -> None:
    assert Pattern(ANGLES, COUNTS, wavelength=(0.15406, "nm")).wavelength == pytest.approx(1.5406)
    assert Pattern(ANGLES, COUNTS, wavelength="CuKa1").wavelength == 1.54056
    with pytest.raises(WavelengthError):
        Pattern(ANGLES, COUNTS, wavelength=[1, 2])


def test_units_of_coordinates_count() -> None:
    for unit, factor in (("1/angstrom", 1), ("1/nm", 10), ("nanometer^-1", 10), ("Å^-1", 1)):
        array = xr.DataArray(
            COUNTS, dims="q", coords={"q": ("q", Q * factor, {"units": unit})}, attrs={"wavelength": 1.5406}
        )
        np.testing.assert_allclose(read_pattern(array).two_theta, ANGLES, atol=1e-6)
    with pytest.raises(PatternError, match="without a unit"):
        read_pattern(xr.DataArray(COUNTS, dims="q", coords={"q": Q}))


def test_several_columns_and_labels_are_scans() -> None:
    series = pd.DataFrame({"2theta": ANGLES, "300 K": COUNTS, "400 K": 2 * COUNTS})
    assert [scan.metadata["column"] for scan in read_scans(series)] == ["300 k", "400 k"]
    np.testing.assert_array_equal(read_pattern(series, scan=1).intensity, 2 * COUNTS)
    tidy = pd.concat([pd.DataFrame({"sample": name, "2theta": ANGLES, "I": COUNTS}) for name in "ab"])
    assert [scan.metadata["sample"] for scan in read_scans(tidy)] == ["a", "b"]


@pytest.mark.parametrize(
    "value",
    [
        (ANGLES, COUNTS + 1j),
        xr.DataArray(COUNTS + 1j, coords={"tth": ANGLES}, dims="tth"),
    ],
    ids=["arrays", "xarray"],
)
def test_complex_numbers_are_refused(value: object) -> None:
    with pytest.raises(PatternError, match="complex numbers"):
        read_pattern(value)


def test_uncertainties_in_a_dataset_are_no_patterns() -> None:
    coords = {"tth": ANGLES}
    both = xr.Dataset({"I": ("tth", COUNTS), "I_sigma": ("tth", np.sqrt(COUNTS)), "mask": ("tth", COUNTS)}, coords)
    (scan,) = read_scans(both)
    np.testing.assert_array_equal(scan.intensity, COUNTS)


@pytest.mark.parametrize(
    "value",
    [5, None, object(), np.zeros((3, 4, 5)), np.zeros((10, 5)), {"a": 1}, pd.DataFrame({"name": ["a"] * 20})],
    ids=lambda value: type(value).__name__,
)
def test_other_objects_are_refused_by_name(value: object) -> None:
    with pytest.raises(PatternError, match=r"expected two arrays|columns of numbers"):
        read_pattern(value)
