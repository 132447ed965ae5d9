"""Stoe RAW."""

from __future__ import annotations

import struct

import pytest
from pattern_files import assert_scan, refused, stoe_raw

from xxact_core.readers.read import read_pattern


@pytest.mark.parametrize("short", [0, 1])
@pytest.mark.parametrize("version", [b"RAW_1.05", b"RAW_1.06"])
def test_stoe_raw_gives_its_points_and_what_it_says(version: bytes, short: int) -> None:
    pattern = read_pattern(stoe_raw(version=version, short=short))
    assert_scan(pattern, wavelength=(2 * 1.540598 + 1.544426) / 3)
    told = {"scans": "1", "anode": "Cu", "kalpha2": "1.54443", "step_seconds": "30", "sample": "quartz"}
    assert dict(pattern.metadata) == told


@pytest.mark.parametrize("crystal", [2, 102, 6])
def test_stoe_raw_behind_germanium_has_the_wavelength_of_k_alpha_1(crystal: int) -> None:
    pattern = read_pattern(stoe_raw(crystal=crystal))
    assert (pattern.wavelength, pattern.metadata["kalpha2"]) == (pytest.approx(1.540598, abs=1e-6), "ratio 0")


def test_stoe_raw_of_other_versions_axes_and_headers_is_refused_by_name() -> None:
    refused(stoe_raw(version=b"RAW_1.04"), "E_FORMAT", r"version '1\.04'; expected 1\.05 or 1\.06")
    refused(stoe_raw(scan_type=2), "E_AXIS", "runs over ω")
    data = bytearray(stoe_raw())
    for place, value, told in ((378, 9, "holds 9 ranges"), (480, 1, "record 1"), (3 * 512 + 34, 90, "says 90 points")):
        changed = data.copy()
        struct.pack_into("<H", changed, place, value)
        refused(bytes(changed), "E_FORMAT", told)
