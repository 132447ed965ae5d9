"""Untrusted files → patterns, parsed in a separate process within limits on CPU time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.content import MAX_BYTES, read_source
from xxact_core.sandbox.process import SandboxProcesses

MAX_CPU_SECONDS = 20.0
"""CPU time that reading one file may take [s]; a laboratory scan takes a hundredth of a second."""

PROCESSES = SandboxProcesses("xxact_core.readers.worker")


def read_untrusted_pattern(
    source: bytes | str | Path,
    *,
    name: str | None = None,
    wavelength: str | float | None = None,
    scan: int | Literal["sum", "join"] = 0,
    seconds: float = MAX_CPU_SECONDS,
) -> Pattern:
    """Read a pattern from a file of unknown origin: `read.read_pattern` in a separate process within limits.

    The process is kept for the next file, so that every file but the first costs only a few milliseconds more than
    reading it in this process. It is killed when it exceeds `seconds` of CPU time, three times that of wall time, or
    the memory limit `sandbox.framing.MAX_MEMORY`; the next file gets a new one. Its answer is plain numbers and text,
    checked like any pattern. Thread-safe.

    Raises:
        PatternError: as `read_pattern`, and if the process was killed or crashed (E_LIMIT).
        WavelengthError: `wavelength` is not within 0.1-5 Å.
        OSError: the path cannot be opened.
    """
    (pattern,) = read_untrusted_scans(source, name=name, wavelength=wavelength, scan=scan, seconds=seconds)
    return pattern


def read_untrusted_scans(
    source: bytes | str | Path,
    *,
    name: str | None = None,
    wavelength: str | float | None = None,
    scan: int | Literal["sum", "join"] | None = None,
    seconds: float = MAX_CPU_SECONDS,
) -> tuple[Pattern, ...]:
    """Read one scan of such a file, all summed or joined, or each for `scan=None`; raises as the function above."""
    known_wavelength = None if wavelength is None else parse_wavelength(wavelength)
    data, source_name = read_source(source, name=name)
    request = {"name": source_name, "wavelength": known_wavelength, "scan": scan}
    answer = PROCESSES.run(request, data, seconds=seconds, max_bytes=2 * MAX_BYTES)
    if isinstance(answer, str):
        msg = f"{answer}; export the scan as text (.xy)"
        raise PatternError(msg, code="E_LIMIT")
    header, block = answer
    if "error" in header:
        error = WavelengthError if header["type"] == "WavelengthError" else PatternError
        raise error(header["error"], code=header["code"])
    columns = np.split(np.frombuffer(block, dtype=np.float64).reshape(2, -1), np.cumsum(header["points"])[:-1], axis=1)
    return tuple(
        Pattern(two_theta=two_theta, intensity=intensity, **fields | {"warnings": tuple(fields["warnings"])})
        for (two_theta, intensity), fields in zip(columns, header["scans"], strict=True)
    )


def prepare_reading() -> None:
    """Start a process in advance, so that the first file need not wait for it; returns at once."""
    PROCESSES.prepare()
