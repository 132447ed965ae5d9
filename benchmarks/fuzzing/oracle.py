"""What a damaged file itself states about its scan, read independently of the readers, and whether a pattern agrees."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Sequence

import numpy as np

from xxact_core.patterns.pattern import Pattern

_VALUE = r"\s*[\"']?\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
_STATED: dict[str, tuple[str, ...]] = {
    "points": (
        rf"^\*MEAS_DATA_COUNT{_VALUE}",
        rf"^\*COUNT\s*={_VALUE}",
        rf"^BANK\s+[0-9]+{_VALUE}",
        rf"^_(?:STEPCOUNT)\s*={_VALUE}",
        rf"^_pd_(?:meas|proc)_number_of_points{_VALUE}",
        r"\A[^\n]*\n[^\n]*2-theta[^\n]*\n[^\n]*\n\s*([0-9]+)\s*$",
    ),
    "start": (
        rf"^\*MEAS_SCAN_START{_VALUE}",
        rf"^\*START\s*={_VALUE}",
        rf"^_(?:START|2THETA)\s*={_VALUE}",
        rf"^_pd_(?:meas|proc)_2theta_range_min{_VALUE}",
        rf"^DataAngleRange,{_VALUE}",
        rf"<positions axis=\"2Theta\"[^>]*>\s*<startPosition>{_VALUE}",
    ),
    "stop": (
        rf"^\*MEAS_SCAN_STOP{_VALUE}",
        rf"^\*STOP\s*={_VALUE}",
        rf"^_pd_(?:meas|proc)_2theta_range_max{_VALUE}",
        rf"^DataAngleRange,[^,\n]*,{_VALUE}",
        rf"<positions axis=\"2Theta\"[^>]*>\s*<startPosition>[^<]*</startPosition>\s*<endPosition>{_VALUE}",
    ),
    "step": (
        rf"^\*MEAS_SCAN_STEP{_VALUE}",
        rf"^\*STEP\s*={_VALUE}",
        rf"^_(?:STEPSIZE)\s*={_VALUE}",
        rf"^_pd_(?:meas|proc)_2theta_range_inc{_VALUE}",
        rf"^ScanStepSize,{_VALUE}",
    ),
}
"""What files state of a scan, as regular expressions with the value as group."""

_ROW = re.compile(
    rb"^[ \t]*[-+]?[0-9][0-9.eE+-]*[ \t,;]+[-+]?[0-9.][0-9.eE+-]*(?:[ \t,;]+[-+]?[0-9.][0-9.eE+-]*)?[ \t\r]*$",
    re.MULTILINE,
)
_ROWS_LOST = 0.02
"""Fraction of the rows of a table that may be left out without a note."""

_ANODES = {"Cu": 1.5406, "Co": 1.789, "Mo": 0.7093, "Cr": 2.2897, "Fe": 1.936, "Ag": 0.5594}
_ANODE = re.compile(
    r"(?i)(?:anode(?:Material>|[:=,\s\"]*)|TubeMaterial>|\*TARGET\s*=\s*\"?|XG_TARGET_NAME\s+\"?)\s*\"?(Cu|Co|Mo|Cr|Fe|Ag)\b"
)

MOST_CHANGED = 3
"""Points that damage of one place may change without the file being able to tell."""


def file_text(data: bytes) -> str:
    """The text of a file, of an archive that of all members; empty where there is none."""
    if data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [archive.read(info) for info in archive.infolist() if info.file_size < 2**24]
        except Exception:  # noqa: BLE001 - damaged in any way
            return ""
        return "\n".join(member.decode("utf-8", errors="replace") for member in members)
    return data.decode("latin-1")


def stated(text: str) -> dict[str, list[float]]:
    """What a file states of its scans: points, start, stop and step [deg], each as often as it stands there."""
    found: dict[str, list[float]] = {}
    for name, expressions in _STATED.items():
        for expression in expressions:
            values = [_number(value) for value in re.findall(expression, text, re.MULTILINE | re.IGNORECASE)]
            if values:
                found[name] = values
                break
    return found


def contradictions(text: str, data: bytes, patterns: Sequence[Pattern]) -> set[str]:
    """Which of its statements the patterns that were read from a file contradict."""
    facts, wrong = stated(text), set[str]()
    for number, pattern in enumerate(patterns):
        angles = pattern.two_theta
        step = float(np.median(np.diff(angles))) if angles.size > 1 else 0.0
        read = {"points": float(angles.size), "start": float(angles[0]), "stop": float(angles[-1]), "step": step}
        near = {"points": 1.0, "start": step + 1e-3, "stop": 1.5 * step + 1e-3, "step": 0.02 * step + 1e-6}
        for name, values in facts.items():
            value = values[number] if len(values) == len(patterns) else values[0]
            if not abs(value - read[name]) <= near[name]:
                wrong.add(name)
        anode = _ANODE.search(text)
        if anode is not None and pattern.wavelength is not None:
            line = _ANODES[anode.group(1).capitalize()]
            if min(abs(pattern.wavelength / line - 1), abs(pattern.wavelength / (0.9 * line) - 1)) > 0.01:
                wrong.add("anode")
        if "<startPosition>" in text and step and not _is_round(step, angles.size):
            wrong.add("round step")
    rows = 0 if len(patterns) > 1 or data.startswith((b"PK", b"\x89HDF")) else len(_ROW.findall(data))
    if rows > 10 and patterns[0].two_theta.size < (1 - _ROWS_LOST) * rows - MOST_CHANGED:
        wrong.add("rows")
    return wrong


def _is_round(step: float, points: int) -> bool:
    """Whether a step [deg] that follows from limits and number of points is one that a person enters.

    The limits of continuous scans are uncertain by a fraction of a step.
    """
    return abs(step / 5e-4 - round(step / 5e-4)) * 5e-4 * points < 0.2 * step


def differs(patterns: Sequence[Pattern], originals: Sequence[Pattern]) -> bool:
    """Whether patterns differ from those of the undamaged file in more than single points or a missing end."""
    if len(patterns) != len(originals):
        return True
    return any(_differ(one, other) for one, other in zip(patterns, originals, strict=True))


def _differ(pattern: Pattern, original: Pattern) -> bool:
    if pattern.wavelength != original.wavelength:
        return True
    where = np.searchsorted(original.two_theta, pattern.two_theta).clip(1, original.two_theta.size - 1)
    before, after = original.two_theta[where - 1], original.two_theta[where]
    where = np.where(np.abs(before - pattern.two_theta) < np.abs(after - pattern.two_theta), where - 1, where)
    same = np.abs(original.two_theta[where] - pattern.two_theta) < 1e-5
    same &= np.isclose(original.intensity[where], pattern.intensity, rtol=1e-6)
    if np.count_nonzero(~same) > MOST_CHANGED:
        return True
    return pattern.two_theta.size < 0.98 * original.two_theta.size


def told(patterns: Sequence[Pattern], originals: Sequence[Pattern]) -> bool:
    """Whether the reader noted something about the damaged file that it did not note about the original."""
    return bool(_notes(patterns) - _notes(originals))


def _notes(patterns: Iterable[Pattern]) -> set[str]:
    return {note for pattern in patterns for note in pattern.warnings}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
