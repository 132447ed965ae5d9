"""Pattern and known phases → refined cells, weight fractions and curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xxact_core.errors import InputError, PatternError, WavelengthError
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.processing.kalpha2 import wavelength_to_anode
from xxact_core.refinement import rietx_engine
from xxact_core.refinement.phases import StartingPhase, read_phase, structure_to_phase
from xxact_core.refinement.results import Refinement
from xxact_core.refinement.settings import RefinementSettings
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, hkl_to_two_theta
from xxact_core.structures.structure import Structure

LEAST_POINTS = 50
"""Smallest number of points that are refined. Ours: below it there are hardly more points than parameters."""

MOST_PHASES = 10
"""Largest number of phases. Ours: far above what a powder pattern distinguishes."""

MOST_POINTS = 12_000
"""Above this number, neighbouring points are averaged. Ours: 0.01° steps over 120°."""

BELOW_FIRST = 3.0
"""Part of the pattern below the first possible reflection that is refined [deg]. Ours: for its background."""


class RefinementCancelledError(Exception):
    """The refinement was stopped by the caller."""


def refine(
    pattern: Pattern,
    phases: Sequence[StartingPhase | Structure | Path],
    *,
    wavelength: str | float | None = None,
    settings: RefinementSettings | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Refinement:
    """Refine cells, peak widths and scales, and with them weight fractions, of phases that are known to be present.

    The order is that of McCusker et al. (1999), J. Appl. Cryst. 32, 36-50: scales and background, shift of the angles,
    cells, widths, and then intensities. The cells must start within about 1 % of the real ones.

    Args:
        pattern: as measured; neither background nor Kα2 subtracted.
        phases: structures, CIF files, or starting points.
        wavelength: of the measurement, in Å or by name (`CuKa`); overrides that of the file.
        settings: by default a Rietveld refinement of the whole pattern.
        progress: progress callback (done, total), in stages.
        cancelled: asked often; the refinement stops where it returns true.

    Raises:
        InputError: there is no phase, or there are too many (E_REFINEMENT).
        ModuleNotFoundError: the library of the extra `refine` is not installed.
        PatternError: the pattern has too few points in the range (E_RANGE).
        RefinementCancelledError: `cancelled` returned true.
        StructureError: a phase cannot be used (E_STRUCTURE, E_SYMMETRY).
        WavelengthError: neither the file nor the call states the wavelength.
    """
    settings = RefinementSettings() if settings is None else settings
    if not 0 < len(phases) <= MOST_PHASES:
        msg = f"{len(phases)} phases cannot be refined; expected 1 to {MOST_PHASES}"
        raise InputError(msg, code="E_REFINEMENT")
    starts = [_to_start(phase) for phase in phases]
    length = pattern.wavelength if wavelength is None else parse_wavelength(wavelength)
    if length is None:
        msg = f"{pattern.name}: the file does not state the wavelength; give it, for instance CuKa or 1.5406"
        raise WavelengthError(msg, code="E_WAVELENGTH")
    two_theta, intensity = _select(pattern, starts, wavelength=length, settings=settings)
    job = rietx_engine.Job(
        name=pattern.name,
        two_theta=two_theta,
        intensity=intensity,
        sigma=intensity_to_sigma(intensity),
        wavelength=length,
        anode=wavelength_to_tube(length),
        phases=tuple(starts),
        settings=settings,
    )
    result = rietx_engine.run(job, progress=progress, cancelled=cancelled)
    if result is None:
        raise RefinementCancelledError
    notes = (f"{start.name}: {note}" for start in starts for note in start.notes)
    return replace(result, warnings=(*pattern.warnings, *notes, *result.warnings))


def _to_start(phase: StartingPhase | Structure | Path) -> StartingPhase:
    if isinstance(phase, StartingPhase):
        return phase
    return structure_to_phase(phase) if isinstance(phase, Structure) else read_phase(phase)


def wavelength_to_tube(wavelength: float) -> str | None:
    """The anode of an X-ray tube; None for other radiation."""
    try:
        return wavelength_to_anode(wavelength)
    except WavelengthError:
        return None


def _select(
    pattern: Pattern, phases: Sequence[StartingPhase], *, wavelength: float, settings: RefinementSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Angles and intensities that are refined, averaged where there are more than `MOST_POINTS`."""
    first = min(_first_reflection(phase.cell, wavelength=wavelength) for phase in phases)
    low, high = settings.two_theta_range or (first - BELOW_FIRST, 180.0)
    inside = (pattern.two_theta >= low) & (pattern.two_theta <= high)
    two_theta, intensity = pattern.two_theta[inside], pattern.intensity[inside]
    if two_theta.size < LEAST_POINTS or first > two_theta[-1]:
        msg = (
            f"{pattern.name}: has {two_theta.size} points from {low:.4g} to {min(high, pattern.two_theta[-1]):.4g}°, "
            f"and the first reflection is at {first:.1f}° or above; expected at least {LEAST_POINTS} points and a "
            f"reflection"
        )
        raise PatternError(msg, code="E_RANGE")
    if np.ptp(intensity) == 0:
        msg = f"{pattern.name}: all intensities are {intensity[0]:g}; expected peaks"
        raise PatternError(msg, code="E_EMPTY")
    together = -(-two_theta.size // MOST_POINTS)
    if together > 1:
        whole = two_theta.size // together * together
        two_theta = two_theta[:whole].reshape(-1, together).mean(axis=1)
        intensity = intensity[:whole].reshape(-1, together).mean(axis=1)
    return two_theta, intensity


def _first_reflection(cell: np.ndarray, *, wavelength: float) -> float:
    """Angle of the first reflection that a cell allows [deg 2θ]; 180 where the wavelength reaches none."""
    indices = np.array([(h, k, ell) for h in (-1, 0, 1) for k in (-1, 0, 1) for ell in (-1, 0, 1)][14:])
    angles = hkl_to_two_theta(indices, cell_to_reciprocal_metric(cell), wavelength=wavelength)
    return float(np.nanmin(np.append(angles, 180.0)))


def intensity_to_sigma(intensity: np.ndarray) -> np.ndarray:
    """Standard uncertainties of intensities, shape (points,): √I for counts, and in proportion to it otherwise.

    The factor of scaled intensities, such as counts per second, is taken from the differences between neighbouring
    points, whose median peaks do not affect.
    """
    level = np.maximum(intensity, max(float(np.median(np.abs(intensity))) * 0.01, np.finfo(np.float64).tiny))
    if np.array_equal(intensity, np.rint(intensity)) and intensity.max() > 100:  # noqa: PLR2004 - not scaled to 0-100
        counts: np.ndarray = np.sqrt(np.maximum(level, 1.0))
        return counts
    second = intensity[:-2] - 2 * intensity[1:-1] + intensity[2:]
    gain = float(np.median(second**2 / level[1:-1])) / (6 * 0.4549)  # median of χ² of one degree of freedom
    scaled: np.ndarray = np.sqrt(max(gain, 1e-12 * float(level.max())) * level)
    return scaled
