"""Bruker and Siemens RAW files → measured points: versions 1 and 2 here, 3 and 4 by geddes."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.geddes import read_by_geddes
from xxact_core.readers.points import MeasuredPoints, choose_scans, note_scans
from xxact_core.readers.scan_metadata import scan_facts
from xxact_core.readers.wavelengths import doublet_wavelength, wavelength_in_bruker_raw

MOST_RANGES = 4096
_RANGE_1 = struct.Struct("<I2fI4xf12x32s2f72xI")
"""Version 1, behind `RAW `: steps, seconds, step, mode, start, sample, Kα1, Kα2, further ranges."""

_HEADER_2 = struct.Struct("<4xH2x32s128x20s2s3f54x")
_RANGE_2 = struct.Struct("<2H4x3f")
_HEADER_3 = 712
_RANGE_3_LEAST = 260
_PSD_SCANS = (129, 130)
"""Scan types of version 3 with a position sensitive detector, fixed and moving: their axis is 2θ too.

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
    """Points of the chosen range of a Bruker or Siemens RAW file, or of all.

    Raises:
        PatternError: the file is cut off (E_TRUNCATED), or is no scan over 2θ (E_FORMAT).
    """
    if data.startswith(b"RAW "):
        return _read_version_1(data, name=name, scan=scan)
    if data.startswith(b"RAW2"):
        return _read_version_2(data, name=name, scan=scan)
    if data.startswith(b"RAW1.01"):
        data, facts = _prepare_version_3(data)
    else:
        facts = _facts_of_version_4(data)
    wavelength = wavelength_in_bruker_raw(data)
    if wavelength is None:
        facts.pop("kalpha2", None)  # a ratio of wavelengths that are not there
    count = int(facts.pop("scans", "1"))
    return [
        read_by_geddes(
            data,
            suffix="raw",
            name=name,
            label="Bruker RAW",
            wavelength=wavelength,
            scan=index,
            warnings=note_scans(scan, count=count),
            metadata=facts | {"scans": str(count)},
        )
        for index in choose_scans(scan, count=count, name=name)
    ]


def _read_version_1(data: bytes, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    """Ranges one after another; in old files only the first begins with `RAW `.

    Source: DIFFRAC-AT manual, appendix B, raw data file format, version 1.
    """
    ranges: list[_Range] = []
    alpha_1, alpha_2 = 0.0, 0.0
    place, following = 0, 1
    while following and len(ranges) < MOST_RANGES:
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
    for _ in range(min(count, MOST_RANGES)):
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
    chosen = choose_scans(scan, count=len(ranges), name=name)
    return [
        MeasuredPoints(
            positions=_written(found.start) + _written(found.step) * np.arange(found.counts.size),
            intensity=found.counts.astype(np.float64),
            format="Bruker RAW",
            wavelength=doublet_wavelength(alpha_1, alpha_2, ratio=ratio),
            warnings=note_scans(scan, count=len(ranges)),
            metadata=scan_facts(
                anode=anode,
                alpha_2=alpha_2,
                ratio=ratio,
                seconds=found.seconds,
                sample=found.sample.decode("latin-1"),
                scans=len(ranges),
            ),
        )
        for found in (ranges[index] for index in chosen)
    ]


def _written(value: float) -> float:
    """The decimal number that a single precision number was written for: 0.02 and not 0.0199999996."""
    return float(str(np.float32(value)))


def _unpack(layout: struct.Struct, data: bytes, place: int, *, name: str) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(data, place)
    except struct.error:
        msg = f"{name}: the Bruker RAW file is cut off; expected {layout.size} bytes of header at {place}"
        raise PatternError(msg, code="E_TRUNCATED") from None


def _counts(data: bytes, place: int, steps: int, *, name: str) -> np.ndarray:
    if place + 4 * steps > len(data):
        msg = f"{name}: the Bruker RAW file is cut off; its header says {steps} points, {len(data)} bytes are there"
        raise PatternError(msg, code="E_TRUNCATED")
    return np.frombuffer(data, dtype="<f4", count=steps, offset=place)


def _prepare_version_3(data: bytes) -> tuple[bytes, dict[str, str]]:
    """The file with its scans of position sensitive detectors called coupled scans, and what its header says."""
    if len(data) < _HEADER_3 + _RANGE_3_LEAST:
        return data, {}
    changed = bytearray(data)
    count = struct.unpack_from("<I", data, 12)[0]
    place = _HEADER_3
    seconds = struct.unpack_from("<f", data, place + 192)[0]
    for _ in range(min(count, MOST_RANGES)):
        if place + _RANGE_3_LEAST > len(data):
            break
        length, points = struct.unpack_from("<2I", data, place)
        if struct.unpack_from("<I", data, place + 196)[0] in _PSD_SCANS:
            struct.pack_into("<I", changed, place + 196, 0)
        stride, extra = struct.unpack_from("<2I", data, place + 252)
        place += length + extra + points * stride
    facts = scan_facts(
        anode=data[608:612].decode("latin-1"),
        ratio=struct.unpack_from("<d", data, 648)[0],
        seconds=seconds,
        sample=data[326:386].decode("latin-1"),
        scans=count,
    )
    return bytes(changed), facts


def _facts_of_version_4(data: bytes) -> dict[str, str]:
    """What the segments before the first range say: anode, ratio of Kα2, sample, seconds a step.

    Source: as read from files beside their exports: segments of type and length (uint32) from byte 61 on, 30 the tube,
    10 a named text, 0 or 160 a range.
    """
    anode, sample, ratio, seconds = "", "", None, None
    place, ranges = 61, 0
    while place + 160 <= len(data) and ranges < MOST_RANGES:
        kind, length = struct.unpack_from("<2I", data, place)
        if kind in {0, 160}:
            if not ranges:
                seconds = struct.unpack_from("<f", data, place + 92)[0]
            points = struct.unpack_from("<I", data, place + 88)[0]
            stride, extra = struct.unpack_from("<2I", data, place + 136)
            place += 160 + extra + points * stride
            ranges += 1
            continue
        if length < 8:  # noqa: PLR2004 - type and length themselves
            break
        if kind == 30 and length >= 120:  # noqa: PLR2004 - the tube
            ratio = struct.unpack_from("<d", data, place + 104)[0]
            anode = data[place + 116 : place + 120].decode("latin-1")
        elif kind == 10 and length > 36 and re.match(rb"SAMPLE", data[place + 12 : place + 36]):  # noqa: PLR2004 - text
            sample = data[place + 36 : place + length].decode("latin-1")
        place += length
    return scan_facts(anode=anode, ratio=ratio, seconds=seconds, sample=shorten(sample), scans=max(1, ranges))
