"""Formats that no library reads here, what files say besides their points, and files of several scans."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import h5py
import numpy as np
import pytest
from pattern_files import (
    ANGLES,
    COUNTS,
    archive,
    brml,
    nexus,
    philips_rd,
    philips_udf,
    powder_cif,
    ras,
    rasx,
    raw_1,
    raw_2,
    raw_3,
    refused,
    stoe_raw,
    xrdml,
)

from xxact_core.errors import PatternError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import parse_scan, read_pattern, read_scans, sum_scans

CU_MEAN = (2 * 1.5406 + 1.54443) / 3
BINARY = {
    "raw_1": raw_1(),
    "raw_2": raw_2(),
    "raw_3": raw_3(),
    "stoe": stoe_raw(),
    "rd": philips_rd(),
    "sd": philips_rd(version=b"V5"),
    "brml": archive(brml()),
    "rasx": archive(rasx()),
    "nxs": nexus(),
}
TEXT = {"udf": philips_udf(), "ras": ras(), "xrdml": xrdml(), "cif": powder_cif()}


def assert_scan(pattern: Pattern, *, counts: np.ndarray = COUNTS, wavelength: float | None = None) -> None:
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-6)
    np.testing.assert_allclose(pattern.intensity, counts)
    assert pattern.wavelength == (None if wavelength is None else pytest.approx(wavelength, abs=1e-5))


def lines(numbers: np.ndarray, *, width: int) -> str:
    return "".join(" ".join(map(str, numbers[at : at + width])) + "\n" for at in range(0, len(numbers), width))


# ------------------------------------------------------------------------------------------ Siemens, Bruker, Philips
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


# ------------------------------------------------------------------------------------------ texts of intensities alone
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


def test_rigaku_and_sietronics_exports_are_read() -> None:
    counts = lines(COUNTS, width=4).replace(" ", ",")
    group = f"*BEGIN\n*START = 10.0\n*STOP = 13.98\n*STEP = 0.02\n*COUNT = 200\n{counts}*END\n"
    text = f"*TYPE = Raw\n*SAMPLE = quartz\n*WAVE_LENGTH1 = 1.54060\n*WAVE_LENGTH2 = 1.54443\n{group}*EOF\n"
    pattern = read_pattern(text.encode())
    assert_scan(pattern, wavelength=CU_MEAN)
    assert pattern.metadata["sample"] == "quartz"
    assert len(read_scans(text.replace("*EOF", group).encode())) == 2
    mdi = f"01/02/95 quartz\n  10.000  0.020 1.50 CU 1.54056 13.980  200\n{lines(COUNTS, width=8)}"
    assert_scan(read_pattern(mdi.encode()), wavelength=1.54056)
    assert read_pattern(mdi.encode()).metadata["step_seconds"] == "1.5"
    cpi = "SIETRONICS XRD SCAN\n10.0\n13.98\n0.02\nCu\n1.54060\n1-1-1990\n0.6\ntitle\nSCANDATA\n"
    assert_scan(read_pattern((cpi + lines(COUNTS, width=1)).encode()), wavelength=1.5406)


# ------------------------------------------------------------------------------------------ columns and headers
def test_titles_say_which_columns_hold_angles_and_intensities() -> None:
    rows = "".join(
        f"{at},{angle},0.5,{count},3\n" for at, (angle, count) in enumerate(zip(ANGLES, COUNTS, strict=True))
    )
    assert_scan(read_pattern(f"Point,Angle,TimePerStep,Intensity,ESD\n{rows}".encode()))
    rows = "".join(f"{angle} 7 {count}\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
    assert_scan(read_pattern(f"# 2theta I_calc I_obs\n{rows}".encode()))


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (",", ","), (";", ","), ("\t", ".")])
def test_numbers_in_quotes_are_numbers(separator: str, decimal: str) -> None:
    rows = [(f"{angle:.2f}", f"{count}.0") for angle, count in zip(ANGLES, COUNTS, strict=True)]
    text = "".join(f'"{angle}"{separator}"{count}"\n'.replace(".", decimal) for angle, count in rows)
    assert_scan(read_pattern(f'"Angle"{separator}"Intensity"\n{text}'.encode()))


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("form", ["STD", "ESD", "FXYE", "FXY"])
def test_gsas_records_are_read_in_hundredths_of_a_degree(form: str, width: int) -> None:
    head = f"quartz\n# wavelength 0.4138\nBANK 1 200 40 CONST 1000.00 2.00 0 0 {form}\n"
    rows = [f"{100 * angle:.2f} {count}.0 1.0" for angle, count in zip(ANGLES, COUNTS, strict=True)]
    fields = {"STD": [f"{count:8d}" for count in COUNTS], "ESD": [f"{count:8.1f}{1:8.1f}" for count in COUNTS]}.get(
        form, rows if form == "FXYE" else [row.removesuffix(" 1.0") for row in rows]
    )
    width = 1 if form.startswith("FXY") else width
    body = "".join("".join(fields[at : at + width]) + "\n" for at in range(0, 200, width))
    assert_scan(read_pattern((head + body).encode(), name="scan.gsas"), wavelength=0.4138)
    bank = head.partition("BANK")[2]
    second = read_pattern(f"{head}{body}BANK{bank}{body}".encode(), name="scan.gsas", scan=1)
    assert_scan(second, wavelength=0.4138)


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


def test_dotted_names_of_newer_powder_cifs_are_the_older_ones() -> None:
    assert_scan(
        read_pattern(powder_cif(columns="_pd_meas.2theta_scan _pd_meas.counts_total").encode()), wavelength=1.5405
    )


# ------------------------------------------------------------------------------------------ NeXus
def test_nexus_gives_its_default_curve_and_what_it_says() -> None:
    pattern = read_pattern(nexus(curves=2))
    assert_scan(pattern, wavelength=(2 * 1.540598 + 1.544426) / 3)
    assert {"anode": "Cu", "kalpha2": "ratio 0.5", "step_seconds": "39.27", "sample": "corundum"}.items() <= dict(
        pattern.metadata
    ).items()
    assert any("2 scans; the first" in note for note in pattern.warnings)
    assert_scan(read_pattern(nexus(curves=2), scan=1), counts=COUNTS + 1, wavelength=pattern.wavelength)


def test_nexus_axes_in_radians_are_turned_and_in_q_become_angles() -> None:
    assert_scan(read_pattern(nexus(unit="rad", factor=np.pi / 180)), wavelength=1.541874)
    pattern = read_pattern(nexus(axis="q", unit="1/nm"), wavelength=1.54)
    np.testing.assert_allclose(4 * np.pi / 1.54 * np.sin(np.radians(pattern.two_theta / 2)), ANGLES / 10)


def test_nexus_of_neutrons_other_axes_and_maps_is_refused_by_name() -> None:
    refused(nexus(probe="neutron"), "E_RADIATION", "neutrons")
    refused(nexus(axis="time_of_flight", unit="us"), "E_AXIS", "time_of_flight")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "map", "axes": ["x", "two_theta"]})
        data["map"], data["two_theta"] = np.ones((5, 200)), ANGLES
    refused(buffer.getvalue(), "E_FORMAT", "2 dimensions.*maps and images are not read")


def test_nexus_follows_no_link_out_of_the_file(tmp_path: object) -> None:
    outside = f"{tmp_path}/outside.h5"
    with h5py.File(outside, "w") as file:
        file["counts"], file["two_theta"] = COUNTS, ANGLES
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "counts", "axes": ["two_theta"]})
        data["counts"] = h5py.ExternalLink(outside, "/counts")
        data["two_theta"] = ANGLES
        data["loop"] = h5py.SoftLink("/entry/loop")
    refused(buffer.getvalue(), "E_FORMAT", "links to other files not followed")
    layout = h5py.VirtualLayout(shape=(200,), dtype="i8")
    layout[:] = h5py.VirtualSource(outside, "counts", shape=(200,))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "counts", "axes": ["two_theta"]})
        data.create_virtual_dataset("counts", layout)
        data["two_theta"] = ANGLES
    refused(buffer.getvalue(), "E_FORMAT", "links to other files not followed")


@pytest.mark.parametrize("default", ["/entry", "/", ".", "none", "/entry/curve0"])
def test_nexus_defaults_that_lead_in_a_ring_or_nowhere_come_to_an_end(default: str) -> None:
    buffer = io.BytesIO(nexus())
    with h5py.File(buffer, "r+") as file:
        file.attrs["default"] = file["entry"].attrs["default"] = default
    assert_scan(read_pattern(buffer.getvalue()), wavelength=1.541874)


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ({"chunks": (50,), "compression": "gzip", "shuffle": True, "fletcher32": True}, ""),
        ({"chunks": (50,), "compression": "lzf"}, ""),
        ({"chunks": (50,), "scaleoffset": 2}, "unknown filters"),
        ({"shape": (400_000,), "dtype": "f8", "chunks": (1000,)}, "announces 400000 values, and 0 bytes are stored"),
    ],
)
def test_nexus_data_that_cannot_be_what_they_say_are_refused(storage: dict[str, Any], told: str) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in (("two_theta", ANGLES), ("counts", COUNTS)):
            given = storage if "shape" in storage else {"data": values.astype("f8"), **storage}
            file.create_dataset(f"scan/{name}", **given)
    if told:
        refused(buffer.getvalue(), "E_FORMAT", told)
    else:
        assert_scan(read_pattern(buffer.getvalue()))


def test_nexus_soft_links_within_the_file_are_followed() -> None:
    buffer = io.BytesIO(nexus())
    with h5py.File(buffer, "r+") as file:
        file.move("/entry/curve0/intensity", "/entry/instrument/counts")
        file["/entry/curve0/intensity"] = h5py.SoftLink("../instrument/counts")
    assert_scan(read_pattern(buffer.getvalue()), wavelength=1.541874)


def test_hdf5_without_classes_is_read_by_the_names_of_its_data() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["scan/TwoTheta"], file["scan/Intensity"] = ANGLES, COUNTS
    assert_scan(read_pattern(buffer.getvalue()))


def test_nexus_of_huge_dimensions_is_refused_unread() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "counts", "axes": ["two_theta"]})
        data.create_dataset("counts", shape=(10**12,), dtype="f8", chunks=(1000,))
        data.create_dataset("two_theta", shape=(10**12,), dtype="f8", chunks=(1000,))
    refused(buffer.getvalue(), "E_TOO_LARGE", "1000000000000 points")


# ------------------------------------------------------------------------------------------ several scans
def several(kind: str) -> bytes:  # noqa: PLR0911 - one a format
    """A file of two equal scans."""
    if kind == "ras":
        scan = ras().removesuffix("*RAS_DATA_END\n")
        return (scan + scan.removeprefix("*RAS_DATA_START\n") + "*RAS_DATA_END\n").encode()
    if kind == "xrdml":
        begin, end = xrdml().index("<scan "), xrdml().index("</scan>") + 7
        return (xrdml()[:end] + xrdml()[begin:]).encode()
    if kind == "rasx":
        more = {name.replace("Data0", "Data1"): content for name, content in rasx().items() if "Data0" in name}
        root = rasx()["root.xml"].replace(
            b"</Root>",
            b'<Data1><ContentHashList Name="Profile0.txt"/>'
            b'<ContentHashList Name="MesurementConditions0.xml"/></Data1></Root>',
        )
        return archive({**rasx(), **more, "root.xml": root})
    if kind == "cif":
        return (powder_cif() + powder_cif().replace("data_scan", "data_second")).encode()
    if kind == "uxd":
        part = (
            f"; range\n_DRIVE='COUPLED'\n_STEPSIZE=0.02\n_START=10.0\n_2THETA=10.0\n_COUNTS\n{lines(COUNTS, width=10)}"
        )
        head = "_FILEVERSION=2\n_SAMPLE='quartz'\n_ANODE='Cu'\n_WL1=1.5406\n_WL2=1.54443\n_STEPTIME=2\n"
        return (head + part + part).encode()
    if kind == "gsas":
        bank = f"CONST {100 * ANGLES[0]} 2.0 0 0 FXYE\n"
        rows = "".join(f"{100 * angle:.1f} {count}.0 1.0\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
        return f"title\nBANK 1 200 200 {bank}{rows}BANK 2 200 200 {bank}{rows}".encode()
    return {
        "raw_1": raw_1(scans=2),
        "raw_1_old": raw_1(scans=2, repeated=False),
        "raw_2": raw_2(scans=2),
        "stoe": stoe_raw(scans=2),
    }.get(kind, archive(brml(scans=2)))


@pytest.mark.parametrize(
    "kind", ["ras", "xrdml", "rasx", "brml", "cif", "uxd", "gsas", "raw_1", "raw_1_old", "raw_2", "stoe"]
)
def test_scans_are_chosen_listed_and_summed(kind: str) -> None:
    data = several(kind)
    first = read_pattern(data, name="scan")
    assert first.metadata["scans"] == "2"
    assert any("holds 2 " in note for note in first.warnings)
    listed = read_scans(data, name="scan")
    assert [scan.name for scan in listed] == ["scan, scan 0", "scan, scan 1"]
    for pattern in (first, read_pattern(data, scan=1), *listed):
        assert_scan(pattern, wavelength=pattern.wavelength)
    total = read_pattern(data, name="scan", scan="sum")
    assert_scan(total, counts=2 * COUNTS, wavelength=first.wavelength)
    assert (total.name, total.warnings[-1]) == ("scan", "the sum of 2 scans")
    with pytest.raises(PatternError, match="no scan 2; the file holds 2") as refusal:
        read_pattern(data, scan=2)
    assert refusal.value.code == "E_SCAN"


def test_a_scan_of_zeros_points_to_the_others() -> None:
    empty = re.sub(r" [0-9]+\([0-9]\)", " 0", powder_cif())
    data = (empty + powder_cif().replace("data_scan", "data_second")).encode()
    refused(data, "E_VALUES", "no intensity is above 0.*the file holds 2 scans, and another may be asked for")
    assert_scan(read_pattern(data, scan=1), wavelength=1.5405)
    refused(empty.encode(), "E_VALUES", r"the largest is 0\)$")


def test_values_of_binary_files_that_are_not_finite_are_refused_with_their_point() -> None:
    for value, told in ((float("nan"), "nan"), (float("inf"), "inf")):
        data = bytearray(raw_1())
        struct.pack_into("<f", data, len(data) - 4, value)
        refused(bytes(data), "E_VALUES", f"point 200: the intensity is {told}")
        buffer = io.BytesIO(nexus())
        with h5py.File(buffer, "r+") as file:
            del file["entry/curve0/intensity"]
            file["entry/curve0/intensity"] = np.where(COUNTS == 200, value, COUNTS)
        refused(buffer.getvalue(), "E_VALUES", f"point 200: the intensity is {told}")


def test_a_file_of_one_scan_has_no_second() -> None:
    for data in (*BINARY.values(), *(text.encode() for text in TEXT.values()), lines(COUNTS, width=1).encode()):
        with pytest.raises(PatternError) as refusal:
            read_pattern(data, scan=1)
        assert refusal.value.code == "E_SCAN"


def test_scans_over_other_ranges_are_not_summed() -> None:
    scans = [Pattern(two_theta=ANGLES + shift, intensity=COUNTS, name=f"at {shift}") for shift in (0, 0.001, 0.01)]
    assert_scan(sum_scans(scans[:2]), counts=2 * COUNTS)
    with pytest.raises(PatternError, match=r"at 0.01: has 200 points from 10.01.*expected the same angles"):
        sum_scans([scans[0], scans[2]])
    with pytest.raises(PatternError, match="no scans"):
        sum_scans([])


def test_scans_are_written_as_numbers_or_as_sum() -> None:
    assert (parse_scan("3"), parse_scan(" Sum ")) == (3, "sum")
    for text in ("", "-1", "first", "1.5", "²", "١"):
        with pytest.raises(PatternError, match="neither a number"):
            parse_scan(text)


# ------------------------------------------------------------------------------------------ what files say, and damage
def test_vendor_files_say_anode_axis_time_and_doublet() -> None:
    assert read_pattern(xrdml().encode()).metadata["scan_axis"] == "Gonio"
    assert read_pattern(xrdml().encode()).metadata["step_seconds"] == "1"
    assert read_pattern(xrdml(optics='<monochromator name="Ge (220)"/>').encode()).metadata["kalpha2"] == "ratio 0"
    assert read_pattern(ras(wave="Ka1").encode()).metadata["kalpha2"] == "ratio 0"
    assert read_pattern(ras().encode()).metadata["kalpha2"] == "1.54441"
    of_brml = read_pattern(archive(brml())).metadata
    assert dict(of_brml) == {
        "scans": "1",
        "anode": "Cu",
        "kalpha2": "1.54439",
        "scan_axis": "2Theta",
        "step_seconds": "0.5",
        "sample": "ceria",
    }
    of_uxd = read_pattern(several("uxd"))
    assert of_uxd.wavelength == pytest.approx(CU_MEAN)
    assert (of_uxd.metadata["sample"], of_uxd.metadata["step_seconds"]) == ("quartz", "2")


@pytest.mark.parametrize("kind", BINARY)
def test_binary_files_cut_anywhere_are_refused(kind: str) -> None:
    whole = BINARY[kind]
    for length in np.random.default_rng(1).integers(5, len(whole) - 1, 50):
        with pytest.raises(PatternError) as refusal:
            read_pattern(whole[:length], name=f"scan.{kind}")
        assert refusal.value.code in {"E_TRUNCATED", "E_FORMAT"}, (kind, length)


@pytest.mark.parametrize("kind", [*BINARY, *TEXT])
def test_damaged_bytes_are_a_pattern_or_a_named_error(kind: str) -> None:
    whole = BINARY[kind] if kind in BINARY else TEXT[kind].encode()
    generator = np.random.default_rng(2)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in generator.integers(4, min(len(whole), 1500), 4):
            damaged[place] = generator.integers(256)
        try:
            pattern = read_pattern(bytes(damaged), name="scan")
        except PatternError:
            continue
        assert np.isfinite(pattern.intensity).all()


def test_headers_that_promise_too_much_are_refused() -> None:
    bomb = bytearray(raw_1())
    struct.pack_into("<I", bomb, 4, 2**32 - 1)
    refused(bytes(bomb), "E_TRUNCATED", "4294967295 points")
    wide = bytearray(philips_rd())
    struct.pack_into("<d", wide, 214, 1e-9)
    refused(bytes(wide), "E_TOO_LARGE", "at most 500000")
    struct.pack_into("<d", wide, 214, float("nan"))
    refused(bytes(wide), "E_FORMAT", "expected a range within 0-180")
