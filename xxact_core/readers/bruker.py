"""Bruker and Siemens files: RAW (versions 1 and 2 parsed here, 3 and 4 by geddes), BRML and UXD → measured points."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import WAVELENGTHS
from xxact_core.readers.content import (
    member_to_xml,
    pack_members,
    parse_number,
    xml_attribute,
    xml_content,
    xml_element,
)
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    anode_in_text,
    check_points,
    doublet_wavelength,
    note_scans,
    plausible_wavelength,
    read_with_geddes,
    refuse_neutrons,
    scan_metadata,
    select_scans,
    wavelength_in_text,
    weighted_mean,
)

MAX_RANGES = 4096
_RANGE_1 = struct.Struct("<I2fI4xf12x32s2f72xI")
"""Version 1, behind `RAW `: steps, seconds, step, mode, start, sample, Kα1, Kα2, further ranges."""

_HEADER_2 = struct.Struct("<4xH2x32s128x20s2s3f54x")
_RANGE_2 = struct.Struct("<2H4x3f")
_HEADER_3 = 712
_RANGE_3_MIN = 260
_HEADER_BYTES = 4096
_TRIPLE = struct.Struct("<3d")
_PSD_SCANS = (129, 130)
"""Scan types of version 3 with a position-sensitive detector, fixed and moving: their axis is 2θ, too.

Source: DIFFRAC plus XCH user's manual, appendix A (structure of RAW files, version 3).
"""


@dataclass(frozen=True)
class _Range:
    start: float
    step: float
    counts: np.ndarray
    seconds: float
    sample: bytes


def read_bruker_raw(data: bytes, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one range of a Bruker or Siemens RAW file, or of all for `scan=None`.

    Raises:
        PatternError: the file is cut off (E_TRUNCATED), or is not a scan over 2θ (E_AXIS, E_FORMAT).
    """
    if data.startswith(b"RAW "):
        return _read_version_1(data, name=name, scan=scan)
    if data.startswith(b"RAW2"):
        return _read_version_2(data, name=name, scan=scan)
    if data.startswith(b"RAW1.01"):
        data, metadata = _prepare_version_3(data)
    else:
        metadata = _metadata_of_version_4(data)
    steps = [float(step) for step in metadata.pop("steps", "").split()]
    wavelength = _wavelength_of_raw(data)
    if wavelength is None:
        metadata.pop("kalpha2", None)  # a ratio of wavelengths that are not stated
    count = int(metadata.pop("scans", "1"))
    return [
        read_with_geddes(
            data,
            suffix="raw",
            name=name,
            label="Bruker RAW",
            wavelength=wavelength,
            scan=index,
            warnings=note_scans(scan, count=count),
            metadata=metadata | {"scans": str(count)},
            decreasing=index < len(steps) and steps[index] < 0,
        )
        for index in select_scans(scan, count=count, name=name)
    ]


def _read_version_1(data: bytes, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    """Ranges one after another; in old files only the first begins with `RAW `.

    Source: DIFFRAC-AT manual, appendix B, raw data file format, version 1.
    """
    ranges: list[_Range] = []
    alpha_1, alpha_2 = 0.0, 0.0
    place, following = 0, 1
    while following and len(ranges) < MAX_RANGES:
        place += 4 * data.startswith(b"RAW ", place)
        steps, seconds, step, _, start, sample, alpha_1, alpha_2, following = _unpack(_RANGE_1, data, place, name=name)
        place += _RANGE_1.size
        ranges.append(_Range(start, step, _counts(data, place, steps, name=name), seconds, sample))
        place += 4 * steps
    return _ranges_to_points(ranges, alpha_1, alpha_2, ratio=None, anode="", name=name, scan=scan)


def _read_version_2(data: bytes, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    """A header of 256 bytes, then ranges.

    Source: DIFFRAC-AT manual, appendix B, raw data file format, version 2.
    """
    count, sample, _, anode, alpha_1, alpha_2, ratio = _unpack(_HEADER_2, data, 0, name=name)
    place = _HEADER_2.size
    ranges: list[_Range] = []
    for _ in range(min(count, MAX_RANGES)):
        length, steps, seconds, step, start = _unpack(_RANGE_2, data, place, name=name)
        counts = _counts(data, place + length, steps, name=name)
        ranges.append(_Range(start, step, counts, seconds, sample))
        place += length + 4 * steps
    text = anode.decode("latin-1").strip("\0 ")
    return _ranges_to_points(ranges, alpha_1, alpha_2, ratio=ratio, anode=text, name=name, scan=scan)


def _ranges_to_points(
    ranges: list[_Range],
    alpha_1: float,
    alpha_2: float,
    *,
    ratio: float | None,
    anode: str,
    name: str,
    scan: int | None,
) -> list[MeasuredPoints]:
    return [
        MeasuredPoints(
            positions=_to_decimal(found.start) + _to_decimal(found.step) * np.arange(found.counts.size),
            intensity=found.counts.astype(np.float64),
            format="Bruker RAW",
            wavelength=doublet_wavelength(alpha_1, alpha_2, ratio=ratio),
            warnings=note_scans(scan, count=len(ranges)),
            metadata=scan_metadata(
                anode=anode,
                alpha_2=alpha_2,
                ratio=ratio,
                seconds=found.seconds,
                sample=found.sample.decode("latin-1"),
                scans=len(ranges),
            ),
        )
        for found in (ranges[index] for index in select_scans(scan, count=len(ranges), name=name))
    ]


def _to_decimal(value: float) -> float:
    """The shortest decimal number of a single-precision number: 0.02, not 0.0199999996."""
    return float(str(np.float32(value)))


def _unpack(layout: struct.Struct, data: bytes, place: int, *, name: str) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(data, place)
    except struct.error:
        msg = f"{name}: the Bruker RAW file is cut off; expected {layout.size} bytes of header at {place}"
        raise PatternError(msg, code="E_TRUNCATED") from None


def _counts(data: bytes, place: int, steps: int, *, name: str) -> np.ndarray:
    if place + 4 * steps > len(data):
        msg = f"{name}: the Bruker RAW file is cut off; its header says {steps} points, the file has {len(data)} bytes"
        raise PatternError(msg, code="E_TRUNCATED")
    return np.frombuffer(data, dtype="<f4", count=steps, offset=place)


def _prepare_version_3(data: bytes) -> tuple[bytes, dict[str, str]]:
    """The file with scans of position-sensitive detectors marked as coupled scans, and the metadata of its header.

    The metadata have the step of each range [deg], too, as `steps`.
    """
    if len(data) < _HEADER_3 + _RANGE_3_MIN:
        return data, {}
    changed = bytearray(data)
    count = struct.unpack_from("<I", data, 12)[0]
    place = _HEADER_3
    seconds = struct.unpack_from("<f", data, place + 192)[0]
    steps = []
    for _ in range(min(count, MAX_RANGES)):
        if place + _RANGE_3_MIN > len(data):
            break
        length, points = struct.unpack_from("<2I", data, place)
        steps.append(struct.unpack_from("<d", data, place + 176)[0])
        if struct.unpack_from("<I", data, place + 196)[0] in _PSD_SCANS:
            struct.pack_into("<I", changed, place + 196, 0)
        stride, extra = struct.unpack_from("<2I", data, place + 252)
        place += length + extra + points * stride
    metadata = scan_metadata(
        anode=data[608:612].decode("latin-1"),
        ratio=struct.unpack_from("<d", data, 648)[0],
        seconds=seconds,
        sample=data[326:386].decode("latin-1"),
        scans=count,
    )
    return bytes(changed), metadata | {"steps": " ".join(map(repr, steps))}


def _metadata_of_version_4(data: bytes) -> dict[str, str]:
    """Metadata in the segments before the first range: anode, ratio of Kα2, sample, seconds per step.

    They have the step of each range [deg], too, as `steps`.

    Source: comparison of files with their text exports: segments of type and length (uint32) from byte 61 on; type 30
    is the tube, 10 a named text, 0 or 160 a range.
    """
    anode, sample, ratio, seconds = "", "", None, None
    place, steps = 61, list[float]()
    while place + 160 <= len(data) and len(steps) < MAX_RANGES:
        kind, length = struct.unpack_from("<2I", data, place)
        if kind in {0, 160}:
            if not steps:
                seconds = struct.unpack_from("<f", data, place + 92)[0]
            points = struct.unpack_from("<I", data, place + 88)[0]
            stride, extra = struct.unpack_from("<2I", data, place + 136)
            steps.append(struct.unpack_from("<d", data, place + 80)[0])
            place += 160 + extra + points * stride
            continue
        if length < 8:  # noqa: PLR2004 - type and length themselves
            break
        if kind == 30 and length >= 120:  # noqa: PLR2004 - the tube
            ratio = struct.unpack_from("<d", data, place + 104)[0]
            anode = data[place + 116 : place + 120].decode("latin-1")
        elif kind == 10 and length > 36 and re.match(rb"SAMPLE", data[place + 12 : place + 36]):  # noqa: PLR2004 - text
            sample = data[place + 36 : place + length].decode("latin-1")
        place += length
    metadata = scan_metadata(
        anode=anode, ratio=ratio, seconds=seconds, sample=shorten(sample), scans=max(1, len(steps))
    )
    return metadata | {"steps": " ".join(map(repr, steps))}


def _wavelength_of_raw(data: bytes) -> float | None:
    """Wavelength [Å] in the header of a RAW file of version 3 or 4.

    The header holds the doubles (mean, Kα1, Kα2) one after another, at a different offset in each version; they are
    recognised by their values: a Kα1 of a known anode, and the 2:1 mean of the two.
    """
    firsts = [value for name, value in WAVELENGTHS.items() if name.endswith("Ka1")]
    for offset in range(min(len(data), _HEADER_BYTES) - _TRIPLE.size):
        mean, alpha_1, alpha_2 = _TRIPLE.unpack_from(data, offset)
        if alpha_1 < mean < alpha_2 and any(abs(alpha_1 - first) < 1e-3 for first in firsts):  # noqa: PLR2004 - Å
            return mean if abs(mean - weighted_mean(alpha_1, alpha_2)) < 2e-4 else None  # noqa: PLR2004 - Å
    return None


# ---------------------------------------------------------------------------------------------------------------- BRML
def read_brml(members: dict[str, bytes], *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one scan of the members of a Bruker BRML file, or of all for `scan=None`.

    geddes reads one scan at a time, from an archive of its members alone.

    Raises:
        PatternError: a listed member is missing (E_TRUNCATED), an XML has a document type (E_XML), or geddes cannot
            read the scan (E_FORMAT, E_AXIS).
    """
    manifest = next(member for member in members if member.endswith("DataContainer.xml"))
    listed = xml_content(member_to_xml(members, manifest, name=name), "RawDataReferenceList") or ""
    files = [file for found in re.findall(r">([^<>]+)<", listed) if (file := found.strip())]
    points = []
    for index in select_scans(scan, count=len(files), name=name):
        if files[index] not in members:
            msg = f"{name}: the listed member {shorten(files[index], limit=60)!r} is missing"
            raise PatternError(msg, code="E_TRUNCATED")
        raw = member_to_xml(members, files[index], name=name)
        listing = f"<RawDataReferenceList><string>{files[index]}</string></RawDataReferenceList>"
        single = f"<DataContainer>{listing}</DataContainer>"
        points.append(
            read_with_geddes(
                pack_members({manifest: single.encode(), files[index]: members[files[index]]}),
                suffix="brml",
                name=name,
                label="BRML",
                wavelength=_wavelength_of_brml(raw),
                scan=0,
                warnings=note_scans(scan, count=len(files)),
                metadata=_metadata_of_brml(raw, scans=len(files)),
            )
        )
    return points


def _wavelength_of_brml(raw: str) -> float | None:
    """Wavelength [Å] of a raw-data member; None where it states several."""
    averages = set(re.findall(r'<WaveLengthAverage\b[^<>]{0,4000}?Value="([0-9.]+)"', raw))
    return plausible_wavelength(parse_number(averages.pop())) if len(averages) == 1 else None


def _metadata_of_brml(raw: str, *, scans: int) -> dict[str, str]:
    sample = re.search(r'<InfoItem\b[^<>]{0,4000}?Name="SampleName"[^<>]{0,4000}?Value="([^"]*)"', raw)
    return scan_metadata(
        anode=xml_element(raw, "TubeMaterial"),
        alpha_2=parse_number(xml_attribute(raw, "Value", element="WaveLengthAlpha2")),
        axis=xml_attribute(raw, "VisibleName", element="ScanAxisInfo"),
        seconds=xml_element(raw, "TimePerStep"),
        sample=sample[1] if sample else None,
        scans=scans,
    )


# ----------------------------------------------------------------------------------------------------------------- UXD
_UXD_SCAN = re.compile(r"^_(?:2THETA)?(?:COUNTS|CPS)\b", re.MULTILINE)


def read_uxd(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one range of a Bruker UXD file, or of all for `scan=None`.

    Raises:
        PatternError: neutrons (E_RADIATION), or geddes cannot read the file (E_FORMAT, E_TRUNCATED).
    """
    header = text[:10_000]
    refuse_neutrons(header, name=name)
    scans = max(1, len(_UXD_SCAN.findall(text)))
    stated = [int(count) for count in re.findall(r"^_STEPCOUNT[ \t]*=[ \t]*([0-9]{1,7})", text, re.MULTILINE)]
    signs = re.findall(r"^_STEPSIZE[ \t]*=[ \t]*(-?)[0-9.]", text, re.MULTILINE)
    metadata = scan_metadata(
        anode=_uxd_value(header, "ANODE", "[A-Za-z]+") or anode_in_text(header),
        ratio=parse_number(_uxd_value(header, "WLRATIO", "[0-9.]+")),
        seconds=_uxd_value(header, "STEPTIME", "[0-9.]+"),
        sample=_uxd_value(header, "SAMPLE", r"[^'\n]*"),
        scans=scans,
    )
    points = [
        read_with_geddes(
            text.encode(),
            suffix="uxd",
            name=name,
            label="UXD",
            wavelength=wavelength_in_text(header),
            scan=index,
            warnings=note_scans(scan, count=scans),
            metadata=metadata,
            decreasing=bool(signs) and signs[min(index, len(signs) - 1)] == "-",
        )
        for index in select_scans(scan, count=scans, name=name)
    ]
    if len(stated) == scans:
        for index, one in zip(select_scans(scan, count=scans, name=name), points, strict=True):
            check_points(one.positions.size, stated=stated[index], name=f"{name}, range {index}", where="_STEPCOUNT")
    return points


def _uxd_value(header: str, key: str, value: str) -> str | None:
    """Text of the first `_KEY = value` line whose value begins with the regular expression `value`."""
    match = re.search(rf"^_{key}[ \t]*=[ \t]*'?({value})", header, re.MULTILINE)
    return match[1] if match else None
