"""SPEC files of beamlines, and the files of PDFgetX3 that follow them → measured points."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.content import MAX_POINTS
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    axis_of_title,
    note_scans,
    over_time_or_monitor,
    plain_title,
    refuse_functions,
    refuse_neutrons,
    scan_metadata,
    select_scans,
    stated_wavelength,
)

_POSITION = re.compile(r"2 ?-?th|two ?-?th|tth|ttheta|tt$|delta$|del$|2θ|q(?![a-z])|d(?![a-z])|1 ?/ ?d|r(?![a-z])|radi")
_NO_COUNTER = re.compile(r"epoch|time|sec|mon|i0|io\b|ic[0-9]?\b|ion ?ch|dead|temp|h$|k$|l$")
_STEPS = re.compile(r"\b(?:d|a)[0-9]?scan\s.*\s([0-9]{1,7})\s+-?[0-9.eE+]+$")


@dataclass
class _Scan:
    command: str
    labels: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


def read_spec(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one scan over 2θ, q or d of a SPEC file, or of all for `scan=None`; other scans are not counted.

    The axis is the first column, or the one called 2θ; the intensity is the last column that is no time, monitor or
    temperature, which in SPEC is the main counter. A counting time or monitor that varies divides it.

    Source: SPEC manual, section on data files: labels are separated by two blanks.

    Raises:
        PatternError: no scan over 2θ, q or d (E_AXIS), a function of total scattering (E_AXIS), neutrons (E_RADIATION),
            or a row of another length than the labels (E_VALUES).
    """
    front, scans = _read_scans(text, name=name)
    refuse_neutrons("\n".join(front), name=name)
    chosen = []
    for one in scans:
        refuse_functions(one.labels, name=name)
        if one.rows and _axis_column(one) is not None:
            chosen.append(one)
    if not chosen:
        shown = next((one.labels[0] for one in scans if one.labels), "nothing")
        msg = f"{name}: no scan of the SPEC file runs over 2θ, q or d (the first is over {shorten(shown, limit=40)!r})"
        raise PatternError(msg, code="E_AXIS")
    left_out = sum(bool(one.rows) for one in scans) - len(chosen)
    notes = [f"{left_out} scans over other axes were left out"] if left_out else []
    return [
        _to_points(
            chosen[index], front, name=name, notes=[*notes, *note_scans(scan, count=len(chosen))], scans=len(chosen)
        )
        for index in select_scans(scan, count=len(chosen), name=name)
    ]


def _read_scans(text: str, *, name: str) -> tuple[list[str], list[_Scan]]:
    """Lines before the first scan, and the scans."""
    front: list[str] = []
    scans: list[_Scan] = []
    channels = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#S "):
            scans.append(_Scan(line[3:503].strip()))
        elif not scans:
            front.append(line[:1000])
        elif line.startswith("#L"):
            scans[-1].labels = [label for label in re.split(r"[ \t]{2,}|\t", line[2:].strip()) if label]
        elif line.startswith("#"):
            scans[-1].header.append(line[:1000])
        elif line.startswith("@") or channels:
            channels = line.rstrip().endswith("\\")  # counts of a multichannel analyser, continued on the next line
        elif line.strip():
            scans[-1].rows.append(line.split())
            scans[-1].places.append(number)
    for one in scans:
        if len(one.rows) > MAX_POINTS:
            msg = f"{name}: holds {len(one.rows)} points; expected at most {MAX_POINTS}"
            raise PatternError(msg, code="E_TOO_LARGE")
        if one.rows and len(one.labels) != len(one.rows[0]):
            words = " ".join(one.labels).split()
            one.labels = words if len(words) == len(one.rows[0]) else one.labels
    return front, scans


def _note_columns(one: _Scan) -> list[str]:
    """A note where the number of columns is not the one that `#N` states."""
    stated = next((line.split()[1:2] for line in one.header if line.startswith("#N")), None)
    if not stated or not stated[0].isdecimal() or int(stated[0]) == len(one.rows[0]):
        return []
    return [f"the rows have {len(one.rows[0])} columns; #N says {stated[0]}"]


def _axis_column(one: _Scan) -> int | None:
    if len(one.labels) != len(one.rows[0]):
        return 0 if one.labels and _POSITION.match(plain_title(one.labels[0])) else None
    return next((index for index, label in enumerate(one.labels) if _POSITION.match(plain_title(label))), None)


def _to_points(one: _Scan, front: list[str], *, name: str, notes: list[str], scans: int) -> MeasuredPoints:
    width = len(one.rows[0])
    for place, row in zip(one.places, one.rows, strict=True):
        if len(row) != width:
            msg = f"{name}, line {place}: has {len(row)} columns; the rows before it have {width}"
            raise PatternError(msg, code="E_VALUES")
    try:
        values = np.array(one.rows, dtype=np.float64)
    except ValueError as error:
        msg = f"{name}, lines {one.places[0]}-{one.places[-1]}: not a table of numbers ({shorten(error, limit=60)})"
        raise PatternError(msg, code="E_VALUES") from None
    header = "\n".join([*front, *one.header])
    position = _axis_column(one) or 0
    axis = axis_of_title(one.labels[position], name=name, header=header)
    labels = one.labels if len(one.labels) == width else [one.labels[0], *[""] * (width - 1)]
    plain = [plain_title(label) for label in labels]
    counters = [n for n in range(width) if n != position and not _NO_COUNTER.match(plain[n])]
    counter = counters[-1] if counters else width - 1
    intensity, divided = over_time_or_monitor(values, plain, values[:, counter], own=counter)
    notes = [*notes, *_note_columns(one)]
    steps = _STEPS.search(one.command)
    if steps and len(values) < int(steps[1]):
        notes = [
            *notes,
            f"the scan has {len(values)} of {int(steps[1]) + 1} points: it was stopped, or the file cut off",
        ]
    if width > 2 and labels[counter]:  # noqa: PLR2004 - a choice
        notes = [*notes, f"the intensity is the column {shorten(labels[counter], limit=40)!r}"]
    wavelength, stated = stated_wavelength(header)
    return MeasuredPoints(
        positions=values[:, position] * axis.factor,
        intensity=intensity,
        format="SPEC",
        kind=axis.kind,
        wavelength=wavelength,
        place="line",
        places=np.array(one.places),
        gaps=True,
        warnings=(*axis.notes, *divided, *stated, *notes),
        metadata=scan_metadata(sample=one.command, scans=scans),
    )
