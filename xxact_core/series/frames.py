"""Folder or multi-scan file → the frames of a series, each with its value and pattern, in order."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xxact_core.errors import InputError, PatternError, shorten
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read_untrusted import read_untrusted_scans
from xxact_core.series.values import (
    FRAME,
    UNITS,
    Quantity,
    gaps,
    metadata_to_quantity,
    names_to_quantities,
    read_values,
    to_one_unit,
)

NO_PATTERNS = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".svg", ".pdf", ".md", ".html", ".json", ".jsonl", ".log", ".py"}
)
"""Endings of files that are never patterns and are left out of a folder, with a note."""

SPARSE = 20
"""Numbers from the first to the last for each frame, from which they are no row but, for instance, times. Ours."""

NEAR = 0.011
"""Largest difference of the first or last angle of two frames that cover the same range [deg 2θ]."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One measurement of a series."""

    file: str
    """Name of the file."""
    scan: int | None
    """Number of the scan in the file, from 0; None where the file has one."""
    value: float | None
    """Value of the quantity that the series runs over; None where it is unknown."""
    pattern: Pattern | None
    """The pattern; None where it could not be read."""
    error: str = ""
    """Why the frame could not be read."""

    @property
    def name(self) -> str:
        """File with the number of the scan."""
        return self.file if self.scan is None else f"{self.file}, scan {self.scan}"


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of a series in the order in which they are analysed."""

    by: str
    """Quantity that the series runs over: `temperature`, `pressure`, `time`, `frame`, or a name that was given."""
    unit: str
    """Unit of the values; empty where none is stated."""
    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()
    """Notes for the user: values that repeat or are unknown, missing frames, unequal ranges and wavelengths."""

    def __len__(self) -> int:
        """Number of frames, those that could not be read included."""
        return len(self.frames)


def read_frames(
    source: Path,
    *,
    by: str | None = None,
    values: Path | None = None,
    files: str = "*",
    wavelength: str | float | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Frames:
    """Read all patterns of a folder, or all scans of a file, and order them by a quantity.

    The value of a frame comes from the table `values`, from the metadata of its file or from its file name; otherwise,
    it is the number of the frame. A file that cannot be read gives a frame with an error, and so does a file that the
    table names but the folder lacks.

    Args:
        source: folder of pattern files, or a file with several scans.
        by: quantity: `temperature`, `pressure`, `time`, `frame`, or another name that stands in file names, as
            `voltage=3.7V`. By default the first of temperature, pressure and time that changes, else `frame`.
        values: table of files and values; see `values.read_values`.
        files: pattern of the file names in the folder, such as `*.xy`.
        wavelength: of the measurements, in Å or by name (`CuKa`); overrides that of the files.
        progress: progress callback (files read, files).

    Raises:
        InputError: the folder has no such files, the table cannot be used, or the files have no values of the quantity
            (E_SERIES).
        OSError: the folder cannot be read.
    """
    known = None if values is None else read_values(values, by)
    by = known[0] if known is not None and known[0] is not None else by
    paths, notes = _files_of(source, files, leave_out=values)
    frames = []
    for done, path in enumerate(paths):
        progress(done, len(paths))
        frames += _read_file(path, wavelength)
    progress(len(paths), len(paths))
    if known is None:
        by, quantities, more = _find_values(frames, by)
    else:
        assert by is not None, "a table names its quantity"
        frames, quantities, more = _values_of_table(frames, known[1], values or source)
    notes += more
    numbers, unit = to_one_unit(quantities, by)
    frames = [replace(frame, value=value) for frame, value in zip(frames, numbers, strict=True)]
    frames, more = _in_order(frames, by)
    notes += [*more, *_notes_on_angles(frames)]
    return Frames(by=by, unit=unit, frames=tuple(frames), notes=tuple(notes))


def _files_of(source: Path, files: str, *, leave_out: Path | None) -> tuple[list[Path], list[str]]:
    if source.is_file():
        return [source], []
    table = None if leave_out is None else leave_out.resolve()
    every = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    every = [path for path in every if fnmatch.fnmatch(path.name, files) and path.resolve() != table]
    found = sorted((path for path in every if path.suffix.lower() not in NO_PATTERNS), key=_natural)
    notes = []
    if len(found) < len(every):
        others = sorted(path.name for path in every if path.suffix.lower() in NO_PATTERNS)
        notes.append(f"{_number(others, 'file')} without a pattern left out ({_some(others)})")
    if not found:
        msg = f"{shorten(source.name)}: the folder has no pattern files{'' if files == '*' else f' named {files}'}"
        raise InputError(msg, code="E_SERIES")
    twice = [stem for stem, count in Counter(path.stem for path in found).items() if count > 1]
    if twice:
        notes.append(
            f"{_number(twice, 'name')} with several endings ({_some(twice)}): if these are exports of one scan, choose "
            "one of them by --files, such as --files '*.xy'"
        )
    return found, notes


def _natural(path: Path) -> list[tuple[int, float, str]]:
    """A key by which `scan_9` comes before `scan_10`."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(0, float(part), "") if part.isdecimal() else (1, 0.0, part.lower()) for part in parts]


def _read_file(path: Path, wavelength: str | float | None) -> list[Frame]:
    try:
        patterns = read_untrusted_scans(path, wavelength=wavelength)
    except PatternError as error:
        return _read_scans_apart(path, wavelength, error)
    if len(patterns) == 1:
        return [Frame(path.name, None, None, patterns[0])]
    return [Frame(path.name, scan, None, pattern) for scan, pattern in enumerate(patterns)]


def _read_scans_apart(path: Path, wavelength: str | float | None, error: PatternError) -> list[Frame]:
    """The scans that can be read of a file of which one cannot; one frame with the error where there are no others."""
    match = re.search(r", scan ([0-9]+):", str(error))
    if not match:
        return [Frame(path.name, None, None, None, error=str(error))]
    frames: list[Frame] = []
    while True:
        scan = len(frames)
        try:
            (pattern,) = read_untrusted_scans(path, wavelength=wavelength, scan=scan)
        except PatternError as problem:
            if problem.code == "E_SCAN":  # there are no more
                return frames
            frames.append(Frame(path.name, scan, None, None, error=str(problem)))
        else:
            frames.append(Frame(path.name, scan, None, pattern))


def _find_values(frames: Sequence[Frame], by: str | None) -> tuple[str, list[Quantity | None], list[str]]:
    """The quantity with a value for each frame, from metadata or file names."""
    if by is not None:
        found = _values_by(frames, by)
        if not any(found):
            examples = _some([frame.name for frame in frames])
            units = f", with a unit ({', '.join(UNITS[by])})" if by in UNITS else ""
            msg = (
                f"no file states a {shorten(by, limit=40)} in its metadata or its name ({examples}); expected a "
                f"number{units}, or a table of files and values (--values FILE)"
            )
            raise InputError(msg, code="E_SERIES")
        return by, found, []
    for quantity in UNITS:
        found = _values_by(frames, quantity, plain=False)
        if (
            len({one for one in found if one is not None}) > 1
            and sum(one is not None for one in found) > len(frames) / 2
        ):
            return quantity, found, [f"the series runs over {quantity}, which the files state"]
    return FRAME, _values_by(frames, FRAME), []


def _values_by(frames: Sequence[Frame], by: str, *, plain: bool = True) -> list[Quantity | None]:
    if by == FRAME:
        return _frame_numbers(frames)
    names = names_to_quantities([frame.file for frame in frames], by)
    return [one or other for one, other in zip(_stated(frames, by, plain=plain), names, strict=True)]


def _stated(frames: Sequence[Frame], by: str, *, plain: bool) -> list[Quantity | None]:
    patterns = [frame.pattern for frame in frames]
    return [None if one is None else metadata_to_quantity(one.metadata, by, plain=plain) for one in patterns]


def _frame_numbers(frames: Sequence[Frame]) -> list[Quantity | None]:
    """The last number of each file name where these differ, else the place in the series."""
    if all(frame.scan is None for frame in frames):
        numbers = names_to_quantities([frame.file for frame in frames], FRAME)
        if len(set(numbers)) == len(frames) and None not in numbers:
            return numbers
    if len({frame.file for frame in frames}) == 1:
        titles = _stated(frames, FRAME, plain=True)
        if len(set(titles)) == len(frames) and None not in titles:
            return titles
        return [Quantity(float(frame.scan or 0)) for frame in frames]
    return [Quantity(float(place)) for place in range(len(frames))]


def _values_of_table(
    frames: list[Frame], table: dict[str, Quantity] | list[Quantity | None], path: Path
) -> tuple[list[Frame], list[Quantity | None], list[str]]:
    """Frames and values of a table; files that only the table names become frames with an error."""
    if isinstance(table, list):
        if len(table) != len(frames):
            msg = (
                f"{shorten(path.name)}: has {len(table)} values for {len(frames)} frames, and no column of file names; "
                "expected one value for each frame, or a column called file"
            )
            raise InputError(msg, code="E_SERIES")
        return frames, table, []
    stems = Counter(Path(frame.file).stem for frame in frames)
    unused = dict.fromkeys(table)
    found: list[Quantity | None] = []
    for frame in frames:
        keys = [frame.name, frame.file, *([Path(frame.file).stem] if stems[Path(frame.file).stem] == 1 else [])]
        key = next((key for key in keys if key in table), None)
        found.append(None if key is None else table[key])
        if key is not None:
            unused.pop(key, None)
    if len(unused) == len(table):
        msg = (
            f"{shorten(path.name)}: names none of the {len(frames)} files "
            f"({_some([frame.file for frame in frames])}), but {_some(list(table))}"
        )
        raise InputError(msg, code="E_SERIES")
    missing = [Frame(name, None, None, None, error="the file is missing") for name in unused]
    notes = (
        [f"{_number(missing, 'file')} of the table missing in the folder ({_some(list(unused))})"] if missing else []
    )
    return [*frames, *missing], [*found, *(table[name] for name in unused)], notes


def _in_order(frames: Sequence[Frame], by: str) -> tuple[list[Frame], list[str]]:
    """Frames by value, those without one last; in the order of their names where values repeat."""
    notes = []
    unknown = [frame.name for frame in frames if frame.value is None]
    if unknown:
        notes.append(f"{_number(unknown, 'frame')} without a {by} at the end ({_some(unknown)})")
    known = [frame for frame in frames if frame.value is not None]
    if len({frame.value for frame in known}) < len(known):
        notes.append(f"values of {by} repeat: the frames are in the order of their names, not of the values")
    else:
        known = sorted(known, key=lambda frame: frame.value or 0.0)
    if by == FRAME:
        numbers = [int(frame.value or 0) for frame in known]
        missing = gaps(numbers)
        is_row = len(known) > 2 and max(numbers) - min(numbers) < SPARSE * len(known)  # noqa: PLR2004 - two are none
        if missing and is_row:
            notes.append(f"frames are missing: {', '.join(missing[:20])}{' …' if len(missing) > 20 else ''}")  # noqa: PLR2004 - enough to see
    return [*known, *(frame for frame in frames if frame.value is None)], notes


def _notes_on_angles(frames: Sequence[Frame]) -> list[str]:
    """Notes on unequal ranges, unequal wavelengths and frames without a wavelength."""
    patterns = [(frame.name, frame.pattern) for frame in frames if frame.pattern is not None]
    ranges: dict[tuple[float, float], list[str]] = {}
    wavelengths: dict[str, list[str]] = {}
    for name, pattern in patterns:
        ends = (float(pattern.two_theta[0]), float(pattern.two_theta[-1]))
        key = next((key for key in ranges if np.abs(np.subtract(key, ends)).max() < NEAR), ends)
        ranges.setdefault(key, []).append(name)
        length = "no wavelength" if pattern.wavelength is None else f"{pattern.wavelength:.5g} Å"
        wavelengths.setdefault(length, []).append(name)
    notes = []
    if len(ranges) > 1:
        shown = [f"{first:g}-{last:g}° ({_count(names)})" for (first, last), names in ranges.items()]
        notes.append(f"the frames do not cover the same angles: {'; '.join(shown[:5])}{' …' if len(shown) > 5 else ''}")  # noqa: PLR2004 - enough to see
    if len(wavelengths) > 1:
        shown = [f"{length} ({_count(names)})" for length, names in wavelengths.items()]
        notes.append(f"the frames do not have the same wavelength: {'; '.join(shown[:5])}")
    return notes


def _number(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} frames" if len(names) > 3 else ", ".join(shorten(name, limit=40) for name in names)  # noqa: PLR2004 - few enough to list


def _some(names: Sequence[str]) -> str:
    """The first names of a list, for a message."""
    shown = ", ".join(shorten(name, limit=40) for name in names[:3])
    return f"{shown}, …" if len(names) > 3 else shown  # noqa: PLR2004 - three are enough
