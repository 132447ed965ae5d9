"""File → pattern: the content of a file decides which reader parses it, not its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.bruker import read_brml, read_bruker_raw, read_uxd
from xxact_core.readers.content import (
    NUMBER,
    decode_text,
    looks_binary,
    read_members,
    read_source,
    refuse_document_types,
)
from xxact_core.readers.fixed_step import read_even_steps
from xxact_core.readers.gsas import read_gsas
from xxact_core.readers.measured_points import MeasuredPoints, points_to_pattern, select_scans
from xxact_core.readers.panalytical import read_xrdml
from xxact_core.readers.philips import read_philips_rd, read_philips_udf
from xxact_core.readers.powder_cif import read_powder_cif
from xxact_core.readers.read_untrusted import read_untrusted_scans
from xxact_core.readers.rigaku import read_asc, read_ras, read_rasx
from xxact_core.readers.stoe import read_stoe_raw
from xxact_core.readers.text_table import read_text_table

_HDF5 = b"\x89HDF"
_RASX_PROFILE = re.compile(r"Data[0-9]+/Profile[0-9]+\.txt")
_STEP = r"\+?0*(?:1\.?0*|\.[0-9]+|[0-9]*\.?[0-9]*[eE][+-]?[0-9]+)"
_EVEN_STEPS = re.compile(
    r"\A(?:\.RAW[ \t]*\n|SIETRONICS XRD SCAN"
    rf"|[^\n]*\n[ \t]*[0-9]+(?:[ \t]+{NUMBER}){{4}}[ \t]*(?:\n|$)"
    rf"|[^\n]*\n(?:[ \t]*{NUMBER}[ \t]+){{3}}[A-Za-z]+(?:[ \t]+{NUMBER}){{3}}[ \t]*(?:\n|$)"
    rf"|(?:(?!\s*{NUMBER}[\s,]+{NUMBER}[\s,]+{NUMBER}(?:[\s,]|$))[^\n]*\n){{0,11}}"
    rf"[ \t]*{NUMBER}[ \t,]+{_STEP}[ \t,]+{NUMBER}(?:[\s,]|$))"
)
"""Headers before intensities at even steps: text .raw, Sietronics, MAUD, JADE, and `start step stop` of FullProf.

A first look, which tables of angles and intensities do not pass; `fixed_step` decides.
"""

_CIF_BLOCK = re.compile(r"^\s*data_\S*\s*$", re.MULTILINE | re.IGNORECASE)
_CIF_ITEM = re.compile(r"^\s*(?:_[A-Za-z]|loop_)", re.MULTILINE)

READABLE_FORMATS = (
    "text tables (.xy .xye .csv .txt .dat .prn .asc .chi)",
    "PANalytical .xrdml",
    "Philips .rd, .sd and .udf",
    "Rigaku .ras, .rasx and .asc",
    "Bruker and Siemens .raw (versions 1 to 4), .brml and .uxd",
    "Stoe .raw (versions 1.05 and 1.06)",
    "GSAS .gsas and .fxye",
    "FullProf .dat (free format)",
    "NeXus .nxs and .h5",
    "powder .cif",
)

_OTHER_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 archive",
    b"SQLite": "a database",
    b"\x80\x04": "a pickle",
    b"\xd0\xcf\x11\xe0": "an old Office document",
}


def read_pattern(
    source: bytes | str | Path,
    *,
    name: str | None = None,
    wavelength: str | float | None = None,
    scan: int | Literal["sum"] = 0,
) -> Pattern:
    """Read a powder pattern from a file (a path) or its content (bytes).

    The file is parsed in this process, without limits on time and memory; use `read_untrusted.read_untrusted_pattern`
    for files from others. HDF5 is always read that way, because a damaged file can crash its library.

    Args:
        source: path or content of the file.
        name: name of the pattern, by default the file name.
        wavelength: of the radiation, in Å or by name (`CuKa`); takes precedence over the file. If neither gives one,
            the pattern has none, and `put_on_grid` requires it: Cu is never assumed.
        scan: number of the scan, from 0, in a file of several, or `"sum"` for the sum of all (see `sum_scans`).

    Raises:
        PatternError: names the file, the place in it, the value and what was expected. Codes: E_EMPTY, E_FORMAT (not a
            pattern, or a format not in `READABLE_FORMATS`), E_TRUNCATED, E_TOO_LARGE, E_BOMB, E_XML, E_AXIS, E_VALUES,
            E_RADIATION (neutrons), E_SCAN (there is no such scan), E_LIMIT (reading HDF5 was stopped).
        WavelengthError: `wavelength` is not within 0.1-5 Å.
        OSError: the path cannot be opened.
    """
    (pattern,) = _source_to_patterns(source, name=name, wavelength=wavelength, scan=scan)
    return pattern


def parse_scan(text: str) -> int | Literal["sum"]:
    """The scan that a text names: a number from 0, or `sum`.

    Raises:
        PatternError: it is neither (E_SCAN).
    """
    if text.strip().lower() == "sum":
        return "sum"
    if not text.strip().isascii() or not text.strip().isdecimal():
        msg = f"the scan {shorten(text, limit=40)!r} is neither a number from 0 nor 'sum'"
        raise PatternError(msg, code="E_SCAN")
    return int(text)


def read_scans(
    source: bytes | str | Path, *, name: str | None = None, wavelength: str | float | None = None
) -> tuple[Pattern, ...]:
    """Read all scans of a file, in their order; arguments and errors are those of `read_pattern`."""
    return _source_to_patterns(source, name=name, wavelength=wavelength, scan=None)


def _source_to_patterns(
    source: bytes | str | Path, *, name: str | None, wavelength: str | float | None, scan: int | Literal["sum"] | None
) -> tuple[Pattern, ...]:
    known_wavelength = None if wavelength is None else parse_wavelength(wavelength)
    data, source_name = read_source(source, name=name)
    read = read_untrusted_scans if data.startswith(_HDF5) else parse_scans
    return read(data, name=source_name, wavelength=known_wavelength, scan=scan)


def parse_scans(
    data: bytes, *, name: str, wavelength: float | None, scan: int | Literal["sum"] | None
) -> tuple[Pattern, ...]:
    """One scan of the content of a file, the sum of all, or each for `scan=None`; parsed in this process, HDF5 too.

    Raises:
        PatternError: as `read_pattern`.
    """
    scans = _content_to_points(data, name=shorten(name), scan=None if scan == "sum" else scan)
    patterns = tuple(
        points_to_pattern(points, name=name if len(scans) == 1 else f"{name}, scan {index}", wavelength=wavelength)
        for index, points in enumerate(scans)
    )
    return (sum_scans(patterns),) if scan == "sum" else patterns


def sum_scans(scans: Sequence[Pattern]) -> Pattern:
    """One pattern whose intensities are the sums of the scans, at the angles of the first.

    Raises:
        PatternError: the scans do not share their angles, to a tenth of a step (E_SCAN), or there are none (E_EMPTY).
    """
    if not scans:
        msg = "there are no scans to sum"
        raise PatternError(msg, code="E_EMPTY")
    first = scans[0]
    angles = first.two_theta
    nearness = 0.1 * float(np.diff(angles).min()) if angles.size > 1 else 0.0
    for other in scans[1:]:
        if other.two_theta.shape != angles.shape or np.abs(other.two_theta - angles).max() > nearness:
            own, its = (f"{x.size} points from {x[0]:g}° to {x[-1]:g}°" for x in (angles, other.two_theta))
            msg = f"{other.name}: has {its}, the first scan {own}; expected the same angles"
            raise PatternError(msg, code="E_SCAN")
    if len(scans) == 1:
        return first
    return Pattern(
        two_theta=angles,
        intensity=np.sum([scan.intensity for scan in scans], axis=0),
        wavelength=first.wavelength,
        name=first.name.removesuffix(", scan 0"),
        format=first.format,
        warnings=(*first.warnings, f"the sum of {len(scans)} scans"),
        metadata=first.metadata,
    )


def _content_to_points(data: bytes, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    if not data.strip(b" \t\r\n\0\xef\xbb\xbf\xff\xfe"):
        msg = f"{name}: the file is empty"
        raise PatternError(msg, code="E_EMPTY")
    if data.startswith(b"PK\x03\x04"):
        return _archive_to_points(data, name=name, scan=scan)
    if data.startswith(_HDF5):
        from xxact_core.readers.nexus import read_nexus  # noqa: PLC0415 - loads h5py, which is slow

        return read_nexus(data, name=name, scan=scan)
    if re.match(rb"RAW(?: |2|[0-9]\.[0-9]{2})", data):
        return read_bruker_raw(data, name=name, scan=scan)
    if data.startswith(b"RAW_"):
        return read_stoe_raw(data, name=name, scan=scan)
    if data.startswith((b"V3RD", b"V5RD")):
        return read_philips_rd(data, name=name, scan=scan)
    if data.startswith(b".RAW\r"):
        data = data.replace(b"\0", b" ")
    content = next((content for signature, content in _OTHER_SIGNATURES.items() if data.startswith(signature)), None)
    if content is None and looks_binary(data):
        content = "binary data of an unknown format"
    if content is not None:
        msg = f"{name}: is {content}; expected one of {', '.join(READABLE_FORMATS)}"
        raise PatternError(msg, code="E_FORMAT")
    return _text_to_points(decode_text(data, name=name), name=name, scan=scan)


def _archive_to_points(data: bytes, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    members = read_members(data, name=name)
    if "root.xml" in members and any(map(_RASX_PROFILE.fullmatch, members)):
        return read_rasx(members, name=name, scan=scan)
    if any(member.endswith("DataContainer.xml") for member in members) and any(
        re.search(r"RawData[0-9]+\.xml$", member) for member in members
    ):
        return read_brml(members, name=name, scan=scan)
    first = shorten(next(iter(members), ""))
    msg = f"{name}: a zip archive that is neither BRML nor RASX; its first member is {first!r}"
    raise PatternError(msg, code="E_FORMAT")


def _text_to_points(text: str, *, name: str, scan: int | None) -> list[MeasuredPoints]:  # noqa: PLR0911 - one per format
    beginning = text[:20_000]
    if beginning.lstrip().startswith("<"):
        refuse_document_types(text, name=name)
        return read_xrdml(text, name=name, scan=scan)
    if beginning.startswith("*RAS_"):
        return read_ras(text, name=name, scan=scan)
    if re.search(r"^BANK\s+[0-9]", beginning, re.MULTILINE):
        return read_gsas(text, name=name, scan=scan)
    if re.search(r"^_(?:FILEVERSION|2THETACOUNTS|DRIVE|STEPSIZE)\b", beginning, re.MULTILINE):
        return read_uxd(text, name=name, scan=scan)
    if beginning.startswith("SampleIdent"):
        return read_philips_udf(text, name=name, scan=scan)
    if _CIF_BLOCK.search(text) and _CIF_ITEM.search(text):
        return read_powder_cif(text, name=name, scan=scan)
    if re.search(r"^\*START\s*=", beginning, re.MULTILINE):
        return read_asc(text, name=name, scan=scan)
    points = read_even_steps(text, name=name, scan=scan) if _EVEN_STEPS.match(text) else None
    if points is None:
        select_scans(scan, count=1, name=name)
        points = [read_text_table(text, name=name)]
    return points
