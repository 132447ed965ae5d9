"""PANalytical XRDML files → measured points, parsed by geddes; their .csv exports are text tables (`text_table`)."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.readers.content import parse_number, xml_attribute, xml_content, xml_element
from xxact_core.readers.measured_points import (
    MIN_POINTS,
    MeasuredPoints,
    check_scan_axis,
    doublet_wavelength,
    note_scans,
    plausible_wavelength,
    read_with_geddes,
    scan_metadata,
    select_scans,
)

_STEP_UNITS = (0.0005, 0.0434657595 / 8, 0.0334225380 / 4, 0.0262605654 / 4)
"""Steps [deg] or fractions of them that instruments use: round ones, and those of three detectors.

Source: measured files; the detectors are PIXcel and X'Celerator at different radii.
"""

_SLACK = 2e-4
"""Difference [deg] between the range of a scan and its number of steps; the limits have five or more decimals. Ours."""

_MOST_MISSING = 1.5
"""Points that a scan may lack: the complete scan has at most this many times the points. Ours."""


def read_xrdml(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one scan of a PANalytical XRDML file, or of all for `scan=None`.

    Raises:
        PatternError: another kind of XML (E_FORMAT), one that is cut off or lacks points (E_TRUNCATED), or a scan over
            another axis than 2θ, or with ranges of 2θ and ω that contradict each other (E_AXIS).
    """
    if "<xrdMeasurement" not in text[:10_000]:
        kind = "a web page (HTML)" if re.match(r"\W*(?:!doctype\s+)?html\b", text[:200], re.IGNORECASE) else "XML"
        msg = f"{name}: is {kind} but not XRDML; expected the element xrdMeasurements"
        raise PatternError(msg, code="E_FORMAT")
    if not text.rstrip().endswith("</xrdMeasurements>"):
        msg = f"{name}: the file is cut off; expected </xrdMeasurements> at its end"
        raise PatternError(msg, code="E_TRUNCATED")
    starts = [found.start() for found in re.finditer(r"<scan\b", text)]
    selected = select_scans(scan, count=max(1, len(starts)), name=name)
    texts = {index: text[starts[index] : [*starts, len(text)][index + 1]] if starts else text for index in selected}
    for scan_text in texts.values():
        check_scan_axis(xml_attribute(scan_text, "scanAxis", element="scan"), name=name)
        _check_coupled_axes(scan_text, name=name)
    unequal = _unequal_scans([text[start:end] for start, end in zip(starts, [*starts, len(text)][1:], strict=True)])
    plain = re.sub(r"^\s*<\?xml[^>]*\?>", '<?xml version="1.0" encoding="UTF-8"?>', text.lstrip("\ufeff")).encode()
    points = [
        read_with_geddes(
            plain,
            suffix="xrdml",
            name=name,
            label="XRDML",
            wavelength=_wavelength(text),
            scan=index,
            warnings=(*note_scans(scan, count=len(starts)), *_check_step(scan_text, name=name), *unequal),
            metadata=_metadata(text, scan_text=scan_text, scans=max(1, len(starts))),
            decreasing=_decreases(scan_text),
        )
        for index, scan_text in texts.items()
    ]
    return [_over_counting_times(one, text, name=name) for one, text in zip(points, texts.values(), strict=True)]


def _over_counting_times(points: MeasuredPoints, scan_text: str, *, name: str) -> MeasuredPoints:
    """Counts over the counting time of each point [s], where the scan lists times that differ.

    Raises:
        PatternError: there are more or fewer times than points (E_FORMAT).
    """
    written = xml_element(scan_text, "countingTimes")
    if written is None:
        return points
    try:
        times = np.array(written.split(), dtype=np.float64)
    except ValueError:
        times = np.zeros(0)
    if times.size != points.intensity.size or not (np.isfinite(times).all() and times.min() > 0):
        msg = f"{name}: the scan lists {times.size} counting times for {points.intensity.size} points"
        raise PatternError(msg, code="E_FORMAT")
    if np.ptp(times) == 0:
        return points
    note = f"the counts were divided by the counting time, which varies ({times.min():g} to {times.max():g} s)"
    return replace(points, intensity=points.intensity / times, warnings=(*points.warnings, note))


def _check_step(scan_text: str, *, name: str) -> tuple[str, ...]:
    """Hold the number of intensities against the range of angles, as XRDML states no number of points.

    The step of an instrument is a multiple of 0.0005° or of the angle that a pixel of its detector covers. Where the
    intensities give another step and a few more would give such a one, some are missing; else it is only noted.

    Raises:
        PatternError: intensities are missing (E_TRUNCATED).
    """
    limits = [parse_number(xml_element(_positions_of(scan_text), tag)) for tag in ("startPosition", "endPosition")]
    counts = xml_element(scan_text, "counts") or xml_element(scan_text, "intensities") or ""
    points = len(counts.split())
    span = abs((limits[1] or 0.0) - (limits[0] or 0.0))
    if None in limits or points < MIN_POINTS or span == 0:
        return ()
    step = span / (points - 1)
    if any(abs(step / unit - round(step / unit)) * unit * points < _SLACK for unit in _STEP_UNITS):
        return ()
    for unit in _STEP_UNITS:
        for times in range(int(step / unit), int(step / _MOST_MISSING / unit), -1):
            usual = span / (times * unit)
            if abs(usual - round(usual)) < 2e-3:  # noqa: PLR2004 - digits of the limits
                msg = (
                    f"{name}: holds {points} intensities; {limits[0]:g}° to {limits[1]:g}° in steps of "
                    f"{times * unit:g}° are {round(usual) + 1}: some are missing"
                )
                raise PatternError(msg, code="E_TRUNCATED")
    given = f"{points} intensities on {limits[0]:g}-{limits[1]:g}°"
    return (f"{given} give an unusual step of {step:.6g}°: points may be missing",)


def _decreases(scan_text: str) -> bool:
    """Whether a scan runs from larger to smaller 2θ, by its limits or its list of angles."""
    positions = _positions_of(scan_text)
    listed = (xml_element(positions, "listPositions") or "").split()
    ends = listed[:: max(1, len(listed) - 1)] or [
        xml_element(positions, f"{end}Position") or "" for end in ("start", "end")
    ]
    first, last = parse_number(ends[0]), parse_number(ends[-1])
    return first is not None and last is not None and first > last


def _unequal_scans(scans: list[str]) -> tuple[str, ...]:
    """A note where scans over the same range differ in their number of intensities."""
    sizes: dict[tuple[str | None, str | None], set[int]] = {}
    for scan in scans:
        positions = _positions_of(scan)
        limits = (xml_element(positions, "startPosition"), xml_element(positions, "endPosition"))
        counts = xml_element(scan, "counts") or xml_element(scan, "intensities") or ""
        sizes.setdefault(limits, set()).add(len(counts.split()))
    different = next((found for limits, found in sizes.items() if None not in limits and len(found) > 1), None)
    if different is None:
        return ()
    return (
        f"scans over the same range hold {', '.join(map(str, sorted(different)))} intensities: some may be missing",
    )


def _check_coupled_axes(scan_text: str, *, name: str) -> None:
    """Hold the range of 2θ against that of ω, half of it in a coupled scan.

    Raises:
        PatternError: they contradict each other (E_AXIS).
    """
    spans = []
    for axis in ("2Theta", "Omega"):
        limits = [
            parse_number(xml_element(_positions_of(scan_text, axis), f"{end}Position")) for end in ("start", "end")
        ]
        if None in limits:
            return
        spans.append((limits[1] or 0.0) - (limits[0] or 0.0))
    if xml_attribute(scan_text, "scanAxis", element="scan") != "2Theta" and abs(2 * spans[1] - spans[0]) > 0.02 * abs(
        spans[0]
    ):
        msg = f"{name}: 2θ runs over {spans[0]:g}° and ω over {spans[1]:g}°; expected half of it in a coupled scan"
        raise PatternError(msg, code="E_AXIS")


def _positions_of(scan_text: str, axis: str = "2Theta") -> str:
    """The element with the limits of an axis."""
    found = re.search(rf'<positions\b[^<>]{{0,2000}}?axis="{axis}"[^<>]{{0,2000}}>', scan_text)
    return scan_text[found.end() :].partition("</positions>")[0] if found else ""


def _wavelength(text: str) -> float | None:
    """Wavelength [Å]: Kα1 behind a germanium monochromator, else the mean of the stated doublet."""
    used = xml_content(text, "usedWavelength")
    if used is None:
        return None
    alpha_1, alpha_2, ratio, beta = (
        parse_number(xml_element(used, tag)) for tag in ("kAlpha1", "kAlpha2", "ratioKAlpha2KAlpha1", "kBeta")
    )
    if (xml_attribute(used, "unit", element="kAlpha1") or "").strip().lower() in {"nm", "nanometer"}:
        alpha_1, alpha_2, beta = (None if length is None else 10 * length for length in (alpha_1, alpha_2, beta))
    intended = xml_attribute(text, "intended", element="usedWavelength") or ""
    if alpha_1 is not None and "beta" in intended.lower():
        return plausible_wavelength(beta)
    return doublet_wavelength(alpha_1, alpha_2, ratio=0 if _behind_germanium(text) else ratio)


def _behind_germanium(text: str) -> bool:
    """Whether the file names a germanium monochromator, which transmits Kα1 alone."""
    return re.search(r'<monochromator\b[^<>]{0,2000}?name="[^"<>]{0,200}?Ge\s?\(?[0-9]', text) is not None


def _metadata(text: str, *, scan_text: str, scans: int) -> dict[str, str]:
    """Tube and sample of the file, axis and counting time of one scan."""
    sample = xml_content(text, "sample")
    return scan_metadata(
        anode=xml_element(text, "anodeMaterial"),
        ratio=0.0 if _behind_germanium(text) else parse_number(xml_element(text, "ratioKAlpha2KAlpha1")),
        axis=xml_attribute(scan_text, "scanAxis", element="scan"),
        seconds=xml_element(scan_text, "commonCountingTime"),
        sample=(xml_element(sample, "name") or xml_element(sample, "id")) if sample else None,
        temperature=_temperature(scan_text),
        scans=scans,
    )


def _temperature(scan_text: str) -> str | None:
    """Mean temperature over a scan, which XRDML states in kelvin for every point or at a few."""
    found = re.search(r'<nonAmbientPoints\b[^<>]{0,2000}?\btype="Temperature"[^<>]{0,2000}>', scan_text)
    values = xml_element(scan_text[found.end() :], "nonAmbientValues") if found else None
    numbers = [parse_number(text) for text in (values or "").split()]
    known = [number for number in numbers if number is not None]
    return f"{sum(known) / len(known):.2f} K" if known and len(known) == len(numbers) else None
