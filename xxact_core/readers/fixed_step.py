"""Texts of intensities at even steps that a header gives (FullProf, MAUD, Sietronics, JADE ...) → measured points."""

from __future__ import annotations

import re

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.readers.content import NUMBER, parse_counts
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    count_even_points,
    plausible_wavelength,
    refuse_neutrons,
    scan_metadata,
    select_scans,
    wavelength_in_text,
)

_HEADER_LINES = 12
_TRIPLE = re.compile(rf"[ \t]*({NUMBER})[\s,]+({NUMBER})[\s,]+({NUMBER})(?=[\s,]|$)(.*)")
_PLAIN = re.compile(r"[0-9+\-.eE,\s]*")
_WIDEST_STEP = 1.0
_SIETRONICS = "SIETRONICS XRD SCAN"
_MAUD_LINES = 38
"""Lines of a text .raw file before its counts: among them anode (13), wavelengths (19-22), start, step and points."""


def read_even_steps(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints] | None:
    """Points of a text whose header gives the angles, or None if it has none of the layouts known here.

    FullProf free format (also written by LHPM and RIET7): titles, a line `start step stop`, counts. MAUD: a title, a
    line `points step start wavelength 1`, counts. Text .raw: 38 lines, counts. Sietronics .cpi and JADE .mdi. A layout
    is recognised only where the number of counts is that of its header, or smaller; `read` looks at the header first.

    Raises:
        PatternError: fewer counts than the header says (E_TRUNCATED), something else among them (E_VALUES), neutrons
            (E_RADIATION).
    """
    lines = text.split("\n")
    found = (
        _read_text_raw(lines, name=name)
        or _read_sietronics(text, name=name)
        or _read_maud(lines, name=name)
        or _read_mdi(lines, name=name)
        or _read_free_format(lines, name=name)
    )
    if found is None:
        return None
    select_scans(scan, count=1, name=name)
    refuse_neutrons("\n".join(lines[:60]), name=name)
    return [found]


def _points(
    start: float,
    step: float,
    counts: np.ndarray,
    *,
    layout: str,
    wavelength: float | None,
    metadata: dict[str, str],
) -> MeasuredPoints:
    return MeasuredPoints(
        positions=start + step * np.arange(counts.size),
        intensity=counts,
        format=layout,
        wavelength=wavelength,
        metadata=metadata,
    )


def _read_free_format(lines: list[str], *, name: str) -> MeasuredPoints | None:
    """Source: FullProf manual, INSTRM = 0; LHPM and RIET7 begin with the same three numbers."""
    for index, line in enumerate(lines[:_HEADER_LINES]):
        found = _TRIPLE.match(line)
        if found is None:
            continue
        start, step, stop = (float(found[group]) for group in (1, 2, 3))
        if not (-90 <= start < stop <= 180 and 0 < step <= _WIDEST_STEP and stop - start > 9 * step):  # noqa: PLR2004 - 2θ, ten points
            return None
        body = "\n".join(lines[index + 1 :])
        points = count_even_points(start, step, stop, name=name)
        following = [later for later in lines[index + 1 : index + 30] if later.strip()][:3]
        widths = {len(later.replace(",", " ").split()) for later in following}
        table = widths == {len(line.replace(",", " ").split())} or widths <= {1, 2, 3, 4}
        if not _PLAIN.fullmatch(body) or (table and len(body.replace(",", " ").split()) != points):
            return None
        header = "\n".join([*lines[:index], found[4]])
        counts = parse_counts(body, points=points, name=name)
        metadata = scan_metadata(sample=next((title for title in (*lines[:index], found[4]) if title.strip()), None))
        return _points(
            start, step, counts, layout="FullProf free format", wavelength=wavelength_in_text(header), metadata=metadata
        )
    return None


def _read_maud(lines: list[str], *, name: str) -> MeasuredPoints | None:
    """Source: example files of MAUD (title; points, step, start, wavelength, 1; one count per line)."""
    fields = lines[1].split() if len(lines) > 1 else []
    if len(fields) != 5 or not all(re.fullmatch(NUMBER, field) for field in fields) or not fields[0].isdecimal():  # noqa: PLR2004 - the five
        return None
    points, (step, start, length) = int(fields[0]), (float(field) for field in fields[1:4])
    in_range = 0 < step <= _WIDEST_STEP and 0 <= start < start + step * (points - 1) <= 180  # noqa: PLR2004 - 2θ
    if not in_range or len(lines) < 3 or len(lines[2].split()) != 1:  # noqa: PLR2004 - title, header, one count
        return None
    counts = parse_counts("\n".join(lines[2 : 2 + points]), points=points, name=name)
    metadata = scan_metadata(sample=lines[0])
    return _points(start, step, counts, layout="MAUD", wavelength=plausible_wavelength(length), metadata=metadata)


def _read_mdi(lines: list[str], *, name: str) -> MeasuredPoints | None:
    """Source: .mdi files as JADE writes them (title; start, step, seconds, anode, wavelength, stop, points; counts)."""
    fields = lines[1].split() if len(lines) > 1 else []
    if len(fields) != 7 or not fields[3].isalpha() or not fields[6].isdecimal():  # noqa: PLR2004 - the seven
        return None
    if not all(re.fullmatch(NUMBER, field) for field in (*fields[:3], *fields[4:6])):
        return None
    start, step, seconds, length, stop = (float(field) for field in (*fields[:3], *fields[4:6]))
    counts = parse_counts("\n".join(lines[2:]), points=count_even_points(start, step, stop, name=name), name=name)
    metadata = scan_metadata(anode=fields[3], seconds=seconds, sample=lines[0])
    return _points(start, step, counts, layout="JADE MDI", wavelength=plausible_wavelength(length), metadata=metadata)


def _read_text_raw(lines: list[str], *, name: str) -> MeasuredPoints | None:
    """Source: example files of MAUD, whose header names anode, mean wavelength, Kα1 and Kα2, start, step, points."""
    if lines[0].strip() != ".RAW" or len(lines) < _MAUD_LINES:
        return None
    try:
        mean, _, alpha_2 = (float(line) for line in lines[18:21])
        start, step, points = float(lines[22]), float(lines[23]), int(lines[24].split()[0])
    except (ValueError, IndexError):
        msg = f"{name}: a text .raw file without start, step and number of points in lines 23-25"
        raise PatternError(msg, code="E_FORMAT") from None
    count_even_points(start, step, start + step * (points - 1), name=name)
    counts = parse_counts("\n".join(lines[_MAUD_LINES:]), points=points, name=name)
    metadata = scan_metadata(anode=lines[12], alpha_2=alpha_2, sample=lines[3].strip("\0 "))
    return _points(start, step, counts, layout="text RAW", wavelength=plausible_wavelength(mean), metadata=metadata)


def _read_sietronics(text: str, *, name: str) -> MeasuredPoints | None:
    """Source: layout of Sieray .cpi files as xylib reads them."""
    if not text.startswith(_SIETRONICS):
        return None
    header, _, body = text.partition("SCANDATA")
    lines = [line.strip() for line in header.split("\n")]
    try:
        start, stop, step, length = float(lines[1]), float(lines[2]), float(lines[3]), float(lines[5])
    except (ValueError, IndexError):
        msg = f"{name}: a Sietronics file without start, stop and step in lines 2-4"
        raise PatternError(msg, code="E_FORMAT") from None
    counts = parse_counts(body, points=count_even_points(start, step, stop, name=name), name=name)
    metadata = scan_metadata(anode=lines[4])
    return _points(
        start, step, counts, layout="Sietronics CPI", wavelength=plausible_wavelength(length), metadata=metadata
    )
