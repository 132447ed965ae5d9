"""Intensities at even steps that a header gives: FullProf, MAUD, Sietronics, JADE."""

from __future__ import annotations

import numpy as np
import pytest
from pattern_files import ANGLES, COUNTS, assert_scan, lines, refused

from xxact_core.readers.read import read_pattern


@pytest.mark.parametrize(
    "head", ["10.0 0.02 13.98\n", "! ceria\n# Cu\n 10.0  0.02  13.98  CeO2\n", "a\nb\n10,0.02,13.98\n"]
)
@pytest.mark.parametrize("width", [1, 8, 10])
def test_free_format_gives_angles_from_start_step_and_stop(head: str, width: int) -> None:
    assert_scan(read_pattern((head + lines(COUNTS, width=width)).encode()))


def test_free_format_with_fewer_counts_than_it_says_is_cut_off() -> None:
    refused(
        f"10.0 0.02 13.98\n{lines(COUNTS[:150], width=10)}".encode(), "E_TRUNCATED", "150 counts; its header says 200"
    )


def test_three_columns_are_not_taken_for_start_step_and_stop() -> None:
    rows = "".join(f"{angle} 0.5 {angle + 30}\n" for angle in ANGLES)
    assert_scan(read_pattern(rows.encode()), counts=np.full(200, 0.5))


def test_titles_with_points_step_start_and_wavelength_are_read() -> None:
    text = f"ceria\n200 0.02 10 1.540598 1\n{lines(COUNTS, width=1)}"
    pattern = read_pattern(text.encode())
    assert_scan(pattern, wavelength=1.540598)
    assert pattern.metadata["sample"] == "ceria"
    refused(text[:-300].encode(), "E_TRUNCATED", "its header says 200")


def test_text_raw_files_with_line_ends_of_old_computers_are_read() -> None:
    head = [".RAW", "05-MAR-97\0\0\0", "09:05:25", "quartz", *["1"] * 8, "CU", *["2"] * 5]
    head += ["1.541871", "1.540598", "1.544418", "1.39", "10.000", "0.020", "200 1", *[" "] * 13]
    pattern = read_pattern("\r".join([*head, *map(str, COUNTS), ""]).encode())
    assert_scan(pattern, wavelength=1.541871)
    assert (pattern.metadata["anode"], pattern.metadata["sample"]) == ("Cu", "quartz")


def test_jade_and_sietronics_exports_are_read() -> None:
    mdi = f"01/02/95 quartz\n  10.000  0.020 1.50 CU 1.54056 13.980  200\n{lines(COUNTS, width=8)}"
    assert_scan(read_pattern(mdi.encode()), wavelength=1.54056)
    assert read_pattern(mdi.encode()).metadata["step_seconds"] == "1.5"
    cpi = "SIETRONICS XRD SCAN\n10.0\n13.98\n0.02\nCu\n1.54060\n1-1-1990\n0.6\ntitle\nSCANDATA\n"
    assert_scan(read_pattern((cpi + lines(COUNTS, width=1)).encode()), wavelength=1.5406)


@pytest.mark.parametrize("step", ["0.02", ".02", "+0.0200", "00.02", "2.0E-02", "0.200e-1"])
def test_every_notation_of_a_step_is_recognised(step: str) -> None:
    assert_scan(read_pattern(f"title\n 10.0 {step} 13.98\n{lines(COUNTS, width=8)}".encode()))


def test_steps_of_one_degree_are_the_largest() -> None:
    counts = "1 2 3 4 5\n" * 4
    assert read_pattern(f"10 1.0 29\n{counts}".encode()).two_theta[-1] == 29
    refused(f"10 1.5 38.5\n{counts}".encode(), "E_VALUES", "holds 4 points")
