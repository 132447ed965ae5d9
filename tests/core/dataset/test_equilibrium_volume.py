"""Scans find the volume of lowest energy in few evaluations, and say so where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.core.dataset.teacher_stub import StubTeacher, equilibrium_volume, lowest_energy
from xxact_core.dataset.building.equilibrium_volume import (
    MOST_EVALUATIONS,
    find_equilibrium,
    fitted_minimum,
    scale_structure,
)
from xxact_core.simulation.lattice import cell_volume
from xxact_core.structures.structure import Structure


def caesium_chloride(edge: float, *, name: str = "x") -> Structure:
    coords = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    return Structure(name, np.array([edge] * 3 + [90] * 3), np.array([55, 17]), coords, np.ones(2))


def test_minimum_of_a_birch_murnaghan_curve_is_exact() -> None:
    volumes = np.array([0.8, 1.0, 1.3])
    assert fitted_minimum(volumes, ((1.07 / volumes) ** (2 / 3) - 1) ** 2) == pytest.approx(1.07)


@pytest.mark.parametrize("guess", [0.75, 0.93, 1.0, 1.08, 1.3])
def test_scan_finds_the_equilibrium_volume(guess: float) -> None:
    teacher = StubTeacher()
    exact = equilibrium_volume(caesium_chloride(4.0)) ** (1 / 3)
    start = caesium_chloride(exact * guess)
    [(scale, energy, reason)] = find_equilibrium([start], teacher)
    assert reason == ""
    volume = float(cell_volume(scale_structure(start, scale).cell))
    assert volume == pytest.approx(exact**3, rel=0.02)
    assert energy == pytest.approx(lowest_energy(start), abs=0.003)
    assert len(teacher.asked) <= MOST_EVALUATIONS


class Repulsive(StubTeacher):
    """Atoms that repel each other at every volume."""

    def energies(self, structures: Sequence[Structure]) -> tuple[np.ndarray, list[str]]:
        return np.array([1 / float(cell_volume(one.cell)) for one in structures]), [""] * len(structures)


def test_scan_without_a_minimum_says_so() -> None:
    [(scale, energy, reason)] = find_equilibrium([caesium_chloride(4.0)], Repulsive())
    assert "no minimum" in reason
    assert np.isnan([scale, energy]).all()


def test_failure_and_nonsense_concern_their_structure_alone() -> None:
    teacher = StubTeacher(failing=["a"], nonsense=["b"])
    found = find_equilibrium([caesium_chloride(4.0, name=name) for name in "abc"], teacher)
    assert [bool(reason) for _, _, reason in found] == [True, True, False]
    assert found[0][2] == "it is broken"
    assert "1e+06 eV/atom" in found[1][2]
