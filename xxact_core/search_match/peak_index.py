"""Reflections of all reference phases → an index, which proposes candidates where the elements are unknown."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.fit import (
    USUAL_STRAIN,
    Fit,
    IntensityDistribution,
    reflections_to_two_theta,
    sticks_to_calculated_reflections,
)
from xxact_core.search_match.peak_axis import bin_count, bins_to_two_theta, spread, two_theta_to_bins

BLUR = 2.5
"""Peak width in the index on the axis of `peak_axis`, which covers the step between two strains searched. Ours."""

BINS_PER_ENTRY = 6
"""Bins per entry of the index, half of a peak width."""

SMALLEST_FRACTION_IN_RANGE = 0.05
"""Lower bound on the fraction of a phase's intensity within the measured range."""

_SHIFTS = (-0.1, 0.0, 0.1)
_STRAINS = np.linspace(USUAL_STRAIN - 0.02, USUAL_STRAIN + 0.02, 17)
_TOGETHER = 256
_LARGEST = 127
_SCHEMA = b"xxact-known-lines-1"
"""Version of the index, part of its file name."""


@dataclass(frozen=True, eq=False)
class PeakIndex:
    """Calculated patterns of all reference phases, at the usual strain of calculated cells."""

    codes: np.ndarray
    """Square roots of the intensities, the largest of a row 127; zeros for a phase without reflections. Shape (phases,
    entries), int8."""

    def nearest(self, measured: IntensityDistribution, *, count: int) -> np.ndarray:
        """Rows of the phases that agree best at the best of several shifts and strains, best first.

        The agreement is Σ √(p q), as in `fit.score_fit`, at the resolution of the index.
        """
        moved = [_move(measured, shift=shift, strain=strain) for strain in _STRAINS for shift in _SHIFTS]
        roots = np.stack([np.sqrt(density / density.sum()) for density, _ in moved], axis=1).astype(np.float32)
        covered = np.stack([covered for _, covered in moved], axis=1).astype(np.float32)
        agreement = np.empty(len(self.codes), dtype=np.float32)
        for first in range(0, len(self.codes), _TOGETHER):
            codes = self.codes[first : first + _TOGETHER].astype(np.float32)
            squares = np.square(codes)
            seen = np.maximum(squares @ covered, SMALLEST_FRACTION_IN_RANGE * squares.sum(axis=1, keepdims=True) + 1)
            agreement[first : first + _TOGETHER] = (codes @ roots / np.sqrt(seen)).max(axis=1)
        return np.argsort(-agreement, kind="stable")[:count]


def _move(measured: IntensityDistribution, *, shift: float, strain: float) -> tuple[np.ndarray, np.ndarray]:
    """The pattern moved to the usual strain, and its measured range, both at the resolution of the index."""
    sine = np.sin(np.radians(np.maximum(bins_to_two_theta() - shift, 0) / 2))
    squared = np.square(sine) * (1 - 2 * USUAL_STRAIN) / (1 - 2 * strain)
    positions, _ = two_theta_to_bins(np.degrees(2 * np.arcsin(np.sqrt(np.minimum(squared, 1)))))
    density = spread(positions, measured.density, width=np.sqrt(BLUR**2 - 1))[::BINS_PER_ENTRY]
    covered = spread(positions, measured.covered.astype(np.float64), width=1)[::BINS_PER_ENTRY] > 0.5  # noqa: PLR2004 - half
    return density * covered, covered


def open_index(
    references: ReferenceDatabase,
    *,
    folder: Path | None = None,
    progress_bar: bool = True,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PeakIndex:
    """Read the index of a database from the cache, or build and store it.

    Building takes some minutes for a hundred thousand phases; the index takes 28 MB.

    Args:
        references: the database.
        folder: of the cache; the user's cache folder by default.
        progress_bar: show a progress bar while the index is built.
        progress: progress callback (done, total).
    """
    from platformdirs import user_cache_path  # noqa: PLC0415 - only where no folder is named

    folder = user_cache_path("xxact") if folder is None else folder
    digest = hashlib.sha256(_SCHEMA + references.digest.encode()).hexdigest()[:32]
    path = folder / f"neighbours-{digest}.npz"
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return PeakIndex(stored["codes"])
    except (OSError, KeyError, ValueError, BadZipFile):
        pass  # missing or damaged: build it
    index = build_index(references, progress_bar=progress_bar, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as written:
        np.savez(written, codes=index.codes)
    part.replace(path)
    return index


def build_index(
    references: ReferenceDatabase,
    *,
    progress_bar: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PeakIndex:
    """Simulate every phase of a database."""
    from tqdm import tqdm  # noqa: PLC0415 - only where something is built

    codes = np.zeros((len(references), len(range(0, bin_count(), BINS_PER_ENTRY))), dtype=np.int8)
    usual = Fit(0.0, 0.0, np.array([USUAL_STRAIN]))
    for row in tqdm(range(len(references)), desc="index of reference phases", disable=not progress_bar):
        if row % _TOGETHER == 0:
            progress(row, len(references))
        try:
            reflections = sticks_to_calculated_reflections(references.sticks(row))
        except StructureError:
            continue
        positions, _ = two_theta_to_bins(reflections_to_two_theta(reflections, usual))
        roots = np.sqrt(spread(positions, reflections.height, width=BLUR)[::BINS_PER_ENTRY])
        if roots.max() > 0:
            codes[row] = np.rint(_LARGEST * roots / roots.max())
    progress(len(references), len(references))
    return PeakIndex(codes)
