"""File → pattern: what the content is decides who reads it, not what the file is called."""

from __future__ import annotations

import re
from pathlib import Path

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.measured_points import MeasuredPoints, points_to_pattern
from xxact_core.patterns.pattern import Pattern
from xxact_core.patterns.powder_cif import read_powder_cif
from xxact_core.patterns.text_decoding import decode_text, looks_binary
from xxact_core.patterns.text_tables import read_text_table
from xxact_core.patterns.vendor_files import (
    read_archive,
    read_bruker_raw,
    read_gsas,
    read_ras,
    read_uxd,
    read_xrdml,
    refuse_document_types,
)

MOST_BYTES = 64 * 2**20
"""Largest file that is read; the longest scan of a laboratory has under 1 MB."""

_CIF_BLOCK = re.compile(r"^\s*data_\S*\s*$", re.MULTILINE | re.IGNORECASE)
_CIF_ITEM = re.compile(r"^\s*(?:_[A-Za-z]|loop_)", re.MULTILINE)

READABLE_FORMATS = (
    "text tables (.xy .xye .csv .txt .dat .prn .asc .chi)",
    "PANalytical .xrdml",
    "Rigaku .ras and .rasx",
    "Bruker .raw (versions 3 and 4), .brml and .uxd",
    "GSAS .gsas and .fxye",
    "powder .cif",
)

_FOREIGN_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 archive",
    b"SQLite": "a database",
    b"\x80\x04": "a pickle",
    b"\xd0\xcf\x11\xe0": "an old Office document",
}


def read_pattern(
    source: bytes | str | Path, *, name: str | None = None, wavelength: str | float | None = None
) -> Pattern:
    """The pattern in a file (a path) or in its content (bytes); of several scans the first.

    name: what to call it, by default the name of the file. wavelength: of the radiation, in Å or by name (`CuKa`); goes
    before what the file says. Where neither says it, the pattern has none, and `put_on_grid` asks: Cu is never assumed.

    Raises:
        PatternError: names the file, the place in it, what stands there and what was expected. Codes: E_EMPTY, E_FORMAT
            (not a pattern, or a format not in `READABLE_FORMATS`), E_TRUNCATED, E_TOO_LARGE, E_BOMB, E_XML, E_AXIS,
            E_VALUES, E_RADIATION (neutrons).
        WavelengthError: `wavelength` is not within 0.1-5 Å.
        OSError: the path cannot be opened.
    """
    chosen = None if wavelength is None else parse_wavelength(wavelength)
    if isinstance(source, bytes):
        data, called = source, name or "pattern"
        _check_size(len(data), name=shorten(called))
    else:
        path = Path(source)
        called = name or path.name
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1) if path.stat().st_size <= MOST_BYTES else b""
            _check_size(max(path.stat().st_size, len(data)), name=shorten(called))
    points = _content_to_points(data, name=shorten(called))
    return points_to_pattern(points, name=called, wavelength=chosen)


def _check_size(size: int, *, name: str) -> None:
    if size > MOST_BYTES:
        msg = f"{name}: has {size / 2**20:.0f} MB; expected at most {MOST_BYTES // 2**20} MB"
        raise PatternError(msg, code="E_TOO_LARGE")


def _content_to_points(data: bytes, *, name: str) -> MeasuredPoints:
    if not data.strip(b" \t\r\n\0\xef\xbb\xbf\xff\xfe"):
        msg = f"{name}: the file is empty"
        raise PatternError(msg, code="E_EMPTY")
    if data.startswith(b"PK\x03\x04"):
        return read_archive(data, name=name)
    if re.match(rb"RAW(?: |2|[0-9]\.[0-9]{2})", data):
        return read_bruker_raw(data, name=name)
    kind = next((kind for signature, kind in _FOREIGN_SIGNATURES.items() if data.startswith(signature)), None)
    if kind is None and looks_binary(data):
        kind = "binary data of no known kind"
    if kind is not None:
        msg = f"{name}: is {kind}; expected one of {', '.join(READABLE_FORMATS)}"
        raise PatternError(msg, code="E_FORMAT")
    return _text_to_points(decode_text(data, name=name), name=name)


def _text_to_points(text: str, *, name: str) -> MeasuredPoints:
    beginning = text[:20_000]
    if beginning.lstrip().startswith("<"):
        refuse_document_types(text, name=name)
        return read_xrdml(text, name=name)
    if beginning.startswith("*RAS_"):
        return read_ras(text, name=name)
    if re.search(r"^BANK\s+[0-9]", beginning, re.MULTILINE):
        return read_gsas(text, name=name)
    if re.search(r"^_(?:FILEVERSION|2THETACOUNTS|DRIVE|STEPSIZE)\b", beginning, re.MULTILINE):
        return read_uxd(text, name=name)
    if _CIF_BLOCK.search(text) and _CIF_ITEM.search(text):
        return read_powder_cif(text, name=name)
    return read_text_table(text, name=name)
