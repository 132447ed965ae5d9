"""Peaks and trial lattices by rietx, the library of the extra `refine`.

Source: Y. Wu and M. W. Gaultois, rietx 1.10 (MIT licence).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xxact_core.errors import InputError, shorten
from xxact_core.refinement.lattices import CENTRINGS, Lattice
from xxact_core.refinement.rietx_engine import Token, bare_instrument

WEAKEST = 0.01
"""Smallest area of a peak relative to the largest. Ours: weaker ones are often of impurities."""

LEAST_SIGNIFICANCE = 5.0
"""Smallest area of a peak over its standard uncertainty. Ours."""

ENGINES = 3
"""Number of methods that are tried for each system: dichotomy, trial and error, and singular value decomposition."""

CANDIDATES = 40
"""Number of trial lattices of a system that are kept. Ours."""

_ARTEFACTS = frozenset({"axial_tail", "duplicate_line", "kalpha2_residual"})
"""Flags of peaks of rietx that are no reflections, though they can be fitted."""


class CellSearch:
    """The peaks of a pattern, and a search for lattices that explain them.

    Args:
        two_theta: angles [deg], shape (points,).
        intensity: with background, shape (points,).
        sigma: standard uncertainties of the intensity, shape (points,).
        wavelength: [Å].
        anode: of the X-ray tube, whose Kα2 is separated; None for other radiation.
        most: largest number of peaks.

    Raises:
        InputError: the library cannot find peaks in the pattern (E_REFINEMENT).
        ModuleNotFoundError: rietx is not installed.
    """

    def __init__(
        self,
        two_theta: np.ndarray,
        intensity: np.ndarray,
        sigma: np.ndarray,
        *,
        wavelength: float,
        anode: str | None,
        most: int,
    ) -> None:
        import rietx  # noqa: PLC0415 - an extra, and slow to import

        data = rietx.PatternData(two_theta=two_theta.tolist(), intensity=intensity.tolist(), sigma=sigma.tolist())
        instrument = bare_instrument(wavelength=wavelength, anode=anode, geometry=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about peaks that are left out
            try:
                picked = rietx.pick_peaks(data, instrument)
            except (ValueError, RuntimeError, ArithmeticError, np.linalg.LinAlgError) as error:
                msg = f"no peaks can be found: {shorten(error, limit=300)}"
                raise InputError(msg, code="E_REFINEMENT") from error
        largest = max((peak.intensity for peak in picked.peaks), default=0.0)
        usable = [
            peak
            for peak in picked.peaks
            if peak.intensity >= WEAKEST * largest
            and peak.intensity >= LEAST_SIGNIFICANCE * peak.intensity_esd
            and peak.usable
            and not _ARTEFACTS & set(peak.flags)
        ]
        kept = sorted(usable, key=lambda peak: peak.two_theta)[:most]
        self._peaks = picked.model_copy(update={"peaks": kept})
        self._instrument = instrument
        self.two_theta = np.array([peak.two_theta for peak in kept])
        """Positions of the peaks [deg], ascending, shape (peaks,); those of Kα1 where there is a doublet."""
        self.wavelength = float(instrument.source.lines[0].wavelength.value)
        """Wavelength of these positions [Å]."""

    def run(self, system: str, *, seconds: float, cancelled: Callable[[], bool]) -> tuple[list[Lattice], bool]:
        """Lattices of a crystal system that may explain the peaks, and whether the search ended in time."""
        import rietx  # noqa: PLC0415 - an extra
        from rietx.indexing.engines import SearchSpec  # noqa: PLC0415 - likewise

        spec = SearchSpec(systems=(system,), budget_seconds=seconds / ENGINES, total_budget_seconds=seconds)
        spec = replace(spec, max_candidates=CANDIDATES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are among the diagnostics
            try:
                found = rietx.index_pattern(
                    self._peaks, instrument=self._instrument, spec=spec, validate=False, cancel=Token(cancelled)
                )
            except (rietx.RefinementCancelled, ValueError, RuntimeError, ArithmeticError, np.linalg.LinAlgError):
                return [], False  # too few peaks for the system
        lattices = [_to_lattice(one) for one in found.candidates]
        complete: Mapping[str, Any] = found.search_complete
        return [one for one in lattices if one is not None], bool(complete.get(system, False))


def _to_lattice(candidate: Any) -> Lattice | None:  # noqa: ANN401 - rietx is optional
    if candidate.centring not in CENTRINGS.get(candidate.system, ()):
        return None
    return Lattice(candidate.system, candidate.centring, np.array(candidate.cell, dtype=np.float64))
