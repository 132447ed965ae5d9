"""File name, metadata or table → the value of a frame of a series: its temperature, pressure, time or number."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from xxact_core.errors import InputError, shorten

FRAME = "frame"
"""Name of the plain number of a frame, by which a series is ordered where nothing else is known."""

UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "temperature": {"K": (1, 0), "°C": (1, 273.15)},
    "pressure": {
        "GPa": (1, 0), "MPa": (1e-3, 0), "kPa": (1e-6, 0), "Pa": (1e-9, 0), "kbar": (0.1, 0), "bar": (1e-4, 0),
        "mbar": (1e-7, 0), "atm": (1.01325e-4, 0),
    },
    "time": {"s": (1, 0), "ms": (1e-3, 0), "min": (60, 0), "h": (3600, 0), "d": (86400, 0)},
}  # fmt: skip
"""Quantity → unit → factor and offset that convert to the first unit of the quantity."""

_SPELLINGS = {
    **dict.fromkeys(("C", "°C", "degC", "deg C", "℃", "celsius", "Celsius", "º C", "ºC"), "°C"),
    **dict.fromkeys(("K", "kelvin", "Kelvin"), "K"),
    **{unit: unit for units in UNITS.values() for unit in units},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **{text: text[0].upper() + "Pa" for text in ("gpa", "mpa")},
}
"""How units are written → the unit."""

_NAMES = {
    "temperature": ("temperature", "temp", "T"),
    "pressure": ("pressure", "press", "P"),
    "time": ("time", "t"),
}
"""Quantity → what stands before its value in file names and in the header of a table."""

_ROOM = 25.0
"""Room temperature, written RT [°C]."""

_NUMBER = r"[0-9]+(?:[.,p][0-9]+)?"
_SIGN = r"(?:(?<=[_= (])[-−]|^[-−])?"


@dataclass(frozen=True)
class Quantity:
    """A number with its unit."""

    value: float
    unit: str = ""
    """Empty where none is stated."""


def name_to_quantities(name: str, by: str) -> list[Quantity]:
    """All values of a quantity that a file name states: `CaCO3_450C_30min.xy` → 450 °C, or 30 min by time.

    A number counts by its unit, or by the name of the quantity before it (`T450`, `voltage=3.7V`); by `frame`, the last
    number of the name counts. `RT` is 25 °C.
    """
    stem = name.rsplit(".", 1)[0] if re.search(r"\.[A-Za-z][A-Za-z0-9]*$", name) else name
    if by == FRAME:
        numbers = re.findall(r"[0-9]+", stem)
        return [Quantity(float(numbers[-1]))] if numbers else []
    before = "|".join(re.escape(text) for text in _NAMES.get(by, (by,)))
    unit = r"([A-Za-z°%]*)"
    found = []
    if by in UNITS:
        spellings = "|".join(sorted(map(re.escape, _spellings_of(by)), key=len, reverse=True))
        unit = rf"(?:[ _]?({spellings}))?"
        with_unit = rf"(?:(?<![A-Za-z0-9.,])|(?<=(?<![A-Za-z])[Tt]))({_SIGN}{_NUMBER})[ _]?({spellings})(?![A-Za-z0-9])"
        found = [(match.start(), _quantity(match[1], match[2])) for match in re.finditer(with_unit, stem)]
    if by == "time":
        hours = re.finditer(r"(?<![A-Za-z0-9.])([0-9]+)h([0-9]+)(?:min|m)?(?![A-Za-z0-9])", stem)
        found += [(match.start(), Quantity(60 * float(match[1]) + float(match[2]), "min")) for match in hours]
    if by == "temperature":
        rooms = re.finditer(r"(?<![A-Za-z0-9])RT(?![A-Za-z0-9])", stem)
        found += [(match.start(), Quantity(_ROOM, "°C")) for match in rooms]
    if not found:
        named = rf"(?<![A-Za-z])(?:{before})[ _=-]*({_SIGN}{_NUMBER}){unit}(?![A-Za-z0-9])"
        matches = re.finditer(named, stem, 0 if by in _NAMES else re.IGNORECASE)
        found = [(match.start(), _quantity(match[1], match[2] or "")) for match in matches]
    return [quantity for _, quantity in sorted(found, key=lambda pair: pair[0])]


def text_to_quantity(text: str) -> Quantity | None:
    """The number and unit of a text such as `573 K`; None where it is neither."""
    match = re.fullmatch(r"\s*([-+−]?[0-9]*[.,]?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z°℃%µ/]*)\s*", text)
    found = _quantity(match[1], match[2]) if match else None
    return found if found is not None and math.isfinite(found.value) else None


def names_to_quantities(names: Sequence[str], by: str) -> list[Quantity | None]:
    """One value for each file name, None where a name states none.

    Where every name states several, as `900C_powder_T25C`, those at the place that changes most from name to name.
    """
    found = [name_to_quantities(name, by) for name in names]
    counts = {len(values) for values in found if values}
    if len(counts) != 1:
        return [values[-1] if values else None for values in found]
    places = range(counts.pop())
    best = max(places, key=lambda place: (len({values[place] for values in found if values}), place))
    return [values[best] if values else None for values in found]


def to_one_unit(values: Sequence[Quantity | None], by: str) -> tuple[list[float | None], str]:
    """The numbers in one unit: that of all values, or the first of `UNITS` where they have different ones."""
    stated = {quantity.unit for quantity in values if quantity is not None and quantity.unit}
    units = UNITS.get(by, {})
    if len(stated) < 2 or not stated <= units.keys():  # noqa: PLR2004 - different ones
        unit = stated.pop() if len(stated) == 1 else ""
        return [None if quantity is None else quantity.value for quantity in values], unit
    base = next(iter(units))
    numbers: list[float | None] = []
    for quantity in values:
        factor, offset = (1.0, 0.0) if quantity is None else units.get(quantity.unit, (1.0, 0.0))
        numbers.append(None if quantity is None else round(factor * quantity.value + offset, 9))
    return numbers, base


def read_values(path: Path, by: str | None) -> tuple[str | None, dict[str, Quantity] | list[Quantity | None]]:
    """The values of a table of frames, such as `file,temperature [°C]`.

    Args:
        path: text table, separated by commas, semicolons or tabs; the first row names the columns, unless it has
            numbers.
        by: name of the column, or the beginning of it; by default the only column of numbers.

    Returns:
        The name of the quantity, and file name → value, or a list in the order of the frames where no column names
        files.

    Raises:
        InputError: the table cannot be read or has no such column (E_SERIES).
    """
    rows = _read_rows(path)
    if not rows:
        msg = f"{shorten(path.name)}: is empty; expected a table with the columns file and, for instance, temperature"
        raise InputError(msg, code="E_SERIES")
    header, body = rows[0], rows[1:]
    if any(text_to_quantity(cell) for cell in header[1:]) or (len(header) == 1 and text_to_quantity(header[0])):
        header, body = ["file", *(["value"] * (len(header) - 1))] if len(header) > 1 else ["value"], rows
    numbers = [
        column
        for column in range(len(header))
        if body and all(text_to_quantity(row[column]) or not row[column].strip() for row in body)
    ]
    files = [column for column in range(len(header)) if column not in numbers]
    column = _column_of(header, numbers, by, path)
    name, unit = _split_unit(header[column])
    values = [_with_unit(text_to_quantity(row[column]), unit) for row in body]
    quantity = by or next((key for key, names in _NAMES.items() if name in names or name.lower() in names), name)
    if not files:
        return quantity, values
    by_file = {row[files[0]].strip(): value for row, value in zip(body, values, strict=True) if value is not None}
    return quantity, by_file


def gaps(numbers: Sequence[int]) -> list[str]:
    """The numbers missing between the first and the last, as `3` or `5-7`."""
    runs = [(one + 1, other - 1) for one, other in pairwise(sorted(set(numbers))) if other > one + 1]
    return [str(first) if first == last else f"{first}-{last}" for first, last in runs]


def metadata_to_quantity(metadata: Mapping[str, str], by: str, *, plain: bool) -> Quantity | None:
    """The value that the metadata of a scan state under the name of the quantity, or the title of its column.

    With `plain`, a title without a unit, as in a table of angles and one column for each temperature, counts, too.
    """
    if by in metadata:
        return text_to_quantity(metadata[by])
    title = text_to_quantity(metadata.get("column", ""))
    if title is None:
        found = name_to_quantities(metadata.get("column", "").upper(), by) if by in UNITS else []
        return found[-1] if found else None
    unit = _SPELLINGS.get(title.unit, _SPELLINGS.get(title.unit.upper(), title.unit))  # readers write titles small
    fits = unit in UNITS.get(by, {unit: ()}) if unit else plain
    return Quantity(title.value, unit) if fits else None


def _spellings_of(by: str) -> list[str]:
    return [text for text, unit in _SPELLINGS.items() if unit in UNITS[by]]


def _quantity(number: str, unit: str) -> Quantity:
    value = float(number.replace(",", ".").replace("p", ".").replace("−", "-"))
    return Quantity(value, _SPELLINGS.get(unit, unit))


def _with_unit(quantity: Quantity | None, unit: str) -> Quantity | None:
    return Quantity(quantity.value, unit) if quantity is not None and not quantity.unit else quantity


def _read_rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    delimiter = max(";\t,", key=lines[0].count) if lines else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    width = max((len(row) for row in rows), default=0)
    return [[*row, *([""] * (width - len(row)))] for row in rows]


def _column_of(header: Sequence[str], numbers: Sequence[int], by: str | None, path: Path) -> int:
    names = [_split_unit(header[column])[0] for column in numbers]
    wanted = () if by is None else _NAMES.get(by, (by,))
    for column, name in zip(numbers, names, strict=True):
        if name in wanted or (by is not None and name.lower().startswith(by.lower())):
            return column
    if len(numbers) == 1 and (by is None or names[0] == "value"):
        return numbers[0]
    problem = f"has no column of numbers called {shorten(by)}" if by else "has several columns of numbers or none"
    msg = f"{shorten(path.name)}: {problem}; its columns are {', '.join(shorten(name, limit=30) for name in header)}"
    raise InputError(msg, code="E_SERIES")


def _split_unit(header: str) -> tuple[str, str]:
    """Name and unit of a column: `temperature [°C]`, `T (K)`, `time / s` or `temperature_C`."""
    match = re.fullmatch(r"\s*(.*?)\s*(?:[\[(]\s*([^\])]*?)\s*[\])]|/\s*(\S+))\s*", header)
    if match:
        unit = match[2] if match[2] is not None else match[3]
        return match[1], _SPELLINGS.get(unit, unit)
    name, mark, unit = header.strip().rpartition("_")
    return (name, _SPELLINGS[unit]) if mark and unit in _SPELLINGS else (header.strip(), "")
