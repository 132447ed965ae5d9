"""PANalytical XRDML and .csv."""

from __future__ import annotations

import numpy as np
import pytest
from pattern_files import ANGLES, COUNTS, assert_scan, refused, two_scans, xrdml

from xxact_core.readers.read import read_pattern


def test_xrdml_gives_the_mean_of_its_doublet_and_alpha_1_behind_germanium() -> None:
    mean = (2 * 1.540598 + 1.544426) / 3
    assert_scan(read_pattern(xrdml().encode()), wavelength=mean)
    germanium = '<monochromator id="1" name="Hybrid monochr. 2xGe(220) Cu asym."></monochromator>'
    graphite = '<monochromator id="1" name="Diffracted beam graphite"></monochromator>'
    assert_scan(read_pattern(xrdml(optics=germanium).encode()), wavelength=1.540598)
    assert_scan(read_pattern(xrdml(optics=graphite).encode()), wavelength=mean)
    assert_scan(read_pattern(xrdml(ratio=0).encode()), wavelength=1.540598)
    assert_scan(read_pattern(xrdml().encode("utf-16")), wavelength=mean)
    assert read_pattern(xrdml().encode(), wavelength=0.7093).wavelength == 0.7093


def test_an_xrdml_without_its_end_is_cut_off() -> None:
    refused(xrdml().rpartition("</")[0].encode(), "E_TRUNCATED", "cut off; expected </xrdMeasurements>")


def test_deep_and_foreign_xml_is_refused() -> None:
    deep = b"<xrdMeasurements>" + b"<a>" * 2_000_000 + b"</a>" * 2_000_000 + b"</xrdMeasurements>"
    refused(deep, "E_FORMAT", "nesting")
    refused(b"<html><body>10 5</body></html>", "E_FORMAT", "not XRDML")


@pytest.mark.parametrize("separator", [",", ";"])
def test_panalytical_tables_give_wavelength_anode_and_sample(separator: str) -> None:
    head = "[Measurement conditions]\nSample identification,quartz 7\nAnode material,Cu\nK-Alpha1 wavelength,1.540598\n"
    head += "K-Alpha2 wavelength,1.544426\nRatio K-Alpha2/K-Alpha1,0.5\nScan axis,Gonio\n[Scan points]\n"
    rows = "".join(f" {angle:.4f},{count}\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
    text = f"{head}Angle,Intensity\n{rows}".replace(",", separator)
    pattern = read_pattern(text.replace(".", ",").encode() if separator == ";" else text.encode())
    assert_scan(pattern, wavelength=(2 * 1.540598 + 1.544426) / 3)
    assert dict(pattern.metadata) == {
        "scans": "1",
        "anode": "Cu",
        "kalpha2": "ratio 0.5",
        "scan_axis": "Gonio",
        "sample": "quartz 7",
    }
    other = text.replace("Gonio", "Omega") if separator == "," else text.replace(".", ",").replace("Gonio", "Omega")
    refused(other.encode(), "E_AXIS", "runs over 'Omega'")


def test_xrdml_gives_axis_time_and_ratio() -> None:
    assert read_pattern(xrdml().encode()).metadata["scan_axis"] == "Gonio"
    assert read_pattern(xrdml().encode()).metadata["step_seconds"] == "1"
    assert read_pattern(xrdml(optics='<monochromator name="Ge (220)"/>').encode()).metadata["kalpha2"] == "ratio 0"


def test_an_xrdml_whose_alpha_2_is_no_wavelength_has_that_of_alpha_1() -> None:
    assert_scan(read_pattern(xrdml().replace("1.5444260", "0.0000000").encode()), wavelength=1.540598)


@pytest.mark.parametrize("missing", [1, 5, 40])
def test_intensities_that_are_missing_do_not_spread_the_others(missing: int) -> None:
    lost = " " + " ".join(map(str, range(50, 50 + missing))) + " "
    refused(xrdml().replace(lost, " ").encode(), "E_TRUNCATED", rf"{200 - missing} intensities; .* are 200")


def test_wavelengths_in_nanometres_are_read() -> None:
    text = xrdml().replace('"Angstrom">1.5405980', '"nm">0.15405980').replace('"Angstrom">1.5444260', '"nm">0.1544426')
    assert_scan(read_pattern(text.encode()), wavelength=(2 * 1.540598 + 1.544426) / 3)


def test_limits_in_decreasing_order_are_noted_and_held_against_the_number_of_intensities() -> None:
    limits = "<startPosition>{}</startPosition><endPosition>{}</endPosition>"
    text = xrdml()
    down = read_pattern(text.replace(limits.format("10.0", "13.98"), limits.format("13.98", "10.0")).encode())
    np.testing.assert_allclose(down.two_theta, ANGLES, atol=1e-6)
    np.testing.assert_array_equal(down.intensity, COUNTS[::-1])
    assert "the angles decreased and were reversed" in down.warnings
    wrong = text.replace(limits.format("10.0", "13.98"), limits.format("18.0", "13.98"))
    refused(wrong.encode(), "E_TRUNCATED", "18° to 13.98° in steps of 0.02° are 202", name="a.xrdml")
    listed = " ".join(f"{angle:.2f}" for angle in ANGLES)
    for angles, noted in ((listed, False), (" ".join(listed.split()[::-1]), True)):
        written = text.replace(limits.format("10.0", "13.98"), f"<listPositions>{angles}</listPositions>")
        assert ("the angles decreased and were reversed" in read_pattern(written.encode()).warnings) is noted


def test_counting_times_that_differ_divide_the_counts() -> None:
    common = '<commonCountingTime unit="seconds">1</commonCountingTime>'
    times = [1] * 100 + [4] * 100

    def timed(values: list[int]) -> bytes:
        listed = " ".join(map(str, values))
        return xrdml().replace(common, f'<countingTimes unit="seconds">{listed}</countingTimes>').encode()

    pattern = read_pattern(timed(times))
    np.testing.assert_allclose(pattern.intensity, COUNTS / times)
    assert any("divided by the counting time" in note for note in pattern.warnings)
    np.testing.assert_array_equal(read_pattern(timed([2] * 200)).intensity, COUNTS)
    refused(timed(times[:-1]), "E_FORMAT", "199 counting times for 200 points")


def test_scans_over_one_range_with_other_numbers_of_intensities_are_noted() -> None:
    two = two_scans("xrdml").decode()
    first = two.index("</intensities>")
    cut = two[:first].rpartition(" ")[0].rpartition(" ")[0] + two[first:]
    assert any("198, 200 intensities" in note for note in read_pattern(cut.encode(), scan=1).warnings)
    assert read_pattern(two.encode(), scan=1).warnings == ()


@pytest.mark.parametrize("value", ["1.450000", "1.405980", "0.709300"])
def test_wavelength_that_is_no_line_of_the_stated_anode_is_refused_unless_one_is_given(value: str) -> None:
    tube = "<xRayTube><anodeMaterial>Cu</anodeMaterial></xRayTube>"
    data = xrdml(optics=tube).replace("1.5405980", value).replace("1.5444260", value).encode()
    refused(data, "E_WAVELENGTH", "anode Cu")
    assert read_pattern(data, wavelength="CuKa").wavelength == pytest.approx(1.54184)


def test_ranges_of_two_theta_and_omega_that_contradict_each_other_are_refused() -> None:
    limits = "<startPosition>{}</startPosition><endPosition>{}</endPosition>"
    omega = f'<positions axis="Omega" unit="deg">{limits}</positions><commonCountingTime'

    def coupled(start: float, end: float) -> bytes:
        return xrdml().replace("<commonCountingTime", omega.format(start, end)).encode()

    assert_scan(read_pattern(coupled(5, 6.99)), wavelength=(2 * 1.540598 + 1.544426) / 3)
    for start, end in ((6.99, 5), (5, 13.98)):
        refused(coupled(start, end), "E_AXIS", "ω over .* expected half")
