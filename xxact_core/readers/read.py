"""File → pattern: the content of a file decides which reader parses it, not its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.bruker import read_brml, read_bruker_raw, read_uxd
from xxact_core.readers.content import (
    MAX_LINES,
    NUMBER,
    decode_text,
    looks_binary,
    read_members,
    read_source,
    refuse_document_types,
)
from xxact_core.readers.fixed_step import read_even_steps
from xxact_core.readers.gsas import read_gsas
from xxact_core.readers.jcamp import read_jcamp
from xxact_core.readers.measured_points import MeasuredPoints, points_to_pattern, select_scans
from xxact_core.readers.panalytical import read_xrdml
from xxact_core.readers.philips import read_philips_rd, read_philips_udf
from xxact_core.readers.powder_cif import read_powder_cif
from xxact_core.readers.read_untrusted import read_untrusted_scans
from xxact_core.readers.rigaku import read_asc, read_ras, read_rasx
from xxact_core.readers.spec import read_spec
from xxact_core.readers.stoe import read_stoe_raw
from xxact_core.readers.text_table import read_text_table

_HDF5 = b"\x89HDF"
_RASX_PROFILE = re.compile(r"Data[0-9]+/Profile[0-9]+\.txt")
_STEP = r"\+?0{0,9}(?:1(?:\.0{0,15})?|\.[0-9]{1,15}|[0-9]{0,9}(?:\.[0-9]{0,15})?[eE][+-]?[0-9]{1,3})"
_EVEN_STEPS = re.compile(
    r"\A(?:\.RAW[ \t]*\n|SIETRONICS XRD SCAN"
    rf"|[^\n]*\n[ \t]*[0-9]+(?:[ \t]+{NUMBER}){{4}}[ \t]*(?:\n|$)"
    rf"|[^\n]*\n(?:[ \t]*{NUMBER}[ \t]+){{3}}[A-Za-z]+(?:[ \t]+{NUMBER}){{3}}[ \t]*(?:\n|$)"
    rf"|(?:(?![ \t]*{NUMBER}[ \t,]+{NUMBER}[ \t,]+{NUMBER}(?:[\s,]|$))[^\n]*\n){{0,11}}"
    rf"[ \t]*{NUMBER}[ \t,]+{_STEP}[ \t,]+{NUMBER}(?:[\s,]|$))"
)
"""Headers before intensities at even steps: text .raw, Sietronics, MAUD, JADE, and `start step stop` of FullProf.

A first look at the beginning, which tables of angles and intensities do not pass; `fixed_step` decides.
"""

_CIF_BLOCK = re.compile(r"^[ \t]*data_\S*[ \t]*$", re.MULTILINE | re.IGNORECASE)
_SPEC_SCAN = re.compile(r"^#S [ \t]*[0-9]", re.MULTILINE)
_CIF_ITEM = re.compile(r"^[ \t]*(?:_[A-Za-z]|loop_)", re.MULTILINE)

READABLE_FORMATS = (
    "text tables (.xy .xye .csv .txt .dat .prn .asc .chi)",
    "PANalytical .xrdml",
    "Philips .rd, .sd and .udf",
    "Rigaku .ras, .rasx and .asc",
    "Bruker and Siemens .raw (versions 1 to 4), .brml and .uxd",
    "Stoe .raw (versions 1.05 and 1.06)",
    "GSAS .gsas and .fxye",
    "FullProf .dat (free format)",
    "NeXus .nxs and .h5, xarray netCDF-4",
    "SPEC scans and PDFgetX3 .iq",
    "JCAMP-DX .jdx and .dx",
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
    b"CDF\x01": "a netCDF-3 file (save it as netCDF-4, or export text)",
    b"CDF\x02": "a netCDF-3 file (save it as netCDF-4, or export text)",
    b"###CBF": "a detector image (CBF)",
    b"{\nHEADER_BYTES": "a detector image (SMV)",
    b"{\r\nHEADER_BYTES": "a detector image (SMV)",
    b"{\nHeaderID": "a detector image (EDF)",
    b"{\r\nHeaderID": "a detector image (EDF)",
    b"{\nEDF_": "a detector image (EDF)",
    b"FORMAT :": "a detector image (Bruker)",
    b"\x93NUMPY": "a NumPy array (pass it as arrays, or export text)",
    b"PAR1": "a Parquet table",
    b"MATLAB": "a MATLAB file",
    b"\x80\x04": "a pickle",
    b"\xd0\xcf\x11\xe0": "an old Office document",
}


def read_pattern(
    source: object,
    *,
    name: str | None = None,
    wavelength: object = None,
    scan: int | Literal["sum", "join"] = 0,
) -> Pattern:
    """Read a powder pattern from a file (a path), its content (bytes), or an object of a Python session.

    The file is parsed in this process, without limits on time and memory; use `read_untrusted.read_untrusted_pattern`
    for files from others. HDF5 is always read that way, because a damaged file can crash its library.

    Args:
        source: path or content (bytes) of the file, or an object that `objects.object_to_points` reads: two arrays, an
            array of pairs, a pandas DataFrame or Series, an xarray DataArray or Dataset.
        name: name of the pattern, by default the file name.
        wavelength: of the radiation, in Å, with a unit or by name (`"0.15406 nm"`, `(8.048, "keV")`, `"CuKa"`); takes
            precedence over the file. If neither gives one, the pattern has none, and `put_on_grid` requires it: Cu is
            never assumed.
        scan: number of the scan, from 0, in a file of several, `"sum"` for the sum of all (see `sum_scans`), or
            `"join"` for ranges of one measurement as one pattern (see `join_scans`).

    Raises:
        PatternError: names the file, the place in it, the value and what was expected. Codes: E_EMPTY, E_FORMAT (not a
            pattern, or a format not in `READABLE_FORMATS`), E_TRUNCATED, E_TOO_LARGE, E_BOMB, E_XML, E_AXIS, E_VALUES,
            E_RADIATION (neutrons), E_SCAN (there is no such scan), E_LIMIT (reading HDF5 was stopped).
        WavelengthError: `wavelength` is not within 0.1-5 Å.
        OSError: the path cannot be opened.
    """
    (pattern,) = _source_to_patterns(source, name=name, wavelength=wavelength, scan=scan)
    return pattern


def parse_scan(text: str) -> int | Literal["sum", "join"]:
    """The scan that a text names: a number from 0, `sum`, or `join`.

    Raises:
        PatternError: it is neither (E_SCAN).
    """
    if text.strip().lower() == "sum":
        return "sum"
    if text.strip().lower() == "join":
        return "join"
    if not text.strip().isascii() or not text.strip().isdecimal():
        msg = f"the scan {shorten(text, limit=40)!r} is neither a number from 0 nor 'sum' or 'join'"
        raise PatternError(msg, code="E_SCAN")
    return int(text)


def read_scans(source: object, *, name: str | None = None, wavelength: object = None) -> tuple[Pattern, ...]:
    """Read all scans of a file, in their order; arguments and errors are those of `read_pattern`."""
    return _source_to_patterns(source, name=name, wavelength=wavelength, scan=None)


def _source_to_patterns(
    source: object,
    *,
    name: str | None,
    wavelength: object,
    scan: int | Literal["sum", "join"] | None,
) -> tuple[Pattern, ...]:
    known_wavelength = None if wavelength is None else parse_wavelength(wavelength)
    if not isinstance(source, bytes | str | Path):
        return _object_to_patterns(source, name=name, wavelength=known_wavelength, scan=scan)
    data, source_name = read_source(source, name=name)
    read = read_untrusted_scans if data.startswith(_HDF5) else parse_scans
    return read(data, name=source_name, wavelength=known_wavelength, scan=scan)


def _object_to_patterns(
    source: object, *, name: str | None, wavelength: float | None, scan: int | Literal["sum", "join"] | None
) -> tuple[Pattern, ...]:
    from xxact_core.readers.objects import object_to_points  # noqa: PLC0415 - files do not need it

    found = object_to_points(source, name=name or "pattern")
    patterns = tuple(points_to_pattern(points, name=called, wavelength=wavelength) for called, points in found)
    if isinstance(scan, str):
        return (sum_scans(patterns) if scan == "sum" else join_scans(patterns),)
    return tuple(patterns[index] for index in select_scans(scan, count=len(patterns), name=name or "pattern"))


@np.errstate(all="ignore")  # values that are not finite are refused or left out, in words
def parse_scans(
    data: bytes, *, name: str, wavelength: float | None, scan: int | Literal["sum", "join"] | None
) -> tuple[Pattern, ...]:
    """One scan of the content of a file, all summed or joined, or each for `scan=None`; parsed in this process.

    Raises:
        PatternError: as `read_pattern`.
    """
    scans = _content_to_points(data, name=shorten(name), scan=None if isinstance(scan, str) else scan)
    if scan == 0 and scans[0].metadata.get("scans", "1") != "1" and not (scans[0].intensity > 0).any():
        return (_first_above_zero(data, name=name, wavelength=wavelength),)
    some = len(scans) > 1 and any((points.intensity > 0).any() for points in scans)
    patterns = tuple(
        points_to_pattern(
            points,
            name=name if len(scans) == 1 else f"{name}, scan {index}",
            wavelength=wavelength,
            may_be_zero=some,
        )
        for index, points in enumerate(scans)
    )
    if isinstance(scan, str):
        return (sum_scans(patterns) if scan == "sum" else join_scans(patterns),)
    return patterns


def _first_above_zero(data: bytes, *, name: str, wavelength: float | None) -> Pattern:
    """The first scan of a file that has an intensity above 0, where its first scan has none."""
    scans = _content_to_points(data, name=shorten(name), scan=None)
    index = next((index for index, points in enumerate(scans) if (points.intensity > 0).any()), 0)
    pattern = points_to_pattern(scans[index], name=name, wavelength=wavelength)
    notes = (*pattern.warnings, f"holds {len(scans)} scans; the first are zero throughout and scan {index} was read")
    return replace(pattern, warnings=notes)


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


def join_scans(scans: Sequence[Pattern]) -> Pattern:
    """One pattern of the ranges of a measurement, in the order of their angles.

    Where ranges overlap, the intensities at shared angles are averaged. Ranges measured with different counting times
    are divided by these. Gaps between ranges stay gaps.

    Raises:
        PatternError: there are none (E_EMPTY); their wavelengths differ, or ranges overlap at other angles or with
            other intensities (E_SCAN).
    """
    if not scans:
        msg = "there are no scans to join"
        raise PatternError(msg, code="E_EMPTY")
    ordered = sorted(scans, key=lambda scan: float(scan.two_theta[0]))
    first = ordered[0]
    if len(scans) == 1:
        return first
    if any(scan.wavelength != first.wavelength for scan in ordered):
        msg = f"{first.name}: the ranges have different wavelengths; expected ranges of one measurement"
        raise PatternError(msg, code="E_SCAN")
    times = [scan.metadata.get("step_seconds") for scan in ordered]
    rates = len(set(times)) > 1 and all(times)
    angles, intensity, notes = first.two_theta, first.intensity / (float(times[0] or 1) if rates else 1.0), []
    for scan, seconds in zip(ordered[1:], times[1:], strict=True):
        counts = scan.intensity / (float(seconds or 1) if rates else 1.0)
        shared, own = _shared_points(angles, scan.two_theta, name=scan.name)
        if shared.any():
            ratio = float(np.median((counts[own] + 1) / (intensity[shared] + 1)))
            if not 0.5 < ratio < 2:  # noqa: PLR2004 - one measurement
                msg = (
                    f"{scan.name}: has {ratio:.2g} times the intensity of the range that it overlaps; expected the same"
                )
                raise PatternError(msg, code="E_SCAN")
            intensity = intensity.copy()
            intensity[shared] = (intensity[shared] + counts[own]) / 2
            notes.append(f"{int(shared.sum())} points that two ranges share were averaged")
        angles = np.concatenate([angles, scan.two_theta[~own]])
        intensity = np.concatenate([intensity, counts[~own]])
        order = np.argsort(angles)
        angles, intensity = angles[order], intensity[order]
    if rates:
        notes.append("the counts were divided by the counting times, which differ between the ranges")
    elif len(set(times)) > 1:
        notes.append("the counting time of some ranges is not stated: their intensities may not fit together")
    return Pattern(
        two_theta=angles,
        intensity=intensity,
        wavelength=first.wavelength,
        name=first.name.rpartition(", scan ")[0] or first.name,
        format=first.format,
        warnings=(
            *dict.fromkeys(note for scan in ordered for note in scan.warnings),
            *notes,
            f"{len(scans)} ranges joined",
        ),
        metadata=first.metadata,
    )


def _shared_points(angles: np.ndarray, others: np.ndarray, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Which of the angles the other range repeats, and which of its own these are; all within the overlap must be."""
    overlap = (others <= angles[-1] + 1e-9) & (others >= angles[0] - 1e-9)
    if not overlap.any():
        return np.zeros(angles.size, dtype=np.bool_), overlap
    nearness = 0.1 * min(float(np.diff(angles).min()), float(np.diff(others).min()))
    nearest = np.clip(np.searchsorted(angles, others[overlap]), 1, angles.size - 1)
    nearest -= np.abs(angles[nearest - 1] - others[overlap]) < np.abs(angles[nearest] - others[overlap])
    off = np.abs(angles[nearest] - others[overlap])
    inside = (angles >= others[0] - 1e-9) & (angles <= others[-1] + 1e-9)
    if off.max() > nearness and inside.any():
        msg = f"{name}: overlaps the range before it at other angles; expected the same angles, or ranges side by side"
        raise PatternError(msg, code="E_SCAN")
    shared = np.zeros(angles.size, dtype=np.bool_)
    shared[nearest] = off <= nearness
    own = np.zeros(others.size, dtype=np.bool_)
    own[np.flatnonzero(overlap)[off <= nearness]] = True
    return shared, own


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
    if "xl/workbook.xml" in members:
        msg = f"{name}: an Excel workbook; expected text: save the sheet as CSV"
        raise PatternError(msg, code="E_FORMAT")
    first = shorten(next(iter(members), ""))
    msg = f"{name}: a zip archive that is neither BRML nor RASX; its first member is {first!r}"
    raise PatternError(msg, code="E_FORMAT")


def _text_to_points(text: str, *, name: str, scan: int | None) -> list[MeasuredPoints]:  # noqa: PLR0911 - one per format
    if text.count("\n") > MAX_LINES:
        msg = f"{name}: has {text.count(chr(10))} lines; expected at most {MAX_LINES}"
        raise PatternError(msg, code="E_TOO_LARGE")
    beginning = text[:20_000]
    if beginning.lstrip().startswith("<"):
        refuse_document_types(text, name=name)
        return read_xrdml(text, name=name, scan=scan)
    if beginning.startswith("*RAS_"):
        return read_ras(text, name=name, scan=scan)
    if re.search(r"^BANK[ \t]+[0-9]", beginning, re.MULTILINE):
        return read_gsas(text, name=name, scan=scan)
    if re.search(r"^_(?:FILEVERSION|2THETACOUNTS|DRIVE|STEPSIZE)\b", beginning, re.MULTILINE):
        return read_uxd(text, name=name, scan=scan)
    if beginning.startswith("SampleIdent"):
        return read_philips_udf(text, name=name, scan=scan)
    if re.search(r"^##\s?(?:TITLE|JCAMP)[^\n=]{0,20}=", beginning, re.MULTILINE | re.IGNORECASE):
        select_scans(0, count=text.count("##") // 10 + 1, name=name)
        return read_jcamp(text, name=name, scan=scan)
    if "#S " in text and _SPEC_SCAN.search(text):
        select_scans(0, count=text.count("\n#S ") + 1, name=name)
        return read_spec(text, name=name, scan=scan)
    if _CIF_BLOCK.search(text) and _CIF_ITEM.search(text):
        return read_powder_cif(text, name=name, scan=scan)
    if re.search(r"^\*START[ \t]*=", beginning, re.MULTILINE):
        return read_asc(text, name=name, scan=scan)
    points = read_even_steps(text, name=name, scan=scan) if _EVEN_STEPS.match(beginning) else None
    return read_text_table(text, name=name, scan=scan) if points is None else points
