"""Columns of numbers in a text (.xy, .xye, .csv, .txt, .dat, .chi, PANalytical .csv ...) → measured points."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.content import MAX_POINTS, parse_number, parse_rows
from xxact_core.readers.measured_points import (
    MIN_POINTS,
    Axis,
    MeasuredPoints,
    anode_in_text,
    axis_of_title,
    check_scan_axis,
    note_scans,
    over_time_or_monitor,
    plain_title,
    plausible_wavelength,
    refuse_functions,
    refuse_neutrons,
    scan_metadata,
    select_scans,
    stated_wavelength,
    wavelength_in_text,
)

MAX_COLUMNS = 50
MAX_LINE_LENGTH = 10_000
MAX_HEADER_LINES = 2000
"""Lines before the table whose statements are read; ours."""

_COMMENT = re.compile(r"""[ \t]*(?:[#!;%'"@]|//|/\*|\*/|\*)""")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eEdD][+-]?[0-9]+)?")
_QUOTED = re.compile(r"""^"[+-]?[0-9][0-9.,]*"[,;\t]""", re.MULTILINE)
"""A row of quoted numbers, as spreadsheets write them where the decimal sign is a comma."""

_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)|[+-]?1\.#[A-Z]+|#N/A|#NUM!", re.IGNORECASE)
_BLANK = re.compile(r"[\s,;\"]*")
_SEPARATED = re.compile(r"[0-9.][\"\s]{0,3}[\s,;]|(?:nan|inf)[\s,;]", re.IGNORECASE)
"""A number before a separator: a line without one is no row."""

_PLAIN_COLUMN = re.compile(r"[0-9eE+\-.\n]*")
_WORD = re.compile(r"[^\W\d]{2,}")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+")
_THREE_DECIMALS = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
_LEADING = re.compile(r"[1-9][0-9]{0,2}")
_GROUP = re.compile(r"0[0-9]{2}(?:[.,][0-9]*)?")
_MAY_BE_GROUPED = re.compile(r"(?<=[ ,\t])[1-9][0-9]{0,2}[ ,\t]{1,20}0[0-9]{2}(?![0-9])")
_NO_END = "may be truncated at {points} points: the last line has no line end"
_CHI_COUNT = 3
"""Index of the line of a Fit2D file that holds the number of points, and perhaps of curves."""

_SAME_ROWS = 3
_TWO_COLUMNS = 2
"""The table begins with this many rows of equal width; fewer belong to the header (counts, ranges, wavelengths)."""

_RESTART_STEPS = 10
"""Steps by which angles must fall to begin another range, where nothing else separates the two. Ours."""


@dataclass(frozen=True)
class _Row:
    line: int
    fields: list[str]
    angle_end: int = 0


@dataclass(frozen=True)
class _Table:
    """The rows of a text as numbers, and what they are called."""

    header: str
    values: np.ndarray
    """Shape (rows, columns); NaN for blank cells."""
    places: np.ndarray
    """Line of each row."""
    titles: list[str]
    """Of the columns, in lower case; empty where the text has none."""
    notes: list[str]
    labels: list[str] | None = None
    """Label of each row, where a column of texts names the pattern that it belongs to."""


@dataclass(frozen=True)
class _Curve:
    """Columns of one pattern in a table."""

    position: int
    intensity: int
    title: str = ""
    name: str = ""
    """Which of several it is."""


def read_text_table(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one scan of a text table, or of all for `scan=None`.

    The table begins with the first rows of equal width; the lines before it are the header. Comment lines may occur
    anywhere, and rows without values are skipped. Columns are separated by blanks, tabs, semicolons or commas; the
    decimal sign is a point or, where commas do not separate columns, a comma.

    The columns are those whose titles say so, else the first two. Several columns of intensities, several pairs of
    columns, a column of names, and ranges one after another are the scans of the file; uncertainties, backgrounds and
    calculated intensities are ignored. Intensities are divided by a counting time or monitor that varies, and
    logarithms and roots undone, where titles state them.

    Raises:
        PatternError: no table, or a list of peaks (E_FORMAT); a line within it that is not a row, an ambiguous number,
            or a logarithm of unknown base (E_VALUES); names the line. Fewer rows than the header says (E_TRUNCATED).
            Too many points, columns or characters in a line (E_TOO_LARGE).
    """
    if text.count("\n") > 2 * MAX_POINTS:
        msg = f"{name}: has {text.count(chr(10))} lines; expected at most {MAX_POINTS} points"
        raise PatternError(msg, code="E_TOO_LARGE")
    return _table_to_points(_read_table(text, name=name), name=name, scan=scan)


def columns_to_points(
    values: np.ndarray, titles: Sequence[str], *, header: str, labels: list[str] | None, name: str, scan: int | None
) -> list[MeasuredPoints]:
    """Points of one scan of columns that are numbers already, or of all for `scan=None`; as `read_text_table`.

    Args:
        values: shape (rows, columns); NaN for blank cells.
        titles: of the columns; none for columns without.
        header: statements on the table, one a line, such as `wavelength: 1.5406`.
        labels: of the rows, where they belong to several patterns.
        name: of the table.
        scan: the one to read.
    """
    places = np.arange(1, len(values) + 1)
    table = _Table(header, values, places, [plain_title(title) for title in titles], [], labels)
    return [replace(points, place="row") for points in _table_to_points(table, name=name, scan=scan)]


def _table_to_points(table: _Table, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    if len(table.values) > MAX_POINTS:
        msg = f"{name}: holds {len(table.values)} points; expected at most {MAX_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    table = _with_bin_centres(table)
    notes = [*table.notes, *refuse_neutrons(table.header, name=name)]
    metadata = _metadata_of_header(table.header)
    check_scan_axis(metadata.get("scan_axis"), name=name)
    curves, left_out = _curves(table, name=name)
    if len(curves) == 1:
        curves = [replace(curves[0], name="")]
    found = [part for curve in curves for part in _curve_to_points(table, curve, name=name)]
    _check_count(table, found, name=name)
    wavelength, wavelength_notes = _wavelength(table)
    if "anode" in metadata and wavelength is None:
        notes.append(f"the header names a {metadata['anode']} anode but no wavelength")
    metadata["scans"] = str(len(found))
    return [
        replace(
            found[index],
            wavelength=found[index].wavelength if wavelength is None else wavelength,
            warnings=(
                *notes,
                *found[index].warnings,
                *wavelength_notes,
                *left_out,
                *note_scans(scan, count=len(found)),
            ),
            metadata={**metadata, **found[index].metadata},
        )
        for index in select_scans(scan, count=len(found), name=name)
    ]


# ------------------------------------------------------------------------------------------------------- text → numbers
def _read_table(text: str, *, name: str) -> _Table:
    if '"' in text and _QUOTED.search(text):
        text = text.replace('","', ";").replace('"', "")
    lines = text.split("\n")
    found = _find_table(lines, name=name)
    if found is None:
        labelled = _read_labelled(lines, name=name)
        if labelled is None:
            shown = next((line for line in lines if line.strip()), "")
            msg = (
                f"{name}: no table of angles and intensities found; it begins with {shorten(shown.strip(), limit=60)!r}"
            )
            raise PatternError(msg, code="E_FORMAT")
        return labelled
    first, separator = found
    header = "\n".join(lines[max(0, first - MAX_HEADER_LINES) : first])
    values, places, notes = _read_values(lines, first=first, separator=separator, name=name)
    return _Table(header, values, places, _titles(header, width=values.shape[1], separator=separator), notes)


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


def _blank_or_comment(line: str) -> bool:
    """Whether a line has no values: blank, only separators, or a comment."""
    return not line.strip(' \t,;"\r\f\v') or _COMMENT.match(line) is not None


def _find_table(lines: list[str], *, name: str) -> tuple[int, str] | None:
    """Index of the table's first line and the separator of its columns."""
    for index, line in enumerate(lines):
        if len(line) > MAX_LINE_LENGTH:
            msg = f"{name}, line {index + 1}: has {len(line)} characters; expected at most {MAX_LINE_LENGTH}"
            raise PatternError(msg, code="E_TOO_LARGE")
        if _SEPARATED.search(line) is None or _blank_or_comment(line):
            continue
        separator = _separator_of(line)
        fields = _split(line, separator)
        if not _numeric(fields) or (index == _CHI_COUNT and re.fullmatch(r"\s*[0-9]+\s+[0-9]+\s*", line)):
            continue
        following = (later for later in lines[index + 1 : index + 20] if not _blank_or_comment(later))
        widths = [len(_split(later, separator)) for later in islice(following, _SAME_ROWS - 1)]
        if all(width == len(fields) for width in widths):
            if len(fields) > MAX_COLUMNS:
                msg = (
                    f"{name}, line {index + 1}: has {len(fields)} columns, like an image or a map; expected a table of "
                    f"at most {MAX_COLUMNS} columns"
                )
                raise PatternError(msg, code="E_TOO_LARGE")
            return index, separator
    return None


def _read_values(
    lines: list[str], *, first: int, separator: str, name: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Numbers of the table, shape (rows, columns), the line of each row, and notes."""
    last = len(lines) - 1
    while _BLANK.fullmatch(lines[last]):
        last -= 1
    given = [index for index in range(first, last + 1) if not _blank_or_comment(lines[index])]
    width = len(_split(lines[first], separator))
    table = [lines[index].strip() for index in given]
    values = parse_rows(table, separator=separator, width=width)
    if values is not None and not _MAY_BE_GROUPED.search("\n".join(table)):
        if _may_have_groups(values):
            fields = [row.split(None if separator == " " else separator) for row in table]
            _check_three_decimals(fields, given, name=name)
        notes = [_NO_END.format(points=len(values))] if last == len(lines) - 1 else []
        notes += _note_comments(lines, given)
        return values, np.array(given) + 1, notes
    rows, notes = _read_rows(lines, first=first, last=last, separator=separator, name=name)
    notes += _note_comments(lines, given)
    _check_thousands(rows, separator=separator, name=name)
    _check_three_decimals([row.fields for row in rows], [row.line - 1 for row in rows], name=name)
    values = np.array([[_to_float(field) for field in row.fields] for row in rows], dtype=np.float64)
    return values, np.array([row.line for row in rows]), notes


def _note_comments(lines: list[str], given: list[int]) -> list[str]:
    """A note on comments between the rows: they may state that the counting time or the sample changes there."""
    if given[-1] - given[0] + 1 == len(given):
        return []
    rows = set(given)
    between = (line for line in range(given[0], given[-1]) if line not in rows)
    texts = [text for line in between if _WORD.search(text := _plain_line(lines[line]))]
    if not texts:
        return []
    what = "a comment" if len(texts) == 1 else f"{len(texts)} comments"
    return [f"{what} between the rows may state a change of the scan: {shorten(texts[0], limit=60)!r}"]


def _read_rows(lines: list[str], *, first: int, last: int, separator: str, name: str) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    notes: list[str] = []
    split = 0
    width = len(_split(lines[first], separator))
    title = next((line.strip() for line in reversed(lines[:first]) if line.strip()), None)
    for index in range(first, last + 1):
        line = lines[index]
        if _blank_or_comment(line) or line.strip() == title:  # each range may begin with the titles
            continue
        fields = _split(line[:MAX_LINE_LENGTH], separator)
        if len(fields) == width and _numeric(fields):
            rows.append(_Row(index + 1, fields, angle_end=line.index(fields[0]) + len(fields[0])))
        elif separator != " " and 1 < len(fields) + (len(fields) < width) <= width and _numeric_or_blank(fields):
            rows.append(_Row(index + 1, [field or "nan" for field in fields] + ["nan"] * (width - len(fields))))
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


def _numeric_or_blank(fields: list[str]) -> bool:
    """Whether each cell of a row is a number or blank, as spreadsheets leave them in columns of unequal length."""
    return any(fields) and all(not f or _NUMBER.fullmatch(f) or _NOT_FINITE.fullmatch(f) for f in fields)


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
    comma = next((row for row in rows if any("," in field for field in row.fields)), None)
    if comma is not None:
        point = any("." in field for row in rows for field in row.fields)
        comma_in_angle = any("," in row.fields[0] for row in rows)
        grouped = all(_THOUSANDS.fullmatch(row.fields[1]) for row in rows if "," in row.fields[1])
        doubtful = comma if point or (grouped and not comma_in_angle) else doubtful
    if doubtful is not None:
        _refuse_two_ways(separator.join(doubtful.fields), line=doubtful.line, name=name)


def _may_have_groups(values: np.ndarray) -> bool:
    """Whether a column has whole numbers beside numbers from 1 to 1000 of three decimals: a quick first look."""
    numbers = values[:, 1:]
    if not np.isfinite(numbers).all():
        return True
    whole = numbers == np.rint(numbers)
    small = (numbers >= 1) & (numbers < 1e3) & (np.abs(1000 * numbers - np.rint(1000 * numbers)) < 1e-6)  # noqa: PLR2004 - 1.034
    return bool(((whole | small).all(axis=0) & whole.any(axis=0) & ~whole.all(axis=0)).any())


def _check_three_decimals(rows: Sequence[Sequence[str]], places: Sequence[int], *, name: str) -> None:
    """Refuse a column of whole numbers up to 999 and numbers such as 1.034, whose points may separate thousands."""
    for column in range(1, len(rows[0]) if rows else 0):
        fields = [row[column].strip() for row in rows]
        marked = [index for index, field in enumerate(fields) if "." in field or "," in field]
        if not 0 < len(marked) < len(fields) or not all(_THREE_DECIMALS.fullmatch(fields[index]) for index in marked):
            continue
        if all(_LEADING.fullmatch(field) or field == "0" for field in fields if "." not in field and "," not in field):
            _refuse_two_ways(fields[marked[0]], line=places[marked[0]] + 1, name=name)


def _refuse_two_ways(shown: str, *, line: int, name: str) -> None:
    msg = (
        f"{name}, line {line}: {shorten(shown, limit=60)!r} can be read in two ways; expected one decimal sign, "
        f"point or comma, and no thousands separators"
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


def _read_labelled(lines: list[str], *, name: str) -> _Table | None:
    """A table with titles and a column of texts that names the pattern of each row, or None if the text is none."""
    first = next((index for index, line in enumerate(lines[:50]) if not _blank_or_comment(line)), None)
    if first is None:
        return None
    separator = next((mark for mark in "\t;," if mark in lines[first]), None)
    if separator is None:
        return None
    rows = [row for row in csv.reader(lines[first:], delimiter=separator) if any(field.strip() for field in row)]
    titles = [plain_title(title) for title in rows[0]]
    angle = next((index for index, title in enumerate(titles) if _POSITION_TITLE.match(title)), None)
    if angle is None or len(rows) <= MIN_POINTS or any(len(row) != len(titles) for row in rows[1:]):
        return None
    columns = [_column_to_numbers([field.strip() for field in column]) for column in zip(*rows[1:], strict=True)]
    texts = [index for index, column in enumerate(columns) if column is None]
    if angle in texts or any(_INTENSITY_TITLE.match(titles[index]) for index in texts):
        return None
    values = np.stack([np.full(len(rows) - 1, np.nan) if column is None else column for column in columns], axis=1)
    if _may_have_groups(np.nan_to_num(values)):
        fields = [[row[index] for index in range(len(row)) if index not in texts] for row in rows[1:]]
        _check_three_decimals(fields, range(first + 1, first + len(rows)), name=name)
    labels = [", ".join(row[index].strip() for index in texts) for row in rows[1:]]
    header = "\n".join(lines[: first + 1])
    return _Table(header, values, np.arange(first + 2, first + 1 + len(rows)), titles, [], labels)


def _column_to_numbers(fields: list[str]) -> np.ndarray | None:
    """The cells of a column as numbers, NaN for blank ones; None if they are texts."""
    if "" not in fields and _PLAIN_COLUMN.fullmatch("\n".join(fields)):
        try:
            return np.array(fields, dtype=np.float64)
        except ValueError:
            return None
    if not any(fields):
        return np.full(len(fields), np.nan)
    if not _numeric_or_blank(fields):
        return None
    return np.array([_to_float(field) if field else np.nan for field in fields])


# ------------------------------------------------------------------------------------------------- titles → columns
_TWO_THETA_TITLE = re.compile(r"\W*(?:2\s?[-*.]?\s?th|two\s?-?th|2\s?θ|ttheta|tth\b|angle|pos|(?<![\x80-\x9f])x$)")
_POSITION_TITLE = re.compile(rf"{_TWO_THETA_TITLE.pattern}|q\b|1 ?/ ?d\b|d\b|d-?(?:spac|val)|scattering|sin")
_INTENSITY_TITLE = re.compile(
    r"\W*(?:intensit|counts?\b|cps\b|i(?: ?obs| ?meas)?(?![a-z0-9])|i\(|y(?: ?obs)?(?![a-z])|int\b|signal|"
    r"detector|det\b|psd\b|impulse|intensität)"
)
_OBSERVED = re.compile(r"\W*(?:[yi]|int\w*|counts?)?\W{0,2}(?:obs|observed|meas|measured|exp|experiment\w*|data|raw)\b")
_NO_INTENSITY = re.compile(
    r"\W*(?:smooth|simul|theor|esd|e\.s\.d|sig|σ|err|error|uncert|std|stdev|weight|w\b|wt\b|diff|delta|resid|bkg|bgr?\b|background|calc|"
    r"[yi]\W{0,2}cal|[yi]\W{0,2}c\b|model|fit\b|yo-?yc|obs ?- ?calc|time|sec|live|dead|temp|mon\b|monitor|i0\b|io\b|"
    r"ic[0-9]?\b|epoch|point|pt\b|no\b|#|index|channel|step|"
    r"q\b|d\b|d-|1/d|θ|theta|omega|phi|chi\b|attenu|flag|mask|norm|phase|sample|pattern|name|wave|lambda|h\b|k\b|l\b|x\b|unnamed)"
)
_RATE_TITLE = re.compile(r"cps|c/s|per sec|/ ?s\b|norm")
_PEAK_LIST = re.compile(r"\(?hkl\)?|h k l|fwhm")
_VALUE = r"([0-9]+(?:[.,][0-9]+)?)"
_IS = r"[^\w\n]*[,;:=\t][ \t]*\"?"
_HEADER_LINES = {
    key: re.compile(rf"^[^\w\n]*{title}{_IS}{value}", re.IGNORECASE | re.MULTILINE)
    for key, title, value in (
        ("sample", r"sample(?:[ _]?(?:name|id|identification))?", r'([^,;"\n]+)'),
        ("axis", r"scan[ _]?axis", r'([^,;"\n]+)'),
        ("seconds", r"(?:(?:scan[ _]?)?step[ _]?time|time[ _]?per[ _]?step)(?: ?[\[(]s\w*[\])])?", _VALUE),
        ("alpha_2", r"K-?Alpha2(?:[ _]?wavelength)?(?: ?[\[(]\w+[\])])?", _VALUE),
        ("ratio", r"ratio[ _]?K-?Alpha2/K-?Alpha1", _VALUE),
        (
            "points",
            r"(?:(?:number|no\.?) of (?:data |measured )?points|n_?p(?:oin)?ts|(?:data[ _]?)?points|data[ _]?count)",
            r"([0-9]{1,9})",
        ),
    )
}


def is_position_title(title: str) -> bool:
    """Whether a title names 2θ, q or d."""
    return _POSITION_TITLE.match(plain_title(title)) is not None


def _plain_line(line: str) -> str:
    return line.strip().lstrip("#!;%'\"@/* \t").removeprefix("L ")


def _titles(header: str, *, width: int, separator: str) -> list[str]:
    """Titles of the columns in lower case, each with its unit, from the last lines of the header; [] without them.

    A line has the titles where it has as many as there are columns; a following line of units is appended.
    """
    lines = [plain for line in header.split("\n")[-12:] if (plain := _plain_line(line))]
    parts = [found for line in lines[-4:] if (found := _title_fields(line, width=width, separator=separator))]
    for index, titles in enumerate(parts):
        names = [plain_title(title) for title in titles]
        if width == _TWO_COLUMNS and _POSITION_TITLE.match(names[1]) and not _INTENSITY_TITLE.match(names[0]):
            continue  # a statement such as `X dimension  2theta`
        if any(_POSITION_TITLE.match(title) or _INTENSITY_TITLE.match(title) for title in names):
            units: list[str] = next(
                (later for later in parts[index + 1 :] if all(_UNIT.fullmatch(plain_title(one)) for one in later)), []
            )
            return [plain_title(f"{title} {unit}") for title, unit in zip(titles, units or [""] * width, strict=True)]
    last = _title_fields(lines[-1], width=width, separator=separator) if lines else []
    return [] if re.search(r"[:=]", lines[-1] if lines else "") else [plain_title(title) for title in last]


_UNIT = re.compile(
    r"\W*(?:deg\w*|°? ?2-?(?:θ|th\w*)|°|m?rad\w*|counts?|cts|pulses?|imp\w*|"
    r"cps|c/s|a\.? ?u\.?|arb\.? ?units?|å(?:\^?-1)?|1/å|nm(?:\^?-1)?|1/nm|s|sec|k|%|)\W*"
)


def _title_fields(line: str, *, width: int, separator: str) -> list[str]:
    """The fields of a line, if there are as many as columns and one of them has a letter, else []."""
    if not re.search(r"[^\W\d]", line) or _STATEMENT.match(line):
        return []
    joined = re.sub(r"[ \t]{0,3}([\[(][^\])\n]{0,30}[\])])", lambda found: found[1].replace(" ", "_"), line)
    joined = re.sub(r"\b(2|two)[ -]{1,2}(th)", r"\1\2", joined, flags=re.IGNORECASE)
    joined = re.sub(r"\b([IYiy])[ -](obs|cal|calc|meas|bkg)\b", r"\1\2", joined)
    candidates = [line.split(separator)] if separator != " " else [joined.split(), re.split(r"[ \t]{2,}|\t", line)]
    candidates += [line.split(mark) for mark in "\t;," if mark in line and mark != separator]
    for fields in candidates:
        titles = [title.strip(" \"'\t") for title in fields]
        while titles and not titles[-1] and len(titles) > width:
            titles.pop()
        numbers = [title for title in titles if _NUMBER.fullmatch(title)]  # such as the temperatures of a series
        series = width > _TWO_COLUMNS and _POSITION_TITLE.match(plain_title(titles[0])) is not None
        if len(titles) == width and (not numbers or series):
            return titles
    return []


def _first_title(header: str) -> str:
    """Title of the first column in lower case, from the last header line that names an axis; else an empty text."""
    for line in reversed(header.split("\n")[-60:]):
        plain = _plain_line(line)
        plain = re.sub(r"^x[ \t]{0,3}[,;:=][ \t]{0,3}", "", plain, flags=re.IGNORECASE)
        if not plain or ":" in plain or "=" in plain or len(plain) > MAX_LINE_LENGTH:
            continue
        title = re.split(r"[,;\t|]| {2,}", plain)[0].strip(" \"'")
        if _STATEMENT.match(title):
            continue
        words = title.split()
        if len(words) > 1 and re.match(r"(?:intensity|counts?|int\.?|i|y)\b", words[-1], re.IGNORECASE):
            title = " ".join(words[:-1])
        text = plain_title(title)
        if _AXIS_TITLE.match(text) or re.search(r"2 ?[-*]? ?th|θ", text):
            return title
    return ""


_STATEMENT = re.compile(
    r"(?:photon |beam |x-?ray )?(?:energy|wave ?-?length|lambda|λ)\b[^0-9]*[0-9]+(?![0-9])[.,]?[0-9]*", re.IGNORECASE
)
"""A wavelength or energy with its value, which is no title."""

_AXIS_TITLE = re.compile(
    r"(?:2|two|t?th|θ|angle|q(?![a-z])|s?cattering|d(?![a-z])|d-?(?:spacing|value)|1 ?/ ?d|time of flight|tof|energy|"
    r"position|x\b|radius|radial|r ?[(\[]|r mm|g ?\(r|momentum|sin|s ?[(\[]|chi\b|azim|omega|phi\b|raman|wave ?number|"
    r"channel)"
)


def _curves(table: _Table, *, name: str) -> tuple[list[_Curve], list[str]]:
    """The patterns that the columns of a table hold, and a note on columns that were left out."""
    titles, width = table.titles, table.values.shape[1]
    refuse_functions(titles, name=name)
    if not titles:
        if width > _MOST_UNTITLED and not _monotonic(table.values[:, 0]):
            msg = f"{name}: {width} columns without titles, the first of which is no axis: a map or an image"
            raise PatternError(msg, code="E_FORMAT")
        return [_Curve(0, 1)], _note_untitled(table.values)
    indexed = {"h", "k", "l"} <= set(titles) or any(_PEAK_LIST.fullmatch(title) for title in titles)
    if indexed and not any(map(_OBSERVED.match, titles)):
        msg = f"{name}: a list of peaks (its columns are {shorten(', '.join(titles), limit=60)}); expected a scan"
        raise PatternError(msg, code="E_FORMAT")
    stage = [index for index, title in enumerate(titles) if _STAGE.fullmatch(title)]
    if len(stage) > 1 and len(stage) + 1 < width and np.ptp(table.values[:, stage], axis=0).any():
        listed = " and ".join(titles[index] for index in stage[:3])
        msg = f"{name}: a map over the places {shorten(listed, limit=60)}; expected one scan, or a column for each"
        raise PatternError(msg, code="E_FORMAT")
    positions = [index for index, title in enumerate(titles) if _names_two_theta(title)]
    if not positions:
        positions = [index for index, title in enumerate(titles) if _POSITION_TITLE.match(title)][:1] or [0]
    curves = []
    for position, end in zip(positions, [*positions[1:], width], strict=True):
        others = range(position + 1, end) if len(positions) > 1 else [n for n in range(width) if n != position]
        curves += [
            _Curve(position, column, titles[column], titles[column]) for column in _intensities(titles, list(others))
        ]
    if not curves:
        curves = [_Curve(positions[0], positions[0] + 1 if positions[0] + 1 < width else 0)]
    curves, notes = _counted(curves, titles, name=name)
    if all(_NOT_DIFFRACTED.match(titles[curve.intensity]) for curve in curves):
        msg = f"{name}: the column {shorten(titles[curves[0].intensity], limit=40)!r} is no diffracted intensity"
        raise PatternError(msg, code="E_FORMAT")
    used = {curve.intensity for curve in curves} | {curve.position for curve in curves}
    unused = [
        title for index, title in enumerate(titles) if index not in used and title and not _NO_INTENSITY.match(title)
    ]
    notes += [f"columns were left out: {shorten(', '.join(unused), limit=60)}"] if unused else []
    return curves, notes


def _names_two_theta(title: str) -> bool:
    """Whether a title names 2θ, perhaps behind the name of a sample: `2theta`, `sample b 2theta`."""
    if _TWO_THETA_TITLE.match(title):
        return True
    named = re.search(r"(?<![(/*])\b(?:2 ?-?theta|2 ?θ|two ?-?theta|tth)\b", title)
    return named is not None and not _intensity_named(title) and not _UNCERTAINTY.search(title)


_UNCERTAINTY = re.compile(
    r"\b(?:esd|e\.s\.d|err(?:or)?|sig(?:ma)?|σ|uncert\w*|std|delta|diff\w*|shift|offset|zero|step)\b"
)
_NO_MEASUREMENT = re.compile(
    r"\W*(?:(?:i|int\w*|counts?)?[ _-]?(?:esd|e\.s\.d\.?|err(?:or)?s?|sigma|uncertaint(?:y|ies)|std(?:ev)?)|σ|"
    r"d ?\(?i\)?|"
    r"weights?|background|bkg|bgr?|diff(?:erence)?|delta|resid(?:ual)?s?|yobs ?- ?ycalc?|obs ?- ?calc)\W*(?:[(\[].*)?"
)
_TRANSFORMED = re.compile(
    r"\b[qs] ?(?:\^ ?)?[1-4]? ?[*×·]? ?i\b(?!n)|\bi ?(?:\( ?[qs] ?\))? ?(?:[*×·/] ?\(?)?[qs] ?\^? ?[1-4]?(?![\w)])|"
    r"\b(?:i|int\w*|counts?|cps) ?(?:\( ?[qs] ?\))? ?[*×·/] ?\(?(?:sin|cos|tan|lp\b)|"
    r"\b(?:i|int\w*|counts?|cps)\)? ?(?:\^|\*\*) ?[0-9.]|^\W*1 ?/ ?(?:i|int\w*|counts?)\b|"
    r"kratky|porod|a(?:rc)?sinh|cumul"
)
_CALCULATED = re.compile(r"\W*(?:[yi]\W{0,2}cal|calc|simul|theor|model|fit\b)")


def _counted(curves: list[_Curve], titles: list[str], *, name: str) -> tuple[list[_Curve], list[str]]:
    """The curves whose titles do not say that they are no counts, and a note where they are calculated ones.

    Raises:
        PatternError: all are uncertainties, backgrounds, differences or functions of the intensity (E_FORMAT).
    """
    named = [(curve, titles[curve.intensity]) for curve in curves]
    kept = [curve for curve, title in named if not _NO_MEASUREMENT.fullmatch(title) and not _TRANSFORMED.search(title)]
    if not kept:
        title = named[0][1]
        what = "a function of the intensity" if _TRANSFORMED.search(title) else "no measured intensity"
        msg = f"{name}: the column {shorten(title, limit=40)!r} is {what}; expected intensities as they were counted"
        raise PatternError(msg, code="E_FORMAT")
    calculated = [titles[curve.intensity] for curve in kept if _CALCULATED.match(titles[curve.intensity])]
    return kept, [f"the intensities are calculated ones ({shorten(calculated[0], limit=40)})"] if calculated else []


_STAGE = re.compile(
    r"(?:sample|stage)?[ _]?[xyz](?:[ _]?(?:pos(?:ition)?|stage))?[ _]?[\[(]?(?:mm|cm|[μu]m|steps?)?[\])]?"
)
_NOT_DIFFRACTED = re.compile(r"\W*(?:transmi(?:ssion|tt)|absorb|absorpt|reflectan|reflectivity)")
_LOWER = re.compile(r"\b(?:left|low(?:er)?|min(?:imum)?|from|start|begin)\b")
_UPPER = re.compile(r"\b(?:right|high|upper|max(?:imum)?|to|stop|end)\b")
_MOST_UNTITLED = 6
"""Columns of a table without titles above which it may be a map or an image. Ours."""


def _monotonic(values: np.ndarray) -> bool:
    """Whether numbers only increase or only decrease, but for a few."""
    steps = np.diff(values)
    return bool(max(np.mean(steps > 0), np.mean(steps < 0)) > 0.9) if steps.size else True  # noqa: PLR2004 - ranges


def _with_bin_centres(table: _Table) -> _Table:
    """The table with the centres of bins, where its first two columns are their lower and upper edges."""
    if len(table.titles) <= _TWO_COLUMNS or not (_LOWER.search(table.titles[0]) and _UPPER.search(table.titles[1])):
        return table
    lower, upper = table.values[:, 0], table.values[:, 1]
    if not np.allclose(lower[1:], upper[:-1], rtol=0, atol=1e-3 * float(np.abs(upper - lower).max())):
        return table
    values = np.column_stack([(lower + upper) / 2, table.values[:, 2:]])
    title = _LOWER.sub("", table.titles[0]).strip()
    title = title if _POSITION_TITLE.match(title) else "2theta"
    notes = [*table.notes, "the first two columns are the edges of bins; the intensities are at their centres"]
    return replace(table, values=values, titles=[title, *table.titles[2:]], notes=notes)


def _intensities(titles: list[str], columns: list[int]) -> list[int]:
    """Columns of measured intensities among these: observed ones, else those called intensity, else any other."""
    observed = [index for index in columns if _OBSERVED.match(titles[index])]
    if observed:
        return observed[:1]
    named = [i for i in columns if _intensity_named(titles[i])]
    if named:
        return named
    other = [index for index in columns if titles[index] and not _NO_INTENSITY.match(titles[index])]
    return other or columns[:1]


def _intensity_named(title: str) -> bool:
    """Whether a title names a measured intensity, perhaps its logarithm or root."""
    inner = re.sub(r"^\W*(?:log ?_?10|log|lg|ln|sqrt|root|square root of|√)\W{0,2}", "", title)
    return (
        _INTENSITY_TITLE.match(inner) is not None
        and not re.match(r"\W*(?:i0|io|ic)\b", inner)
        and not re.search(r"calc|bkg|background|error|\besd\b|sigma|diff|\bfit|smooth|model|theor|simul", inner)
    )


def _note_untitled(values: np.ndarray) -> list[str]:
    """A note on further columns without titles, where the third is not the uncertainty of the second."""
    width = values.shape[1]
    if width <= _TWO_COLUMNS or (width == _TWO_COLUMNS + 1 and _may_be_uncertainty(values[:, 1], values[:, 2])):
        return []
    return [f"{width - 2} further columns without titles were left out; a line of titles offers them as scans"]


def _may_be_uncertainty(counts: np.ndarray, others: np.ndarray) -> bool:
    """Whether numbers are uncertainties: the same for all, or growing more slowly than the counts."""
    both = (counts > 0) & (others > 0) & np.isfinite(counts) & np.isfinite(others)
    if both.sum() < MIN_POINTS or np.ptp(others[both]) == 0 or np.ptp(counts[both]) == 0:
        return True
    slope = np.polyfit(np.log(counts[both]), np.log(others[both]), 1)[0]
    return bool(slope < 0.8)  # noqa: PLR2004 - 0.5 for counts, 1 for another pattern


def _curve_to_points(table: _Table, curve: _Curve, *, name: str) -> list[MeasuredPoints]:
    """The points of two columns, cut into the ranges that they hold."""
    title = table.titles[curve.position] if table.titles else ""
    shown = title or _first_title(table.header)
    axis = Axis("two_theta") if curve.position and not shown else axis_of_title(shown, name=name, header=table.header)
    if not title and not shown and re.search(r"\.(?:gr|fq|sq)$", name, re.IGNORECASE):
        msg = f"{name}: is named like a function of total scattering and has no titles; expected a title such as 2theta"
        raise PatternError(msg, code="E_AXIS")
    intensity, notes = _to_counts(table, curve, name=name)
    positions = table.values[:, curve.position] * axis.factor
    given = ~(np.isnan(positions) & np.isnan(intensity))
    rows = np.flatnonzero(given)
    parts = []
    labels = table.labels
    if axis.kind == "two_theta":
        _refuse_sticks(positions[rows], name=name)
    for part in _ranges(positions[rows], table.places[rows], None if labels is None else [labels[row] for row in rows]):
        chosen = rows[part]
        metadata = {"column": shorten(curve.name, limit=40)} if curve.name else {}
        if labels is not None and labels[chosen[0]]:
            metadata["sample"] = shorten(labels[chosen[0]], limit=60)
        parts.append(
            MeasuredPoints(
                positions=positions[chosen],
                intensity=intensity[chosen],
                format="text table",
                kind=axis.kind,
                wavelength=_column_wavelength(table, chosen) if len(table.titles) > _TWO_COLUMNS else None,
                place="line",
                places=table.places[chosen],
                gaps=True,
                warnings=(*axis.notes, *notes),
                metadata=metadata,
            )
        )
    return parts


def _refuse_sticks(positions: np.ndarray, *, name: str) -> None:
    """Refuse positions of peaks in place of a scan: steps that differ by factors, without any order.

    Raises:
        PatternError: there are such steps (E_FORMAT).
    """
    steps = np.diff(positions)
    if not MIN_POINTS < positions.size < _MOST_PEAKS or not (steps > 0).all():
        return
    low, high = np.percentile(steps, [10, 90])
    turns = np.mean(np.sign(np.diff(steps))[1:] != np.sign(np.diff(steps))[:-1])
    different = np.unique(np.round(steps / np.median(steps), 2)).size / steps.size
    ratio = _PEAK_STEPS if np.median(steps) < 1 else 1.3  # no scan has steps of degrees
    if high > ratio * low and turns > 0.3 and different > 0.5:  # noqa: PLR2004 - 2/3 and 1 at random, 0 in a scan
        msg = (
            f"{name}: a list of {positions.size} peaks: the steps of its angles vary from {low:.3g}° to {high:.3g}° "
            f"without order; expected a scan"
        )
        raise PatternError(msg, code="E_FORMAT")


_MOST_PEAKS, _PEAK_STEPS = 300, 3
"""Largest number of peaks of a list, and how much larger its large steps are than its small ones. Ours."""


def _ranges(positions: np.ndarray, places: np.ndarray, labels: list[str] | None) -> list[slice]:
    """Runs of rows that are one scan each: the label changes, or the angles begin anew."""
    steps = np.diff(positions)
    if steps.size == 0:
        return [slice(0, positions.size)]
    sign = 1.0 if np.count_nonzero(steps > 0) >= np.count_nonzero(steps < 0) else -1.0
    back = np.flatnonzero(sign * steps < 0)
    typical = float(np.median(np.abs(steps)))
    apart = [i for i in back if places[i + 1] - places[i] > 1 or abs(steps[i]) > _RESTART_STEPS * typical]
    cuts = [int(index) + 1 for index in apart] if len(apart) == len(back) else []
    if labels is not None:
        cuts = sorted({*cuts, *(index for index in range(1, len(labels)) if labels[index] != labels[index - 1])})
    edges = [0, *cuts, positions.size]
    if min(np.diff(edges)) < MIN_POINTS:
        return [slice(0, positions.size)]
    return [slice(begin, end) for begin, end in pairwise(edges)]


def _to_counts(table: _Table, curve: _Curve, *, name: str) -> tuple[np.ndarray, list[str]]:
    """Intensities of a curve without logarithm or root, and over a counting time or monitor that varies, with notes."""
    values, notes = table.values[:, curve.intensity], []
    title = curve.title or _second_title(table.header)
    if re.match(r"\W*(?:log ?_?10|lg)(?:\b|(?=i))|\W*log ?_?10", title):
        values, notes = np.power(10.0, values), [f"the intensities ({title}) were logarithms and are powers of 10 here"]
    elif re.match(r"\W*ln\b", title):
        values, notes = np.exp(values), [f"the intensities ({title}) were logarithms and are powers of e here"]
    elif re.match(r"\W*(?:sqrt|root|square root|√)", title):
        values, notes = values**2, [f"the intensities ({title}) were roots and are squared here"]
    elif re.match(r"\W*log", title) or re.search(r"\b(?:db|log)\b", title):
        shown = shorten(title, limit=40)
        msg = f"{name}: the intensities are logarithms ({shown!r}) of unknown base; name them log10 or ln"
        raise PatternError(msg, code="E_VALUES")
    if not table.titles or _RATE_TITLE.search(title):
        return values, notes
    values, divided = over_time_or_monitor(table.values, table.titles, values, own=curve.intensity)
    return values, [*notes, *divided]


def _second_title(header: str) -> str:
    """What the last lines of a header call the intensities, where their titles do not match the columns."""
    for line in reversed(header.split("\n")[-6:]):
        found = re.search(
            r"\b(?:log_?10|log|lg|ln|sqrt)[ ]?\(?[ ]?(?:i\b|int|counts?)[^\n,;\t]{0,20}", line, re.IGNORECASE
        )
        if found:
            return plain_title(found[0])
    return ""


# -------------------------------------------------------------------------------------------- statements of the header
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


def _check_count(table: _Table, scans: list[MeasuredPoints], *, name: str) -> None:
    """Hold the number of rows against the one that the header states, alone on the fourth line in a .chi file."""
    stated = _HEADER_LINES["points"].search(table.header)
    lines = table.header.strip("\n").split("\n")
    chi = len(lines) == _CHI_COUNT + 1 and re.fullmatch(r"\s*([0-9]{1,9})(?:\s+[0-9]{1,9})?\s*", lines[3])
    count = int(stated[1]) if stated else int(chi[1]) if chi and not _NUMBER.fullmatch(lines[1].strip()) else None
    rows = {len(table.values), *(scan.positions.size for scan in scans)}
    if count is not None and count not in rows:
        what = "it is cut off" if len(table.values) < count else "it holds more than it states"
        msg = f"{name}: the table has {len(table.values)} rows, its header says {count} points: {what}"
        raise PatternError(msg, code="E_TRUNCATED" if len(table.values) < count else "E_FORMAT")


def _wavelength(table: _Table) -> tuple[float | None, tuple[str, ...]]:
    """Wavelength [Å] that the header states, with notes."""
    wavelength, notes = stated_wavelength(table.header)
    if wavelength is None and not notes:
        wavelength = _lone_wavelength(table.header.split("\n"))
    return wavelength, notes


_WAVELENGTH_TITLE = re.compile(r"(?:wavelength|lambda|λ)(?: ?[(\[/] ?å\W?)?$")
_SPACING_TITLE = re.compile(r"d(?![a-z])|d-?(?:spacing|value)")


def _column_wavelength(table: _Table, rows: np.ndarray) -> float | None:
    """Wavelength [Å] of some rows: the one number of a column of that name, or that of columns of 2θ and d."""
    columns = {
        key: next((table.values[rows, i] for i, title in enumerate(table.titles) if pattern.match(title)), None)
        for key, pattern in (("length", _WAVELENGTH_TITLE), ("angle", _TWO_THETA_TITLE), ("d", _SPACING_TITLE))
    }
    lengths, angles, d = columns["length"], columns["angle"], columns["d"]
    if lengths is None or not np.isfinite(lengths).any():
        if angles is None or d is None:
            return None
        lengths = np.where(angles > 5, 2 * d * np.sin(np.deg2rad(angles) / 2), np.nan)  # noqa: PLR2004 - d has few digits
    known = lengths[np.isfinite(lengths)]
    if known.size == 0 or np.ptp(known) > 0.01 * np.median(known):
        return None
    return plausible_wavelength(round(float(np.median(known)), 5))


def _lone_wavelength(header: list[str]) -> float | None:
    """The wavelength on its own line before the table, as DASH writes it to .xye files.

    Source: DASH user guide (CCDC), section on XYE files: the first line may hold the wavelength.
    """
    written = [line.strip() for line in header if line.strip()]
    if len(written) == 1 and re.fullmatch(r"[0-9]\.[0-9]{3,}", written[0]):
        return wavelength_in_text(f"wavelength {written[0]}")
    return None
