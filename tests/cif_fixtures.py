"""Texts of small CIFs, of which the tests change single lines."""

from __future__ import annotations

from collections.abc import Sequence


def make_cif(
    cell: Sequence[float],
    *sites: str,
    symbol: str = "",
    number: int | str = "",
    formula: str = "",
    units: int | str = "",
    columns: str = "label type_symbol fract_x fract_y fract_z occupancy",
    operations: Sequence[str] = (),
    more: str = "",
    name: str = "a",
) -> str:
    """Text of a CIF with the given parts; sites are lines of the loop."""
    lines = [f"data_{name}"]
    tags = [f"_cell_length_{axis}" for axis in "abc"] + [f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")]
    lines += [f"{tag} {value}" for tag, value in zip(tags, cell, strict=True)]
    lines += [f"_symmetry_space_group_name_H-M '{symbol}'"] if symbol else []
    lines += [f"_symmetry_Int_Tables_number {number}"] if number else []
    lines += [f"_chemical_formula_sum '{formula}'"] if formula else []
    lines += [f"_cell_formula_units_Z {units}"] if units else []
    if operations:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{operation}'" for operation in operations)]
    lines += [more] if more else []
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns.split()), *sites]
    return "\n".join(lines) + "\n"


def cubic(length: float) -> tuple[float, ...]:
    """A cubic cell."""
    return (length, length, length, 90, 90, 90)


def hexagonal(a: float, c: float) -> tuple[float, ...]:
    """A hexagonal cell."""
    return (a, a, c, 90, 90, 120)


SALT = ("Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1")
