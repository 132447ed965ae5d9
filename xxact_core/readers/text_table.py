"""Columns of numbers in a text (.xy, .xye, .csv, .txt, .dat, PANalytical .csv ...) → measured points."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.content import MAX_POINTS, parse_number, parse_rows
from xxact_core.readers.measured_points import (
    AxisKind,
    MeasuredPoints,
    anode_in_text,
    check_scan_axis,
    refuse_neutrons,
    scan_metadata,
    wavelength_in_text,
)

MAX_COLUMNS = 50
MAX_LINE_LENGTH = 10_000

_COMMENT = re.compile(r"""\s*(?:[#!;%'"@]|//|/\*|\*/|\*)""")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eEdD][+-]?[0-9]+)?")
_QUOTED = re.compile(r"""^"[+-]?[0-9][0-9.,]*"[,;\t]""", re.MULTILINE)
"""A row of quoted numbers, as spreadsheets write them where the decimal sign is a comma."""

_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)|[+-]?1\.#[A-Z]+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d]{2,}")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+")
_LEADING = re.compile(r"[1-9][0-9]{0,2}")
_GROUP = re.compile(r"0[0-9]{2}(?:[.,][0-9]*)?")
_MAY_BE_GROUPED = re.compile(r"(?<=[ ,\t])[1-9][0-9]{0,2}[ ,\t]+0[0-9]{2}(?![0-9])")
_NO_END = "may be truncated at {points} points: the last line has no line end"
_SAME_ROWS = 3
_TWO_COLUMNS = 2
"""The table begins with this many rows of equal width; fewer belong to the header (counts, ranges, wavelengths)."""


@dataclass(frozen=True)
class _Row:
    line: int
    fields: list[str]
    angle_end: int = 0


def read_text_table(text: str, *, name: str) -> MeasuredPoints:
    """Points of two columns: those whose titles say so, else the first two; others (uncertainties) are ignored.

    The table begins with the first rows of equal width; the lines before it are the header. Comment lines may occur
    anywhere. Columns are separated by blanks, tabs, semicolons or commas; the decimal sign is a point or, where commas
    do not separate columns, a comma.

    Raises:
        PatternError: no table (E_FORMAT), a line within it that is not a row, or an ambiguous number (E_VALUES); names
            the line. Too many points, columns or characters in a line (E_TOO_LARGE).
    """
    if text.count("\n") > 2 * MAX_POINTS:
        msg = f"{name}: has {text.count(chr(10))} lines; expected at most {MAX_POINTS} points"
        raise PatternError(msg, code="E_TOO_LARGE")
    if _QUOTED.search(text):
        text = text.replace('","', ";").replace('"', "")
    lines = text.split("\n")
    first, separator = _find_table(lines, name=name)
    header = "\n".join(lines[:first])
    refuse_neutrons(header, name=name)
    values, places, notes = _read_values(lines, first=first, separator=separator, name=name)
    if len(values) > MAX_POINTS:
        msg = f"{name}: holds {len(values)} points; expected at most {MAX_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    metadata = _metadata_of_header(header)
    check_scan_axis(metadata.get("scan_axis"), name=name)
    angle, intensity = _columns_of_header(header, width=values.shape[1], separator=separator)
    kind, factor, axis_notes = axis_of_header(header, name=name) if angle == 0 else ("two_theta", 1.0, [])
    wavelength = _lone_wavelength(lines[:first]) if (found := wavelength_in_text(header)) is None else found
    if "anode" in metadata and wavelength is None:
        notes.append(f"the header names a {metadata['anode']} anode but no wavelength")
    return MeasuredPoints(
        positions=values[:, angle] * factor,
        intensity=values[:, intensity],
        format="text table",
        kind=kind,
        wavelength=wavelength,
        place="line",
        places=places,
        warnings=(*notes, *axis_notes),
        metadata=metadata,
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
        if len(line) > MAX_LINE_LENGTH:
            msg = f"{name}, line {index + 1}: has {len(line)} characters; expected at most {MAX_LINE_LENGTH}"
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
            if len(fields) > MAX_COLUMNS:
                msg = f"{name}, line {index + 1}: has {len(fields)} columns; expected at most {MAX_COLUMNS}"
                raise PatternError(msg, code="E_TOO_LARGE")
            return index, separator
    shown = next((line for line in lines if line.strip()), "")
    msg = f"{name}: no table of angles and intensities found; it begins with {shorten(shown.strip(), limit=60)!r}"
    raise PatternError(msg, code="E_FORMAT")


def _read_values(
    lines: list[str], *, first: int, separator: str, name: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Numbers of the table, shape (rows, columns), the line of each row, and notes."""
    last = max(index for index, line in enumerate(lines) if line.strip())
    given = [index for index in range(first, last + 1) if lines[index].strip() and not _COMMENT.match(lines[index])]
    width = len(_split(lines[first], separator))
    table = [lines[index].strip() for index in given]
    values = parse_rows(table, separator=separator, width=width)
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
    split = 0
    width = len(_split(lines[first], separator))
    last = max(index for index, line in enumerate(lines) if line.strip())
    for index in range(first, last + 1):
        line = lines[index]
        if not line.strip() or _COMMENT.match(line):
            continue
        fields = _split(line[:MAX_LINE_LENGTH], separator)
        if len(fields) == width and _numeric(fields):
            rows.append(_Row(index + 1, fields, angle_end=line.index(fields[0]) + len(fields[0])))
        elif width == _TWO_COLUMNS and len(fields) == 1 and (touching := _split_touching(line, rows)) is not None:
            rows.append(_Row(index + 1, touching, angle_end=rows[-1].angle_end))
            split += 1
        elif index == last and index == len(lines) - 1 and not _WORD.search(line):
            notes.append(f"truncated at {len(rows)} points: the incomplete last line was left out")
        else:
            shown = shorten(line.strip(), limit=60)
            msg = f"{name}, line {index + 1}: {shown!r} is not a row of {width} numbers like those before it"
            raise PatternError(msg, code="E_VALUES")
    if split:
        notes.append(f"{split} rows whose two columns touch were split according to the step of the angles")
    if last == len(lines) - 1 and not any("truncated" in note for note in notes):
        notes.append(_NO_END.format(points=len(rows)))
    return rows, notes


def _split_touching(line: str, rows: list[_Row]) -> list[str] | None:
    """Angle and intensity of a row like `14.168110228`, whose count left no blank.

    The row is split where the angles of the previous rows end, if the angle then increases by one step.
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
    """Refuse numbers whose commas, points or blanks may separate thousands; a decimal comma occurs in every angle."""
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
            f"comma, and no thousands separators"
        )
        raise PatternError(msg, code="E_VALUES")


def _grouped_by_separator(rows: list[_Row]) -> _Row | None:
    """A row like `10,02 1 034,5`: a field with a leading zero after a whole number is a group of a larger number."""
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
    """The wavelength on its own line before the table, as DASH writes it to .xye files.

    Source: DASH user guide (CCDC), section on XYE files: the first line may hold the wavelength.
    """
    written = [line.strip() for line in header if line.strip()]
    if len(written) == 1 and re.fullmatch(r"[0-9]\.[0-9]{3,}", written[0]):
        return wavelength_in_text(f"wavelength {written[0]}")
    return None


# --------------------------------------------------------------------------------------- titles and lines of the header
_TWO_THETA_TITLE = re.compile(r"\W*(?:2\s*[-_*]?\s*th|two[\s_-]*th|2\s*θ|ttheta|tth\b|angle|pos)")
_INTENSITY_TITLE = re.compile(r"\W*(?:intensit|counts?\b|cps\b|i(?:_?obs)?\b|y(?:_?obs)\b|int\b|signal)")
_VALUE = r"([0-9]+(?:[.,][0-9]+)?)"
_IS = r"\W*[,;:=\t]\s*\"?"
_HEADER_LINES = {
    key: re.compile(rf"^\W*{title}{_IS}{value}", re.IGNORECASE | re.MULTILINE)
    for key, title, value in (
        ("sample", r"sample(?:[\s_]*(?:name|id|identification))?", r'([^,;"\n]+)'),
        ("axis", r"scan[\s_]*axis", r'([^,;"\n]+)'),
        ("seconds", r"(?:(?:scan[\s_]*)?step[\s_]*time|time[\s_]*per[\s_]*step)(?:\s*[\[(]s\w*[\])])?", _VALUE),
        ("alpha_2", r"K-?Alpha2(?:[\s_]*wavelength)?(?:\s*[\[(]\w+[\])])?", _VALUE),
        ("ratio", r"ratio[\s_]*K-?Alpha2/K-?Alpha1", _VALUE),
    )
}


def axis_of_header(header: str, *, name: str) -> tuple[AxisKind, float, list[str]]:
    """Axis of the first column according to its title: kind, factor to [deg], [Å⁻¹] or [Å], and notes for the user.

    Without a title the axis is 2θ [deg].

    Raises:
        PatternError: a time of flight, an energy, or a q without a unit (E_AXIS).
    """
    title = _first_title(header)
    if re.search(r"time[\s_-]*of[\s_-]*flight|\btof\b|\b[µμ]s\b|microsec", title):
        msg = f"{name}: the first column is a time of flight ({shorten(title, limit=40)!r}); expected 2θ of x-rays"
        raise PatternError(msg, code="E_AXIS")
    if re.search(r"\benergy\b|\bkev\b", title):
        msg = f"{name}: the first column is an energy ({shorten(title, limit=40)!r}); expected 2θ, q or d"
        raise PatternError(msg, code="E_AXIS")
    if re.search(r"2\s*[-_*]?\s*th|two[\s_-]*th|2\s*θ|ttheta|\btth\b", title):
        if re.search(r"\brad(?:ians?)?\b", title):
            return "two_theta", float(np.rad2deg(1)), ["angles in radians were converted to degrees"]
        return "two_theta", 1.0, []
    per_length = re.search(r"nm|å|ang|1\s*/\s*a|a\s*\^?\s*[-⁻]", title)
    if re.match(r"\W*(?:q|s?cattering vector)\b", title):
        if per_length is None:
            msg = f"{name}: the first column is q without a unit ({shorten(title, limit=40)!r}); expected 1/Å or 1/nm"
            raise PatternError(msg, code="E_AXIS")
        return "q", 0.1 if "nm" in title else 1.0, []
    if re.match(r"\W*d(?:\b|[\s_-]*(?:spacing|value))", title):
        return "d", 10.0 if "nm" in title else 1.0, []
    if re.match(r"\W*(?:theta|θ)\b", title):
        return "two_theta", 1.0, ["the first column is called theta; its angles were read as 2θ"]
    return "two_theta", 1.0, []


def _columns_of_header(header: str, *, width: int, separator: str) -> tuple[int, int]:
    """Indices of the columns of angles and intensities, from the titles in the last header line; by default 0 and 1.

    Titles are used only where each of the `width` columns has one, as in `Angle,TimePerStep,Intensity,ESD`.
    """
    line = next((line for line in reversed(header.lower().split("\n")) if line.strip()), "")
    plain = line.strip().lstrip("#!;%'\"@/* \t")
    titles = [title.strip(" \"'") for title in (plain.split() if separator == " " else plain.split(separator))]
    while titles and not titles[-1]:
        titles.pop()
    if len(titles) != width:
        return 0, 1
    angle = next((index for index, title in enumerate(titles) if _TWO_THETA_TITLE.match(title)), 0)
    found = [index for index, title in enumerate(titles) if _INTENSITY_TITLE.match(title) and index != angle]
    return angle, found[0] if found else angle + 1 if angle + 1 < width else 0


def _first_title(header: str) -> str:
    """Title of the first column in lower case, from the last header line that names an axis; else an empty text."""
    for line in reversed(header.lower().split("\n")):
        plain = line.strip().lstrip("#!;%'\"@/* \t")
        plain = re.sub(r"^x\s*[,;:=]\s*", "", plain)
        if not plain or ":" in plain or "=" in plain:
            continue
        title = re.split(r"[,;\t|]|\s{2,}", plain)[0].strip(" \"'")
        words = title.split()
        if len(words) > 1 and re.match(r"(?:intensity|counts?|int\.?|i|y)\b", words[-1]):
            title = " ".join(words[:-1])
        if re.match(
            r"(?:2|two|t?th|θ|angle|q\b|s?cattering|d\b|d[\s_-]*(?:spacing|value)|time|tof|energy|position|x\b)", title
        ) or re.search(r"2\s*[-_*]?\s*th|θ", title):
            return title
    return ""


def _metadata_of_header(header: str) -> dict[str, str]:
    """Metadata in header lines such as `Sample identification,quartz` (PANalytical) or `# Scan axis: Gonio`."""
    values = {key: match[1] for key, pattern in _HEADER_LINES.items() if (match := pattern.search(header))}
    return scan_metadata(
        anode=anode_in_text(header),
        alpha_2=parse_number(values.get("alpha_2")),
        ratio=parse_number(values.get("ratio")),
        axis=values.get("axis"),
        seconds=parse_number(values.get("seconds")),
        sample=values.get("sample"),
    )
