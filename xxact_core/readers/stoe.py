"""Stoe RAW files (WinXPOW) → measured points."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    count_even_points,
    doublet_wavelength,
    note_scans,
    scan_metadata,
    select_scans,
)

VERSIONS = (b"RAW_1.05", b"RAW_1.06")
MAX_RANGES = 8
_RECORD = 512
_HEADER = struct.Struct("<32x80s196x2H10x2f30xH16xH100x8H")
"""Title, monochromator, anode, Kα1, Kα2, scan type, number of measured ranges, and the records of their headers.

Source: the layout in the source code of DASH (Cambridge Crystallographic Data Centre), which agrees with published
analyses of example files on the offsets of wavelengths, angles and counts.
"""

_RANGE = struct.Struct("<34xH2xH8f46xH")
"""Points, length of a count (0: 4 bytes, 1: 2 bytes), factor, first, last and step of 2θ and ω [deg], seconds per step,
and flags of later corrections."""

_ANODES = ("", "Ag", "Mo", "Cu", "Co", "Fe", "Cr")
_OMEGA_SCAN = 2
_SINGLE = (2, 6, 7, 8)
"""Germanium and gallium arsenide monochromators, which transmit Kα1 alone; motorised ones have a number 100 higher."""

_STRIPPED = 1 << 7


@dataclass(frozen=True)
class _Range:
    start: float
    step: float
    counts: np.ndarray
    seconds: float
    stripped: bool


def read_stoe_raw(data: bytes, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one range of a Stoe RAW file of version 1.05 or 1.06, or of all for `scan=None`.

    Raises:
        PatternError: another version, or a header without a range of angles (E_FORMAT), a scan over ω (E_AXIS), or a
            file that is cut off (E_TRUNCATED).
    """
    if not data.startswith(VERSIONS):
        msg = f"{name}: is a Stoe .raw file of version {shorten(data[4:8].decode('latin-1'))!r}; expected 1.05 or 1.06"
        raise PatternError(msg, code="E_FORMAT")
    _check_length(data, _RECORD, name=name)
    title, crystal, anode, alpha_1, alpha_2, kind, measured, *records = _HEADER.unpack_from(data)
    if kind == _OMEGA_SCAN:
        msg = f"{name}: the scan runs over ω; expected 2θ"
        raise PatternError(msg, code="E_AXIS")
    if not 0 < measured <= MAX_RANGES:
        msg = f"{name}: the Stoe header says that the file holds {measured} ranges; expected 1 to {MAX_RANGES}"
        raise PatternError(msg, code="E_FORMAT")
    points = []
    for index in select_scans(scan, count=measured, name=name):
        found = _read_range(data, records[index], name=name)
        ratio = 0.0 if found.stripped or crystal % 100 in _SINGLE else None
        metadata = scan_metadata(
            anode=_ANODES[anode] if anode < len(_ANODES) else None,
            alpha_2=alpha_2,
            ratio=ratio,
            seconds=found.seconds,
            sample=title.partition(b"\0")[0].decode("latin-1"),
            scans=measured,
        )
        points.append(
            MeasuredPoints(
                positions=found.start + found.step * np.arange(found.counts.size),
                intensity=found.counts,
                format="Stoe RAW",
                wavelength=doublet_wavelength(alpha_1, alpha_2, ratio=ratio),
                warnings=note_scans(scan, count=measured),
                metadata=metadata,
            )
        )
    return points


def _read_range(data: bytes, record: int, *, name: str) -> _Range:
    place = _RECORD * (record - 1)
    if place < _RECORD:
        msg = f"{name}: the header of a range is in record {record}; expected one after the first"
        raise PatternError(msg, code="E_FORMAT")
    _check_length(data, place + _RECORD, name=name)
    points, short, factor, start, _, stop, _, step, _, seconds, changed = _RANGE.unpack_from(data, place)
    start, stop, step = (float(str(np.float32(angle))) for angle in (start, stop, step))
    expected = count_even_points(start, step, stop, name=name)
    if abs(points - expected) > 1:  # the last angle is that of the last point, or of the next one
        msg = f"{name}: the Stoe header says {points} points, but {start:g}° to {stop:g}° in steps of {step:g}°"
        raise PatternError(msg, code="E_FORMAT")
    form = "<u2" if short else "<u4"
    place += _RECORD
    _check_length(data, place + points * np.dtype(form).itemsize, name=name)
    counts = np.frombuffer(data, dtype=form, count=points, offset=place).astype(np.float64)
    return _Range(start, step, counts / max(factor, 1.0), seconds, bool(changed & _STRIPPED))


def _check_length(data: bytes, length: int, *, name: str) -> None:
    if len(data) < length:
        msg = f"{name}: the Stoe file is cut off; expected {length} bytes, the file has {len(data)}"
        raise PatternError(msg, code="E_TRUNCATED")
