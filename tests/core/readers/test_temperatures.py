"""The temperature of the sample is read where files state it."""

from __future__ import annotations

from pathlib import Path

import pytest

from xxact_core.readers.read import parse_scans, read_pattern
from xxact_core.series.frames import read_frames

COUNTS = " ".join(str(10 + number % 7) for number in range(60))

XRDML = """<?xml version="1.0"?><xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5"><xrdMeasurement>
<usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">1.5405980</kAlpha1>
<kAlpha2 unit="Angstrom">1.5444260</kAlpha2>
<kBeta unit="Angstrom">1.3922500</kBeta><ratioKAlpha2KAlpha1>0.5</ratioKAlpha2KAlpha1></usedWavelength>
{scans}</xrdMeasurement></xrdMeasurements>"""

SCAN = """<scan appendNumber="{number}" mode="Continuous" scanAxis="Gonio" status="Completed">{points}<dataPoints>
<positions axis="2Theta" unit="deg"><startPosition>20</startPosition><endPosition>25.9</endPosition></positions>
<commonCountingTime unit="seconds">1</commonCountingTime>
<intensities unit="counts">{counts}</intensities></dataPoints></scan>"""

POINTS = (
    """<nonAmbientPoints type="Temperature" unit="K"><nonAmbientValues>{values}</nonAmbientValues></nonAmbientPoints>"""
)


def xrdml(*temperatures: str) -> bytes:
    """A file with a scan for each text of temperatures [K]; without them where the text is empty."""
    scans = [
        SCAN.format(number=number, counts=COUNTS, points=POINTS.format(values=values) if values else "")
        for number, values in enumerate(temperatures)
    ]
    return XRDML.format(scans="".join(scans)).encode()


def test_each_scan_of_an_xrdml_file_has_its_own_mean_temperature() -> None:
    scans = parse_scans(xrdml("300 302", "", "573.15"), name="heating.xrdml", wavelength=None, scan=None)
    assert [scan.metadata.get("temperature") for scan in scans] == ["301 K", None, "573.15 K"]


def test_a_series_of_scans_runs_over_the_temperatures_that_the_file_states(tmp_path: Path) -> None:
    (tmp_path / "heating.xrdml").write_bytes(xrdml("300", "500", "400"))
    frames = read_frames(tmp_path / "heating.xrdml")
    assert (frames.by, frames.unit) == ("temperature", "K")
    assert [(frame.value, frame.scan) for frame in frames.frames] == [(300, 0), (400, 2), (500, 1)]


@pytest.mark.parametrize(("stated", "read"), [("298(2)", "298 K"), ("295.5", "295.5 K"), ("?", None), ("warm", None)])
def test_a_powder_cif_states_the_temperature_in_kelvin(stated: str, read: str | None) -> None:
    rows = "\n".join(f"{20 + 0.1 * number:.1f} {10 + number % 7}" for number in range(60))
    text = f"data_a\n_diffrn_radiation_wavelength 1.5406\n_diffrn_ambient_temperature {stated}\n"
    text += f"loop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n{rows}\n"
    (pattern,) = parse_scans(text.encode(), name="a.cif", wavelength=None, scan=0)
    assert pattern.metadata.get("temperature") == read


def test_a_heater_of_a_rigaku_diffractometer_states_its_position(shared_data: Path) -> None:
    folder = shared_data / "formats" / "rasx"
    hot = read_pattern(folder / "nomad-measurements__Omega-2Theta_scan_high_temperature.rasx")
    assert hot.metadata["temperature"] == "550 °C"
    assert "temperature" not in read_pattern(folder / "geddes__sample.rasx").metadata
