"""Conventional cells with their asymmetric units, and the CIF files written from them."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

from xxact_core.errors import StructureError
from xxact_core.structures.cif_files import cif_to_structure
from xxact_core.structures.cif_writing import conventional_to_cif, with_uncertainty
from xxact_core.structures.conventional_cell import structure_to_conventional
from xxact_core.structures.structure import Structure, cell_to_matrix, matrix_to_cell

FACES = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def spinel(*, primitive: bool = False) -> Structure:
    """(Mg0.8 Fe0.2) Al2 O4 with a mixed site; the primitive cell holds 14 sites."""
    u = 0.2624
    cation = [[0.125] * 3, [0.875] * 3]
    metal = [[0.5, 0.5, 0.5], [0.5, 0.75, 0.75], [0.75, 0.5, 0.75], [0.75, 0.75, 0.5]]
    oxygen = [[u, u, u], [u, 0.25 - u, 0.25 - u], [0.25 - u, u, 0.25 - u], [0.25 - u, 0.25 - u, u]]
    oxygen += [[-value for value in position] for position in oxygen]
    sites = [(12, 0.8, position) for position in cation] + [(26, 0.2, position) for position in cation]
    sites += [(13, 1.0, position) for position in metal] + [(8, 1.0, position) for position in oxygen]
    full = [(number, part, np.array(position) + shift) for number, part, position in sites for shift in FACES]
    matrix, a = np.eye(3) * 8.09, 8.09
    coords = np.array([position for _, _, position in full])
    numbers, parts = np.array([number for number, _, _ in full]), np.array([part for _, part, _ in full])
    if primitive:
        vectors = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
        matrix = vectors * a
        coords = coords @ np.linalg.inv(vectors)
        keys = np.round(np.column_stack([np.round(coords % 1, 4) % 1, numbers]), 4)
        _, first = np.unique(keys, axis=0, return_index=True)
        coords, numbers, parts = coords[first], numbers[first], parts[first]
    return Structure("spinel", matrix_to_cell(matrix), numbers, coords % 1, parts)


@pytest.mark.parametrize("primitive", [False, True])
def test_a_mixed_spinel_has_its_space_group_and_three_sites(primitive: bool) -> None:
    found = structure_to_conventional(spinel(primitive=primitive), symprec=0.01)
    assert found.space_group == 227
    assert found.cell == pytest.approx([8.09, 8.09, 8.09, 90, 90, 90])
    assert len(found.operations) == 192
    assert found.operations[0] == "x,y,z"
    assert sorted(site.multiplicity for site in found.sites) == [8, 16, 32]
    mixed = next(site for site in found.sites if site.multiplicity == 8)
    assert dict(mixed.species) == {"Fe": 0.2, "Mg": 0.8}
    amounts = dict(zip(found.composition.symbols, found.composition.amounts, strict=True))
    assert amounts == pytest.approx({"O": 32, "Al": 16, "Mg": 6.4, "Fe": 1.6})


def test_a_cif_holds_the_same_structure_with_its_disorder() -> None:
    found = structure_to_conventional(spinel(primitive=True), symprec=0.01)
    text = conventional_to_cif(found, name="spinel", u_cell=[0.0003] * 3 + [0.0] * 3, b_iso=0.51)
    assert "_cell_length_a 8.0900(3)" in text
    back = cif_to_structure(text, name="spinel", file="spinel.cif")
    assert back.cell == pytest.approx(found.cell)
    assert back.composition.symbols == found.composition.symbols
    assert back.composition.amounts == pytest.approx(found.composition.amounts)
    again = structure_to_conventional(back, symprec=0.01)
    assert again.space_group == 227
    assert {site.species for site in again.sites} == {site.species for site in found.sites}


def test_pymatgen_reads_the_cif_with_its_space_group() -> None:
    from pymatgen.io.cif import CifParser

    found = structure_to_conventional(spinel(), symprec=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser = CifParser(io.StringIO(conventional_to_cif(found, name="a 'mixed' spinel")))
        structure = parser.parse_structures(primitive=False)[0]
        assert structure.get_space_group_info()[1] == 227
    assert len(structure) == 56
    assert not structure.is_ordered


def test_a_conventional_setting_other_than_the_standard_one_is_kept() -> None:
    """P 21/n is not turned into P 21/c."""
    general, half = np.array([[0.11, 0.23, 0.37], [0.31, 0.42, 0.08]]), 0.5
    images = [general, half + general * [-1, 1, -1], -general, half + general * [1, -1, 1]]
    coords = np.concatenate(images) % 1
    structure = Structure(
        "baddeleyite", np.array([5.1, 6.2, 5.3, 90, 98, 90]), np.array([40, 8] * 4), coords, np.ones(8)
    )
    found = structure_to_conventional(structure, symprec=0.01)
    assert found.symbol == "P 1 21/n 1"
    assert found.cell == pytest.approx([5.1, 6.2, 5.3, 90, 98, 90])
    assert [site.multiplicity for site in found.sites] == [4, 4]


def test_a_rhombohedral_cell_becomes_hexagonal() -> None:
    """Bismuth, R -3 m: a = 4.746 Å and α = 57.23°, or a = 4.546 Å and c = 11.86 Å."""
    u = 0.234
    structure = Structure(
        "Bi", np.array([4.746] * 3 + [57.23] * 3), np.array([83, 83]), np.array([[u] * 3, [1 - u] * 3]), np.ones(2)
    )
    found = structure_to_conventional(structure, symprec=0.01)
    assert found.space_group == 166
    assert found.symbol == "R -3 m"
    assert found.cell == pytest.approx([4.546, 4.546, 11.86, 90, 90, 120], rel=1e-3)


def test_a_cell_whose_angles_do_not_close_is_refused() -> None:
    structure = Structure("x", np.array([4.0, 4.0, 4.0, 10, 10, 170]), np.array([11]), np.zeros((1, 3)), np.ones(1))
    with pytest.raises(StructureError, match=r"x: the cell .* has no volume"):
        structure_to_conventional(structure, symprec=0.1)


def test_lattice_vectors_and_cells_are_inverse() -> None:
    cell = np.array([5.1, 6.2, 7.3, 81.0, 97.0, 112.0])
    assert matrix_to_cell(cell_to_matrix(cell)) == pytest.approx(cell)


@pytest.mark.parametrize(
    ("value", "u", "text"),
    [
        (4.75919, 0.00032, "4.7592(3)"),
        (4.75919, 0.00012, "4.75919(12)"),
        (12.5, 0.3, "12.5(3)"),
        (123.4, 4.0, "123(4)"),
        (90.0, 0.0, "90"),
        (90.0, float("nan"), "90"),
    ],
)
def test_numbers_are_written_with_their_uncertainty(value: float, u: float, text: str) -> None:
    assert with_uncertainty(value, u) == text
