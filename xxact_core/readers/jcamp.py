"""JCAMP-DX files of diffraction → measured points: tables in free, packed, squeezed, difference and duplicate form."""

from __future__ import annotations

import re
from typing import NoReturn

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.content import MAX_POINTS
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    axis_of_title,
    note_scans,
    refuse_neutrons,
    scan_metadata,
    select_scans,
    stated_wavelength,
)

_RECORD = re.compile(r"^##([^=\n]{0,80})=", re.MULTILINE)
_DATA = ("XYDATA", "XYPOINTS")
_TOKEN = re.compile(
    r"([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-][0-9]{1,3})?)|([@A-Ia-i])([0-9]*+(?:\.[0-9]*+)?)"
    r"|([%J-Rj-r])([0-9]*+(?:\.[0-9]*+)?)|([S-Zs])([0-9]{0,7})|(\?)"
)
_FIRST = re.compile(r"[ \t]*([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]{1,3}(?=[\s,]))?)")
_SQUEEZED = {c: str(n) for n, c in enumerate("@ABCDEFGHI")} | {c: f"-{n}" for n, c in enumerate("abcdefghi", 1)}
_DIFFERENCE = {c: str(n) for n, c in enumerate("%JKLMNOPQR")} | {c: f"-{n}" for n, c in enumerate("jklmnopqr", 1)}
_DUPLICATE = {c: str(n) for n, c in enumerate("STUVWXYZs", 1)}
"""Leading digits of the ASDF forms. Source: McDonald & Wilks, Appl. Spectrosc. 42 (1988) 151, JCAMP-DX 4.24."""


def read_jcamp(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one block of a JCAMP-DX file, or of all for `scan=None`.

    FIRSTX, LASTX, DELTAX and NPOINTS are held against the table, and so are the abscissa that each line begins with and
    the check values of difference form.

    Raises:
        PatternError: data of another kind, a list of peaks or a form that is not read (E_FORMAT), an axis that is not
            2θ, q or d (E_AXIS), neutrons (E_RADIATION), a table that contradicts its header or itself (E_VALUES,
            E_FORMAT), or that is cut off (E_TRUNCATED).
    """
    blocks = [block for block in _read_blocks(text) if any(key in block for key in _DATA)]
    if not blocks:
        form = (
            "a list of peaks" if re.search(r"^##\s*PEAK\s*TABLE", text, re.MULTILINE | re.IGNORECASE) else "no XYDATA"
        )
        msg = f"{name}: a JCAMP-DX file with {form}; expected a table of a scan, XYDATA or XYPOINTS"
        raise PatternError(msg, code="E_FORMAT")
    return [
        _block_to_points(blocks[index], name=name, scans=len(blocks), notes=note_scans(scan, count=len(blocks)))
        for index in select_scans(scan, count=len(blocks), name=name)
    ]


def _read_blocks(text: str) -> list[dict[str, str]]:
    """Records of each block by label, in capitals without blanks and signs; comments `$$` are left out."""
    text = "\n".join(line.partition("$$")[0] for line in text.split("\n"))
    found = list(_RECORD.finditer(text))
    blocks: list[dict[str, str]] = []
    for record, end in zip(found, [*(later.start() for later in found[1:]), len(text)], strict=True):
        label = re.sub(r"[\s/_-]", "", record[1]).upper()
        if label == "TITLE" or not blocks:
            blocks.append({})
        blocks[-1].setdefault(label, text[record.end() : end].strip("\n"))
    return blocks


def _block_to_points(block: dict[str, str], *, name: str, scans: int, notes: tuple[str, ...]) -> MeasuredPoints:
    kind = block.get("DATATYPE", "").strip()
    if kind and not re.search(r"diff|xrd|x-?\s?ray|powder", kind, re.IGNORECASE):
        msg = f"{name}: JCAMP-DX data of type {shorten(kind, limit=40)!r}; expected x-ray diffraction"
        raise PatternError(msg, code="E_FORMAT")
    header = "\n".join(f"{key}: {value[:500]}" for key, value in block.items() if key not in _DATA)
    neutrons = refuse_neutrons(header, name=name)
    if re.search(r"\blog", block.get("YUNITS", ""), re.IGNORECASE):
        msg = f"{name}: the intensities are logarithms ({shorten(block['YUNITS'], limit=40)!r}); expected counts"
        raise PatternError(msg, code="E_VALUES")
    axis = axis_of_title(block.get("XUNITS", ""), name=name, header=header)
    form, _, body = next(block[key] for key in _DATA if key in block).partition("\n")
    form = re.sub(r"\s", "", form).upper()
    if "++" in form:
        x, y = _even_table(block, body, name=name)
    elif "XY..XY" in form:
        x, y = _pairs(block, body, name=name)
    else:
        msg = f"{name}: a JCAMP-DX table of the form {shorten(form, limit=40)!r}; expected (X++(Y..Y)) or (XY..XY)"
        raise PatternError(msg, code="E_FORMAT")
    wavelength, stated = stated_wavelength(header)
    stated = (*stated, *_note_extremes(block, y, name=name))
    return MeasuredPoints(
        positions=x * axis.factor,
        intensity=y,
        format="JCAMP-DX",
        kind=axis.kind,
        wavelength=wavelength,
        gaps=True,
        warnings=(*axis.notes, *neutrons, *stated, *notes),
        metadata=scan_metadata(sample=block.get("TITLE"), scans=scans),
    )


def _note_extremes(block: dict[str, str], y: np.ndarray, *, name: str) -> list[str]:
    """Notes where the largest or smallest intensity is not the one that the header states."""
    notes, finite = [], y[np.isfinite(y)]
    for key, found in (("MAXY", finite.max(initial=-np.inf)), ("MINY", finite.min(initial=np.inf))):
        value = _number(block, key, name=name)
        if value is not None and finite.size and abs(found - value) > _EXTREME * max(abs(found), abs(value)):
            notes.append(
                f"the {'largest' if key == 'MAXY' else 'smallest'} intensity is {found:g}; {key} says {value:g}"
            )
    return notes


_EXTREME = 0.01
"""Relative difference of a stated extreme, which programs round. Ours."""


def _number(block: dict[str, str], key: str, *, name: str) -> float | None:
    if not block.get(key, "").strip():
        return None
    try:
        return float(block[key].strip().split()[0].replace(",", "."))
    except ValueError:
        msg = f"{name}: {key} of the JCAMP-DX file is {shorten(block[key], limit=40)!r}; expected a number"
        raise PatternError(msg, code="E_FORMAT") from None


def _check_points(block: dict[str, str], found: int, *, name: str) -> None:
    stated = _number(block, "NPOINTS", name=name)
    if stated is not None and found != stated:
        code = "E_TRUNCATED" if found < stated else "E_FORMAT"
        msg = f"{name}: the JCAMP-DX table holds {found} points; its header says NPOINTS={stated:g}"
        raise PatternError(msg, code=code)


def _even_table(block: dict[str, str], body: str, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Abscissae and ordinates of a table (X++(Y..Y))."""
    x_factor, y_factor = (_number(block, key, name=name) or 1.0 for key in ("XFACTOR", "YFACTOR"))
    starts, values = _decode(body, name=name)
    _check_points(block, len(values), name=name)
    if len(values) < 2:  # noqa: PLR2004 - a step
        return np.zeros(0), np.zeros(0)
    first = _number(block, "FIRSTX", name=name)
    first = starts[0][1] * x_factor if first is None else first
    last, step = (_number(block, key, name=name) for key in ("LASTX", "DELTAX"))
    if last is None and step is None:
        msg = f"{name}: the JCAMP-DX file states neither LASTX nor DELTAX; expected one of them"
        raise PatternError(msg, code="E_FORMAT")
    even = step if last is None else (last - first) / (len(values) - 1)
    assert even is not None  # one of the two is stated
    if step is not None and abs(even - step) * (len(values) - 1) > max(0.5 * abs(step), 1e-6):
        msg = (
            f"{name}: FIRSTX={first:g} and LASTX={last:g} do not fit {len(values)} points with DELTAX={step:g}; "
            f"expected a table that agrees with its header"
        )
        raise PatternError(msg, code="E_FORMAT")
    for index, x in starts:
        if abs(x * x_factor - (first + even * index)) > 0.6 * abs(even) + 1e-6 * abs(first):
            place = f"the line of point {index + 1} begins at {x * x_factor:g}"
            msg = f"{name}: {place}; its header puts it at {first + even * index:g}"
            raise PatternError(msg, code="E_VALUES")
    ordinates = y_factor * np.array(values)
    stated = _number(block, "FIRSTY", name=name)
    if stated is not None and abs(ordinates[0] - stated) > 0.01 * abs(stated) + y_factor:
        msg = f"{name}: the first intensity is {ordinates[0]:g}; its header says FIRSTY={stated:g}"
        raise PatternError(msg, code="E_VALUES")
    return first + even * np.arange(len(values)), ordinates


def _pairs(block: dict[str, str], body: str, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Abscissae and ordinates of a table (XY..XY)."""
    fields = re.split(r"[\s,;]+", body.strip())
    try:
        values = np.array(fields, dtype=np.float64).reshape(-1, 2)
    except ValueError as error:
        msg = f"{name}: not pairs of numbers in the JCAMP-DX table ({shorten(error, limit=60)})"
        raise PatternError(msg, code="E_VALUES") from None
    _check_points(block, len(values), name=name)
    x_factor, y_factor = (_number(block, key, name=name) or 1.0 for key in ("XFACTOR", "YFACTOR"))
    return values[:, 0] * x_factor, values[:, 1] * y_factor


def _decode(body: str, *, name: str) -> tuple[list[tuple[int, float]], list[float]]:
    """Index and abscissa of the first point of each line, and the ordinates of all."""
    starts: list[tuple[int, float]] = []
    values: list[float] = []
    in_differences = False
    for number, line in enumerate(body.split("\n"), 1):
        found = _FIRST.match(line)
        if found is None:
            if line.strip():
                _refuse_line(line, number, name=name)
            continue
        check = values.pop() if in_differences and values else None
        starts.append((len(values), float(found[1])))
        before = len(values)
        in_differences = _decode_line(line, found.end(), values, number=number, name=name)
        if check is not None and (len(values) == before or abs(values[before] - check) > 1e-6 * abs(check) + 0.5):
            msg = f"{name}, table line {number}: does not begin with {check:g}, the end of the line before"
            raise PatternError(msg, code="E_VALUES")
        if len(values) > MAX_POINTS:
            msg = f"{name}: the JCAMP-DX table has more than {MAX_POINTS} points"
            raise PatternError(msg, code="E_TOO_LARGE")
    return starts, values


def _decode_line(line: str, place: int, values: list[float], *, number: int, name: str) -> bool:
    """Append the ordinates of a line to `values`; returns whether its last one is written as a difference."""
    difference: float | None = None
    begin = len(values)
    while place < len(line):
        if line[place] in " \t,":
            place += 1
            continue
        token = _TOKEN.match(line, place)
        if token is None or ((token[4] or token[6]) and len(values) == begin):
            _refuse_line(line, number, name=name)
        place = token.end()
        if token[6]:
            times = int(_DUPLICATE[token[6]] + token[7]) - 1
            if len(values) + times > MAX_POINTS:
                msg = f"{name}: the JCAMP-DX table has more than {MAX_POINTS} points"
                raise PatternError(msg, code="E_TOO_LARGE")
            values += [values[-1] + (difference or 0.0) * (time + 1) for time in range(times)]
        elif token[4]:
            difference = float(_DIFFERENCE[token[4]] + token[5])
            values.append(values[-1] + difference)
        else:
            difference = None
            values.append(float("nan") if token[8] else float(token[1] or _SQUEEZED[token[2]] + token[3]))
    return difference is not None


def _refuse_line(line: str, number: int, *, name: str) -> NoReturn:
    msg = f"{name}, table line {number}: {shorten(line.strip(), limit=60)!r} is not in a form of JCAMP-DX"
    raise PatternError(msg, code="E_VALUES")
