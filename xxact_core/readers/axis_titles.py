"""The title of a first column → what the axis is: 2θ, q or d, and in which unit."""

from __future__ import annotations

import re

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.points import AxisKind

_SHIFT_JIS_THETA = b"\x83\xc6".decode("latin-1")
"""θ of a Japanese RAS header after Latin-1 decoding."""

_SCANS = re.compile(r"2theta|twotheta|2θ|gonio", re.IGNORECASE)
_TWO_THETA_TITLE = re.compile(r"\W*(?:2\s*[-_*]?\s*th|two[\s_-]*th|2\s*θ|ttheta|tth\b|angle|pos)")
_INTENSITY_TITLE = re.compile(r"\W*(?:intensit|counts?\b|cps\b|i(?:_?obs)?\b|y(?:_?obs)\b|int\b|signal)")


def axis_of_header(header: str, *, name: str) -> tuple[AxisKind, float, list[str]]:
    """What the title of the first column says: its kind, the factor to [deg], [Å⁻¹] or [Å], and notes for the user.

    Without a title the axis is 2θ [deg].

    Raises:
        PatternError: a time of flight, an energy, or a q without a unit (E_AXIS).
    """
    title = _first_title(header)
    if re.search(r"time[\s_-]*of[\s_-]*flight|\btof\b|\b[µμ]s\b|microsec", title):
        msg = f"{name}: the first column is a time of flight ({shorten(title, limit=40)!r}); expected 2θ of x-rays"
        raise PatternError(msg, code="E_AXIS")
    if re.search(r"\benergy\b|\bkev\b", title):
        msg = f"{name}: the first column is an energy ({shorten(title, limit=40)!r}); expected 2θ, q or d"
        raise PatternError(msg, code="E_AXIS")
    if re.search(r"2\s*[-_*]?\s*th|two[\s_-]*th|2\s*θ|ttheta|\btth\b", title):
        if re.search(r"\brad(?:ians?)?\b", title):
            return "two_theta", float(np.rad2deg(1)), ["angles in radians were turned into degrees"]
        return "two_theta", 1.0, []
    per_length = re.search(r"nm|å|ang|1\s*/\s*a|a\s*\^?\s*[-⁻]", title)
    if re.match(r"\W*(?:q|s?cattering vector)\b", title):
        if per_length is None:
            msg = f"{name}: the first column is q without a unit ({shorten(title, limit=40)!r}); expected 1/Å or 1/nm"
            raise PatternError(msg, code="E_AXIS")
        return "q", 0.1 if "nm" in title else 1.0, []
    if re.match(r"\W*d(?:\b|[\s_-]*(?:spacing|value))", title):
        return "d", 10.0 if "nm" in title else 1.0, []
    if re.match(r"\W*(?:theta|θ)\b", title):
        return "two_theta", 1.0, ["the first column is called theta; its angles were taken as 2θ"]
    return "two_theta", 1.0, []


def check_scan_axis(axis: str | None, *, name: str) -> None:
    """Refuse a scan whose axis is named and is not 2θ.

    Raises:
        PatternError: names the axis (E_AXIS).
    """
    if axis is not None and not _SCANS.search(re.sub(r"[\s_-]", "", axis.replace(_SHIFT_JIS_THETA, "theta"))):
        msg = f"{name}: the scan runs over {shorten(axis, limit=40)!r}; expected 2θ"
        raise PatternError(msg, code="E_AXIS")


def columns_of_header(header: str, *, width: int, separator: str) -> tuple[int, int]:
    """Which of `width` columns hold angles and intensities, from the last line before them; the first two by default.

    Titles count only where there is one for each column, as in `Angle,TimePerStep,Intensity,ESD`.
    """
    line = next((line for line in reversed(header.lower().split("\n")) if line.strip()), "")
    plain = line.strip().lstrip("#!;%'\"@/* \t")
    titles = [title.strip(" \"'") for title in (plain.split() if separator == " " else plain.split(separator))]
    while titles and not titles[-1]:
        titles.pop()
    if len(titles) != width:
        return 0, 1
    angle = next((index for index, title in enumerate(titles) if _TWO_THETA_TITLE.match(title)), 0)
    found = [index for index, title in enumerate(titles) if _INTENSITY_TITLE.match(title) and index != angle]
    return angle, found[0] if found else angle + 1 if angle + 1 < width else 0


def _first_title(header: str) -> str:
    """Title of the first column in lower case: of the last header line that names an axis, or ''."""
    for line in reversed(header.lower().split("\n")):
        plain = line.strip().lstrip("#!;%'\"@/* \t")
        plain = re.sub(r"^x\s*[,;:=]\s*", "", plain)
        if not plain or ":" in plain or "=" in plain:
            continue
        title = re.split(r"[,;\t|]|\s{2,}", plain)[0].strip(" \"'")
        words = title.split()
        if len(words) > 1 and re.match(r"(?:intensity|counts?|int\.?|i|y)\b", words[-1]):
            title = " ".join(words[:-1])
        if re.match(
            r"(?:2|two|t?th|θ|angle|q\b|s?cattering|d\b|d[\s_-]*(?:spacing|value)|time|tof|energy|position|x\b)", title
        ) or re.search(r"2\s*[-_*]?\s*th|θ", title):
            return title
    return ""
