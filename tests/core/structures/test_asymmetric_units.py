"""Structures as asymmetric units: what is stored is what was given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from xxact_core.compositions.element_table import ATOMIC_MASSES
from xxact_core.errors import StructureError
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.structures.asymmetric_units import coordinates_to_forms, units_to_columns
from xxact_core.structures.hall_groups import HALL_NUMBERS, UNKNOWN, hall_group
from xxact_core.structures.standardising import standardise, structure_to_unit, unit_to_space_group
from xxact_core.structures.structure import Structure

FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def crystal(
    cell: Sequence[float], numbers: Sequence[int], coords: Sequence[Sequence[float]], occupancies: Sequence[float] = ()
) -> Structure:
    return Structure(
        "made", np.array(cell), np.array(numbers), np.array(coords), np.array(occupancies or [1.0] * len(numbers))
    )


def moved(coords: Sequence[Sequence[float]], by: Sequence[float]) -> list[list[float]]:
    return [[(x + shift) % 1 for x, shift in zip(place, by, strict=True)] for place in coords]


HALITE = crystal([5.64, 5.64, 5.64, 90, 90, 90], [11] * 4 + [17] * 4, [*FCC, *moved(FCC, [0.5, 0.5, 0.5])])
RUTILE = crystal(
    [4.594, 4.594, 2.959, 90, 90, 90],
    [22, 22, 8, 8, 8, 8],
    [[0, 0, 0], [0.5] * 3, [0.3049, 0.3049, 0], [0.6951, 0.6951, 0], [0.1951, 0.8049, 0.5], [0.8049, 0.1951, 0.5]],
)
CORUNDUM_PRIMITIVE = crystal(
    [5.128, 5.128, 5.128, 55.29, 55.29, 55.29],
    [13] * 4 + [8] * 6,
    [
        *([x] * 3 for x in (0.3522, 0.6478, 0.8522, 0.1478)),
        [0.5561, 0.9439, 0.25],
        [0.25, 0.5561, 0.9439],
        [0.9439, 0.25, 0.5561],
        [0.4439, 0.0561, 0.75],
        [0.75, 0.4439, 0.0561],
        [0.0561, 0.75, 0.4439],
    ],
)
TRICLINIC = crystal(
    [4.1, 5.2, 6.3, 80.1, 95.2, 101.3],
    [3, 8, 9],
    [[0.1234, 0.4321, 0.777], [0.5, 0.0612, 0.3], [0.9001, 0.7003, 0.1002]],
)
SOLID_SOLUTION = crystal(
    [4.3, 4.3, 4.3, 90, 90, 90],
    [12] * 4 + [26] * 4 + [8] * 4,
    [*FCC, *FCC, *moved(FCC, [0.5, 0.5, 0.5])],
    [0.7] * 4 + [0.25] * 4 + [1.0] * 4,
)
STRUCTURES = {
    "halite": (HALITE, 225, 8),
    "rutile": (RUTILE, 136, 6),
    "corundum": (CORUNDUM_PRIMITIVE, 167, 30),
    "triclinic": (TRICLINIC, 1, 3),
    "solid solution": (SOLID_SOLUTION, 225, 12),
}


def powder_pattern(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    sticks = arrays_to_sticks(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=structure.occupancies,
    )
    strong = sticks.intensity > 1
    return sticks.two_theta[strong], sticks.intensity[strong]


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("primitive", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_pattern_formula_and_density_stay(name: str, primitive: bool, keep: bool) -> None:
    structure, space_group, atoms = STRUCTURES[name]
    units = units_to_columns([structure_to_unit(structure, keep=keep)])
    again = units.structure(0, primitive=primitive)
    assert int(units.space_group[0]) == space_group
    assert again.reduced_formula == structure.reduced_formula
    assert len(units.structure(0).atomic_numbers) == atoms
    two_theta, intensity = powder_pattern(structure)
    two_theta_again, intensity_again = powder_pattern(again)
    np.testing.assert_allclose(two_theta_again, two_theta, atol=2e-3)
    np.testing.assert_allclose(intensity_again, intensity, atol=0.1)


@pytest.mark.parametrize("name", STRUCTURES)
def test_masses_and_compositions_count_all_atoms(name: str) -> None:
    structure, _, _ = STRUCTURES[name]
    units = units_to_columns([structure_to_unit(HALITE, keep=False), structure_to_unit(structure, keep=False)])
    cell = units.structure(1)
    assert units.cell_mass[1] == pytest.approx(np.array(ATOMIC_MASSES)[cell.atomic_numbers - 1] @ cell.occupancies)
    ours = dict(zip(units.composition(1).symbols, units.composition(1).fractions, strict=True))
    theirs = dict(zip(cell.composition.symbols, cell.composition.fractions, strict=True))
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_unit_and_columns_are_inverse() -> None:
    units = [structure_to_unit(structure, keep=False) for structure, _, _ in STRUCTURES.values()]
    columns = units_to_columns(units)
    for row, unit in enumerate(units):
        again = columns.unit(row)
        assert (again.hall, again.cell, again.kinds) == (unit.hall, unit.cell, unit.kinds)
        assert [(site.kind, site.form, site.free) for site in again.sites] == [
            (site.kind, site.form, site.free) for site in unit.sites
        ]


def test_an_almost_symmetric_structure_is_idealised_only_where_that_is_wanted() -> None:
    coords = np.array(HALITE.frac_coords)
    coords[5] += [0.006, 0, 0]  # 0.034 Å, less than spglib's tolerance
    bent = crystal([5.64, 5.64, 5.66, 90, 90, 90], HALITE.atomic_numbers.tolist(), coords.tolist())
    ideal, kept = (units_to_columns([structure_to_unit(bent, keep=keep)]) for keep in (False, True))
    assert standardise(bent).space_group == 225
    assert int(ideal.space_group[0]) == 225
    assert ideal.cell[0, 0] == ideal.cell[0, 2]
    two_theta, intensity = powder_pattern(bent)
    two_theta_kept, intensity_kept = powder_pattern(kept.structure(0, primitive=True))
    np.testing.assert_allclose(two_theta_kept, two_theta, atol=2e-3)
    np.testing.assert_allclose(intensity_kept, intensity, atol=0.1)
    assert unit_to_space_group(kept.unit(0)) == 225  # the label stays, too


def test_cells_stay_exact_to_a_hundred_thousandth() -> None:
    cell = [13.68123, 3.24567, 9.87654, 90, 103.456, 90]
    structure = crystal(cell, [14, 8], [[0.1, 0, 0.2], [0.9, 0, 0.8]])
    units = units_to_columns([structure_to_unit(structure, keep=True)])
    assert np.prod(units.cell[0, :3]) == pytest.approx(np.prod(cell[:3]), rel=2e-5)


def test_what_spglib_cannot_treat_is_stored_as_it_is() -> None:
    overlapping = crystal([4, 4, 4, 90, 90, 90], [3, 3, 8], [[0, 0, 0], [0.001, 0, 0], [0.5, 0.5, 0.5]])
    unit = structure_to_unit(overlapping, keep=False)
    units = units_to_columns([unit])
    assert unit.hall == UNKNOWN
    assert int(units.space_group[0]) == 0
    assert len(units.structure(0).atomic_numbers) == 3


@pytest.mark.parametrize(
    ("place", "free"),
    [
        ([0, 1 / 3, 0.125], 0),
        ([0.1234, 0.2468, 0.25], 1),
        ([0.1234, 0.6234, 0.8766], 1),
        ([0.25, 0.1234, 0.8766], 1),
        ([0.1234, 0.2345, 0.2345], 2),
        ([0.1234, 0.2345, 0.3456], 3),
    ],
)
def test_forms_need_no_more_numbers_than_the_position(place: list[float], free: int) -> None:
    _, which = coordinates_to_forms(np.array([place]))
    assert int(which.sum()) == free


def test_every_group_of_the_standard_settings_is_complete() -> None:
    seen: dict[int, int] = {}
    for hall in range(1, HALL_NUMBERS + 1):
        try:
            group = hall_group(hall)
        except StructureError:
            continue
        seen.setdefault(group.space_group, hall)
        centrings = len(group.rotations) // len(group.distinct)
        assert np.linalg.det(group.primitive) * centrings == pytest.approx(1)
    assert sorted(seen) == list(range(1, 231))
    with pytest.raises(StructureError, match="not a Hall number"):
        hall_group(531)
