"""Lines of a structure with their indices, for any wavelength; and CIFs of others, read under limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pattern_files import cif_of_rock_salt

from xxact_core.errors import StructureError
from xxact_core.processes import end_child
from xxact_core.simulation import cif_reading
from xxact_core.simulation.cif_reading import read_untrusted_cif
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.reference_reflections import hkl_to_family, structure_to_reflections
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.cif_files import cif_to_structure
from xxact_core.structures.structure import Structure


@pytest.fixture(scope="module")
def rock_salt() -> Structure:
    return cif_to_structure(cif_of_rock_salt(), name="NaCl", file="NaCl.cif")


@pytest.fixture(scope="module", autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    while cif_reading.PROCESSES.idle:
        end_child(cif_reading.PROCESSES.idle.pop())


def test_rock_salt_has_its_reflections_and_their_multiplicities(rock_salt: Structure) -> None:
    lines = structure_to_reflections(rock_salt)
    assert lines.hkl[:6].tolist() == [[1, 1, 1], [2, 0, 0], [2, 2, 0], [3, 1, 1], [2, 2, 2], [4, 0, 0]]
    assert lines.multiplicity[:6].tolist() == [8, 6, 12, 24, 8, 6]
    assert lines.space_group == 225
    np.testing.assert_allclose(lines.d, 5.6402 / np.sqrt((lines.hkl**2).sum(axis=1)), rtol=1e-6)


@pytest.mark.parametrize("wavelength", [0.71073, 1.54184, 2.28975])
def test_lines_at_a_wavelength_are_those_simulated_for_it(rock_salt: Structure, wavelength: float) -> None:
    expected = arrays_to_sticks(
        cell=rock_salt.cell, atomic_numbers=rock_salt.atomic_numbers, frac_coords=rock_salt.frac_coords,
        wavelength=wavelength, two_theta_range=(5, 50),
    )  # fmt: skip
    sticks = structure_to_reflections(rock_salt).at(wavelength)
    first = slice(0, expected.two_theta.size)
    np.testing.assert_allclose(sticks.two_theta[first], expected.two_theta, atol=1e-4)
    np.testing.assert_allclose(sticks.intensity[first], expected.intensity, rtol=1e-3)


def test_a_family_is_called_by_its_least_negative_indices(rock_salt: Structure) -> None:
    rotations = find_symmetry(rock_salt).rotations
    families = [hkl_to_family(np.array(hkl), rotations) for hkl in ([-1, 0, 2], [0, 2, 1])]
    assert families[0][0].tolist() == [2, 1, 0]
    assert len(families[0]) == 24
    assert np.array_equal(families[0], families[1])
    identity = np.eye(3, dtype=np.int8)[None]
    assert hkl_to_family(np.array([-1, -1, 2]), identity)[0].tolist() == [1, 1, -2]


def test_a_cif_of_others_gives_the_same_lines(rock_salt: Structure) -> None:
    here, there = structure_to_reflections(rock_salt), read_untrusted_cif(cif_of_rock_salt().encode(), name="a.cif")
    for name in ("d", "hkl", "multiplicity", "strength"):
        assert np.array_equal(getattr(here, name), getattr(there, name))
    assert (there.formula, there.space_group) == (here.formula, here.space_group)


@pytest.mark.parametrize("content", [b"data_x\n_cell_length_a 5\n", b"\x89PNG", cif_of_rock_salt().encode()[:-30]])
def test_a_bad_cif_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(StructureError, match=r"bad\.cif: not a readable CIF structure"):
        read_untrusted_cif(content, name="bad.cif")
    assert read_untrusted_cif(cif_of_rock_salt().encode(), name="good.cif").space_group == 225


def test_a_cif_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(StructureError, match=r"NaCl\.cif: reading it was stopped") as refusal:
        read_untrusted_cif(cif_of_rock_salt().encode(), name="NaCl.cif", seconds=0.0)
    assert refusal.value.code == "E_LIMIT"
