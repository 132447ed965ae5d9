"""Rigaku RAS, RASX and .asc."""

from __future__ import annotations

from pattern_files import COUNTS, CU_MEAN, archive, assert_scan, lines, ras, rasx, refused, two_scans

from xxact_core.readers.read import read_pattern, read_scans


def test_ras_and_rasx_give_their_wavelength() -> None:
    mean = (2 * 1.540593 + 1.544414) / 3
    assert_scan(read_pattern(ras().encode()), wavelength=mean)
    assert_scan(read_pattern(ras(wave="Ka1").encode()), wavelength=1.540593)
    assert_scan(read_pattern(ras(axis="2\u03b8/\u03b8").encode("shift_jis")), wavelength=mean)
    assert_scan(read_pattern(archive(rasx())), wavelength=mean)


def test_ras_counts_are_multiplied_by_their_attenuation() -> None:
    text = ras().replace("10.1000 6.0000 1.0000", "10.1000 6.0000 2.5000")
    assert read_pattern(text.encode()).intensity[5] == 15


def test_ras_gives_its_doublet() -> None:
    assert read_pattern(ras(wave="Ka1").encode()).metadata["kalpha2"] == "ratio 0"
    assert read_pattern(ras().encode()).metadata["kalpha2"] == "1.54441"


def test_asc_exports_are_read_in_groups() -> None:
    counts = lines(COUNTS, width=4).replace(" ", ",")
    group = f"*BEGIN\n*START = 10.0\n*STOP = 13.98\n*STEP = 0.02\n*COUNT = 200\n{counts}*END\n"
    text = f"*TYPE = Raw\n*SAMPLE = quartz\n*WAVE_LENGTH1 = 1.54060\n*WAVE_LENGTH2 = 1.54443\n{group}*EOF\n"
    pattern = read_pattern(text.encode())
    assert_scan(pattern, wavelength=CU_MEAN)
    assert pattern.metadata["sample"] == "quartz"
    assert len(read_scans(text.replace("*EOF", group).encode())) == 2
    refused(f"*RADIATION = neutron\n{text}".encode(), "E_RADIATION", "neutrons")


def test_the_stated_number_of_points_is_held_against_the_rows() -> None:
    counted = ras().replace("*RAS_HEADER_END", '*MEAS_DATA_COUNT "{}.0000"\n*RAS_HEADER_END')
    assert_scan(read_pattern(counted.format(200).encode()), wavelength=(2 * 1.540593 + 1.544414) / 3)
    refused(counted.format(201).encode(), "E_TRUNCATED", "200 points; MEAS_DATA_COUNT says 201")
    refused(counted.format(199).encode(), "E_FORMAT", "MEAS_DATA_COUNT says 199")
    conditions = rasx()["Data0/MesurementConditions0.xml"]
    for count, code in ((201, "E_TRUNCATED"), (199, "E_FORMAT")):
        changed = conditions.replace(
            b"</ScanInformation>", f"<DataCount>{count}</DataCount></ScanInformation>".encode()
        )
        refused(archive(rasx(**{"Data0/MesurementConditions0.xml": changed})), code, f"DataCount says {count}")
    text = "*TYPE = Raw\n*START = 10.0\n*STOP = 13.98\n*STEP = 0.02\n*COUNT = 210\n"
    refused((text + ",".join(map(str, COUNTS)) + "\n*END\n").encode(), "E_TRUNCATED", r"\*COUNT says 210")


def test_stated_limits_are_held_against_the_angles() -> None:
    def with_limits(start: float, stop: float, step: float, unit: str = "deg") -> bytes:
        limits = f'*MEAS_SCAN_START "{start}"\n*MEAS_SCAN_STOP "{stop}"\n*MEAS_SCAN_STEP "{step}"\n'
        limits += f'*MEAS_SCAN_UNIT_X "{unit}"\n'
        return ras().replace("*RAS_HEADER_END", f"{limits}*RAS_HEADER_END").encode()

    assert not read_pattern(with_limits(10, 13.98, 0.02)).warnings
    assert read_pattern(with_limits(10, 20, 0.02)).warnings == ("the points are on 10-13.98°; MEAS_SCAN says 10-20°",)
    assert (
        "the step of the points is 0.02°; MEAS_SCAN says 0.03°" in read_pattern(with_limits(10, 13.98, 0.03)).warnings
    )
    refused(with_limits(10, 13.98, 0.02, unit="rad"), "E_AXIS", "the angles are in 'rad'")
    members = rasx()
    conditions = members["Data0/MesurementConditions0.xml"].decode()
    limits = "<Start>10.0</Start><Stop>20.0</Stop><Step>0.02</Step></ScanInformation>"
    early = {"Data0/MesurementConditions0.xml": conditions.replace("</ScanInformation>", limits).encode()}
    assert read_pattern(archive(rasx(**early))).warnings == (
        "the points are on 10-13.98°; ScanInformation says 10-20°",
    )


def test_ras_with_missing_parts_or_rows_outside_is_refused() -> None:
    two = two_scans("ras").decode()
    second = two.index("*RAS_INT_START", two.index("*RAS_INT_END"))
    refused(
        (two[:second] + two[second + len("*RAS_INT_START\n") :]).encode(),
        "E_TRUNCATED",
        "parts of the file are missing",
    )
    lines = ras().splitlines(keepends=True)
    start = lines.index("*RAS_INT_START\n")
    lines[start], lines[start + 40] = lines[start + 40], lines[start]
    refused("".join(lines).encode(), "E_FORMAT", "rows stand before")
    early = ras().splitlines(keepends=True)
    early.insert(len(early) // 2, early.pop(-2))
    refused("".join(early).encode(), "E_FORMAT", r"rows stand behind \*RAS_INT_END")
