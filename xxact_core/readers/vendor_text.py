"""Text and XML files of diffractometers' own formats → measured points, by geddes where it knows them."""

from __future__ import annotations

import re

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.axis_titles import check_scan_axis
from xxact_core.readers.geddes import read_by_geddes
from xxact_core.readers.number_rows import rows_to_numbers
from xxact_core.readers.points import MeasuredPoints, choose_scans, note_scans
from xxact_core.readers.scan_metadata import facts_in_ras, facts_in_xrdml, scan_facts
from xxact_core.readers.wavelengths import (
    anode_in_text,
    refuse_neutrons,
    wavelength_in_ras,
    wavelength_in_text,
    wavelength_in_xrdml,
)

_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?")
_FLIGHT_TIMES = re.compile(r"\b(?:SLOG|RALF|TIME_MAP|COND|LOG6)\b")
_UXD_SCAN = re.compile(r"^_(?:2THETA)?(?:COUNTS|CPS)\b", re.MULTILINE)


def read_xrdml(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of the chosen scan of a PANalytical XRDML file, or of all.

    Raises:
        PatternError: another kind of XML (E_FORMAT), one that is cut off (E_TRUNCATED), or a scan over another axis
            than 2θ (E_AXIS).
    """
    if "<xrdMeasurement" not in text[:10_000]:
        msg = f"{name}: is XML but no XRDML; expected the element xrdMeasurements"
        raise PatternError(msg, code="E_FORMAT")
    if not text.rstrip().endswith("</xrdMeasurements>"):
        msg = f"{name}: the file is cut off; expected </xrdMeasurements> at its end"
        raise PatternError(msg, code="E_TRUNCATED")
    starts = [found.start() for found in re.finditer(r"<scan\b", text)]
    chosen = choose_scans(scan, count=max(1, len(starts)), name=name)
    texts = {index: text[starts[index] : [*starts, len(text)][index + 1]] if starts else text for index in chosen}
    for scan_text in texts.values():
        axis = re.search(r'<scan\b[^>]*scanAxis="([^"]*)"', scan_text)
        check_scan_axis(axis and axis[1], name=name)
    plain = re.sub(r"^\s*<\?xml[^>]*\?>", '<?xml version="1.0" encoding="UTF-8"?>', text.lstrip("\ufeff")).encode()
    return [
        read_by_geddes(
            plain,
            suffix="xrdml",
            name=name,
            label="XRDML",
            wavelength=wavelength_in_xrdml(text),
            scan=index,
            warnings=note_scans(scan, count=len(starts)),
            metadata=facts_in_xrdml(text, scan_text=scan_text, scans=max(1, len(starts))),
        )
        for index, scan_text in texts.items()
    ]


def read_gsas(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of a GSAS file's constant-wavelength bank, whose angles are in hundredths of a degree.

    Raises:
        PatternError: neutrons (E_RADIATION) or a bank over times of flight (E_AXIS).
    """
    banks = re.findall(r"^BANK\s+.*$", text, re.MULTILINE)
    for index in choose_scans(scan, count=len(banks), name=name):
        if _FLIGHT_TIMES.search(banks[index]):
            shown = shorten(banks[index], limit=60)
            msg = f"{name}: {shown!r} is a time-of-flight bank (neutrons); expected 2θ of x-rays"
            raise PatternError(msg, code="E_AXIS")
    text = re.sub(r"^(BANK\b.*\bFXY)[ \t]*\n((?:(?!BANK\b).*\n?)*)", _with_errors, text, flags=re.MULTILINE)
    return _read_text_by_geddes(text, suffix="gsas", label="GSAS", name=name, scan=scan, scans=len(banks))


def _with_errors(bank: re.Match[str]) -> str:
    """A bank of angles and counts with a third column, as FXYE has it: geddes knows no FXY."""
    rows = "".join(f"{line} 1\n" for line in bank[2].splitlines() if line.strip())
    return f"{bank[1]}E\n{rows}"


def read_uxd(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of the chosen range of a Bruker UXD file, or of all."""
    scans = max(1, len(_UXD_SCAN.findall(text)))
    return _read_text_by_geddes(text, suffix="uxd", label="UXD", name=name, scan=scan, scans=scans)


def _read_text_by_geddes(
    text: str, *, suffix: str, label: str, name: str, scan: int | None, scans: int
) -> list[MeasuredPoints]:
    header = text[:10_000]
    refuse_neutrons(header, name=name)
    seconds = re.search(r"^_STEPTIME\s*=\s*([0-9.]+)", header, re.MULTILINE)
    sample = re.search(r"^_SAMPLE\s*=\s*'?([^'\n]*)", header, re.MULTILINE)
    ratio = re.search(r"^_WLRATIO\s*=\s*([0-9.]+)", header, re.MULTILINE)
    anode = re.search(r"^_ANODE\s*=\s*'?([A-Za-z]+)", header, re.MULTILINE)
    facts = scan_facts(
        anode=anode[1] if anode else anode_in_text(header),
        ratio=float(ratio[1]) if ratio and _NUMBER.fullmatch(ratio[1]) else None,
        seconds=seconds[1] if seconds else None,
        sample=sample[1] if sample else None,
        scans=scans,
    )
    return [
        read_by_geddes(
            text.encode(),
            suffix=suffix,
            name=name,
            label=label,
            wavelength=wavelength_in_text(header),
            scan=index,
            warnings=note_scans(scan, count=scans),
            metadata=facts,
        )
        for index in choose_scans(scan, count=scans, name=name)
    ]


def read_ras(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of the chosen scan of a Rigaku RAS file, or of all; counts times the attenuation in the third column.

    Raises:
        PatternError: a scan is cut off (E_TRUNCATED), runs over another axis than 2θ (E_AXIS), or has a line that is
            no row (E_VALUES).
    """
    pieces = text.split("*RAS_INT_START\n")
    scans = max(1, len(pieces) - 1)
    return [
        _read_ras_scan(pieces, index, name=name, warnings=note_scans(scan, count=scans))
        for index in choose_scans(scan, count=scans, name=name)
    ]


def _read_ras_scan(pieces: list[str], index: int, *, name: str, warnings: tuple[str, ...]) -> MeasuredPoints:
    if len(pieces) < index + 2 or "*RAS_INT_END" not in pieces[index + 1]:
        msg = f"{name}: the RAS file is cut off; expected *RAS_INT_START ... *RAS_INT_END"
        raise PatternError(msg, code="E_TRUNCATED")
    header = pieces[index].rpartition("*RAS_INT_END")[2]
    axis = re.search(r'^\*MEAS_SCAN_AXIS_X(?:_INTERNAL)? "([^"\n]*)"', header, re.MULTILINE)
    check_scan_axis(axis and axis[1], name=name)
    refuse_neutrons(header, name=name)
    lines = pieces[index + 1].partition("*RAS_INT_END")[0].rstrip("\n").split("\n")
    first = sum(piece.count("\n") + 1 for piece in pieces[: index + 1]) + 1
    width = len(lines[0].split())
    values = rows_to_numbers(lines, separator=" ", width=width) if width in {2, 3} else None
    if values is None:
        _refuse_ras_line(lines, first=first, name=name)
        values = np.array([[*line.split(), "1"][:3] for line in lines], dtype=np.float64)
    factors = np.where(values[:, 2] > 0, values[:, 2], 1.0) if values.shape[1] > 2 else 1.0  # noqa: PLR2004 - third
    return MeasuredPoints(
        positions=values[:, 0],
        intensity=values[:, 1] * factors,
        format="RAS",
        wavelength=wavelength_in_ras(header) or wavelength_in_ras(pieces[0]),
        place="line",
        places=np.arange(first, first + len(values)),
        warnings=warnings,
        metadata=facts_in_ras(header, scans=len(pieces) - 1),
    )


def _refuse_ras_line(lines: list[str], *, first: int, name: str) -> None:
    for index, line in enumerate(lines):
        fields = line.split()
        if len(fields) not in {2, 3} or not all(_NUMBER.fullmatch(field) for field in fields):
            msg = f"{name}, line {first + index}: {shorten(line, limit=60)!r} is no row of angle, counts, attenuation"
            raise PatternError(msg, code="E_VALUES")


def refuse_document_types(text: str, *, name: str) -> None:
    """Refuse XML that declares a document type or entities: no diffractometer writes one, and they are attacks."""
    found = re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE)
    if found:
        msg = f"{name}: the XML declares a {found[1].upper()}; expected none"
        raise PatternError(msg, code="E_XML")
