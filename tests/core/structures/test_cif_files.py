"""CIFs as databases and programs write them: read right, with a note, or refused with both values."""

from __future__ import annotations

import itertools
import re
import time
from contextlib import suppress

import numpy as np
import pytest
from cif_fixtures import SALT, cubic, hexagonal, make_cif
from gemmi import find_spacegroup_by_name
from hypothesis import given
from hypothesis import strategies as st

from xxact_core.errors import StructureError
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.cif_files import cif_to_structure, structure_names
from xxact_core.structures.cif_symmetry import all_settings, parse_operation, symbol_to_settings
from xxact_core.structures.cif_text import cif_to_blocks
from xxact_core.structures.structure import Structure


def read(text: str, index: int | None = None) -> Structure:
    return cif_to_structure(text, name="a", file="a.cif", index=index)


SALT_CELL, P1 = cubic(5.64), ("x,y,z",)
FULL_SALT = tuple(
    f"{symbol}{number} {symbol} {' '.join(map(str, place))} 1"
    for symbol, places in {
        "Na": [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
        "Cl": [(0.5, 0.5, 0.5), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)],
    }.items()
    for number, place in enumerate(places, start=1)
)
CORUNDUM_R, CORUNDUM_H = (5.128, 5.128, 5.128, 55.28, 55.28, 55.28), hexagonal(4.7597, 12.993)
CORUNDUM_SITES_R = ("Al1 Al 0.35216 0.35216 0.35216 1", "O1 O 0.55624 0.94376 0.25 1")
CORUNDUM_SITES_H = ("Al1 Al 0 0 0.35216 1", "O1 O 0.30624 0 0.25 1")
ZINCITE = hexagonal(3.25, 5.207)


def salt(*sites: str, **parts: object) -> str:
    return make_cif(SALT_CELL, *(sites or SALT), **{"symbol": "F m -3 m", **parts})  # type: ignore[arg-type]  # parts


def spinel(symbol: str, *, shift: float, facts: bool = True) -> str:
    sites = [("Mg", 0.125), ("Al", 0.5), ("O", 0.2624)]
    rows = [f"{name}1 {name} {x + shift:.4f} {x + shift:.4f} {x + shift:.4f} 1" for name, x in sites]
    return make_cif(cubic(8.083), *rows, symbol=symbol, formula="Al2 Mg O4" if facts else "", units=8 if facts else "")


NUMBERS = {
    "old symbol": (salt(symbol="F m 3 m", formula="Cl Na", units=4), "Cl1Na1", 8, 225),
    "symbol without blanks": (salt(symbol="Fm-3m"), "Cl1Na1", 8, 225),
    "mass of a formula unit": (salt(units=4, more="_chemical_formula_weight 58.44"), "Cl1Na1", 8, 225),
    "symbol in capitals": (salt(symbol="F M -3 M"), "Cl1Na1", 8, 225),
    "full symbol": (salt(symbol="F 4/m -3 2/m"), "Cl1Na1", 8, 225),
    "Hall symbol alone": (salt(symbol="", more="_space_group_name_Hall '-F 4 2 3'"), "Cl1Na1", 8, 225),
    "number alone": (salt(symbol="", number=225), "Cl1Na1", 8, 225),
    "names with dots": (
        re.sub(r"_(cell|atom_site)_", r"_\1.", salt()).replace(
            "_symmetry_space_group_name_H-M", "_space_group.name_H-M_alt"
        ),
        "Cl1Na1",
        8,
        225,
    ),
    "occupancy . is 1": (salt("Na1 Na 0 0 0 .", "Cl1 Cl 0.5 0.5 0.5 ."), "Cl1Na1", 8, 225),
    "type symbols with charges": (salt("Na1 Na1+ 0 0 0 1", "Cl1 Cl1- 0.5 0.5 0.5 1"), "Cl1Na1", 8, 225),
    "type symbols with the sign first": (salt("Na1 Na+1 0 0 0 1", "Cl1 Cl-1 0.5 0.5 0.5 1"), "Cl1Na1", 8, 225),
    "type symbols in capitals": (salt("NA1 NA 0 0 0 1", "CL1 CL 0.5 0.5 0.5 1"), "Cl1Na1", 8, 225),
    "labels in capitals with a formula": (
        salt("NA1 0 0 0", "CL1 0.5 0.5 0.5", columns="label fract_x fract_y fract_z", formula="Cl Na"),
        "Cl1Na1",
        8,
        225,
    ),
    "labels of sites": (
        salt("NaM1 0 0 0", "ClX 0.5 0.5 0.5", columns="label fract_x fract_y fract_z"),
        "Cl1Na1",
        8,
        225,
    ),
    "coordinates with uncertainties and fractions": (
        salt("Na1 Na 0 0 0 1", "Cl1 Cl 1/2 0.5(1) .5000(3) 1.0"),
        "Cl1Na1",
        8,
        225,
    ),
    "coordinates below 0 and above 1": (salt("Na1 Na -1 1 0 1", "Cl1 Cl -0.5 1.5 0.5 1"), "Cl1Na1", 8, 225),
    "all atoms and the operations of the group": (
        make_cif(SALT_CELL, *FULL_SALT, symbol="F m -3 m", number=225, formula="Cl Na", units=4),
        "Cl1Na1",
        8,
        225,
    ),
    "all atoms, P 1 and the symbol of the group": (
        make_cif(SALT_CELL, *FULL_SALT, symbol="F m -3 m", formula="Cl Na", units=4, operations=P1),
        "Cl1Na1",
        8,
        225,
    ),
    "formula of the whole cell": (
        make_cif(SALT_CELL, *FULL_SALT, symbol="P 1", formula="Na4 Cl4", units=4),
        "Cl1Na1",
        8,
        225,
    ),
    "rhombohedral axes": (
        make_cif(CORUNDUM_R, *CORUNDUM_SITES_R, symbol="R -3 c :R", number=167, formula="Al2 O3", units=2),
        "Al2O3",
        10,
        167,
    ),
    "rhombohedral axes by the cell": (
        make_cif(CORUNDUM_R, *CORUNDUM_SITES_R, symbol="R -3 c", number=167),
        "Al2O3",
        10,
        167,
    ),
    "hexagonal axes by the cell": (make_cif(CORUNDUM_H, *CORUNDUM_SITES_H, symbol="R -3 c"), "Al2O3", 30, 167),
    "hexagonal axes of ICSD": (make_cif(CORUNDUM_H, *CORUNDUM_SITES_H, symbol="R -3 c H"), "Al2O3", 30, 167),
    "hexagonal axes by the number": (make_cif(CORUNDUM_H, *CORUNDUM_SITES_H, number=167), "Al2O3", 30, 167),
    "origin choice 2": (spinel("F d -3 m :2", shift=0), "Al2Mg1O4", 56, 227),
    "origin choice 1": (spinel("F d -3 m :1", shift=0.125), "Al2Mg1O4", 56, 227),
    "origin choice 1 of ICSD": (spinel("F d -3 m S", shift=0.125), "Al2Mg1O4", 56, 227),
    "origin choice 2 by the contents": (spinel("F d -3 m", shift=0), "Al2Mg1O4", 56, 227),
    "origin choice 1 by the contents": (spinel("F d 3 m", shift=0.125), "Al2Mg1O4", 56, 227),
    "three digits of a third": (
        make_cif(
            ZINCITE, "Zn1 Zn 0.333 0.667 0 1", "O1 O 0.333 0.667 0.3819 1", symbol="P 63 m c", formula="O Zn", units=2
        ),
        "O1Zn1",
        4,
        186,
    ),
    "two digits of a third": (
        make_cif(ZINCITE, "Zn1 Zn 0.33 0.67 0 1", "O1 O 0.33 0.67 0.38 1", symbol="P 63 m c"),
        "O1Zn1",
        4,
        186,
    ),
    "thirds that are cut": (
        make_cif(ZINCITE, "Zn1 Zn 0.3333 0.6666 0 1", "O1 O 0.3333 0.6666 0.3819 1", symbol="P 63 m c"),
        "O1Zn1",
        4,
        186,
    ),
    "a doubled coordinate that is rounded": (
        make_cif(
            hexagonal(5.0, 7.0),
            "Si1 Si 0.156 0.313 0.1 1",
            "O1 O 0 0 0.5 1",
            symbol="P 3 m 1",
            formula="O Si3",
            units=1,
        ),
        "O1Si3",
        4,
        156,
    ),
    "old letter of a hexagonal lattice": (
        make_cif(hexagonal(2.46, 6.71), "C1 C 0 0 0.25 1", "C2 C 0.3333 0.6667 0.25 1", symbol="C 63/m m c"),
        "C1",
        4,
        194,
    ),
    "symbol with e as a glide": (
        make_cif((5.4, 5.5, 13.1, 90, 90, 90), "Cu1 Cu 0 0 0 1", symbol="C m c e"),
        "Cu1",
        4,
        None,
    ),
    "old symbol of such a group": (
        make_cif((5.4, 5.5, 13.1, 90, 90, 90), "Cu1 Cu 0 0 0 1", symbol="B m a b"),
        "Cu1",
        4,
        None,
    ),
    "monoclinic, full symbol": (
        make_cif(
            (5.15, 5.2, 5.32, 90, 99.2, 90),
            "Zr1 Zr 0.2754 0.0395 0.2083 1",
            "O1 O 0.07 0.3317 0.3447 1",
            "O2 O 0.4496 0.7569 0.4792 1",
            symbol="P 1 21/c 1",
            formula="O2 Zr",
            units=4,
        ),
        "O2Zr1",
        12,
        14,
    ),
    "monoclinic, screw axis of SHELX": (
        make_cif(
            (5.15, 5.2, 5.32, 90, 99.2, 90),
            "Zr1 Zr 0.2754 0.0395 0.2083 1",
            "O1 O 0.07 0.3317 0.3447 1",
            "O2 O 0.4496 0.7569 0.4792 1",
            symbol="P2(1)/c",
        ),
        "O2Zr1",
        12,
        14,
    ),
    "angles are 90 where none is stated": (re.sub(r"_cell_angle.*\n", "", salt()), "Cl1Na1", 8, 225),
    "one length of a cubic cell": (re.sub(r"_cell_(angle|length_[bc]).*\n", "", salt()), "Cl1Na1", 8, 225),
    "deuterium is hydrogen": (
        make_cif(
            hexagonal(3.142, 4.766),
            "Mg1 Mg 0 0 0 1",
            "O1 O 0.3333 0.6667 0.2203 1",
            "D1 D 0.3333 0.6667 0.4303 1",
            symbol="P -3 m 1",
            formula="D2 Mg O2",
            units=1,
        ),
        "H2Mg1O2",
        5,
        164,
    ),
    "hydrogen and deuterium on one site": (
        make_cif(
            hexagonal(3.142, 4.766),
            "Mg1 Mg 0 0 0 1",
            "O1 O 0.3333 0.6667 0.2203 1",
            "D1 D 0.3333 0.6667 0.4303 0.6",
            "H1 H 0.3333 0.6667 0.4303 0.4",
            symbol="P -3 m 1",
        ),
        "H2Mg1O2",
        5,
        164,
    ),
    "two ions of one element on a site": (
        salt("Fe1 Fe2+ 0 0 0 0.6", "Fe2 Fe3+ 0 0 0 0.4", "O1 O2- 0.5 0.5 0.5 1"),
        "Fe1O1",
        8,
        225,
    ),
    "shares in the type symbol": (
        make_cif(cubic(3.3), "'Nb,Zr' '0.8Nb + 0.2Zr' 0 0 0 1", symbol="I m -3 m"),
        "Nb4Zr1",
        4,
        229,
    ),
    "cut uncertainty of an occupancy": (salt("Na1 Na 0 0 0 1.000(2)", "Cl1 Cl 0.5 0.5 0.5 1.00(1)"), "Cl1Na1", 8, 225),
    "labels in the block of the atoms, cell in another": (
        re.sub(
            r"(data_a\n(?:_cell.*\n)+)", lambda found: found[1].replace("data_a", "data_global") + "data_a\n", salt()
        ),
        "Cl1Na1",
        8,
        225,
    ),
    "quotation marks and comments": (
        salt().replace("_cell_length_a 5.64", "_publ_author 'O'Neil, A.' # it's\n_cell_length_a 5.64(1)"),
        "Cl1Na1",
        8,
        225,
    ),
    "texts of CIF 2.0": (
        salt().replace("data_a\n", "#\\#CIF_2.0\ndata_a\n_note '''it's\nloop_ _x'''\n"),
        "Cl1Na1",
        8,
        225,
    ),
    "a text with tags in it": (
        salt().replace("data_a\n", "data_a\n_x\n;\nloop_\n_cell_length_a 9\n;\n"),
        "Cl1Na1",
        8,
        225,
    ),
    "line ends of an old Macintosh": (salt().replace("\n", "\r"), "Cl1Na1", 8, 225),
    "magnetic operations": (
        make_cif(
            cubic(4.18),
            "Ni1 Ni 0 0 0 1",
            "O1 O 0.5 0.5 0.5 1",
            more=(
                "loop_\n_space_group_symop_magn_operation.id\n_space_group_symop_magn_operation.xyz\n1 x,y,z,+1\n"
                "loop_\n_space_group_symop_magn_centering.xyz\nx,y,z,+1\nx,y+1/2,z+1/2,-1\nx+1/2,y,z+1/2,-1\nx+1/2,y+1/2,z,-1"
            ),
        ),
        "Ni1O1",
        8,
        225,
    ),
}


@pytest.mark.parametrize("case", NUMBERS.values(), ids=list(NUMBERS))
def test_a_cif_is_read_as_the_crystal_that_it_means(case: tuple[str, str, int, int | None]) -> None:
    text, formula, atoms, group = case
    structure = read(text)
    assert structure.reduced_formula == formula
    assert len(structure.atomic_numbers) == atoms
    assert group is None or find_symmetry(structure).space_group == group


BRUCITE = ("Mg 0 0 0", "OH 0.33333 0.66667 0.2203")
NOTED = {
    "hydroxyl": (
        make_cif(
            hexagonal(3.142, 4.766),
            *BRUCITE,
            symbol="P -3 m 1",
            formula="Mg H2 O2",
            units=1,
            columns="label fract_x fract_y fract_z",
        ),
        "Mg1O2",
        "2 of 2 hydrogen atoms of the formula Mg H2 O2 have no coordinates",
    ),
    "hydroxyl without a formula": (
        make_cif(hexagonal(3.142, 4.766), *BRUCITE, symbol="P -3 m 1", columns="label fract_x fract_y fract_z"),
        "Mg1O2",
        "OH was read as O; its hydrogen has no coordinates",
    ),
    "water": (
        salt("Wat1 0 0 0", "Cl1 0.5 0.5 0.5", columns="label fract_x fract_y fract_z"),
        "Cl1O1",
        "Wat1 was read as O",
    ),
    "water in capitals": (
        salt("OW1 0 0 0", "Cl1 0.5 0.5 0.5", columns="label fract_x fract_y fract_z"),
        "Cl1O1",
        "OW1 was read as O; its hydrogen has no coordinates",
    ),
    "a site of which the displacement parameters are left": (
        salt() + "loop_\n_atom_site_aniso_label\n_atom_site_aniso_U_11\nNa1 0.01\nK9 0.01\n",
        "Cl1Na1",
        "displacement parameters of sites without coordinates: K9$",
    ),
    "water as a type symbol": (salt("W1 OH2 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"), "Cl1O1", "OH2 was read as O"),
    "W is water where no tungsten is": (
        salt("W 0 0 0", "Cl1 0.5 0.5 0.5", columns="label fract_x fract_y fract_z", formula="Cl H2 O"),
        "Cl1O1",
        "W was read as O",
    ),
    "ammonium": (salt("N1 NH4 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1", formula="Cl H4 N"), "Cl1N1", "NH4 was read as N"),
    "vacancy": (salt("Na1 Na 0 0 0 0.8", "Va1 Va 0 0 0 0.2", SALT[1]), "Cl5Na4", "left out as vacancies: Va1"),
    "vacancy by its label": (
        salt("Na1 0 0 0 0.8", "Vac1 0 0 0 0.2", "Cl1 .5 .5 .5 1", columns="label fract_x fract_y fract_z occupancy"),
        "Cl5Na4",
        "vacancies: Vac1",
    ),
    "vacancy as a square": (salt("Na1 Na 0 0 0 0.8", "X □ 0 0 0 0.2", SALT[1]), "Cl5Na4", "vacancies: X"),
    "hydrogen without coordinates": (
        salt(*SALT, "H1 H ? ? ? 1"),
        "Cl1Na1",
        "hydrogen without coordinates was left out: H1",
    ),
    "hydrogen with points as coordinates": (salt(*SALT, "H1 H . . . 1"), "Cl1Na1", "left out: H1"),
    "dummy atoms": (
        salt(
            "Na1 Na 0 0 0 1 d",
            "Cl1 Cl .5 .5 .5 1 d",
            "X1 O .1 .1 .1 1 dum",
            columns="label type_symbol fract_x fract_y fract_z occupancy calc_flag",
        ),
        "Cl1Na1",
        "left out as dummy atoms: X1",
    ),
    "unknown occupancy": (salt("Na1 Na 0 0 0 ?", SALT[1]), "Cl1Na1", "occupancy of [?] was taken as 1: Na1"),
    "three thirds": (
        salt("Na1 Na 0 0 0 0.333", "K1 K 0 0 0 0.334", "Li1 Li 0 0 0 0.334", SALT[1]),
        None,
        "sum to 1.001 and were scaled to 1",
    ),
    "no symmetry at all": (make_cif(SALT_CELL, *FULL_SALT), "Cl1Na1", "no symmetry is stated; P 1 was assumed"),
    "P 1 under another symbol": (
        make_cif(SALT_CELL, *FULL_SALT, symbol="F m -3 m", operations=P1),
        "Cl1Na1",
        "are those of space group 1, but F m -3 m",
    ),
    "origin by the contents": (spinel("F d -3 m", shift=0), "Al2Mg1O4", "origin choice 2 was taken"),
    "sites that are listed twice": (
        make_cif(SALT_CELL, *FULL_SALT, symbol="F m -3 m"),
        "Cl1Na1",
        "6 sites that symmetry makes of others were left out",
    ),
    "a site near a special position": (
        salt("Na1 Na 0.0100 0 0 1", SALT[1]),
        "Cl1Na1",
        r"Na1 was moved by 0.06 Å onto a special position",
    ),
    "a formula that cannot be read": (
        salt(formula="(Na K) chloride"),
        "Cl1Na1",
        "could not be read and was not compared",
    ),
    "an element in traces": (
        salt("Na1 Na 0 0 0 1", SALT[1], formula="Cl Na0.99 K0.01"),
        "Cl1Na1",
        "differ slightly from the formula",
    ),
    "moments": (
        make_cif(cubic(4.18), "Ni1 Ni 0 0 0 1", more="loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1"),
        "Ni1",
        "magnetic moments",
    ),
    "a missing angle": (re.sub(r"_cell_angle_gamma.*\n", "", salt()), "Cl1Na1", "_cell_angle_gamma = 90"),
}


@pytest.mark.parametrize("case", NOTED.values(), ids=list(NOTED))
def test_what_was_assumed_moved_or_left_out_is_noted(case: tuple[str, str | None, str]) -> None:
    text, formula, note = case
    structure = read(text)
    assert formula is None or structure.reduced_formula == formula
    assert re.search(note, "; ".join(structure.notes)), structure.notes


def test_a_plain_cif_has_no_notes() -> None:
    assert read(salt(formula="Cl Na", units=4, number=225)).notes == ()


REFUSED = {
    "one of four formula units": (
        make_cif(SALT_CELL, *SALT, symbol="F m -3 m", number=225, formula="Cl Na", units=4, operations=P1),
        "225.*1 formula units.*Z = 4",
    ),
    "P 1 under the symbol of a group": (
        make_cif(SALT_CELL, *SALT, symbol="F m -3 m", operations=P1),
        "space group 1, but F m -3 m",
    ),
    "an operation is missing": (
        make_cif(cubic(5.0), "C1 C 0.1 0.2 0.3 1", operations=("x,y,z", "-x,-y,z", "-x,y,-z")),
        "3 stated operations are no group",
    ),
    "Z that does not divide the atoms": (
        make_cif(SALT_CELL, *SALT, units=4),
        "the sites give Cl Na in the cell, which are not 4 equal formula units",
    ),
    "the angle of a monoclinic cell is missing": (
        make_cif((5, 6, 7, 90, "?", 90), *SALT, symbol="P 21/c"),  # type: ignore[arg-type]  # a missing value
        "_cell_angle_beta is missing",
    ),
    "an angle of a triclinic cell is missing": (
        make_cif((5, 6, 7, 90, 95, "?"), *SALT, symbol="P -1"),  # type: ignore[arg-type]  # a missing value
        "_cell_angle_gamma is missing",
    ),
    "rare earths as a label": (
        salt("RE1 0 0 0", "Cl1 0.5 0.5 0.5", columns="label fract_x fract_y fract_z"),
        "'RE1' may be Re or stand for several elements",
    ),
    "transition metals as a label": (
        salt("TM 0 0 0", "Cl1 0.5 0.5 0.5", columns="label fract_x fract_y fract_z"),
        "'TM' may be Tm or stand for several elements",
    ),
    "a magnetic space group without operations": (
        make_cif(SALT_CELL, *SALT, more="_space_group_magn.name_BNS 'P n m a'"),
        "a magnetic space group without operations",
    ),
    "symbol and number": (salt(number=221), r"F m -3 m \(space group 225\) and number 221"),
    "symbol and Hall symbol": (salt(more="_space_group_name_Hall '-P 4 2 3'"), "contradict each other"),
    "cell and symbol": (
        make_cif((5.64, 5.64, 5.9, 90, 90, 90), *SALT, symbol="F m -3 m"),
        "cell 5.64.* contradicts the symmetry",
    ),
    "cell and operations": (
        make_cif((5, 6, 7, 90, 90, 90), "C1 C .1 .2 .3 1", operations=("x,y,z", "y,x,-z")),
        "contradicts the symmetry",
    ),
    "volume": (salt(more="_cell_volume 45.1"), r"volume of 179.41 Å³; 45.1 Å³ is stated"),
    "density": (salt(more="_exptl_crystal_density_diffrn 4.33"), r"density of 2.16 g/cm³; 4.33 g/cm³ is stated"),
    "mass of a formula unit": (
        salt(units=4, more="_chemical_formula_weight 40.3"),
        r"mass of 233.8 g/mol; 4 formula units of 40.3 g/mol are stated",
    ),
    "density with hydrogen counted": (
        make_cif(
            hexagonal(3.142, 4.766),
            *BRUCITE,
            symbol="P -3 m 1",
            formula="Mg H2 O2",
            columns="label fract_x fract_y fract_z",
            more="_exptl_crystal_density_diffrn 1.2",
        ),
        "density of 2.38",
    ),
    "formula": (salt(formula="Cl2 Na", units=4), "Cl4 Na4 in the cell; the formula Cl2 Na with Z = 4"),
    "an element without a site": (salt(formula="Cl K Na", units=4), "the formula Cl K Na"),
    "an element beside the formula": (salt(formula="Na", units=4), "the formula Na"),
    "Z": (salt(formula="Cl Na", units=2), "4 formula units Cl Na in the cell .*Z = 2 is stated"),
    "multiplicity": (
        salt(
            "Na1 Na 0 0 0 1 4 a",
            "Cl1 Cl .5 .5 .5 1 8 b",
            columns="label type_symbol fract_x fract_y fract_z occupancy symmetry_multiplicity Wyckoff_symbol",
        ),
        "site Cl1 has 4 equivalent positions; 8 are stated",
    ),
    "unknown symbol": (salt(symbol="F m -3 q"), "'F m -3 q' is not known; state the symmetry operations"),
    "number beyond 230": (salt(symbol="", number=231), "'231'; expected 1 to 230"),
    "origin left open": (spinel("F d -3 m", shift=0, facts=False), "origin choice 1: .* or origin choice 2: .*; state"),
    "occupancies above 1": (salt("Na1 Na 0 0 0 0.8", "K1 K 0 0 0 0.4", SALT[1]), "Na1, K1 at one position sum to 1.2"),
    "occupancy in percent": (salt("Na1 Na 0 0 0 100", SALT[1]), "Na1 has the occupancy 100; expected 0 to 1"),
    "occupancy that is a word": (salt("Na1 Na 0 0 0 full", SALT[1]), "occupancy 'full'; expected a number"),
    "label that is no element": (
        salt("M1 0 0 0", "Cl1 .5 .5 .5", columns="label fract_x fract_y fract_z"),
        "'M1' names no chemical element",
    ),
    "type symbol that is no element": (salt("Na1 Qq 0 0 0 1", SALT[1]), "type symbol 'Qq' names no"),
    "label of two readings": (
        salt("CA1 0 0 0", "Cl1 .5 .5 .5", columns="label fract_x fract_y fract_z"),
        "'CA1' may be Ca or C",
    ),
    "elements without shares": (salt("M1 Fe/Mg 0 0 0 1", SALT[1]), "names several elements without their occupancies"),
    "an atom without coordinates": (salt(SALT[0], "Cl1 Cl ? ? ? 1"), "site Cl1 has no coordinates"),
    "one coordinate unknown": (salt(SALT[0], "Cl1 Cl 0.5 0.5 ? 1"), r"coordinate '\?'"),
    "coordinates times 10000": (salt(SALT[0], "Cl1 Cl 5000 5000 5000 1"), "fractional coordinate 5000"),
    "a coordinate that is a word": (salt(SALT[0], "Cl1 Cl a b c 1"), "coordinate 'a'"),
    "atoms on one another": (salt(SALT[0], "Cl1 Cl 0.04 0.04 0 0.9"), "Å apart, though their occupancies sum"),
    "a value is missing in a row": (salt(SALT[0], "Cl1 Cl 0.5 0.5 0.5"), "11 values for 6 columns"),
    "a text is not closed": (salt() + "_x\n;\nabc\n", "not closed"),
    "no cell": (re.sub(r"_cell_.*\n", "", salt()), "_cell_length_a is missing"),
    "a cell without volume": (make_cif((5, 5, 5, 120, 120, 120), *SALT, symbol="P 1"), "no volume"),
    "a cell length that is a word": (
        salt().replace("_cell_length_a 5.64", "_cell_length_a large"),
        "'large'; expected a number",
    ),
    "Cartesian positions": (
        salt(columns="label type_symbol Cartn_x Cartn_y Cartn_z occupancy"),
        "Cartesian coordinates are not read",
    ),
    "no atoms": ("data_a\n_cell_length_a 5\n", "a cell, but no atom sites"),
    "no structure": ("data_a\n_x 5\n", "no structures"),
    "only vacancies": (salt("X Va 0 0 0 1", "Y Va .5 .5 .5 1"), "no atom site is occupied"),
    "modulated": (salt(more="_cell_modulation_dimension 1"), "modulated structure"),
    "an operation of four dimensions": (salt(operations=("x1,x2,x3,x4",)), "is not a symmetry operation"),
    "an operation that shears": (
        make_cif(SALT_CELL, *SALT, operations=("x,y,z", "2x,y,z")),
        "'2x,y,z' is not a symmetry operation",
    ),
    "two lists of sites": (salt() + "loop_\n_atom_site_label\n_atom_site_fract_x\nO1 0.1\n", "2 lists of atom sites"),
    "two structures in one text": (salt() + salt().replace("data_a", "data_b"), r"2 structures \(a, b\); expected one"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=list(REFUSED))
def test_a_contradiction_is_refused_and_names_both_values(case: tuple[str, str]) -> None:
    text, reason = case
    with pytest.raises(StructureError, match=f"a.cif: not a readable CIF structure .*{reason}") as refusal:
        read(text)
    assert len(str(refusal.value)) < 500


def test_each_structure_of_a_file_is_read_and_named() -> None:
    text = (
        salt()
        + "data_pattern\n_pd_meas_counts_total 5\n"
        + make_cif(cubic(4.21), "Mg1 Mg 0 0 0 1", symbol="F m -3 m", name="b")
    )
    assert structure_names(text) == ["a", "b"]
    assert [read(text, index).reduced_formula for index in (0, 1)] == ["Cl1Na1", "Mg1"]
    assert structure_names(salt()) == [""]
    assert structure_names(salt() + salt()) == ["0", "1"]
    with pytest.raises(StructureError, match="there is no number 2"):
        read(text, 2)


def test_hydrogen_that_has_no_coordinates_is_part_of_the_stated_composition() -> None:
    structure = read(NOTED["hydroxyl"][0])
    assert structure.unlocated_hydrogen == pytest.approx(2)
    assert dict(zip(structure.stated_composition.symbols, structure.stated_composition.amounts, strict=True)) == {
        "H": 2,
        "O": 2,
        "Mg": 1,
    }


# --------------------------------------------------------------------------------------------------------- symmetry
@pytest.mark.parametrize("setting", all_settings()[::7], ids=lambda setting: setting.hall)
def test_symbols_of_the_settings_are_those_of_gemmi(setting: object) -> None:
    for symbol in (setting.short, setting.full):  # type: ignore[attr-defined]  # of a private class
        known = find_spacegroup_by_name(symbol.replace("_", ""))
        numbers = {found.number for found in symbol_to_settings(symbol)}
        assert setting.number in numbers  # type: ignore[attr-defined]  # of a private class
        assert known is None or known.number in numbers


def test_an_operation_is_read_in_every_spelling() -> None:
    rotation, translation = parse_operation("-x, y+1/2, -z+1/2")
    for text in (
        "-X,Y+1/2,-Z+1/2",
        "-x,1/2+y,1/2 - z",
        "2 -x,.5+y,0.5-z",
        "'-x,y+0.5,-z+.5'",
        "-x,y+2/4,-z-1/2",
    ):
        again = parse_operation(text)
        np.testing.assert_array_equal(again[0], rotation)
        np.testing.assert_allclose(again[1], translation)
    np.testing.assert_allclose(parse_operation("x+.333,y+0.6667,z")[1], [1 / 3, 2 / 3, 0])


@given(
    st.integers(2, 6), st.sampled_from([(1 / 3, 2 / 3, 0.0), (0.0, 0.0, 0.25), (0.5, 0.5, 0.5), (1 / 6, 1 / 3, 0.25)])
)
def test_rounded_special_positions_keep_their_multiplicity(digits: int, place: tuple[float, float, float]) -> None:
    exact, rounded = (
        make_cif(hexagonal(5.1, 8.3), f"C1 C {' '.join(f'{x:.{shown}f}' for x in place)} 1", symbol="P 63/m m c")
        for shown in (9, digits)
    )
    assert len(read(rounded).atomic_numbers) == len(read(exact).atomic_numbers)


@given(st.permutations(["_a 1", "_b 'x y'", '_c "it\'s"', "_d ?", "loop_ _e _f 1 2 3 4", "_g\n;\nz\n;"]))
def test_items_are_read_in_any_order(parts: list[str]) -> None:
    (_, block) = cif_to_blocks("data_x\n" + "\n".join(parts))
    assert block.items == {"_a": "1", "_b": "x y", "_c": "it's", "_d": "?", "_g": "z"}
    assert block.loops == [{"_e": ["1", "3"], "_f": ["2", "4"]}]


@pytest.mark.parametrize(
    "text", ["'a " * 300_000, "; \n" * 300_000, "_a " * 300_000, "\"'" * 500_000, "loop_ " * 200_000]
)
def test_the_time_to_split_a_text_into_words_is_linear(text: str) -> None:
    began = time.process_time()
    with suppress(StructureError):
        cif_to_blocks("data_a\n" + text)
    assert time.process_time() - began < 3


def test_the_tables_of_cases_have_no_text_twice() -> None:
    texts = [case[0] for case in itertools.chain(NUMBERS.values(), NOTED.values(), REFUSED.values())]
    assert len(texts) >= 100
    assert sum(texts.count(text) > 1 for text in texts) <= 4  # a case may be read and noted


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("P2(1)2(1)2(1)", 19),
        ("P 21 21 21", 19),
        ("P 21 21 2", 18),
        ("F m -3 m (225)", 225),
        ("Fm-3m, No. 225", 225),
        ("P -1 (2)", 2),
        ("R \\bar{3} m :H", 166),
        ("P 2₁/c", 14),
        ("C -3 m 1", 164),
    ],
)
def test_a_symbol_is_known_in_each_spelling(symbol: str, number: int) -> None:
    assert {setting.number for setting in symbol_to_settings(symbol)} == {number}


def test_a_hall_symbol_may_end_with_a_quotation_mark() -> None:
    brucite = NOTED["hydroxyl"][0].replace("'P -3 m 1'", "'P -3 m 1'\n_space_group_name_Hall '-P 3 2\"'")
    assert read(brucite).reduced_formula == "Mg1O2"


def test_a_listed_primitive_cell_with_the_symbol_of_its_group_is_read() -> None:
    cell = (3.84, 3.84, 3.84, 60, 60, 60)
    structure = read(make_cif(cell, "Si1 Si 0 0 0 1", "Si2 Si 0.25 0.25 0.25 1", symbol="F d -3 m", number=227))
    assert (structure.reduced_formula, len(structure.atomic_numbers)) == ("Si1", 2)
    assert structure.notes == ("all atoms are listed; they have the symmetry of F d -3 m (227)",)
    with pytest.raises(StructureError, match="contradicts the symmetry of F d -3 m"):
        read(make_cif(cell, "Si1 Si 0 0 0 1", "Si2 Si 0.2 0.25 0.25 1", symbol="F d -3 m"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (salt().replace("5.64", "564"), r"density would be 2.16e-06 g/cm³; expected 0.05 to 30"),
        (salt("Na1 Na 0 0 0 0.020833", "Cl1 Cl .5 .5 .5 0.020833"), "all occupancies are the multiplicities"),
    ],
)
def test_cells_in_picometres_and_site_occupation_factors_are_refused(text: str, reason: str) -> None:
    with pytest.raises(StructureError, match=reason):
        read(text)


def test_a_rhombohedral_cell_with_hexagonal_axes_stated_is_no_list_of_all_atoms() -> None:
    cell = (4.7459, 4.7459, 4.7459, 57.24, 57.24, 57.24)
    site = "Bi1 Bi 0.2339 0.2339 0.2339 1"
    with pytest.raises(StructureError, match="contradicts the symmetry of R -3 m :H"):
        read(make_cif(cell, site, symbol="R -3 m :H"))
    both = read(make_cif(cell, site, "Bi2 Bi 0.7661 0.7661 0.7661 1", symbol="R -3 m :H"))
    assert both.atomic_numbers.tolist() == [83, 83]


@pytest.mark.parametrize("beside", [True, False])
def test_a_label_ho_beside_oxygen_is_hydrogen(beside: bool) -> None:
    sites = ("OW ? 0.3333 0.6667 0.0629 1", "HO1 ? 0.3333 0.6667 0.197 1" if beside else "HO1 ? 0 0 0 1")
    ice = read(make_cif(hexagonal(4.497, 7.322), *sites, symbol="P 63/m m c", formula="H2 O"))
    assert set(ice.atomic_numbers.tolist()) == ({1, 8} if beside else {8})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("_cell_length_a 5.70", "_cell_length_a is stated twice: 5.64 and 5.70"),
        ("_symmetry_space_group_name_H-M 'P m -3 m'", "is stated twice: F m -3 m and P m -3 m"),
    ],
)
def test_what_a_block_states_twice_with_other_values_is_refused(more: str, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        read(salt(more=more))
    assert len(read(salt(more="_cell_length_a 5.64\n_publ_section_title a\n_publ_section_title b")).atomic_numbers) == 8
