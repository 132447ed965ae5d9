"""Files as instruments write them, all of one scan: 200 points from 10° in steps of 0.02°, counts 1 to 200."""

from __future__ import annotations

import io
import struct
import zipfile

import h5py
import numpy as np
import pytest

from xxact_core.errors import PatternError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern

ANGLES = np.round(np.arange(10, 14, 0.02), 2)
COUNTS = np.arange(1, ANGLES.size + 1)
CU_MEAN = (2 * 1.5406 + 1.54443) / 3
FLOATS = COUNTS.astype("<f4").tobytes()


def refused(data: bytes, code: str, pattern: str, *, name: str = "scan.xy") -> None:
    with pytest.raises(PatternError, match=pattern) as refusal:
        read_pattern(data, name=name)
    assert refusal.value.code == code


def assert_scan(pattern: Pattern, *, counts: np.ndarray = COUNTS, wavelength: float | None = None) -> None:
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-6)
    np.testing.assert_allclose(pattern.intensity, counts)
    assert pattern.wavelength == (None if wavelength is None else pytest.approx(wavelength, abs=1e-6))


def lines(numbers: np.ndarray, *, width: int) -> str:
    return "".join(" ".join(map(str, numbers[at : at + width])) + "\n" for at in range(0, len(numbers), width))


def xrdml(*, optics: str = "", ratio: float = 0.5, axis: str = "Gonio", head: str = "") -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>{head}
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5" status="Completed"><xrdMeasurement>
<usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">1.5405980</kAlpha1>
<kAlpha2 unit="Angstrom">1.5444260</kAlpha2><kBeta unit="Angstrom">1.3922500</kBeta>
<ratioKAlpha2KAlpha1>{ratio}</ratioKAlpha2KAlpha1></usedWavelength>{optics}
<scan appendNumber="0" mode="Continuous" scanAxis="{axis}" status="Completed"><dataPoints>
<positions axis="2Theta" unit="deg"><startPosition>10.0</startPosition><endPosition>13.98</endPosition></positions>
<commonCountingTime unit="seconds">1</commonCountingTime>
<intensities unit="counts">{" ".join(map(str, COUNTS))}</intensities></dataPoints></scan>
</xrdMeasurement></xrdMeasurements>
"""


def ras(*, axis: str = "TwoThetaTheta", wave: str = "Ka") -> str:
    rows = "".join(f"{angle:.4f} {count:.4f} 1.0000\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
    return (
        f'*RAS_DATA_START\n*RAS_HEADER_START\n*HW_XG_WAVE_LENGTH_ALPHA1 "1.540593"\n'
        f'*HW_XG_WAVE_LENGTH_ALPHA2 "1.544414"\n*MEAS_COND_XG_WAVE_TYPE "{wave}"\n*MEAS_SCAN_AXIS_X "{axis}"\n'
        f"*RAS_HEADER_END\n*RAS_INT_START\n{rows}*RAS_INT_END\n*RAS_DATA_END\n"
    )


def powder_cif(*, extra: str = "", columns: str = "_pd_meas_2theta_scan _pd_meas_counts_total") -> str:
    rows = "\n".join(
        f"{angle:.2f} {count}({index % 9 + 1})" for index, (angle, count) in enumerate(zip(ANGLES, COUNTS, strict=True))
    )
    return (
        f"data_scan\n_diffrn_radiation_wavelength 1.5405(1)\n{extra}\nloop_\n{columns.replace(' ', chr(10))}\n{rows}\n"
    )


def archive(members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return buffer.getvalue()


def rasx(**more: bytes) -> dict[str, bytes]:
    rows = "".join(f"{angle:.4f}\t{count}\t1\r\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
    conditions = (
        "<MeasurementConditions><WaveType>Ka</WaveType><WavelengthKalpha1>1.540593</WavelengthKalpha1>"
        "<WavelengthKalpha2>1.544414</WavelengthKalpha2>"
        "<ScanInformation><AxisName>TwoThetaTheta</AxisName></ScanInformation></MeasurementConditions>"
    )
    return {
        "Data0/Profile0.txt": rows.encode("utf-8-sig"),
        "Data0/MesurementConditions0.xml": conditions.encode(),
        "root.xml": b'<?xml version="1.0"?><Root><Data0 Type="Profile">'
        b'<ContentHashList Name="Profile0.txt" ContentHash="0" />'
        b'<ContentHashList Name="MesurementConditions0.xml" ContentHash="0" /></Data0></Root>',
        **more,
    }


def brml(*, scans: int = 1) -> dict[str, bytes]:
    rows = "".join(f"<Datum>1,0,{angle:.2f},{count}</Datum>" for angle, count in zip(ANGLES, COUNTS, strict=True))
    views = (
        '<RawDataView xsi:type="FixedRawDataView" Start="0" Length="2"/>'
        '<RawDataView xsi:type="VaryingRawDataView" Start="2" Length="1">'
        '<Varying><FieldDefinitions AxisId="TwoTheta" FieldName="TwoTheta"/></Varying></RawDataView>'
        '<RawDataView xsi:type="RecordedRawDataView" Start="3" Length="1"/>'
    )
    raw = (
        '<?xml version="1.0"?><RawData xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        "<TubeMaterial>Cu</TubeMaterial><TimePerStep>0.5</TimePerStep>"
        '<WaveLengthAlpha2 Unit="A" Value="1.54439"/><WaveLengthAverage Unit="A" Value="1.54184"/>'
        '<InfoItem Name="SampleName" Value="ceria" Unit=""/><ScanAxisInfo AxisId="TwoTheta" VisibleName="2Theta"/>'
        f'<DataRoutes><DataRoute RouteFlag="Measured"><DataViews>{views}</DataViews>{rows}</DataRoute></DataRoutes>'
        "</RawData>"
    )
    names = [f"Experiment0/RawData{index}.xml" for index in range(scans)]
    listed = "".join(f"<string>{name}</string>" for name in names)
    manifest = f"<DataContainer><RawDataReferenceList>{listed}</RawDataReferenceList></DataContainer>"
    return {"Experiment0/DataContainer.xml": manifest.encode()} | {name: raw.encode() for name in names}


def raw_1(*, scans: int = 1, repeated: bool = True) -> bytes:
    """Siemens RAW of version 1; `repeated`: whether further ranges begin with `RAW ` too."""
    data = b""
    for index in range(scans):
        front = b"RAW " if index == 0 or repeated else b""
        head = struct.pack(
            "<I2fI4xf12x32s2f72xI", 200, 4.0, 0.02, 0, 10.0, b"vinegar", 1.5406, 1.54443, scans - index - 1
        )
        data += front + head + FLOATS
    return data


def raw_2(*, scans: int = 1) -> bytes:
    """Siemens RAW of version 2."""
    head = struct.pack("<4xH2x32s128x20s2s3f54x", scans, b"zincite", b"19-12-19", b"Cu", 1.5406, 1.54443, 0.5)
    part = struct.pack("<2H4x3f", 60, 200, 3.0, 0.02, 10.0).ljust(60, b"\0") + FLOATS
    return b"RAW2" + head[4:] + part * scans


def raw_3(*, scan_type: int = 0) -> bytes:
    """Bruker RAW of version 3."""
    head = bytearray(712)
    head[:8] = b"RAW1.01\0"
    struct.pack_into("<2I", head, 8, 1, 1)
    head[326:334] = b"zirconia"
    head[608:610] = b"Cu"
    struct.pack_into("<5d", head, 616, (2 * 1.5406 + 1.54439) / 3, 1.5406, 1.54439, 1.39222, 0.5)
    part = bytearray(304)
    struct.pack_into("<2I2d", part, 0, 304, 200, 5.0, 10.0)
    struct.pack_into("<d", part, 176, 0.02)
    struct.pack_into("<fI", part, 192, 0.5, scan_type)
    struct.pack_into("<3I", part, 248, 0, 4, 0)
    return bytes(head + part) + FLOATS


def stoe_raw(
    *, scans: int = 1, version: bytes = b"RAW_1.06", crystal: int = 3, scan_type: int = 1, short: int = 0
) -> bytes:
    """Stoe RAW: records of 512 bytes, the first of them the header, then two that are not read."""
    form, length = ("<u2", 400) if short else ("<u4", 800)
    records = -(-length // 512)
    head = bytearray(3 * 512)
    head[:14], head[32:38] = version + b"Powdat", b"quartz"
    struct.pack_into("<2H10x2f", head, 308, crystal, 3, 1.540598, 1.544426)
    struct.pack_into("<H16xH", head, 360, scan_type, scans)
    struct.pack_into(f"<{scans}H", head, 480, *(4 + index * (1 + records) for index in range(scans)))
    part = bytearray(512)
    struct.pack_into("<34xH2xH8f", part, 0, 200, short, 2.0, 10.0, 5.0, 13.98, 6.99, 0.02, 0.01, 30.0)
    return bytes(head + (part + (2 * COUNTS).astype(form).tobytes().ljust(512 * records, b"\0")) * scans)[
        : length - 512 * records
    ]


def philips_rd(*, version: bytes = b"V3") -> bytes:
    """Philips .rd (V3) or .sd (V5) of squares, which is what 16 bits of ten times the root hold without rounding."""
    head = bytearray(250 if version == b"V3" else 810)
    head[:4] = version + b"RD"
    head[84:87] = bytes([3, 1, 2])
    struct.pack_into("<3d", head, 94, 0.70930, 0.71359, 0.5)
    head[146:151] = b"spoon"
    struct.pack_into("<3d", head, 214, 0.02, 10.0, 13.98)
    return bytes(head) + (10 * COUNTS).astype("<u2").tobytes()


def philips_udf() -> str:
    """Philips .udf, with a value that has a comma in it."""
    rows = "\n".join(",".join(f"{count:8d}" for count in COUNTS[start : start + 8]) for start in range(0, 200, 8))
    return (
        "SampleIdent,CeO2 standard ,/\nTitle1,,/\nAnode,Cu,/\nLabdaAlpha1, 1.54060,/\nLabdaAlpha2, 1.54443,/\n"
        "RatioAlpha21, 0.50000,/\nDivergenceSlit,Fixed, 1/2,/\nDataAngleRange,  10.0000,  13.9800,/\n"
        f"ScanStepSize, 0.020,/\nScanType,CONTINUOUS,/\nScanStepTime, 18.87,/\nRawScan\n{rows}/\n"
    )


def nexus(
    *, axis: str = "two_theta", unit: str = "deg", factor: float = 1.0, probe: str = "x-ray", curves: int = 1
) -> bytes:
    """NeXus with NXdata groups, the first of them the default."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs["default"] = "curve0"
        for index in reversed(range(curves)):
            data = entry.create_group(f"curve{index}")
            data.attrs.update({"NX_class": "NXdata", "signal": "intensity", "axes": [axis]})
            data["intensity"] = COUNTS + index
            data[axis] = ANGLES * factor
            data[axis].attrs["units"] = unit
        source = entry.create_group("instrument/source")
        source["probe"] = probe
        source["k_alpha_one"], source["k_alpha_two"], source["ratio_k_alphatwo_k_alphaone"] = 1.540598, 1.544426, 0.5
        source["xray_tube_material"] = "Cu"
        entry["instrument/count_time"] = [39.27]
        entry["sample/name"] = "corundum"
    return buffer.getvalue()


def cif_of_rock_salt(*, edge: float = 5.6402) -> str:
    """A structure as CIF, without a pattern."""
    cell = "".join(f"_cell_length_{axis} {edge}\n" for axis in "abc")
    angles = "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
    loop = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    atoms = "Na 0 0 0\nCl 0.5 0.5 0.5\n"
    return f"data_NaCl\n{cell}{angles}_symmetry_space_group_name_H-M 'F m -3 m'\n{loop}{atoms}"


def two_scans(kind: str) -> bytes:  # noqa: PLR0911 - one a format
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
