"""PANalytical XRDML files → measured points, parsed by geddes; their .csv exports are text tables (`text_table`)."""

from __future__ import annotations

import re

from xxact_core.errors import PatternError
from xxact_core.readers.content import parse_number, xml_attribute, xml_element
from xxact_core.readers.measured_points import (
    MeasuredPoints,
    check_scan_axis,
    doublet_wavelength,
    note_scans,
    plausible_wavelength,
    read_with_geddes,
    scan_metadata,
    select_scans,
)


def read_xrdml(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one scan of a PANalytical XRDML file, or of all for `scan=None`.

    Raises:
        PatternError: another kind of XML (E_FORMAT), one that is cut off (E_TRUNCATED), or a scan over another axis
            than 2θ (E_AXIS).
    """
    if "<xrdMeasurement" not in text[:10_000]:
        msg = f"{name}: is XML but not XRDML; expected the element xrdMeasurements"
        raise PatternError(msg, code="E_FORMAT")
    if not text.rstrip().endswith("</xrdMeasurements>"):
        msg = f"{name}: the file is cut off; expected </xrdMeasurements> at its end"
        raise PatternError(msg, code="E_TRUNCATED")
    starts = [found.start() for found in re.finditer(r"<scan\b", text)]
    selected = select_scans(scan, count=max(1, len(starts)), name=name)
    texts = {index: text[starts[index] : [*starts, len(text)][index + 1]] if starts else text for index in selected}
    for scan_text in texts.values():
        check_scan_axis(xml_attribute(scan_text, "scanAxis", element="scan"), name=name)
    plain = re.sub(r"^\s*<\?xml[^>]*\?>", '<?xml version="1.0" encoding="UTF-8"?>', text.lstrip("\ufeff")).encode()
    return [
        read_with_geddes(
            plain,
            suffix="xrdml",
            name=name,
            label="XRDML",
            wavelength=_wavelength(text),
            scan=index,
            warnings=note_scans(scan, count=len(starts)),
            metadata=_metadata(text, scan_text=scan_text, scans=max(1, len(starts))),
        )
        for index, scan_text in texts.items()
    ]


def _wavelength(text: str) -> float | None:
    """Wavelength [Å]: Kα1 behind a germanium monochromator, else the mean of the stated doublet."""
    used = re.search(r"<usedWavelength\b([^>]*)>(.*?)</usedWavelength>", text, re.DOTALL)
    if used is None:
        return None
    alpha_1, alpha_2, ratio, beta = (
        parse_number(xml_element(used[2], tag)) for tag in ("kAlpha1", "kAlpha2", "ratioKAlpha2KAlpha1", "kBeta")
    )
    if alpha_1 is not None and "beta" in used[1].lower():
        return plausible_wavelength(beta)
    return doublet_wavelength(alpha_1, alpha_2, ratio=0 if _behind_germanium(text) else ratio)


def _behind_germanium(text: str) -> bool:
    """Whether the file names a germanium monochromator, which transmits Kα1 alone."""
    return re.search(r'<monochromator\b[^>]*name="[^"]*Ge\s*\(?[0-9]', text) is not None


def _metadata(text: str, *, scan_text: str, scans: int) -> dict[str, str]:
    """Tube and sample of the file, axis and counting time of one scan."""
    sample = re.search(r"<sample\b[^>]*>(.*?)</sample>", text, re.DOTALL)
    return scan_metadata(
        anode=xml_element(text, "anodeMaterial"),
        ratio=0.0 if _behind_germanium(text) else parse_number(xml_element(text, "ratioKAlpha2KAlpha1")),
        axis=xml_attribute(scan_text, "scanAxis", element="scan"),
        seconds=xml_element(scan_text, "commonCountingTime"),
        sample=(xml_element(sample[1], "name") or xml_element(sample[1], "id")) if sample else None,
        scans=scans,
    )
