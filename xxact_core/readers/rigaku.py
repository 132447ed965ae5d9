"""Rigaku files: RAS, RASX (scans parsed by geddes) and .asc → measured points."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.content import (
    NUMBER,
    member_to_xml,
    pack_members,
    parse_counts,
    parse_number,
    parse_rows,
    xml_attribute,
    xml_content,
    xml_element,
)
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    check_points,
    check_scan_axis,
    count_even_points,
    doublet_wavelength,
    note_limits,
    note_scans,
    read_with_geddes,
    refuse_neutrons,
    scan_metadata,
    select_scans,
)

_FIELD = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_MOST_LISTED = 100_000
"""Characters that list the files of one scan in root.xml; ours."""


# ----------------------------------------------------------------------------------------------------------------- RAS
def read_ras(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one scan of a Rigaku RAS file, or of all for `scan=None`; counts times attenuation (third column).

    Raises:
        PatternError: a scan is cut off (E_TRUNCATED), runs over another axis than 2θ (E_AXIS), is of neutrons
            (E_RADIATION), or has a line that is not a row (E_VALUES).
    """
    pieces = text.split("*RAS_INT_START\n")
    scans = max(1, len(pieces) - 1)
    ends, headers = text.count("*RAS_INT_END"), text.count("*RAS_HEADER_START")
    if len(pieces) > 1 and (ends != scans or headers not in {0, scans}):
        msg = (
            f"{name}: holds {headers} headers, {scans} beginnings and {ends} ends of scans; expected as many of each, "
        )
        raise PatternError(msg + "so parts of the file are missing", code="E_TRUNCATED")
    first_lines = np.cumsum([piece.count("\n") + 1 for piece in pieces]) + 1
    return [
        _read_ras_scan(pieces, index, first=int(first_lines[index]), name=name, warnings=note_scans(scan, count=scans))
        for index in select_scans(scan, count=scans, name=name)
    ]


def _read_ras_scan(
    pieces: list[str], index: int, *, first: int, name: str, warnings: tuple[str, ...]
) -> MeasuredPoints:
    if len(pieces) < index + 2 or "*RAS_INT_END" not in pieces[index + 1]:
        msg = f"{name}: the RAS file is cut off; expected *RAS_INT_START ... *RAS_INT_END"
        raise PatternError(msg, code="E_TRUNCATED")
    header = pieces[index].rpartition("*RAS_INT_END")[2]
    behind = pieces[index + 1].partition("*RAS_INT_END")[2].partition("*RAS_HEADER_START")[0]
    for place, text in (
        ("before *RAS_INT_START", header.partition("*RAS_HEADER_END")[2]),
        ("behind *RAS_INT_END", behind),
    ):
        if re.search(r"^[ \t]*[-+.]?[0-9]", text, re.MULTILINE):
            msg = f"{name}: rows stand {place}; expected them between *RAS_INT_START and *RAS_INT_END"
            raise PatternError(msg, code="E_FORMAT")
    axis = re.search(r'^\*MEAS_SCAN_AXIS_X(?:_INTERNAL)? "([^"\n]*)"', header, re.MULTILINE)
    check_scan_axis(axis and axis[1], name=name)
    refuse_neutrons(header, name=name)
    lines = pieces[index + 1].partition("*RAS_INT_END")[0].rstrip("\n").split("\n")
    width = len(lines[0].split())
    values = parse_rows(lines, separator=" ", width=width) if width in {2, 3} else None
    if values is None:
        _refuse_ras_line(lines, first=first, name=name)
        values = np.array([[*line.split(), "1"][:3] for line in lines], dtype=np.float64)
    stated = parse_number(_ras_items(header).get("MEAS_DATA_COUNT"))
    check_points(len(values), stated=stated, name=name, where="MEAS_DATA_COUNT")
    items = _ras_items(header)
    unit = items.get("MEAS_SCAN_UNIT_X", "deg")
    if not re.match(r"\s*(?:$|deg|°)", unit, re.IGNORECASE):
        msg = f"{name}: the angles are in {shorten(unit, limit=20)!r} (MEAS_SCAN_UNIT_X); expected deg"
        raise PatternError(msg, code="E_AXIS")
    start, stop, step = (parse_number(items.get(f"MEAS_SCAN_{key}")) for key in ("START", "STOP", "STEP"))
    warnings += note_limits(values[:, 0], start=start, stop=stop, step=step, where="MEAS_SCAN")
    factors = np.where(values[:, 2] > 0, values[:, 2], 1.0) if values.shape[1] > 2 else 1.0  # noqa: PLR2004 - third
    wavelength = _wavelength_of_ras(header)
    return MeasuredPoints(
        positions=values[:, 0],
        intensity=values[:, 1] * factors,
        format="RAS",
        wavelength=_wavelength_of_ras(pieces[0]) if wavelength is None else wavelength,
        place="line",
        places=np.arange(first, first + len(values)),
        warnings=warnings,
        metadata=_metadata_of_ras(header, scans=len(pieces) - 1),
    )


def _refuse_ras_line(lines: list[str], *, first: int, name: str) -> None:
    for index, line in enumerate(lines):
        fields = line.split()
        if len(fields) not in {2, 3} or not all(_FIELD.fullmatch(field) for field in fields):
            msg = (
                f"{name}, line {first + index}: {shorten(line, limit=60)!r} is not a row of angle, counts, attenuation"
            )
            raise PatternError(msg, code="E_VALUES")


def _ras_items(header: str) -> dict[str, str]:
    return dict(re.findall(r'^\*([A-Z_0-9]+) "([^"\n]*)"', header, re.MULTILINE))


def _is_alpha_1(wave_type: str | None) -> bool:
    """Whether the type of the radiation is Kα1 alone, behind a monochromator."""
    return (wave_type or "").strip().lower() == "ka1"


def _wavelength_of_ras(header: str) -> float | None:
    items = _ras_items(header)
    return doublet_wavelength(
        parse_number(items.get("HW_XG_WAVE_LENGTH_ALPHA1")),
        parse_number(items.get("HW_XG_WAVE_LENGTH_ALPHA2")),
        ratio=0 if _is_alpha_1(items.get("MEAS_COND_XG_WAVE_TYPE")) else None,
    )


def _metadata_of_ras(header: str, *, scans: int) -> dict[str, str]:
    items = _ras_items(header)
    return scan_metadata(
        anode=items.get("HW_XG_TARGET_NAME"),
        alpha_2=parse_number(items.get("HW_XG_WAVE_LENGTH_ALPHA2")),
        ratio=0.0 if _is_alpha_1(items.get("MEAS_COND_XG_WAVE_TYPE")) else None,
        axis=items.get("MEAS_SCAN_AXIS_X_INTERNAL") or items.get("MEAS_SCAN_AXIS_X"),
        seconds=_seconds_per_step(
            items.get("MEAS_SCAN_SPEED"), items.get("MEAS_SCAN_SPEED_UNIT"), items.get("MEAS_SCAN_STEP")
        ),
        sample=items.get("FILE_SAMPLE"),
        temperature=_temperature_of_ras(items),
        scans=scans,
    )


def _temperature_of_ras(items: dict[str, str]) -> str | None:
    """Position and unit of the axis of the sample heater."""
    found = (key for key, value in items.items() if key.startswith("MEAS_COND_AXIS_NAME-") and value == "Temp")
    number = next(found, "").rpartition("-")[2]
    parts = [items.get(f"MEAS_COND_AXIS_{part}-{number}") for part in ("POSITION", "UNIT")]
    return " ".join(part for part in parts if part)


def _seconds_per_step(speed: str | None, unit: str | None, step: str | None) -> float | None:
    """Time of one step [s] of a continuous scan whose speed is in degrees per minute."""
    per_minute, width = parse_number(speed), parse_number(step)
    if not per_minute or not width or "deg/min" not in (unit or "").lower().replace(" ", ""):
        return None
    return 60 * width / per_minute


# ---------------------------------------------------------------------------------------------------------------- RASX
def read_rasx(members: dict[str, bytes], *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one scan of the members of a Rigaku RASX file, or of all for `scan=None`.

    geddes reads one scan at a time, from an archive of its members alone.

    Raises:
        PatternError: an XML has a document type (E_XML), a scan runs over another axis than 2θ (E_AXIS), or geddes
            cannot read it (E_FORMAT, E_TRUNCATED).
    """
    root = member_to_xml(members, "root.xml", name=name)
    listed = _listed_files(root)
    folders = [folder for folder, files in listed if re.search(r'Name="[^"]*\.txt"', files)]
    points = []
    for index in select_scans(scan, count=len(folders), name=name):
        own = {member: content for member, content in members.items() if member.startswith(f"{folders[index]}/")}
        texts = {member: member_to_xml(own, member, name=name) for member in own if member.lower().endswith(".xml")}
        conditions = next((text for member, text in texts.items() if "conditions" in member.lower()), "")
        axis = re.search(r"<ScanInformation>\s*<AxisName>([^<]*)</AxisName>", conditions)
        check_scan_axis(axis and axis[1], name=name)
        stated = parse_number(xml_element(conditions, "DataCount"))
        files = next(files for folder, files in listed if folder == folders[index])
        single = f"<Root><{folders[index]}>{files}</{folders[index]}></Root>"
        points.append(
            read_with_geddes(
                pack_members({**own, "root.xml": single.encode()}),
                suffix="rasx",
                name=name,
                label="RASX",
                wavelength=_wavelength_of_rasx(conditions),
                scan=0,
                warnings=note_scans(scan, count=len(folders)),
                metadata=_metadata_of_rasx(conditions, scans=len(folders)),
            )
        )
        check_points(points[-1].positions.size, stated=stated, name=name, where="DataCount")
        information = xml_content(conditions, "ScanInformation") or ""
        start, stop, step = (parse_number(xml_element(information, key)) for key in ("Start", "Stop", "Step"))
        notes = note_limits(points[-1].positions, start=start, stop=stop, step=step, where="ScanInformation")
        points[-1] = replace(points[-1], warnings=(*points[-1].warnings, *notes))
    return points


def _listed_files(root: str) -> list[tuple[str, str]]:
    """Folder of each scan that root.xml lists, and the elements of its files."""
    listed = []
    for found in re.finditer(r"<(Data[0-9]{1,9})\b[^<>]*+>", root):
        end = root.find(f"</{found[1]}>", found.end(), found.end() + _MOST_LISTED)
        if end >= 0:
            listed.append((found[1], root[found.end() : end]))
    return listed


def _wavelength_of_rasx(conditions: str) -> float | None:
    return doublet_wavelength(
        parse_number(xml_element(conditions, "WavelengthKalpha1")),
        parse_number(xml_element(conditions, "WavelengthKalpha2")),
        ratio=0 if _is_alpha_1(xml_element(conditions, "WaveType")) else None,
    )


def _metadata_of_rasx(conditions: str, *, scans: int) -> dict[str, str]:
    scan = xml_content(conditions, "ScanInformation") or ""
    return scan_metadata(
        anode=xml_element(conditions, "TargetName"),
        alpha_2=parse_number(xml_element(conditions, "WavelengthKalpha2")),
        ratio=0.0 if _is_alpha_1(xml_element(conditions, "WaveType")) else None,
        axis=xml_element(scan, "AxisName"),
        seconds=_seconds_per_step(*(xml_element(scan, tag) for tag in ("Speed", "SpeedUnit", "Step"))),
        sample=xml_element(conditions, "SampleName"),
        temperature=_temperature_of_rasx(conditions),
        scans=scans,
    )


def _temperature_of_rasx(conditions: str) -> str | None:
    """Position and unit of the axis of the sample heater, which a file of another stage states without a position."""
    axis = re.search(r'<Axis\b[^<>]{0,200}?\bName="Temp"[^<>]{0,2000}>', conditions)
    parts = [xml_attribute(axis[0], attribute, element="Axis") for attribute in ("Position", "Unit")] if axis else []
    return " ".join(part for part in parts if part)


# ---------------------------------------------------------------------------------------------------------------- .asc
def read_asc(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one group of a Rigaku .asc export, or of all for `scan=None`.

    Lines `*KEY = value`, counts separated by commas, groups from *BEGIN to *END. Source: example files.

    Raises:
        PatternError: a group without start, stop and step (E_FORMAT), with fewer counts than they define
            (E_TRUNCATED) or something else among them (E_VALUES), or neutrons (E_RADIATION).
    """
    pieces = re.split(r"^\*START[ \t]*=", text, flags=re.MULTILINE)
    refuse_neutrons(pieces[0], name=name)
    points = []
    for index in select_scans(scan, count=len(pieces) - 1, name=name):
        piece, _, _ = f"*START = {pieces[index + 1]}".partition("*END")
        keys = {
            key: value.strip() for key, value in re.findall(r"^\*(\w+)[ \t]*=(.*)$", pieces[0] + piece, re.MULTILINE)
        }
        try:
            start, stop, step = float(keys["START"]), float(keys["STOP"]), float(keys["STEP"])
        except (KeyError, ValueError):
            msg = f"{name}: group {index} has no *START, *STOP and *STEP"
            raise PatternError(msg, code="E_FORMAT") from None
        body = "\n".join(line for line in piece.split("\n") if not line.startswith(("*", "#")))
        counts = parse_counts(body, points=count_even_points(start, step, stop, name=name), name=name)
        stated = parse_number(keys.get("COUNT"))
        check_points(counts.size, stated=stated, name=name, where="*COUNT")
        alpha_1, alpha_2 = (
            float(keys.get(key, "")) if re.fullmatch(NUMBER, keys.get(key, "")) else None
            for key in ("WAVE_LENGTH1", "WAVE_LENGTH2")
        )
        points.append(
            MeasuredPoints(
                positions=start + step * np.arange(counts.size),
                intensity=counts,
                format="Rigaku ASC",
                wavelength=doublet_wavelength(alpha_1, alpha_2),
                metadata=scan_metadata(alpha_2=alpha_2, sample=keys.get("SAMPLE"), scans=len(pieces) - 1),
            )
        )
    return points
