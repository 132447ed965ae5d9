"""Texts that list intensities alone, at even steps that their header gives → measured points."""

from __future__ import annotations

import math
import re

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.points import MeasuredPoints, choose_scans
from xxact_core.readers.scan_metadata import scan_facts
from xxact_core.readers.wavelengths import doublet_wavelength, refuse_neutrons, wavelength_in_text

MOST_POINTS = 500_000
_HEADER_LINES = 12
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_TRIPLE = re.compile(rf"\s*({_NUMBER})[\s,]+({_NUMBER})[\s,]+({_NUMBER})(?=[\s,]|$)(.*)")
_PLAIN = re.compile(r"[0-9+\-.eE,\s]*")
_WIDEST_STEP = 1.0
_SIETRONICS = "SIETRONICS XRD SCAN"
_MAUD_LINES = 38
"""Lines of a text .raw file before its counts: among them anode (13), wavelengths (19-22), start, step and points."""


def even_points(start: float, step: float, stop: float, *, name: str) -> int:
    """How many points there are from `start` to `stop` [deg] in steps of `step` [deg].

    Raises:
        PatternError: the three are no range of angles (E_FORMAT).
    """
    if not (all(map(math.isfinite, (start, step, stop))) and step > 0 and 0 <= start < stop <= 180):  # noqa: PLR2004 - 2θ
        msg = f"{name}: the header gives {start:g}° to {stop:g}° in steps of {step:g}°; expected a range within 0-180°"
        raise PatternError(msg, code="E_FORMAT")
    points = round((stop - start) / step) + 1
    if points > MOST_POINTS:
        msg = f"{name}: the header gives {points} points; expected at most {MOST_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    return points


def read_numbers(body: str, *, points: int, name: str) -> np.ndarray:
    """The numbers of a text, parted by blanks or commas, shape (points,).

    Raises:
        PatternError: something else than a number stands there (E_VALUES), or there are not `points` (E_TRUNCATED where
            there are fewer, E_FORMAT where there are more).
    """
    fields = body.replace(",", " ").split()
    for index, field in enumerate(fields):
        if re.fullmatch(_NUMBER, field) is None:
            msg = f"{name}, count {index + 1}: {shorten(field, limit=40)!r} is no number"
            raise PatternError(msg, code="E_VALUES")
    if len(fields) != points:
        code = "E_TRUNCATED" if len(fields) < points else "E_FORMAT"
        msg = f"{name}: holds {len(fields)} counts; its header says {points}"
        raise PatternError(msg, code=code)
    return np.array(fields, dtype=np.float64)


def read_even_steps(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints] | None:
    """Points of a text whose header gives the angles, or None where it is none of the layouts known here.

    FullProf free format, and the like of LHPM and RIET7: titles, a line `start step stop`, counts. MAUD: a title, a
    line `points step start wavelength 1`, counts. Text .raw: 38 lines, counts. Rigaku .asc: lines `*KEY = value`.
    Sietronics .cpi and JADE .mdi. A layout is taken for one only where as many counts follow as its header
    says, or fewer.

    Raises:
        PatternError: fewer counts than the header says (E_TRUNCATED), something else among them (E_VALUES), neutrons
            (E_RADIATION).
    """
    lines = text.split("\n")
    beginning = "\n".join(lines[:60])
    if re.search(r"^\*START\s*=", beginning, re.MULTILINE):
        points = _read_rigaku(text, name=name, scan=scan)
    else:
        found = (
            _read_text_raw(lines, name=name)
            or _read_sietronics(text, name=name)
            or _read_maud(lines, name=name)
            or _read_mdi(lines, name=name)
            or _read_free_format(lines, name=name)
        )
        if found is None:
            return None
        choose_scans(scan, count=1, name=name)
        points = [found]
    refuse_neutrons(beginning, name=name)
    return points


def _points(
    start: float,
    step: float,
    counts: np.ndarray,
    *,
    form: str,
    wavelength: float | None = None,
    facts: dict[str, str] | None = None,
) -> MeasuredPoints:
    return MeasuredPoints(
        positions=start + step * np.arange(counts.size),
        intensity=counts,
        format=form,
        wavelength=wavelength,
        metadata=scan_facts() if facts is None else facts,
    )


def _read_free_format(lines: list[str], *, name: str) -> MeasuredPoints | None:
    """Source: FullProf manual, INSTRM = 0; LHPM and RIET7 write the same three numbers in front."""
    for index, line in enumerate(lines[:_HEADER_LINES]):
        found = _TRIPLE.match(line)
        if found is None:
            continue
        start, step, stop = (float(found[group]) for group in (1, 2, 3))
        if not (0 <= start < stop <= 180 and 0 < step <= _WIDEST_STEP and stop - start > 9 * step):  # noqa: PLR2004 - 2θ, ten points
            return None
        body = "\n".join(lines[index + 1 :])
        points = even_points(start, step, stop, name=name)
        width = len(lines[index + 1].split()) if index + 1 < len(lines) else 0
        if not _PLAIN.fullmatch(body) or (len(body.split()) != points and width <= 4):  # noqa: PLR2004 - a table's rows
            return None
        header = "\n".join([*lines[:index], found[4]])
        counts = read_numbers(body, points=points, name=name)
        facts = scan_facts(sample=next((title for title in (*lines[:index], found[4]) if title.strip()), None))
        return _points(
            start, step, counts, form="FullProf free format", wavelength=wavelength_in_text(header), facts=facts
        )
    return None


def _read_maud(lines: list[str], *, name: str) -> MeasuredPoints | None:
    """Source: example files of MAUD (title; points, step, start, wavelength, 1; a count a line)."""
    fields = lines[1].split() if len(lines) > 1 else []
    if len(fields) != 5 or not all(re.fullmatch(_NUMBER, field) for field in fields) or not fields[0].isdecimal():  # noqa: PLR2004 - the five
        return None
    points, (step, start, length) = int(fields[0]), (float(field) for field in fields[1:4])
    in_range = 0 < step <= _WIDEST_STEP and 0 <= start < start + step * (points - 1) <= 180  # noqa: PLR2004 - 2θ
    if not in_range or len(lines) < 3 or len(lines[2].split()) != 1:  # noqa: PLR2004 - title, header, one count
        return None
    counts = read_numbers("\n".join(lines[2 : 2 + points]), points=points, name=name)
    facts = scan_facts(sample=lines[0])
    return _points(start, step, counts, form="MAUD", wavelength=doublet_wavelength(length, None), facts=facts)


def _read_mdi(lines: list[str], *, name: str) -> MeasuredPoints | None:
    """Source: .mdi files as JADE writes them (title; start, step, seconds, anode, wavelength, stop, points; counts)."""
    fields = lines[1].split() if len(lines) > 1 else []
    if len(fields) != 7 or not fields[3].isalpha() or not fields[6].isdecimal():  # noqa: PLR2004 - the seven
        return None
    if not all(re.fullmatch(_NUMBER, field) for field in (*fields[:3], *fields[4:6])):
        return None
    start, step, seconds, length, stop = (float(field) for field in (*fields[:3], *fields[4:6]))
    counts = read_numbers("\n".join(lines[2:]), points=even_points(start, step, stop, name=name), name=name)
    facts = scan_facts(anode=fields[3], seconds=seconds, sample=lines[0])
    return _points(start, step, counts, form="JADE MDI", wavelength=doublet_wavelength(length, None), facts=facts)


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
    even_points(start, step, start + step * (points - 1), name=name)
    counts = read_numbers("\n".join(lines[_MAUD_LINES:]), points=points, name=name)
    facts = scan_facts(anode=lines[12], alpha_2=alpha_2, sample=lines[3].strip("\0 "))
    return _points(start, step, counts, form="text RAW", wavelength=doublet_wavelength(mean, None), facts=facts)


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
    counts = read_numbers(body, points=even_points(start, step, stop, name=name), name=name)
    facts = scan_facts(anode=lines[4])
    return _points(start, step, counts, form="Sietronics CPI", wavelength=doublet_wavelength(length, None), facts=facts)


def _read_rigaku(text: str, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    """Source: Rigaku .asc exports: `*KEY = value` lines, counts parted by commas, groups from *BEGIN to *END."""
    pieces = re.split(r"^\*START\s*=", text, flags=re.MULTILINE)
    points = []
    for index in choose_scans(scan, count=len(pieces) - 1, name=name):
        piece, _, _ = f"*START = {pieces[index + 1]}".partition("*END")
        keys = {key: value.strip() for key, value in re.findall(r"^\*(\w+)\s*=(.*)$", pieces[0] + piece, re.MULTILINE)}
        try:
            start, stop, step = float(keys["START"]), float(keys["STOP"]), float(keys["STEP"])
        except (KeyError, ValueError):
            msg = f"{name}: group {index} has no *START, *STOP and *STEP"
            raise PatternError(msg, code="E_FORMAT") from None
        body = "\n".join(line for line in piece.split("\n") if not line.startswith(("*", "#")))
        counts = read_numbers(body, points=even_points(start, step, stop, name=name), name=name)
        lengths = [
            float(keys.get(key, "")) if re.fullmatch(_NUMBER, keys.get(key, "")) else None
            for key in ("WAVE_LENGTH1", "WAVE_LENGTH2")
        ]
        facts = scan_facts(alpha_2=lengths[1], sample=keys.get("SAMPLE"), scans=len(pieces) - 1)
        points.append(
            _points(start, step, counts, form="Rigaku ASC", wavelength=doublet_wavelength(*lengths), facts=facts)
        )
    return points
