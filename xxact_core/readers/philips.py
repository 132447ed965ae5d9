"""Philips files (.rd and .sd in binary, .udf in text) → measured points."""

from __future__ import annotations

import re
import struct

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.content import parse_counts, parse_number
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    count_even_points,
    doublet_wavelength,
    scan_metadata,
    select_scans,
)

_DATA_START = {b"V3RD": 250, b"V5RD": 810}
_ANODES = ("Cu", "Mo", "Fe", "Cr")
_ANODE_AT, _WAVELENGTHS_AT, _SAMPLE_AT, _RANGE_AT = 85, 94, 146, 214
"""Offsets in the header of .rd files: anode (a byte), Kα1, Kα2 and their ratio, sample, and step, start, stop.

Source: the layout as xylib and PyXRD read it; counts are stored as ten times their square root, in 16 bits.
"""


def read_philips_rd(data: bytes, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of a Philips .rd (version 3) or .sd (version 5) file; counts = v²/100.

    The limits in the header are the edges of the first and last step, so that the first point is half a step inside, as
    PyXRD reads them; in files with one value more they are the first and last point, as xylib reads them.

    Raises:
        PatternError: the file is cut off (E_TRUNCATED) or its header gives no range of angles (E_FORMAT).
    """
    select_scans(scan, count=1, name=name)
    begin = _DATA_START[data[:4]]
    if len(data) < begin:
        msg = f"{name}: the Philips file is cut off; expected a header of {begin} bytes, the file has {len(data)}"
        raise PatternError(msg, code="E_TRUNCATED")
    step, start, stop = struct.unpack_from("<3d", data, _RANGE_AT)
    points = count_even_points(start, step, stop, name=name)
    if len(data) != begin + 2 * points:  # the limits are the edges of the first and last step
        points, start = points - 1, start + step / 2
    if begin + 2 * points > len(data):
        msg = f"{name}: the Philips file is cut off; its header says {points} points, the file has {len(data)} bytes"
        raise PatternError(msg, code="E_TRUNCATED")
    packed = np.frombuffer(data, dtype="<u2", count=points, offset=begin).astype(np.float64)
    alpha_1, alpha_2, ratio = struct.unpack_from("<3d", data, _WAVELENGTHS_AT)
    anode = data[_ANODE_AT]
    return [
        MeasuredPoints(
            positions=start + step * np.arange(points),
            intensity=packed**2 / 100,
            format="Philips RD",
            wavelength=doublet_wavelength(alpha_1, alpha_2, ratio=ratio),
            metadata=scan_metadata(
                anode=_ANODES[anode] if anode < len(_ANODES) else None,
                alpha_2=alpha_2,
                ratio=ratio,
                sample=data[_SAMPLE_AT : _SAMPLE_AT + 16].decode("latin-1"),
            ),
        )
    ]


def read_philips_udf(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of a Philips .udf file: lines `key, value,/`, then `RawScan` and the counts.

    Raises:
        PatternError: no range of angles (E_FORMAT), fewer counts than the header says (E_TRUNCATED), or a count that is
            not a number (E_VALUES).
    """
    select_scans(scan, count=1, name=name)
    header, begun, body = text.partition("RawScan")
    keys = dict(re.findall(r"^(\w+)[ \t]*,([^\n]*?),?[ \t]*/?[ \t]*$", header, re.MULTILINE))
    limits = [parse_number(part) for part in keys.get("DataAngleRange", "").split(",")]
    step = parse_number(keys.get("ScanStepSize", ""))
    if not begun or len(limits) != 2 or None in limits or step is None:  # noqa: PLR2004 - start and stop
        msg = f"{name}: the UDF file has no range of angles; expected DataAngleRange, ScanStepSize and RawScan"
        raise PatternError(msg, code="E_FORMAT")
    start, stop = (limit or 0.0 for limit in limits)
    points = count_even_points(start, step, stop, name=name)
    counts = parse_counts(body.partition("/")[0], points=points, name=name)
    alpha_1, alpha_2, ratio = (
        parse_number(keys.get(key, "")) for key in ("LabdaAlpha1", "LabdaAlpha2", "RatioAlpha21")
    )
    return [
        MeasuredPoints(
            positions=start + step * np.arange(points),
            intensity=counts,
            format="Philips UDF",
            wavelength=doublet_wavelength(alpha_1, alpha_2, ratio=ratio),
            metadata=scan_metadata(
                anode=keys.get("Anode"),
                alpha_2=alpha_2,
                ratio=ratio,
                seconds=keys.get("ScanStepTime"),
                sample=shorten(keys.get("SampleIdent", "")),
            ),
        )
    ]
