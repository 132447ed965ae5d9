"""Structures → sticks and labels: equal to pymatgen, and what crystallography says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.errors import DatasetError, StructureError
from xxact_core.patterns.pattern import Sticks
from xxact_core.simulation import diffraction
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, cell_volume, hkl_to_two_theta
from xxact_core.simulation.scattering import load_scattering_parameters, scattering_factors
from xxact_core.simulation.stick_pool import structures_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.cif_files import read_cif
from xxact_core.structures.structure import Structure, pymatgen_to_structure
from xxact_core.structures.tables import read_table, table_rows

ROCK_SALT = PymatgenStructure.from_spacegroup(225, Lattice.cubic(5.6402), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
DIAMOND = PymatgenStructure.from_spacegroup(227, Lattice.cubic(5.43102), ["Si"], [[0, 0, 0]])
MIXED = PymatgenStructure.from_spacegroup(
    225, Lattice.cubic(4.2), [{"Ni": 0.6, "Mg": 0.3}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
HEXAGONAL = PymatgenStructure.from_spacegroup(
    186, Lattice.hexagonal(3.2498, 5.2066), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
)


def sticks_of(structure: Structure, **options: object) -> Sticks:
    return arrays_to_sticks(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=structure.occupancies,
        **options,
    )


def assert_equal_to_pymatgen(structure: PymatgenStructure, *, wavelength: float = 1.54184) -> None:
    reference = XRDCalculator(wavelength).get_pattern(structure, two_theta_range=(5, 90))
    sticks = sticks_of(pymatgen_to_structure(structure, name="test"), wavelength=wavelength)
    assert len(sticks.two_theta) == len(reference.x)
    np.testing.assert_allclose(sticks.two_theta, reference.x, atol=1e-6)
    np.testing.assert_allclose(sticks.intensity, reference.y, atol=1e-6)


@pytest.mark.parametrize("structure", [ROCK_SALT, DIAMOND, MIXED, HEXAGONAL], ids=["NaCl", "Si", "mixed", "ZnO"])
@pytest.mark.parametrize("wavelength", [1.54184, 0.71073, 1.79026])
def test_sticks_equal_pymatgen(structure: PymatgenStructure, wavelength: float) -> None:
    assert_equal_to_pymatgen(structure, wavelength=wavelength)


def test_sticks_equal_pymatgen_on_real_structures_of_all_crystal_systems(repository: Path) -> None:
    table = repository / "xxact_core" / "data" / "materials_project.parquet"
    rows = table_rows(table)
    systems = set()
    for start in np.random.default_rng(3).choice(rows, 60, replace=False):
        structure = next(read_table(table, start=int(start), stop=int(start) + 1))
        species = [SYMBOLS[number - 1] for number in structure.atomic_numbers]
        lattice = Lattice.from_parameters(*structure.cell)
        assert_equal_to_pymatgen(PymatgenStructure(lattice, species, structure.frac_coords))
        systems.add(find_symmetry(structure).crystal_system)
    assert len(systems) == 7


def test_sticks_of_a_large_structure_are_summed_in_parts_to_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    structure = pymatgen_to_structure(MIXED.make_supercell(2, in_place=False), name="supercell")
    whole = sticks_of(structure)
    monkeypatch.setattr(diffraction, "BLOCK", 500)
    parts = sticks_of(structure)
    np.testing.assert_allclose(parts.two_theta, whole.two_theta, atol=0)
    np.testing.assert_allclose(parts.intensity, whole.intensity, atol=1e-9)


@pytest.mark.parametrize("processes", [1, 2])
def test_many_structures_give_their_sticks_in_order_and_bad_ones_their_reason(repository: Path, processes: int) -> None:
    structures = [*read_table(repository / "xxact_core" / "data" / "materials_project.parquet", start=0, stop=150)]
    structures[7] = Structure("flat", [4, 4, 0, 90, 90, 90], [11], np.zeros((1, 3)), np.ones(1))
    answers = list(structures_to_sticks(structures, processes=processes, wavelength=0.71073))
    assert len(answers) == 150
    assert isinstance(answers[7], StructureError)
    assert "no volume" in str(answers[7])
    for row in (0, 6, 8, 149):
        assert answers[row] == sticks_of(structures[row], wavelength=0.71073)


def test_each_line_carries_a_reflection_that_stands_there() -> None:
    for crystal in (ROCK_SALT, HEXAGONAL):
        structure = pymatgen_to_structure(crystal, name="test")
        sticks = sticks_of(structure)
        metric = cell_to_reciprocal_metric(structure.cell)
        np.testing.assert_allclose(
            hkl_to_two_theta(sticks.hkl, metric, wavelength=1.54184), sticks.two_theta, atol=1e-5
        )


@pytest.mark.parametrize("cell", [[4, 5, 6, 90, 90, 90], [3, 3, 5, 90, 90, 120], [4, 5, 6, 75, 85, 110]])
def test_lattice_geometry_equals_pymatgen(cell: list[float]) -> None:
    lattice = Lattice.from_parameters(*cell)
    g11, g22, g33, g12, g13, g23 = cell_to_reciprocal_metric(np.array(cell))
    metric = np.array([[g11, g12, g13], [g12, g22, g23], [g13, g23, g33]])
    np.testing.assert_allclose(metric, lattice.reciprocal_lattice_crystallographic.metric_tensor, atol=1e-12)
    assert cell_volume(np.array(cell)) == pytest.approx(lattice.volume)


def test_rock_salt_has_only_reflections_of_unmixed_parity() -> None:
    sticks = sticks_of(pymatgen_to_structure(ROCK_SALT, name="NaCl"))
    parity = np.abs(sticks.hkl) % 2
    assert ((parity.sum(axis=1) == 0) | (parity.sum(axis=1) == 3)).all()
    strongest = sticks.hkl[sticks.intensity.argmax()]
    assert sorted(np.abs(strongest)) == [0, 0, 2]
    bragg = 2 * np.degrees(np.arcsin(1.54184 / 2 / (5.6402 / 2)))
    assert sticks.two_theta[sticks.intensity.argmax()] == pytest.approx(bragg, abs=1e-6)


def test_diamond_glide_forbids_222() -> None:
    sticks = sticks_of(pymatgen_to_structure(DIAMOND, name="Si"))
    squares = (sticks.hkl**2).sum(axis=1)
    assert 12 not in squares
    assert {3, 8, 11, 16} <= set(squares.tolist())


def test_sticks_do_not_depend_on_the_choice_of_cell_or_origin() -> None:
    conventional = sticks_of(pymatgen_to_structure(ROCK_SALT, name="conventional"))
    primitive = sticks_of(pymatgen_to_structure(ROCK_SALT.get_primitive_structure(), name="primitive"))
    moved = pymatgen_to_structure(ROCK_SALT, name="moved")
    shifted = sticks_of(
        Structure("moved", moved.cell, moved.atomic_numbers, moved.frac_coords + 0.137, moved.occupancies)
    )
    for other in (primitive, shifted):
        np.testing.assert_allclose(other.two_theta, conventional.two_theta, atol=1e-5)
        np.testing.assert_allclose(other.intensity, conventional.intensity, atol=1e-6)


def test_scattering_factor_at_rest_is_the_number_of_electrons() -> None:
    parameters = load_scattering_parameters()
    known = [number for number in range(1, 119) if not np.isnan(parameters[number]).any()]
    assert len(known) == 98  # pymatgen's 99th is deuterium
    assert scattering_factors(np.array(known), np.zeros(1))[:, 0].tolist() == known


def test_scattering_parameters_are_those_of_pymatgen() -> None:
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS

    parameters = load_scattering_parameters()
    for number, symbol in enumerate(SYMBOLS, start=1):
        if symbol in ATOMIC_SCATTERING_PARAMS:
            np.testing.assert_array_equal(parameters[number], ATOMIC_SCATTERING_PARAMS[symbol])
        else:
            assert np.isnan(parameters[number]).all()


@pytest.mark.parametrize(
    ("cell", "numbers", "reason"),
    [
        ([3, 3, 3, 10, 10, 160], [11], "no volume"),
        ([3, 3, 3, 90, 90, 90], [118], "Og"),
        ([0.5, 0.5, 0.5, 90, 90, 90], [11], "no reflection"),
        ([4000, 4000, 4000, 90, 90, 90], [11], "so large"),
    ],
)
def test_impossible_structures_are_refused_by_name(cell: list[float], numbers: list[int], reason: str) -> None:
    with pytest.raises(StructureError, match=reason):
        arrays_to_sticks(cell=np.array(cell), atomic_numbers=np.array(numbers), frac_coords=np.zeros((1, 3)))


def test_symmetry_of_known_structures() -> None:
    for structure, group, system in (
        (ROCK_SALT, 225, "cubic"),
        (DIAMOND, 227, "cubic"),
        (MIXED, 225, "cubic"),
        (HEXAGONAL, 186, "hexagonal"),
    ):
        found = find_symmetry(pymatgen_to_structure(structure, name="test"))
        assert (found.space_group, found.crystal_system) == (group, system)


def test_cif_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "ZnO.cif"
    HEXAGONAL.to(filename=str(path))
    structure = read_cif(path)
    assert structure.reduced_formula == "O1Zn1"
    assert find_symmetry(structure).space_group == 186
    with_mixed_site = tmp_path / "mixed.cif"
    MIXED.to(filename=str(with_mixed_site))
    assert read_cif(with_mixed_site).composition.symbols == ("O", "Ni", "Mg")


def test_unreadable_cif_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.cif"
    path.write_text("data_x\n_cell_length_a  ?\n")
    with pytest.raises(StructureError, match=r"broken\.cif"):
        read_cif(path)


def test_cif_with_code_in_it_runs_nothing(tmp_path: Path) -> None:
    """CVE-2024-23346: old pymatgen evaluated a transformation string of a magnetic CIF."""
    marker = tmp_path / "ran"
    payload = f"a,b,c;0,0,0; __import__('pathlib').Path('{marker}').touch()"
    path = tmp_path / "evil.cif"
    path.write_text(
        "data_x\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
        f'_cell_angle_gamma 90\n_space_group_magn.transform_BNS_Pp_abc "{payload}"\n'
        "_space_group_magn.number_BNS 62.448\n_space_group_magn.name_BNS \"P  n'  m  a'  \"\nloop_\n"
        "_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nNa1 0 0 0\n"
    )
    try:
        structure = read_cif(path)
    except StructureError as error:
        assert "evil.cif" in str(error)  # noqa: PT017 - refused or read, either is right
    else:
        assert structure.composition.symbols == ("Na",)
    assert not marker.exists()


def test_table_rows_carry_their_labels(repository: Path) -> None:
    table = repository / "xxact_core" / "data" / "materials_project.parquet"
    structures = list(read_table(table, start=100, stop=140))
    assert len(structures) == 40
    assert all("band_gap" in structure.targets for structure in structures)
    assert any(structure.energy_is_exact for structure in structures)
    for structure in structures:
        assert structure.energy_is_exact <= ("formation_energy_per_atom" in structure.targets)


def test_table_without_a_column_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "table.parquet"
    pd.DataFrame({"id": ["a"], "a": [3.0]}).to_parquet(path)
    with pytest.raises(DatasetError, match="species"):
        list(read_table(path))
