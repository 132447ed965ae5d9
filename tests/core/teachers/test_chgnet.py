"""CHGNet as a teacher; only where it is installed."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.dataset.building.teacher import Teacher
from xxact_core.structures.structure import Structure, cell_to_matrix
from xxact_core.teachers import open_teacher

pytest.importorskip("chgnet", reason='the extra "teacher" is not installed')


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return open_teacher("chgnet")


def rock_salt(*, edge: float = 5.69) -> Structure:
    """NaCl in its primitive cell; `edge` is that of the cubic one [Å]."""
    cell = np.array([edge / 2**0.5] * 3 + [60] * 3)
    return Structure("NaCl", cell, np.array([11, 17]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.ones(2))


def low_symmetry() -> Structure:
    coords = np.random.default_rng(0).random((4, 3)) * 0.1 + np.array(
        [[0, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0]]
    )
    return Structure("x", np.array([4.1, 4.3, 4.5, 85, 95, 100]), np.array([29, 29, 8, 16]), coords, np.ones(4))


@pytest.mark.slow
@pytest.mark.parametrize("structure", [rock_salt(), low_symmetry()])
def test_graph_gives_the_energy_of_the_graph_that_chgnet_makes(teacher: Teacher, structure: Structure) -> None:
    from chgnet.model import CHGNet
    from pymatgen.core import Structure as Crystal

    symbols = [SYMBOLS[number - 1] for number in structure.atomic_numbers]
    crystal = Crystal(cell_to_matrix(structure.cell), symbols, structure.frac_coords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = float(CHGNet.load(use_device="cpu", verbose=False).predict_structure(crystal, task="e")["e"])
    energies, reasons = teacher.energies([structure])
    assert reasons == [""]
    assert energies[0] == pytest.approx(theirs, abs=1e-5)


@pytest.mark.slow
def test_failing_structures_leave_the_others_alone(teacher: Teacher) -> None:
    lonely = replace(rock_salt(edge=60.0), id="lonely")
    mixed = replace(rock_salt(), id="mixed", occupancies=np.array([1.0, 0.5]))
    energies, reasons = teacher.energies([lonely, rock_salt(), mixed])
    assert "no neighbour" in reasons[0]
    assert "occupied" in reasons[2]
    assert np.isnan(energies[[0, 2]]).all()
    assert energies[1] == pytest.approx(-3.67, abs=0.05)
