"""Philips .rd, .sd and .udf."""

from __future__ import annotations

import struct

import pytest
from pattern_files import COUNTS, CU_MEAN, assert_scan, philips_rd, philips_udf, refused

from xxact_core.readers.read import read_pattern


@pytest.mark.parametrize("version", [b"V3", b"V5"])
def test_philips_binary_counts_are_squares_of_what_is_stored(version: bytes) -> None:
    pattern = read_pattern(philips_rd(version=version))
    assert_scan(pattern, counts=COUNTS**2, wavelength=(2 * 0.70930 + 0.71359) / 3)
    assert (pattern.metadata["anode"], pattern.metadata["sample"]) == ("Mo", "spoon")


@pytest.mark.parametrize("end", ["/\n", "\n", ",/"])
def test_philips_text_is_read_with_or_without_its_last_stroke(end: str) -> None:
    pattern = read_pattern(philips_udf().replace("/\n", "/\n").removesuffix("/\n").encode() + end.encode())
    assert_scan(pattern, wavelength=CU_MEAN)
    assert pattern.metadata["kalpha2"] == "ratio 0.5"
    assert pattern.metadata["step_seconds"] == "18.87"
    assert pattern.metadata["sample"] == "CeO2 standard"


def test_philips_text_that_says_more_points_than_it_has_is_cut_off() -> None:
    refused(philips_udf().replace("13.9800", "14.9800").encode(), "E_TRUNCATED", "200 counts; its header says 250")
    refused(philips_udf().replace("ScanStepSize", "Other").encode(), "E_FORMAT", "no range of angles")
    refused(philips_udf().replace(" 13.98", " 913.98").encode(), "E_FORMAT", "expected a range within 0-180")


def test_limits_are_the_edges_of_the_first_and_last_step() -> None:
    edges = bytearray(philips_rd())
    struct.pack_into("<3d", edges, 214, 0.02, 9.99, 13.99)
    assert_scan(read_pattern(bytes(edges)), counts=COUNTS**2, wavelength=0.70930 * 2 / 3 + 0.71359 / 3)
    refused(bytes(edges[:-2]), "E_TRUNCATED", "its header says 200 points")
