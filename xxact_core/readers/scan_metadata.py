"""What files say about a scan besides its points, under the same names for every format."""

from __future__ import annotations

import math
import re

from xxact_core.errors import shorten
from xxact_core.readers.wavelengths import anode_in_text, behind_germanium

_SYMBOL = re.compile(r"(Cu|Mo|Co|Fe|Cr|Ag|W|Ni|Ga|In)\b", re.IGNORECASE)

_VALUE = r"([0-9]+(?:[.,][0-9]+)?)"
_SAYS = r"\W*[,;:=\t]\s*\"?"
_LINES = {
    key: re.compile(rf"^\W*{title}{_SAYS}{value}", re.IGNORECASE | re.MULTILINE)
    for key, title, value in (
        ("sample", r"sample(?:[\s_]*(?:name|id|identification))?", r'([^,;"\n]+)'),
        ("axis", r"scan[\s_]*axis", r'([^,;"\n]+)'),
        ("seconds", r"(?:(?:scan[\s_]*)?step[\s_]*time|time[\s_]*per[\s_]*step)(?:\s*[\[(]s\w*[\])])?", _VALUE),
        ("alpha_2", r"K-?Alpha2(?:[\s_]*wavelength)?(?:\s*[\[(]\w+[\])])?", _VALUE),
        ("ratio", r"ratio[\s_]*K-?Alpha2/K-?Alpha1", _VALUE),
    )
}


def scan_facts(
    *,
    anode: str | None = None,
    alpha_2: float | None = None,
    ratio: float | None = None,
    axis: str | None = None,
    seconds: float | str | None = None,
    sample: str | None = None,
    scans: int = 1,
) -> dict[str, str]:
    """Metadata of a pattern, without what is not said.

    anode: element symbol. kalpha2: `ratio 0.5`, the intensity of Kα2 over that of Kα1 (0 behind a monochromator that
    removes it), or where no ratio is written the wavelength [Å]. scan_axis: as the file calls it. step_seconds: time a
    step [s]. sample: its name. scans: how many the file holds.
    """
    facts = {"scans": str(scans)}
    symbol = _SYMBOL.match((anode or "").strip("\0 "))
    if symbol:
        facts["anode"] = symbol[1].capitalize()
    if ratio is not None and 0 <= ratio <= 1:
        facts["kalpha2"] = f"ratio {ratio:g}"
    elif alpha_2 is not None and 0.1 <= alpha_2 <= 5:  # noqa: PLR2004 - x-ray powder work [Å]
        facts["kalpha2"] = f"{alpha_2:.6g}"
    if axis and axis.strip():
        facts["scan_axis"] = shorten(axis.strip(), limit=40)
    try:
        duration = math.nan if seconds is None else float(seconds)
    except ValueError:
        duration = math.nan
    if 0 < duration < math.inf:
        facts["step_seconds"] = f"{duration:g}"
    named = shorten((sample or "").replace("\0", " ").strip())
    if named:
        facts["sample"] = named
    return facts


def facts_in_header(header: str) -> dict[str, str]:
    """What the header of a text says, in lines such as `Sample identification,quartz` or `# Scan axis: Gonio`."""
    values = {key: match[1] for key, pattern in _LINES.items() if (match := pattern.search(header))}
    return scan_facts(
        anode=anode_in_text(header),
        alpha_2=_number(values.get("alpha_2")),
        ratio=_number(values.get("ratio")),
        axis=values.get("axis"),
        seconds=_number(values.get("seconds")),
        sample=values.get("sample"),
    )


def facts_in_xrdml(text: str, *, scan_text: str, scans: int) -> dict[str, str]:
    """What an XRDML file says of its tube and sample, and the text of one scan of its axis and counting time."""
    sample = re.search(r"<sample\b[^>]*>(.*?)</sample>", text, re.DOTALL)
    return scan_facts(
        anode=_element(text, "anodeMaterial"),
        ratio=0.0 if behind_germanium(text) else _number(_element(text, "ratioKAlpha2KAlpha1")),
        axis=_attribute(scan_text, "scanAxis"),
        seconds=_element(scan_text, "commonCountingTime"),
        sample=(_element(sample[1], "name") or _element(sample[1], "id")) if sample else None,
        scans=scans,
    )


def facts_in_ras(header: str, *, scans: int) -> dict[str, str]:
    """What the header of a RAS scan says."""
    values = dict(re.findall(r'^\*([A-Z_0-9]+) "([^"\n]*)"', header, re.MULTILINE))
    single = values.get("MEAS_COND_XG_WAVE_TYPE", "").strip().lower() == "ka1"
    return scan_facts(
        anode=values.get("HW_XG_TARGET_NAME"),
        alpha_2=_number(values.get("HW_XG_WAVE_LENGTH_ALPHA2")),
        ratio=0.0 if single else None,
        axis=values.get("MEAS_SCAN_AXIS_X_INTERNAL") or values.get("MEAS_SCAN_AXIS_X"),
        seconds=_seconds_a_step(
            values.get("MEAS_SCAN_SPEED"), values.get("MEAS_SCAN_SPEED_UNIT"), values.get("MEAS_SCAN_STEP")
        ),
        sample=values.get("FILE_SAMPLE"),
        scans=scans,
    )


def facts_in_rasx(conditions: str, *, scans: int) -> dict[str, str]:
    """What the measurement conditions of a RASX scan say."""
    single = _element(conditions, "WaveType") == "Ka1"
    scan = re.search(r"<ScanInformation>(.*?)</ScanInformation>", conditions, re.DOTALL)
    of_scan = scan[1] if scan else ""
    return scan_facts(
        anode=_element(conditions, "TargetName"),
        alpha_2=_number(_element(conditions, "WavelengthKalpha2")),
        ratio=0.0 if single else None,
        axis=_element(of_scan, "AxisName"),
        seconds=_seconds_a_step(_element(of_scan, "Speed"), _element(of_scan, "SpeedUnit"), _element(of_scan, "Step")),
        sample=_element(conditions, "SampleName"),
        scans=scans,
    )


def facts_in_brml(raw: str, *, scans: int) -> dict[str, str]:
    """What a raw-data member of a BRML file says."""
    named = re.search(r'<InfoItem\b[^>]*Name="SampleName"[^>]*Value="([^"]*)"', raw)
    return scan_facts(
        anode=_element(raw, "TubeMaterial"),
        alpha_2=_number(_attribute(raw, "Value", element="WaveLengthAlpha2")),
        axis=_attribute(raw, "VisibleName", element="ScanAxisInfo"),
        seconds=_element(raw, "TimePerStep"),
        sample=named[1] if named else None,
        scans=scans,
    )


def _seconds_a_step(speed: str | None, unit: str | None, step: str | None) -> float | None:
    """Time of one step [s] of a continuous scan whose speed is in degrees a minute."""
    per_minute, width = _number(speed), _number(step)
    if not per_minute or not width or "deg/min" not in (unit or "").lower().replace(" ", ""):
        return None
    return 60 * width / per_minute


def _element(text: str, tag: str) -> str | None:
    match = re.search(rf"<{tag}\b[^>]*>([^<]*)</{tag}>", text)
    return match[1].strip() if match else None


def _attribute(text: str, attribute: str, *, element: str = "scan") -> str | None:
    match = re.search(rf'<{element}\b[^>]*\b{attribute}="([^"]*)"', text)
    return match[1] if match else None


def _number(text: str | None) -> float | None:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*", (text or "").replace(",", "."))
    return float(match[1]) if match else None
