"""GSAS files (STD, ESD, FXY and FXYE records of constant wavelength) → measured points, parsed by geddes."""

from __future__ import annotations

import re

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    anode_in_text,
    note_scans,
    read_with_geddes,
    refuse_neutrons,
    scan_metadata,
    select_scans,
    wavelength_in_text,
)

_BANK = re.compile(r"^BANK[ \t].*$", re.MULTILINE)
_FXY_BANK = re.compile(r"^(BANK\b.*\bFXY)[ \t]*\n((?:(?!BANK\b)[^\n]*+\n)*+(?:(?!BANK\b)[^\n]++)?)", re.MULTILINE)
_STD_BANK = re.compile(r"BANK +[0-9]+ +([0-9]{1,7}) +([0-9]{1,7}) +CONST?\b(?!.*\b(?:ESD|FXYE?|ALT)\b)")
_NEGATIVE_STEP = re.compile(r"BANK +[0-9]+ +[0-9]+ +[0-9]+ +CONST? +[0-9.]+ +-")
_CHANNELS, _COLUMNS = 10, 80
"""Channels and columns of a record. Source: GSAS manual, 10(I2,F6.0)."""

_TIMES_OF_FLIGHT = re.compile(r"\b(?:SLOG|RALF|TIME_MAP|COND|LOG6)\b")


def read_gsas(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one bank of a GSAS file, or of all for `scan=None`; its angles are in hundredths of a degree.

    Raises:
        PatternError: neutrons (E_RADIATION), a bank over times of flight (E_AXIS), or geddes cannot read the bank
            (E_FORMAT, E_TRUNCATED).
    """
    banks = _BANK.findall(text)
    selected = select_scans(scan, count=len(banks), name=name)
    for index in selected:
        if _TIMES_OF_FLIGHT.search(banks[index]):
            shown = shorten(banks[index], limit=60)
            msg = f"{name}: {shown!r} is a time-of-flight bank (neutrons); expected 2θ of x-rays"
            raise PatternError(msg, code="E_AXIS")
    data = _cut_records(_FXY_BANK.sub(_add_uncertainties, text)).encode()
    header = text[:10_000]
    refuse_neutrons(header, name=name)
    return [
        read_with_geddes(
            data,
            suffix="gsas",
            name=name,
            label="GSAS",
            wavelength=wavelength_in_text(header),
            scan=index,
            warnings=note_scans(scan, count=len(banks)),
            metadata=scan_metadata(anode=anode_in_text(header), scans=len(banks)),
            decreasing=_NEGATIVE_STEP.match(banks[index]) is not None,
        )
        for index in selected
    ]


def _cut_records(text: str) -> str:
    """STD banks without what stands behind the 80 columns of their records, such as numbers of lines.

    Banks whose records are longer because they hold more than ten channels are left as they are.
    """
    lines = text.split("\n")
    for index, line in enumerate(lines):
        found = _STD_BANK.match(line)
        if found is None:
            continue
        channels, records = int(found[1]), int(found[2])
        if channels <= _CHANNELS * records:
            for row in range(index + 1, min(index + 1 + records, len(lines))):
                lines[row] = lines[row][:_COLUMNS]
    return "\n".join(lines)


def _add_uncertainties(bank: re.Match[str]) -> str:
    """An FXY bank as FXYE, with a third column of 1: geddes does not read FXY."""
    rows = "".join(f"{line} 1\n" for line in bank[2].splitlines() if line.strip())
    return f"{bank[1]}E\n{rows}"
