"""Indexing: lattices and their peaks, figures of merit, and cells of measured patterns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.core.refinement.phase_fixtures import mixture_pattern, rock_salt
from xxact_core.errors import InputError, PatternError, WavelengthError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern
from xxact_core.refinement.indexing import index_pattern, rank_lattices
from xxact_core.refinement.lattices import Lattice, index_peaks, lattice_to_hkl, related_lattices
from xxact_core.refinement.refine import RefinementCancelledError
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, hkl_to_two_theta

WAVELENGTH = 1.5406


def lattice(system: str, centring: str, *cell: float) -> Lattice:
    return Lattice(system, centring, np.array(cell, dtype=np.float64))  # type: ignore[arg-type]  # any text


def peaks_of(one: Lattice, *, count: int = 20, zero: float = 0.0, noise: float = 0.0) -> np.ndarray:
    """Angles of the first reflections of a lattice."""
    hkl, _ = lattice_to_hkl(one, most_q=1.2)
    angles = hkl_to_two_theta(hkl, cell_to_reciprocal_metric(one.cell), wavelength=WAVELENGTH)[:count]
    return np.sort(angles + zero + np.random.default_rng(2).normal(0, noise, angles.size))


def test_reflections_of_the_cubic_lattices_are_those_of_the_textbook() -> None:
    squares = {
        centring: np.rint(lattice_to_hkl(lattice("cubic", centring, 4, 4, 4, 90, 90, 90), most_q=0.76)[1] * 16).tolist()
        for centring in ("P", "I", "F")
    }
    assert squares["P"][:8] == [1, 2, 3, 4, 5, 6, 8, 9]
    assert squares["I"] == [2, 4, 6, 8, 10, 12]
    assert squares["F"] == [3, 4, 8, 11, 12]
    assert lattice_to_hkl(lattice("cubic", "F", 1, 1, 1, 90, 90, 90), most_q=0.76)[1].size == 0


@pytest.mark.parametrize(
    "truth",
    [
        lattice("cubic", "F", 5.43, 5.43, 5.43, 90, 90, 90),
        lattice("tetragonal", "I", 3.79, 3.79, 9.51, 90, 90, 90),
        lattice("trigonal", "R", 4.76, 4.76, 12.99, 90, 90, 120),
        lattice("hexagonal", "P", 3.25, 3.25, 5.21, 90, 90, 120),
        lattice("orthorhombic", "C", 5.1, 8.3, 6.7, 90, 90, 90),
        lattice("monoclinic", "P", 5.15, 5.21, 5.31, 90, 99.2, 90),
        lattice("triclinic", "P", 5.1, 6.3, 7.2, 84, 97, 103),
    ],
    ids=lambda one: one.system,
)
def test_a_cell_is_refined_from_its_peaks_with_a_zero_shift(truth: Lattice) -> None:
    start = replace(truth, cell=truth.cell * np.array([1.0005, 1.0005, 1.0005, 1, 1, 1]))
    found = index_peaks(start, peaks_of(truth, zero=0.05, noise=0.004), wavelength=WAVELENGTH)
    assert found is not None
    assert found.indexed == found.peaks
    assert found.zero_shift == pytest.approx(0.05, abs=0.02)
    assert found.lattice.cell == pytest.approx(truth.cell, rel=1e-3)
    assert np.all(np.abs(found.lattice.cell - truth.cell) < np.maximum(5 * found.u_cell, 1e-9))
    assert found.figure_of_merit > 20


def test_the_figure_of_merit_is_that_of_its_definition() -> None:
    """Deviations of one part in 10⁴ of Q, in turn up and down: M = Q_20 / (2 <ΔQ> N)."""
    truth = lattice("cubic", "P", 4, 4, 4, 90, 90, 90)
    q = lattice_to_hkl(truth, most_q=2)[1][:20]
    shifted = q + 1e-4 * np.resize([1, -1], 20)
    angles = np.degrees(2 * np.arcsin(np.sqrt(shifted) * WAVELENGTH / 2))
    found = index_peaks(truth, angles, wavelength=WAVELENGTH)
    assert found is not None
    assert found.figure_of_merit == pytest.approx(q[-1] / (2 * 1e-4 * 20), rel=0.1)


def test_a_wrong_lattice_does_not_explain_the_peaks() -> None:
    peaks = peaks_of(lattice("tetragonal", "P", 4.6, 4.6, 2.96, 90, 90, 90))
    assert index_peaks(lattice("cubic", "P", 4.1, 4.1, 4.1, 90, 90, 90), peaks, wavelength=WAVELENGTH) is None


def test_multiples_and_lower_symmetries_rank_below_the_lattice_itself() -> None:
    truth = lattice("tetragonal", "I", 6.6, 6.6, 5.98, 90, 90, 90)
    peaks = peaks_of(truth, noise=0.003)
    tripled = lattice("tetragonal", "P", 6.6, 6.6, 17.94, 90, 90, 90)
    low = lattice("orthorhombic", "I", 6.6, 6.6, 5.98, 90, 90, 90)
    fitted = [
        index_peaks(one, peaks, wavelength=WAVELENGTH) for start in (tripled, low) for one in related_lattices(start)
    ]
    ranked = rank_lattices([one for one in fitted if one is not None], peaks, WAVELENGTH)
    assert (ranked[0].lattice.system, ranked[0].lattice.centring) == ("tetragonal", "I")
    assert ranked[0].lattice.cell == pytest.approx(truth.cell, rel=1e-3)


def test_the_cell_of_a_calculated_pattern_is_found() -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    reports: list[tuple[int, int]] = []
    found = index_pattern(
        mixture_pattern([(rock_salt(11, 17, 5.6402, name="halite"), 1.0)], zero=0.02),
        progress=lambda done, total: reports.append((done, total)),
    )
    best = found.lattices[0]
    assert (best.lattice.system, best.lattice.centring) == ("cubic", "F")
    assert best.lattice.cell[0] == pytest.approx(5.6402, rel=5e-4)
    assert found.searched == ("cubic",)
    assert reports[0] == (0, 7)
    assert reports[-1] == (7, 7)
    values = found.to_dict()
    assert values["cells"][0]["figure_of_merit"] == best.figure_of_merit
    assert len(values["peaks"]) == found.two_theta.size
    assert "cubic F" in found.to_text()


def test_the_cell_of_measured_fluorite_is_found(examples: Path) -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    found = index_pattern(read_pattern(examples / "fluorite.prn"), wavelength="CuKa", systems=["cubic"])
    assert found.lattices[0].lattice.centring == "F"
    assert found.lattices[0].lattice.cell[0] == pytest.approx(5.4639, rel=1e-3)


def test_invalid_input_is_refused() -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    pattern = mixture_pattern([(rock_salt(11, 17, 5.6402, name="halite"), 1.0)])
    with pytest.raises(InputError, match="'cubical' is no crystal system; expected some of cubic"):
        index_pattern(pattern, systems=["cubical"])
    with pytest.raises(InputError, match="the time limit is 0 s"):
        index_pattern(pattern, seconds=0)
    with pytest.raises(WavelengthError, match="does not state the wavelength"):
        index_pattern(replace(pattern, wavelength=None))
    with pytest.raises(RefinementCancelledError):
        index_pattern(pattern, cancelled=lambda: True)


def test_a_pattern_with_too_few_peaks_is_refused() -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    two_theta = np.arange(20, 60, 0.02)
    intensity = 50 + 1000 * np.exp(-(((two_theta - 35) / 0.06) ** 2))
    noisy = np.random.default_rng(3).poisson(intensity).astype(float)
    pattern = Pattern(two_theta=two_theta, intensity=noisy, wavelength=1.5418, name="one.xy")
    with pytest.raises(PatternError, match=r"one.xy: shows \d peaks; expected at least 6"):
        index_pattern(pattern)
