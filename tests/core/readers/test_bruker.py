"""Bruker and Siemens RAW, BRML and UXD."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pattern_files import COUNTS, CU_MEAN, archive, assert_scan, brml, raw_1, raw_2, raw_3, refused, two_scans

from xxact_core.readers.bruker import _metadata_of_version_4
from xxact_core.readers.read import read_pattern


def test_siemens_raw_of_versions_1_and_2_gives_its_points_and_what_it_says() -> None:
    first, second = read_pattern(raw_1()), read_pattern(raw_2())
    assert_scan(first, wavelength=CU_MEAN)
    assert_scan(second, wavelength=CU_MEAN)
    assert dict(first.metadata) == {"scans": "1", "kalpha2": "1.54443", "step_seconds": "4", "sample": "vinegar"}
    assert dict(second.metadata) == {
        "scans": "1",
        "anode": "Cu",
        "kalpha2": "ratio 0.5",
        "step_seconds": "3",
        "sample": "zincite",
    }


@pytest.mark.parametrize("scan_type", [0, 1, 129, 130])
def test_scans_of_position_sensitive_detectors_are_scans_over_two_theta(scan_type: int) -> None:
    pattern = read_pattern(raw_3(scan_type=scan_type))
    assert_scan(pattern, wavelength=(2 * 1.5406 + 1.54439) / 3)
    assert (pattern.metadata["sample"], pattern.metadata["step_seconds"]) == ("zirconia", "0.5")


def test_a_rocking_curve_is_refused_by_its_axis() -> None:
    refused(raw_3(scan_type=3), "E_AXIS", "2theta axis")


def test_brml_and_uxd_give_anode_axis_time_and_doublet() -> None:
    assert dict(read_pattern(archive(brml())).metadata) == {
        "scans": "1",
        "anode": "Cu",
        "kalpha2": "1.54439",
        "scan_axis": "2Theta",
        "step_seconds": "0.5",
        "sample": "ceria",
    }
    of_uxd = read_pattern(two_scans("uxd"))
    assert of_uxd.wavelength == pytest.approx(CU_MEAN)
    assert (of_uxd.metadata["sample"], of_uxd.metadata["step_seconds"]) == ("quartz", "2")


def test_a_negative_step_is_noted() -> None:
    down = raw_3().replace(struct.pack("<d", 0.02), struct.pack("<d", -0.02), 1)
    uxd = "_ANODE='Cu'\n_START=10.0\n_STEPSIZE=-0.02\n_STEPCOUNT=200\n_COUNTS\n" + "\n".join(map(str, COUNTS)) + "\n"
    for data in (down, uxd.encode()):
        pattern = read_pattern(data)
        np.testing.assert_allclose(pattern.two_theta[[0, -1]], [6.02, 10.0], atol=1e-6)
        np.testing.assert_allclose(pattern.intensity, COUNTS[::-1])
        assert "the angles decreased and were reversed" in pattern.warnings
    for data in (raw_3(), uxd.replace("=-", "=").encode()):
        assert not any("decreased" in note for note in read_pattern(data).warnings)


def test_the_step_of_a_file_of_version_4_may_be_negative() -> None:
    """A header of 61 bytes, a range of 160 whose step is at byte 80, and its counts."""
    part = bytearray(160)
    struct.pack_into("<2d", part, 72, 13.98, -0.02)
    struct.pack_into("<I", part, 88, COUNTS.size)
    struct.pack_into("<I", part, 136, 4)
    steps = _metadata_of_version_4(b"RAW4.00".ljust(61, b"\0") + bytes(part) * 2)["steps"].split()
    assert [float(step) for step in steps] == [-0.02]
