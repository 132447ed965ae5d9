"""Files of diffractometers' own formats → measured points, by geddes where it knows them."""

from __future__ import annotations

import re

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.archives import pack_members, read_members
from xxact_core.patterns.measured_points import MeasuredPoints
from xxact_core.patterns.text_decoding import decode_text
from xxact_core.patterns.wavelengths_in_files import (
    says_neutrons,
    wavelength_in_brml,
    wavelength_in_bruker_raw,
    wavelength_in_ras,
    wavelength_in_rasx,
    wavelength_in_text,
    wavelength_in_xrdml,
)

_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?")
_CUT_OFF = re.compile(r"truncat|unexpected end|eof|too short|incomplete", re.IGNORECASE)
_SHIFT_JIS_THETA = b"\x83\xc6".decode("latin-1")
"""θ of a Japanese RAS header after Latin-1 decoding."""

_TWO_THETA = re.compile(r"2theta|twotheta|2θ|gonio", re.IGNORECASE)


def read_xrdml(text: str, *, name: str) -> MeasuredPoints:
    """Points of the first scan of a PANalytical XRDML file.

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
    _check_scan_axis(re.search(r'<scan\b[^>]*scanAxis="([^"]*)"', text), name=name)
    plain = re.sub(r"^\s*<\?xml[^>]*\?>", '<?xml version="1.0" encoding="UTF-8"?>', text.lstrip("\ufeff"))
    scans = len(re.findall(r"<scan\b", text))
    return _by_geddes(
        plain.encode(), suffix="xrdml", name=name, label="XRDML", wavelength=wavelength_in_xrdml(text), scans=scans
    )


def read_archive(data: bytes, *, name: str) -> MeasuredPoints:
    """Points of the first scan of a Bruker BRML or Rigaku RASX file, both of which are zip archives.

    Raises:
        PatternError: the archive is hostile (E_BOMB), damaged (E_TRUNCATED), holds a forbidden XML (E_XML) or something
            else than a pattern (E_FORMAT).
    """
    members = read_members(data, name=name)
    for member, content in members.items():
        if member.lower().endswith(".xml"):
            refuse_document_types(decode_text(content, name=f"{name}, {shorten(member, limit=60)}"), name=name)
    packed = pack_members(members)
    raw = sorted(member for member in members if re.search(r"RawData[0-9]+\.xml$", member))
    profiles = sorted(member for member in members if re.search(r"Profile[0-9]+\.txt$", member))
    if raw:
        wavelength = wavelength_in_brml(members[raw[0]].decode("utf-8", "replace"))
        return _by_geddes(packed, suffix="brml", name=name, label="BRML", wavelength=wavelength, scans=len(raw))
    if profiles:
        conditions = sorted(member for member in members if re.search(r"Mea?surementConditions[0-9]+\.xml$", member))
        text = members[conditions[0]].decode("utf-8-sig", "replace") if conditions else ""
        _check_scan_axis(re.search(r"<ScanInformation>\s*<AxisName>([^<]*)</AxisName>", text), name=name)
        return _by_geddes(
            packed, suffix="rasx", name=name, label="RASX", wavelength=wavelength_in_rasx(text), scans=len(profiles)
        )
    msg = f"{name}: a zip archive that is neither BRML nor RASX; it begins with {shorten(next(iter(members), ''))!r}"
    raise PatternError(msg, code="E_FORMAT")


def read_bruker_raw(data: bytes, *, name: str) -> MeasuredPoints:
    """Points of the first range of a Bruker RAW file of version 3 or 4."""
    return _by_geddes(data, suffix="raw", name=name, label="Bruker RAW", wavelength=wavelength_in_bruker_raw(data))


def read_gsas(text: str, *, name: str) -> MeasuredPoints:
    """Points of a GSAS file with a constant-wavelength bank, whose angles are in hundredths of a degree."""
    bank = re.search(r"^BANK\s+.*$", text, re.MULTILINE)
    if bank and re.search(r"\b(?:SLOG|RALF|TIME_MAP|COND|LOG6)\b", bank[0]):
        msg = f"{name}: {shorten(bank[0], limit=60)!r} is a time-of-flight bank (neutrons); expected 2θ of x-rays"
        raise PatternError(msg, code="E_AXIS")
    return _by_geddes(text.encode(), suffix="gsas", name=name, label="GSAS", wavelength=wavelength_in_text(text[:2000]))


def read_uxd(text: str, *, name: str) -> MeasuredPoints:
    """Points of the first range of a Bruker UXD file."""
    return _by_geddes(text.encode(), suffix="uxd", name=name, label="UXD", wavelength=wavelength_in_text(text[:10_000]))


def read_ras(text: str, *, name: str) -> MeasuredPoints:
    """Points of the first scan of a Rigaku RAS file; counts are multiplied by the attenuation in the third column.

    Raises:
        PatternError: the scan is cut off (E_TRUNCATED), runs over another axis than 2θ (E_AXIS), or has a line that is
            no row (E_VALUES).
    """
    before, begun, rest = text.partition("*RAS_INT_START\n")
    body, ended, _ = rest.partition("*RAS_INT_END")
    if not begun or not ended:
        msg = f"{name}: the RAS file is cut off; expected *RAS_INT_START ... *RAS_INT_END"
        raise PatternError(msg, code="E_TRUNCATED")
    _check_scan_axis(re.search(r'^\*MEAS_SCAN_AXIS_X(?:_INTERNAL)? "([^"\n]*)"', before, re.MULTILINE), name=name)
    if says_neutrons(before):
        msg = f"{name}: the header says that neutrons were scattered; expected x-rays"
        raise PatternError(msg, code="E_RADIATION")
    first = before.count("\n") + 2
    rows = []
    for index, line in enumerate(body.rstrip("\n").split("\n")):
        fields = line.split()
        if len(fields) not in {2, 3} or not all(_NUMBER.fullmatch(field) for field in fields):
            msg = f"{name}, line {first + index}: {shorten(line, limit=60)!r} is no row of angle, counts, attenuation"
            raise PatternError(msg, code="E_VALUES")
        factor = float(fields[2]) if len(fields) > 2 and float(fields[2]) > 0 else 1.0  # noqa: PLR2004 - third column
        rows.append((float(fields[0]), float(fields[1]) * factor))
    values = np.array(rows, dtype=np.float64).reshape(-1, 2)
    scans = text.count("*RAS_INT_START")
    return MeasuredPoints(
        positions=values[:, 0],
        intensity=values[:, 1],
        format="RAS",
        wavelength=wavelength_in_ras(before),
        place="line",
        places=np.arange(first, first + len(values)),
        warnings=_scan_note(scans),
        metadata={"scans": str(scans)},
    )


def refuse_document_types(text: str, *, name: str) -> None:
    """Refuse XML that declares a document type or entities: no diffractometer writes one, and they are attacks."""
    found = re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE)
    if found:
        msg = f"{name}: the XML declares a {found[1].upper()}; expected none"
        raise PatternError(msg, code="E_XML")


def _by_geddes(
    data: bytes, *, suffix: str, name: str, label: str, wavelength: float | None, scans: int = 1
) -> MeasuredPoints:
    import geddes  # noqa: PLC0415 - text files do without the vendor reader

    try:
        pattern = geddes.read_bytes(data, f"pattern.{suffix}")
    except ValueError as error:
        code = "E_TRUNCATED" if _CUT_OFF.search(str(error)) else "E_FORMAT"
        msg = f"{name}: not readable as {label} ({shorten(str(error).removeprefix('Parse error: '))})"
        raise PatternError(msg, code=code) from None
    return MeasuredPoints(
        positions=np.array(pattern.x, dtype=np.float64),
        intensity=np.array(pattern.y, dtype=np.float64),
        format=label,
        wavelength=wavelength,
        warnings=_scan_note(scans),
        metadata={"scans": str(scans)},
    )


def _check_scan_axis(found: re.Match[str] | None, *, name: str) -> None:
    if found and not _TWO_THETA.search(re.sub(r"[\s_-]", "", found[1].replace(_SHIFT_JIS_THETA, "theta"))):
        msg = f"{name}: the scan runs over {shorten(found[1], limit=40)!r}; expected 2θ"
        raise PatternError(msg, code="E_AXIS")


def _scan_note(scans: int) -> tuple[str, ...]:
    return (f"holds {scans} scans; the first was read",) if scans > 1 else ()
