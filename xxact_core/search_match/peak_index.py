"""Lines of all known materials → profiles, kept: which of them look like a measured one, elements not known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.search_match.database import KnownMaterials
from xxact_core.search_match.fit import (
    USUAL_STRAIN,
    Fit,
    Profile,
    lines_to_two_theta,
    sticks_to_lines,
)
from xxact_core.search_match.peak_axis import bin_count, bins_to_two_theta, spread, two_theta_to_bins

BLUR = 2.5
"""Width of a kept line on the axis of `line_axis`: covers what lies between two strains that are tried. Ours."""

BINS_A_NUMBER = 6
"""Bins from one kept number to the next, half of a line's width."""

LEAST_SEEN = 0.05
"""Share of a material's intensity below which it counts as if so much were in the measured range."""

_SHIFTS = (-0.1, 0.0, 0.1)
_STRAINS = np.linspace(USUAL_STRAIN - 0.02, USUAL_STRAIN + 0.02, 17)
_TOGETHER = 256
_LARGEST = 127
_SCHEMA = b"xxact-known-lines-1"


@dataclass(frozen=True, eq=False)
class LineIndex:
    """Profiles of all materials, roots of their intensities, at the strain that calculated cells usually have.

    codes: shape (materials, numbers), int8, the largest of a row 127; zeros for a material that scatters nothing.
    """

    codes: np.ndarray

    def nearest(self, profile: Profile, *, count: int) -> np.ndarray:
        """Rows of the materials that agree best at the best of some shifts and strains, the nearest first.

        The agreement is Σ √(p q), as `agreement.score_fit` has it, of profiles as coarse as they are kept.
        """
        moved = [_move(profile, shift=shift, strain=strain) for strain in _STRAINS for shift in _SHIFTS]
        roots = np.stack([np.sqrt(density / density.sum()) for density, _ in moved], axis=1).astype(np.float32)
        covered = np.stack([covered for _, covered in moved], axis=1).astype(np.float32)
        agreement = np.empty(len(self.codes), dtype=np.float32)
        for first in range(0, len(self.codes), _TOGETHER):
            codes = self.codes[first : first + _TOGETHER].astype(np.float32)
            squares = np.square(codes)
            seen = np.maximum(squares @ covered, LEAST_SEEN * squares.sum(axis=1, keepdims=True) + 1)
            agreement[first : first + _TOGETHER] = (codes @ roots / np.sqrt(seen)).max(axis=1)
        return np.argsort(-agreement, kind="stable")[:count]


def _move(profile: Profile, *, shift: float, strain: float) -> tuple[np.ndarray, np.ndarray]:
    """The profile as it were at the usual strain, and where it was measured, both as coarse as the index."""
    sine = np.sin(np.radians(np.maximum(bins_to_two_theta() - shift, 0) / 2))
    squared = np.square(sine) * (1 - 2 * USUAL_STRAIN) / (1 - 2 * strain)
    places, _ = two_theta_to_bins(np.degrees(2 * np.arcsin(np.sqrt(np.minimum(squared, 1)))))
    density = spread(places, profile.density, width=np.sqrt(BLUR**2 - 1))[::BINS_A_NUMBER]
    covered = spread(places, profile.covered.astype(np.float64), width=1)[::BINS_A_NUMBER] > 0.5  # noqa: PLR2004 - half
    return density * covered, covered


def open_index(
    references: KnownMaterials,
    *,
    folder: Path | None = None,
    progress: bool = True,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> LineIndex:
    """The index of this table: read from the user's cache, or built and put there on first use.

    Building takes some minutes for a hundred thousand materials; 28 MB are kept.
    tell: called with how many of how many materials are done.
    """
    from platformdirs import user_cache_path  # noqa: PLC0415 - only where nobody names a folder

    folder = user_cache_path("xxact") if folder is None else folder
    digest = hashlib.sha256(_SCHEMA + references.digest.encode()).hexdigest()[:32]
    path = folder / f"neighbours-{digest}.npz"
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return LineIndex(stored["codes"])
    except (OSError, KeyError, ValueError, BadZipFile):
        pass  # not built yet, or damaged: built again
    index = build_index(references, progress=progress, tell=tell)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as written:
        np.savez(written, codes=index.codes)
    part.replace(path)
    return index


def build_index(
    references: KnownMaterials,
    *,
    progress: bool = False,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> LineIndex:
    """Simulate every material of the table."""
    from tqdm import tqdm  # noqa: PLC0415 - only where something is built

    codes = np.zeros((len(references), len(range(0, bin_count(), BINS_A_NUMBER))), dtype=np.int8)
    usual = Fit(0.0, 0.0, np.array([USUAL_STRAIN]))
    for row in tqdm(range(len(references)), desc="index of known materials", disable=not progress):
        if row % _TOGETHER == 0:
            tell(row, len(references))
        try:
            lines = sticks_to_lines(references.sticks(row))
        except StructureError:
            continue
        places, _ = two_theta_to_bins(lines_to_two_theta(lines, usual))
        roots = np.sqrt(spread(places, lines.height, width=BLUR)[::BINS_A_NUMBER])
        if roots.max() > 0:
            codes[row] = np.rint(_LARGEST * roots / roots.max())
    tell(len(references), len(references))
    return LineIndex(codes)
