"""Powder CIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pattern_files import ANGLES, COUNTS, assert_scan, powder_cif, refused

from xxact_core.readers.read import read_pattern


def test_powder_cif_prefers_corrected_angles_and_measured_counts() -> None:
    assert_scan(read_pattern(powder_cif().encode()), wavelength=1.5405)
    rows = "\n".join(f"{angle + 1:.2f} 3 {angle:.2f} {count} 9" for angle, count in zip(ANGLES, COUNTS, strict=True))
    columns = (
        "_pd_meas_2theta_scan\n_pd_calc_intensity_total\n_pd_proc_2theta_corrected\n_pd_proc_intensity_total\n"
        "_pd_proc_ls_weight"
    )
    text = f"data_a\n_cell_length_a 4.1\ndata_b\n_diffrn_radiation_type 'Cu K\\a'\nloop_\n{columns}\n{rows}\n"
    assert_scan(read_pattern(text.encode()), wavelength=1.54184)


def test_powder_cif_with_a_range_in_place_of_angles() -> None:
    counts = "\n".join(map(str, COUNTS))
    head = "data_a\n_pd_meas_2theta_range_min 10.0\n_pd_meas_2theta_range_max 13.98\n_pd_meas_2theta_range_inc 0.02\n"
    doublet = "loop_\n_diffrn_radiation_wavelength\n_diffrn_radiation_wavelength_wt\n1.540598 1.0\n1.544426 0.5\n"
    assert_scan(
        read_pattern(f"{head}{doublet}loop_\n_pd_meas_counts_total\n{counts}\n".encode()),
        wavelength=(2 * 1.540598 + 1.544426) / 3,
    )
    short = "\n".join(map(str, COUNTS[:150]))
    refused(f"{head}loop_\n_pd_meas_counts_total\n{short}\n".encode(), "E_TRUNCATED", "150 points do not fit the range")


def test_powder_cif_refusals_name_what_is_there() -> None:
    refused(powder_cif(extra="_diffrn_radiation_probe neutron").encode(), "E_RADIATION", "neutrons")
    columns = "_pd_meas_time_of_flight _pd_meas_counts_total"
    refused(powder_cif(columns=columns).encode(), "E_AXIS", "time of flight")
    refused(
        b"data_x\n_cell_length_a 4.1\nloop_\n_atom_site_label\nLa1\n", "E_FORMAT", "without a measured powder pattern"
    )
    refused(powder_cif().replace("25(7)", "1e999").encode(), "E_VALUES", "row 25")
    refused(powder_cif().rsplit(" ", 1)[0].encode(), "E_TRUNCATED", "cut off")


def test_powder_cif_points_without_a_value_are_left_out_with_a_note() -> None:
    pattern = read_pattern(powder_cif().replace(" 25(7)", " ?").encode())
    assert pattern.two_theta.size == ANGLES.size - 1
    assert any("1 points without a value" in note for note in pattern.warnings)


def test_a_powder_cif_with_fewer_points_than_it_says_is_refused() -> None:
    assert_scan(read_pattern(powder_cif(extra="_pd_meas_number_of_points 200").encode()), wavelength=1.5405)
    short = powder_cif(extra="_pd_meas_number_of_points 201").encode()
    refused(short, "E_TRUNCATED", "200 points, the file states 201")


def test_dotted_names_of_newer_powder_cifs_are_the_older_ones() -> None:
    assert_scan(
        read_pattern(powder_cif(columns="_pd_meas.2theta_scan _pd_meas.counts_total").encode()), wavelength=1.5405
    )


def test_the_certified_lanthanum_hexaboride_is_read_in_its_regions(shared_data: Path) -> None:
    pattern = read_pattern(shared_data / "formats" / "cif" / "rietx__nist_srm660c_100a.cif")
    assert pattern.two_theta.size == 5332
    assert (pattern.two_theta[0], pattern.two_theta[-1]) == (20.3, 150.908)
    assert (pattern.two_theta[pattern.intensity.argmax()], pattern.intensity.max()) == (30.41, 4319)
    assert (np.diff(pattern.two_theta) > 1).sum() == 23
    assert pattern.wavelength == 1.54184


def test_more_points_than_stated_are_noted_and_fewer_refused() -> None:
    more = read_pattern(powder_cif(extra="_pd_meas_number_of_points 190").encode())
    assert more.two_theta.size == 200
    assert any("holds 200 points, the file states 190" in note for note in more.warnings)
    refused(
        powder_cif(extra="_pd_meas_number_of_points 210").encode(), "E_TRUNCATED", "200 points, the file states 210"
    )


@pytest.mark.parametrize("angle", ["_pd_meas_angle_2theta", "_pd_meas.angle_2theta", "_pd_meas.2theta_scan"])
def test_aliases_of_the_angle_are_read(angle: str) -> None:
    assert_scan(read_pattern(powder_cif(columns=f"{angle} _pd_meas_counts_total").encode()), wavelength=1.5405)


def test_a_counting_time_that_varies_divides_the_counts() -> None:
    times = 1 + np.arange(200) % 2
    rows = "\n".join(f"{x} {count * time} {time}" for x, count, time in zip(ANGLES, COUNTS, times, strict=True))
    loop = "loop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n_pd_meas_step_count_time\n"
    pattern = read_pattern(f"data_a\n{loop}{rows}\n".encode())
    np.testing.assert_allclose(pattern.intensity, COUNTS)


def _two_axes(axis: str, *, wavelength: bool, shift: float = 0.0) -> bytes:
    angles = np.linspace(20, 80, 121)
    q = 4 * np.pi * np.sin(np.radians(angles + shift) / 2) / 1.5406
    values = q if axis.endswith("Q") else 2 * np.pi / q
    rows = "\n".join(f"{value:.6f} {100 + index % 7}" for index, value in enumerate(values))
    stated = "_diffrn_radiation_wavelength 1.5406\n" if wavelength else ""
    limits = (
        ""
        if axis.endswith("Q")
        else "".join(
            f"_pd_meas_2theta_range_{key} {value}\n" for key, value in (("min", 20), ("max", 80), ("inc", 0.5))
        )
    )
    return f"data_a\n{stated}{limits}loop_\n{axis}\n_pd_meas_counts_total\n{rows}\n".encode()


@pytest.mark.parametrize("wavelength", [True, False])
def test_a_range_of_angles_that_d_contradicts_is_refused(wavelength: bool) -> None:
    spacing = "_pd_proc_d_spacing"
    for shift in (0.0, 0.2):  # of zero or sample
        pattern = read_pattern(_two_axes(spacing, wavelength=wavelength, shift=shift), name="a.cif")
        assert pattern.two_theta[[0, -1]] == pytest.approx([20, 80])
    data = _two_axes(spacing, wavelength=wavelength, shift=10.0)
    refused(data, "E_AXIS", "contradict each other: 2θ is", name="a.cif")


def test_an_axis_of_q_is_read_where_no_angles_are_given() -> None:
    pattern = read_pattern(_two_axes("_pd_proc_recip_len_Q", wavelength=True), name="a.cif")
    assert pattern.two_theta[[0, -1]] == pytest.approx([20, 80], abs=1e-3)


def test_a_stated_range_is_held_against_listed_angles() -> None:
    stated = "_pd_meas_2theta_range_min {}\n_pd_meas_2theta_range_max 13.98\n_pd_meas_2theta_range_inc 0.02"
    assert not read_pattern(powder_cif(extra=stated.format(10)).encode()).warnings
    assert read_pattern(powder_cif(extra=stated.format(5)).encode()).warnings == (
        "the points are on 10-13.98°; _pd_meas_2theta_range says 5-13.98°",
    )
