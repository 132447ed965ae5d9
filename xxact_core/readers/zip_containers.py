"""Files that are archives of others (Bruker BRML, Rigaku RASX) → measured points, by geddes."""

from __future__ import annotations

import re

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.archives import pack_members, read_members
from xxact_core.readers.axis_titles import check_scan_axis
from xxact_core.readers.geddes import read_by_geddes
from xxact_core.readers.points import MeasuredPoints, choose_scans, note_scans
from xxact_core.readers.scan_metadata import facts_in_brml, facts_in_rasx
from xxact_core.readers.text_decoding import decode_text
from xxact_core.readers.vendor_text import refuse_document_types
from xxact_core.readers.wavelengths import wavelength_in_brml, wavelength_in_rasx

_PROFILE = re.compile(r"Data[0-9]+/Profile[0-9]+\.txt")


def read_archive(data: bytes, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of the chosen scan of a Bruker BRML or Rigaku RASX file, or of all; both are zip archives.

    geddes is given the members of one scan, in an archive of our own making.

    Raises:
        PatternError: the archive is hostile (E_BOMB), damaged (E_TRUNCATED), holds a forbidden XML (E_XML) or something
            else than a pattern (E_FORMAT), or the scan runs over another axis than 2θ (E_AXIS).
    """
    members = read_members(data, name=name)
    if "root.xml" in members and any(_PROFILE.fullmatch(member) for member in members):
        return _read_rasx(members, name=name, scan=scan)
    manifest = next((member for member in members if member.endswith("DataContainer.xml")), None)
    if manifest is not None and any(re.search(r"RawData[0-9]+\.xml$", member) for member in members):
        return _read_brml(members, manifest, name=name, scan=scan)
    msg = f"{name}: a zip archive that is neither BRML nor RASX; it begins with {shorten(next(iter(members), ''))!r}"
    raise PatternError(msg, code="E_FORMAT")


def _read_rasx(members: dict[str, bytes], *, name: str, scan: int | None) -> list[MeasuredPoints]:
    root = _xml(members, "root.xml", name=name)
    listed = re.findall(r"<(Data[0-9]+)\b[^>]*>(.*?)</\1>", root, re.DOTALL)
    folders = [folder for folder, files in listed if re.search(r'Name="[^"]*\.txt"', files)]
    points = []
    for index in choose_scans(scan, count=len(folders), name=name):
        own = {member: content for member, content in members.items() if member.startswith(f"{folders[index]}/")}
        texts = {member: _xml(own, member, name=name) for member in own if member.lower().endswith(".xml")}
        conditions = next((text for member, text in texts.items() if "conditions" in member.lower()), "")
        axis = re.search(r"<ScanInformation>\s*<AxisName>([^<]*)</AxisName>", conditions)
        check_scan_axis(axis and axis[1], name=name)
        files = next(files for folder, files in listed if folder == folders[index])
        alone = f"<Root><{folders[index]}>{files}</{folders[index]}></Root>"
        points.append(
            read_by_geddes(
                pack_members({**own, "root.xml": alone.encode()}),
                suffix="rasx",
                name=name,
                label="RASX",
                wavelength=wavelength_in_rasx(conditions),
                scan=0,
                warnings=note_scans(scan, count=len(folders)),
                metadata=facts_in_rasx(conditions, scans=len(folders)),
            )
        )
    return points


def _read_brml(members: dict[str, bytes], manifest: str, *, name: str, scan: int | None) -> list[MeasuredPoints]:
    listed = re.search(
        r"<RawDataReferenceList>(.*?)</RawDataReferenceList>", _xml(members, manifest, name=name), re.DOTALL
    )
    files = re.findall(r">\s*([^<>\s][^<>]*?)\s*<", listed[1]) if listed else []
    points = []
    for index in choose_scans(scan, count=len(files), name=name):
        if files[index] not in members:
            msg = f"{name}: the member {shorten(files[index], limit=60)!r} of its list is missing"
            raise PatternError(msg, code="E_TRUNCATED")
        raw = _xml(members, files[index], name=name)
        listing = f"<RawDataReferenceList><string>{files[index]}</string></RawDataReferenceList>"
        alone = f"<DataContainer>{listing}</DataContainer>"
        points.append(
            read_by_geddes(
                pack_members({manifest: alone.encode(), files[index]: members[files[index]]}),
                suffix="brml",
                name=name,
                label="BRML",
                wavelength=wavelength_in_brml(raw),
                scan=0,
                warnings=note_scans(scan, count=len(files)),
                metadata=facts_in_brml(raw, scans=len(files)),
            )
        )
    return points


def _xml(members: dict[str, bytes], member: str, *, name: str) -> str:
    text = decode_text(members[member], name=f"{name}, {shorten(member, limit=60)}")
    refuse_document_types(text, name=name)
    return text
