"""Gridded patterns in files."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.pattern import GriddedPattern


def write_gridded(path: Path, pattern: GriddedPattern) -> None:
    """Write a pattern on the grid as a `.npz` file of `intensity` (0-100) and `coverage`."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, intensity=pattern.intensity, coverage=pattern.coverage)
    part.replace(path)


def read_gridded(path: Path) -> GriddedPattern:
    """Read a pattern that `write_gridded` wrote.

    Raises:
        PatternError: the file is missing, or holds something else (E_FORMAT).
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return GriddedPattern(stored["intensity"], stored["coverage"], name=path.stem)
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        # numpy's advice for other files, to unpickle them, is left out.
        reason = f" ({shorten(error)})" if isinstance(error, (OSError, BadZipFile)) else ""
        msg = f"{shorten(path.name)} is not a gridded pattern{reason}; expected a .npz file of `write_gridded`"
        raise PatternError(msg, code="E_FORMAT") from error
