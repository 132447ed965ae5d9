"""Files that geddes knows → measured points; its errors become ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.points import MeasuredPoints

_CUT_OFF = re.compile(r"truncat|unexpected end|eof|too short|incomplete", re.IGNORECASE)
_OTHER_AXIS = re.compile(r"2theta (?:axis|scan)|not 2theta", re.IGNORECASE)


def read_by_geddes(
    data: bytes,
    *,
    suffix: str,
    name: str,
    label: str,
    wavelength: float | None,
    scan: int,
    warnings: tuple[str, ...],
    metadata: Mapping[str, str],
) -> MeasuredPoints:
    """Points of one scan, counted from 0, of a file in the format of `suffix`, with what is known of it already.

    Raises:
        PatternError: the file is cut off (E_TRUNCATED), runs over another axis (E_AXIS) or is not what it seems
            (E_FORMAT).
    """
    import geddes  # noqa: PLC0415 - text files do without the vendor reader

    try:
        pattern = geddes.read_bytes(data, f"pattern.{suffix}", index=scan)
    except ValueError as error:
        found = str(error)
        code = "E_TRUNCATED" if _CUT_OFF.search(found) else "E_AXIS" if _OTHER_AXIS.search(found) else "E_FORMAT"
        msg = f"{name}: not readable as {label} ({shorten(found.removeprefix('Parse error: '))})"
        raise PatternError(msg, code=code) from None
    return MeasuredPoints(
        positions=np.array(pattern.x, dtype=np.float64),
        intensity=np.array(pattern.y, dtype=np.float64),
        format=label,
        wavelength=wavelength,
        warnings=warnings,
        metadata=metadata,
    )
