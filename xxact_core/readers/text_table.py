"""Columns of numbers in a text (.xy, .xye, .csv, .txt, .dat ...) → measured points."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.axis_titles import axis_of_header, check_scan_axis, columns_of_header
from xxact_core.readers.number_rows import rows_to_numbers
from xxact_core.readers.points import MeasuredPoints
from xxact_core.readers.scan_metadata import facts_in_header
from xxact_core.readers.wavelengths import refuse_neutrons, wavelength_in_text

MOST_POINTS = 500_000
MOST_COLUMNS = 50
LONGEST_LINE = 10_000

_COMMENT = re.compile(r"""\s*(?:[#!;%'"@]|//|/\*|\*/|\*)""")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eEdD][+-]?[0-9]+)?")
_QUOTED = re.compile(r"""^"[+-]?[0-9][0-9.,]*"[,;\t]""", re.MULTILINE)
"""A row whose numbers stand in quotes, as spreadsheets write them where commas are decimals."""

_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)|[+-]?1\.#[A-Z]+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d]{2,}")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+")
_LEADING = re.compile(r"[1-9][0-9]{0,2}")
_GROUP = re.compile(r"0[0-9]{2}(?:[.,][0-9]*)?")
_MAY_BE_GROUPED = re.compile(r"(?<=[ ,\t])[1-9][0-9]{0,2}[ ,\t]+0[0-9]{2}(?![0-9])")
_NO_END = "may be truncated at {points} points: the last line has no line end"
_SAME_ROWS = 3
_TWO_COLUMNS = 2
"""So many rows of one width begin the table; fewer are part of the header (counts, ranges, wavelengths)."""


@dataclass(frozen=True)
class _Row:
    line: int
    fields: list[str]
    angle_end: int = 0


def read_text_table(text: str, *, name: str) -> MeasuredPoints:
    """Points of two columns: those whose titles say so, else the first two; others (uncertainties) are left out.

    The table begins with the first rows of one width; what stands before is header. Comment lines may stand anywhere.
    Columns are parted by blanks, tabs, semicolons or commas; decimals are points or, where commas part no columns,
    commas.

    Raises:
        PatternError: no table (E_FORMAT), or a line within it that is none of its rows, or a number that can be read
            in two ways (E_VALUES); names the line. Too many points, columns or characters in a line (E_TOO_LARGE).
    """
    if text.count("\n") > 2 * MOST_POINTS:
        msg = f"{name}: has {text.count(chr(10))} lines; expected at most {MOST_POINTS} points"
        raise PatternError(msg, code="E_TOO_LARGE")
    if _QUOTED.search(text):
        text = text.replace('","', ";").replace('"', "")
    lines = text.split("\n")
    first, separator = _find_table(lines, name=name)
    header = "\n".join(lines[:first])
    refuse_neutrons(header, name=name)
    values, places, notes = _read_values(lines, first=first, separator=separator, name=name)
    if len(values) > MOST_POINTS:
        msg = f"{name}: holds {len(values)} points; expected at most {MOST_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    facts = facts_in_header(header)
    check_scan_axis(facts.get("scan_axis"), name=name)
    angle, intensity = columns_of_header(header, width=values.shape[1], separator=separator)
    kind, factor, axis_notes = axis_of_header(header, name=name) if angle == 0 else ("two_theta", 1.0, [])
    wavelength = _lone_wavelength(lines[:first]) if (found := wavelength_in_text(header)) is None else found
    if "anode" in facts and wavelength is None:
        notes.append(f"the header names a {facts['anode']} anode but no wavelength")
    return MeasuredPoints(
        positions=values[:, angle] * factor,
        intensity=values[:, intensity],
        format="text table",
        kind=kind,
        wavelength=wavelength,
        place="line",
        places=places,
        warnings=(*notes, *axis_notes),
        metadata=facts,
    )


def _split(line: str, separator: str) -> list[str]:
    fields = line.split() if separator == " " else line.split(separator)
    fields = [field.strip() for field in fields]
    while fields and fields[-1] == "":
        fields.pop()
    return fields


def _separator_of(line: str) -> str:
    if ";" in line:
        return ";"
    if "\t" in line.strip():
        return "\t"
    if re.search(r",\s|\s,", line.strip()) or not re.search(r"\s", line.strip()):
        return ","
    return " "


def _numeric(fields: list[str]) -> bool:
    return len(fields) > 1 and all(_NUMBER.fullmatch(field) or _NOT_FINITE.fullmatch(field) for field in fields)


def _find_table(lines: list[str], *, name: str) -> tuple[int, str]:
    """Index of the table's first line and the separator of its columns."""
    for index, line in enumerate(lines):
        if len(line) > LONGEST_LINE:
            msg = f"{name}, line {index + 1}: has {len(line)} characters; expected at most {LONGEST_LINE}"
            raise PatternError(msg, code="E_TOO_LARGE")
        if not line.strip() or _COMMENT.match(line):
            continue
        separator = _separator_of(line)
        fields = _split(line, separator)
        if not _numeric(fields):
            continue
        following = [later for later in lines[index + 1 : index + 20] if later.strip() and not _COMMENT.match(later)]
        widths = [len(_split(later, separator)) for later in following[: _SAME_ROWS - 1]]
        if all(width == len(fields) for width in widths):
            if len(fields) > MOST_COLUMNS:
                msg = f"{name}, line {index + 1}: has {len(fields)} columns; expected at most {MOST_COLUMNS}"
                raise PatternError(msg, code="E_TOO_LARGE")
            return index, separator
    shown = next((line for line in lines if line.strip()), "")
    msg = f"{name}: no table of angles and intensities found; it begins with {shorten(shown.strip(), limit=60)!r}"
    raise PatternError(msg, code="E_FORMAT")


def _read_values(
    lines: list[str], *, first: int, separator: str, name: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Numbers of the table, shape (rows, columns), the line of each, and notes; quickly where all rows are plain."""
    last = max(index for index, line in enumerate(lines) if line.strip())
    given = [index for index in range(first, last + 1) if lines[index].strip() and not _COMMENT.match(lines[index])]
    width = len(_split(lines[first], separator))
    table = [lines[index].strip() for index in given]
    values = rows_to_numbers(table, separator=separator, width=width)
    if values is not None and not _MAY_BE_GROUPED.search("\n".join(table)):
        notes = [_NO_END.format(points=len(values))] if last == len(lines) - 1 else []
        return values, np.array(given) + 1, notes
    rows, notes = _read_rows(lines, first=first, separator=separator, name=name)
    _check_thousands(rows, separator=separator, name=name)
    values = np.array([[_to_float(field) for field in row.fields] for row in rows], dtype=np.float64)
    return values, np.array([row.line for row in rows]), notes


def _read_rows(lines: list[str], *, first: int, separator: str, name: str) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    notes: list[str] = []
    parted = 0
    width = len(_split(lines[first], separator))
    last = max(index for index, line in enumerate(lines) if line.strip())
    for index in range(first, last + 1):
        line = lines[index]
        if not line.strip() or _COMMENT.match(line):
            continue
        fields = _split(line[:LONGEST_LINE], separator)
        if len(fields) == width and _numeric(fields):
            rows.append(_Row(index + 1, fields, angle_end=line.index(fields[0]) + len(fields[0])))
        elif width == _TWO_COLUMNS and len(fields) == 1 and (touching := _part_touching(line, rows)) is not None:
            rows.append(_Row(index + 1, touching, angle_end=rows[-1].angle_end))
            parted += 1
        elif index == last and index == len(lines) - 1 and not _WORD.search(line):
            notes.append(f"truncated at {len(rows)} points: the last line ends too early and was left out")
        else:
            shown = shorten(line.strip(), limit=60)
            msg = f"{name}, line {index + 1}: {shown!r} is no row of {width} numbers like those before it"
            raise PatternError(msg, code="E_VALUES")
    if parted:
        notes.append(f"{parted} rows whose two columns touch were parted where the step of the angles puts the angle")
    if last == len(lines) - 1 and not any("truncated" in note for note in notes):
        notes.append(_NO_END.format(points=len(rows)))
    return rows, notes


def _part_touching(line: str, rows: list[_Row]) -> list[str] | None:
    """Angle and intensity of a row like `14.168110228`, whose count filled the blank.

    They are parted where the angles of the rows before it end, if the angle then goes on by one step.
    """
    if len(rows) < 2 or not re.fullmatch(r"\s*[0-9]+\.[0-9]+\s*", line):  # noqa: PLR2004 - a step needs two rows
        return None
    end = max(row.angle_end for row in rows[-20:])
    angle, intensity = line[:end].strip(), line[end:].strip()
    if not _NUMBER.fullmatch(angle) or not intensity:
        return None
    before, step = _to_float(rows[-1].fields[0]), _to_float(rows[-1].fields[0]) - _to_float(rows[-2].fields[0])
    return [angle, intensity] if abs(float(angle) - before - step) < 0.05 * abs(step) else None


def _check_thousands(rows: list[_Row], *, separator: str, name: str) -> None:
    """Refuse numbers whose commas, points or blanks may part thousands; a decimal comma is one in every angle."""
    doubtful = _grouped_by_separator(rows) if separator in {" ", ","} else None
    comma = next((row for row in rows if any("," in field for field in row.fields[:2])), None)
    if comma is not None:
        point = any("." in field for row in rows for field in row.fields[:2])
        comma_in_angle = any("," in row.fields[0] for row in rows)
        grouped = all(_THOUSANDS.fullmatch(row.fields[1]) for row in rows if "," in row.fields[1])
        doubtful = comma if point or (grouped and not comma_in_angle) else doubtful
    if doubtful is not None:
        shown = shorten(separator.join(doubtful.fields), limit=60)
        msg = (
            f"{name}, line {doubtful.line}: {shown!r} can be read in two ways; expected one decimal sign, point or "
            f"comma, and no separators of thousands"
        )
        raise PatternError(msg, code="E_VALUES")


def _grouped_by_separator(rows: list[_Row]) -> _Row | None:
    """A row like `10,02 1 034,5`: a zero in front, behind whole thousands, is a group of a larger number."""
    for row in rows:
        if len(row.fields) > _TWO_COLUMNS and _GROUP.fullmatch(row.fields[2]) and _LEADING.fullmatch(row.fields[1]):
            return row
    return None


def _to_float(field: str) -> float:
    """The number of a field that `_NUMBER` or `_NOT_FINITE` matched; 1e999 becomes infinite and is refused later."""
    if "#" in field:
        return float("nan")
    return float(field.replace(",", ".").replace("D", "e").replace("d", "e"))


def _lone_wavelength(header: list[str]) -> float | None:
    """The wavelength on a line of its own before the table, as DASH writes it into .xye files.

    Source: DASH user guide (CCDC), section on XYE files: the first line may hold the wavelength.
    """
    written = [line.strip() for line in header if line.strip()]
    if len(written) == 1 and re.fullmatch(r"[0-9]\.[0-9]{3,}", written[0]):
        return wavelength_in_text(f"wavelength {written[0]}")
    return None
