"""Pattern of an unknown phase → unit cells that explain its peaks, with figures of merit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xxact_core.errors import InputError, PatternError, WavelengthError, shorten
from xxact_core.patterns.conversions import parse_wavelength, two_theta_to_d
from xxact_core.patterns.pattern import Pattern
from xxact_core.refinement import rietx_indexing
from xxact_core.refinement.lattices import (
    MERIT_LINES,
    IndexedLattice,
    Lattice,
    index_peaks,
    lattice_to_hkl,
    related_lattices,
)
from xxact_core.refinement.refine import RefinementCancelledError, intensity_to_sigma, wavelength_to_tube

SYSTEMS = ("cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic")
"""Crystal systems in the order in which they are searched, fewest free parameters first."""

FEWEST_PEAKS = 6
"""Smallest number of peaks. Ours: fewer are explained by many lattices."""

MOST_PEAKS = 30
"""Number of peaks that are used, those of the lowest angles. Ours: the 20 of the figure of merit, and some to check."""

CONVINCING = 20.0
"""Figure of merit from which systems of lower symmetry are not searched. Ours: twice the 10 of de Wolff (1968)."""

WELL_INDEXED = 0.9
"""The fraction of the peaks that must be indexed besides. Ours."""

DOUBTFUL = 10.0
"""Figure of merit below which a lattice is doubtful. Source: de Wolff (1968), J. Appl. Cryst. 1, 108-113."""

SHOWN = 8
"""Number of lattices in a result. Ours."""

_SAME_LINES = 2e-3
_LONGEST_SEARCH = 3600.0


@dataclass(frozen=True, eq=False)
class Indexing:
    """Result of a search for the unit cell."""

    name: str
    """Name of the pattern."""
    wavelength: float
    """Wavelength of the peaks [Å]."""
    two_theta: np.ndarray
    """Positions of the peaks that were indexed [deg], shape (peaks,)."""
    lattices: tuple[IndexedLattice, ...]
    """Best first, by figure of merit and peaks left out; empty where no lattice explains the peaks."""
    searched: tuple[str, ...]
    """Crystal systems that were searched."""
    finished: bool
    """Whether the search of these systems ended before the time limit."""
    seconds: float
    """Time that the search took [s]."""
    warnings: tuple[str, ...] = ()
    """What to check before a cell is used."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "pattern": self.name,
            "wavelength": self.wavelength,
            "peaks": [
                {"two_theta": float(angle), "d": float(d)}
                for angle, d in zip(
                    self.two_theta, two_theta_to_d(self.two_theta, wavelength=self.wavelength), strict=True
                )
            ],
            "cells": [_lattice_to_dict(one) for one in self.lattices],
            "searched": list(self.searched),
            "finished": self.finished,
            "seconds": self.seconds,
            "warnings": list(self.warnings),
        }

    def to_text(self) -> str:
        """A table for people."""
        lines = [
            f"{self.name}: {len(self.two_theta)} peaks, {', '.join(self.searched)} searched in {self.seconds:.0f} s"
        ]
        if self.lattices:
            lines.append(
                f"  {'M20':>7s}  {'indexed':>8s}  {'system':14s}{'a':>9s}{'b':>9s}{'c':>9s}{'α':>8s}{'β':>8s}{'γ':>8s}"
                f"{'V [Å³]':>10s}{'zero [°]':>10s}"
            )
        for one in self.lattices:
            cell = "".join(f"{value:9.4f}" for value in one.lattice.cell[:3])
            cell += "".join(f"{value:8.2f}" for value in one.lattice.cell[3:])
            system = f"{one.lattice.system} {one.lattice.centring}"
            lines.append(
                f"  {one.figure_of_merit:7.1f}  {one.indexed:3d} of {one.peaks:2d}  {system:14s}{cell}"
                f"{one.lattice.volume:10.1f}{one.zero_shift:10.3f}"
            )
        return "\n".join([*lines, *(f"  note: {warning}" for warning in self.warnings)])


def _lattice_to_dict(one: IndexedLattice) -> dict[str, Any]:
    return {
        "system": one.lattice.system,
        "centring": one.lattice.centring,
        "cell": one.lattice.cell.tolist(),
        "u_cell": [float(u) if math.isfinite(u) else None for u in one.u_cell],
        "volume": one.lattice.volume,
        "figure_of_merit": one.figure_of_merit,
        "indexed": one.indexed,
        "peaks": one.peaks,
        "zero_shift": one.zero_shift,
        "hkl": one.hkl.tolist(),
    }


def index_pattern(
    pattern: Pattern,
    *,
    wavelength: str | float | None = None,
    systems: Iterable[str] = SYSTEMS,
    seconds: float = 60.0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Indexing:
    """Find unit cells that explain the peaks of one phase.

    The systems are searched one after the other, those of few parameters first, until a lattice is convincing.

    Args:
        pattern: as measured, of one phase.
        wavelength: of the measurement, in Å or by name (`CuKa`); overrides that of the file.
        systems: crystal systems to search.
        seconds: time limit of the search [s].
        progress: progress callback (done, total), in systems.
        cancelled: asked often; the search stops where it returns true.

    Raises:
        InputError: a system is unknown, or the time limit is not positive (E_REFINEMENT).
        ModuleNotFoundError: the library of the extra `refine` is not installed.
        PatternError: the pattern shows fewer than six peaks (E_EMPTY).
        RefinementCancelledError: `cancelled` returned true.
        WavelengthError: neither the file nor the call states the wavelength.
    """
    began = time.perf_counter()
    asked = tuple(systems)
    unknown = [name for name in asked if name not in SYSTEMS]
    if unknown or not asked:
        problem = f"{shorten(unknown[0])!r} is no crystal system" if unknown else "no crystal system is given"
        msg = f"{problem}; expected some of {', '.join(SYSTEMS)}"
        raise InputError(msg, code="E_REFINEMENT")
    if not 0 < seconds <= _LONGEST_SEARCH:
        msg = f"the time limit is {seconds:g} s; expected more than 0 and at most {_LONGEST_SEARCH:.0f}"
        raise InputError(msg, code="E_REFINEMENT")
    length = pattern.wavelength if wavelength is None else parse_wavelength(wavelength)
    if length is None:
        msg = f"{pattern.name}: the file does not state the wavelength; give it, for instance CuKa or 1.5406"
        raise WavelengthError(msg, code="E_WAVELENGTH")
    search = rietx_indexing.CellSearch(
        pattern.two_theta,
        pattern.intensity,
        intensity_to_sigma(pattern.intensity),
        wavelength=length,
        anode=wavelength_to_tube(length),
        most=MOST_PEAKS,
    )
    peaks = search.two_theta
    if peaks.size < FEWEST_PEAKS:
        msg = f"{pattern.name}: shows {peaks.size} peaks; expected at least {FEWEST_PEAKS} of one phase"
        raise PatternError(msg, code="E_EMPTY")
    found: list[IndexedLattice] = []
    searched, finished = [], True
    for number, system in enumerate(name for name in SYSTEMS if name in asked):
        progress(number, len(asked))
        left = seconds - (time.perf_counter() - began)
        if left <= 0 or (found and _is_convincing(found[0])):
            finished &= left > 0
            break
        share = left / min(len(asked) - number, 3)  # what the easy systems leave goes to the others
        lattices, complete = search.run(system, seconds=share, cancelled=cancelled)
        if cancelled():
            raise RefinementCancelledError
        searched.append(system)
        finished &= complete
        found = rank_lattices(
            [*found, *_fit_all(lattices, peaks, wavelength=search.wavelength)], peaks, search.wavelength
        )
    progress(len(asked), len(asked))
    return Indexing(
        name=pattern.name,
        wavelength=search.wavelength,
        two_theta=peaks,
        lattices=tuple(found[:SHOWN]),
        searched=tuple(searched),
        finished=finished,
        seconds=time.perf_counter() - began,
        warnings=(*pattern.warnings, *_to_warnings(found, peaks.size, finished=finished)),
    )


def _is_convincing(one: IndexedLattice) -> bool:
    return one.figure_of_merit >= CONVINCING and one.indexed >= WELL_INDEXED * one.peaks


def _fit_all(lattices: Iterable[Lattice], peaks: np.ndarray, *, wavelength: float) -> list[IndexedLattice]:
    """The lattices and those related to them, refined on the peaks."""
    fitted = (
        index_peaks(one, peaks, wavelength=wavelength) for lattice in lattices for one in related_lattices(lattice)
    )
    return [one for one in fitted if one is not None]


def rank_lattices(found: list[IndexedLattice], peaks: np.ndarray, wavelength: float) -> list[IndexedLattice]:
    """Best first; of lattices with the same reflections only that of the highest symmetry."""
    most_q = float((2 * np.sin(np.deg2rad(peaks[: 2 * MERIT_LINES][-1]) / 2) / wavelength) ** 2)
    by_symmetry = sorted(found, key=lambda one: (SYSTEMS.index(one.lattice.system), -one.rank))
    kept: list[tuple[IndexedLattice, np.ndarray]] = []
    for one in by_symmetry:
        lines = lattice_to_hkl(one.lattice, most_q=most_q)[1]
        if not any(_same_lines(lines, others) for _, others in kept):
            kept.append((one, lines))
    return sorted((one for one, _ in kept), key=lambda one: -one.rank)


def _same_lines(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two lattices have the same reflections, one of which may have some of the others split."""
    if abs(first.size - second.size) > 1 + 0.02 * first.size:
        return False
    shorter = min(first.size, second.size)
    return bool(np.allclose(first[:shorter], second[:shorter], rtol=_SAME_LINES))


def _to_warnings(found: list[IndexedLattice], peaks: int, *, finished: bool) -> list[str]:
    notes = []
    if not found:
        notes.append("no lattice explains the peaks: some may be of another phase, or the wavelength may be wrong")
    elif found[0].figure_of_merit < DOUBTFUL:
        notes.append(
            f"the best figure of merit is {found[0].figure_of_merit:.1f}: below {DOUBTFUL:.0f} a cell is doubtful"
        )
    if peaks < MERIT_LINES:
        notes.append(f"{peaks} peaks are fewer than the {MERIT_LINES} of the figure of merit M20")
    if not finished and not (found and _is_convincing(found[0])):
        notes.append("the time limit ended the search; a longer one may find another cell")
    return notes
