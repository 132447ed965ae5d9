"""Files of others → patterns, parsed in a process of their own that is stopped where it takes too much."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.source import MOST_BYTES, read_source
from xxact_core.sandbox.process import GuardedProcesses

LONGEST = 20.0
"""Seconds of processor time that reading one file may take; a scan of a laboratory takes a hundredth of one."""

PROCESSES = GuardedProcesses("xxact_core.readers.worker")


def read_foreign_pattern(
    source: bytes | str | Path,
    *,
    name: str | None = None,
    wavelength: str | float | None = None,
    scan: int | Literal["sum"] = 0,
    seconds: float = LONGEST,
) -> Pattern:
    """The pattern in a file that came from somewhere else; like `readers.read_pattern`, in a process under limits.

    The process waits for the next file, so that all but the first cost a few milliseconds more than reading here. It
    is ended where it takes more than `seconds` of processor time, three times that by the clock, or more memory than
    `reading_worker.MOST_MEMORY`; the next file gets a new one. What comes back is plain numbers and text, checked like
    any pattern. Threads may call this at the same time.

    Raises:
        PatternError: as `read_pattern` does, and where the process had to be ended, or broke off (E_LIMIT).
        WavelengthError: `wavelength` is not within 0.1-5 Å.
        OSError: the path cannot be opened.
    """
    (pattern,) = read_foreign_scans(source, name=name, wavelength=wavelength, scan=scan, seconds=seconds)
    return pattern


def read_foreign_scans(
    source: bytes | str | Path,
    *,
    name: str | None = None,
    wavelength: str | float | None = None,
    scan: int | Literal["sum"] | None = None,
    seconds: float = LONGEST,
) -> tuple[Pattern, ...]:
    """All the scans of such a file, in its order, or the one that is asked for; errors as above."""
    chosen = None if wavelength is None else parse_wavelength(wavelength)
    data, called = read_source(source, name=name)
    wanted = {"name": called, "wavelength": chosen, "scan": scan}
    answer = PROCESSES.ask(wanted, data, seconds=seconds, most_bytes=2 * MOST_BYTES)
    if isinstance(answer, str):
        msg = f"{answer}; export the scan as text (.xy)"
        raise PatternError(msg, code="E_LIMIT")
    described, block = answer
    if "error" in described:
        kind = WavelengthError if described["kind"] == "WavelengthError" else PatternError
        raise kind(described["error"], code=described["code"])
    columns = np.split(
        np.frombuffer(block, dtype=np.float64).reshape(2, -1), np.cumsum(described["points"])[:-1], axis=1
    )
    return tuple(
        Pattern(two_theta=two_theta, intensity=intensity, **said | {"warnings": tuple(said["warnings"])})
        for (two_theta, intensity), said in zip(columns, described["scans"], strict=True)
    )


def prepare_reading() -> None:
    """Start a process ahead, so that the first file need not wait for it; returns at once."""
    PROCESSES.prepare()
