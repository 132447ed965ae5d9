"""What is read of a file: one scan, as a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import parse_scan
from xxact_core.readers.read_untrusted import read_untrusted_pattern


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """Which scan of a file is read.

    Raises:
        PatternError: the scan is not a number from 0, `sum` or `join` (E_SCAN).
        WavelengthError: the wavelength is not known.
    """

    wavelength: str | float | None = None
    """Wavelength in Å, with a unit, or a name such as CuKa; required if the file does not state it."""

    scan: int | str = 0
    """Scan of a file with several: its number from 0, `sum` for their sum, or `join` for its ranges as one."""

    def __post_init__(self) -> None:
        """Check the scan and the wavelength before a file is read."""
        if self.wavelength is not None:
            parse_wavelength(self.wavelength)
        parse_scan(str(self.scan))

    def read(self, source: bytes | str | Path, *, name: str | None = None) -> Pattern:
        """The pattern in a file of unknown origin, read in a separate process within limits.

        Raises:
            PatternError: as `read_untrusted_pattern`.
            OSError: the path cannot be opened.
        """
        return read_untrusted_pattern(source, name=name, wavelength=self.wavelength, scan=parse_scan(str(self.scan)))


@dataclass(frozen=True, kw_only=True)
class ReadPointsRequest(ReadRequest):
    """What is read of a file."""

    points: bool = True
    """Whether the answer lists angles and intensities."""


def pattern_to_dict(pattern: Pattern, *, points: bool) -> dict[str, Any]:
    """Plain values for JSON: range, step, wavelength [Å], warnings and metadata; with `points`, the arrays.

    Angles are in degrees 2θ at the wavelength of the measurement.
    """
    two_theta, count = pattern.two_theta, pattern.two_theta.size
    if count < 2:  # noqa: PLR2004 - one point has no step
        msg = f"{pattern.name}: has one point only"
        raise PatternError(msg, code="E_EMPTY")
    arrays = {"two_theta": two_theta.tolist(), "intensity": pattern.intensity.tolist()} if points else {}
    return {
        "name": pattern.name,
        "format": pattern.format,
        "wavelength": pattern.wavelength,
        "first_angle": float(two_theta[0]),
        "last_angle": float(two_theta[-1]),
        "step": float(two_theta[-1] - two_theta[0]) / (count - 1),
        "points": count,
        "largest_intensity": float(pattern.intensity.max()),
        "metadata": dict(pattern.metadata),
        "warnings": list(pattern.warnings),
        **arrays,
    }
