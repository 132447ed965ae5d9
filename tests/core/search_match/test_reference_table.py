"""The shipped reference table: well-known phases, flags, speed and size."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.search_match.opening import open_references
from xxact_core.search_match.reference_table import ReferenceTable, describe_table
from xxact_core.shipped import REFERENCE_TABLE, TABLE, shipped_path

COMMON = {
    "corundum": ("Al2O3", 167),
    "fluorite": ("CaF2", 225),
    "quartz": ("SiO2", 152, 154),
    "calcite": ("CaCO3", 167),
    "LaB6": ("LaB6", 221),
    "silicon": ("Si", 227),
    "ceria": ("CeO2", 225),
    "zincite": ("ZnO", 186),
    "rutile": ("TiO2", 136),
    "anatase": ("TiO2", 141),
    "periclase": ("MgO", 225),
    "halite": ("NaCl", 225),
    "sylvite": ("KCl", 225),
    "hematite": ("Fe2O3", 167),
    "magnetite": ("Fe3O4", 227),
    "bunsenite": ("NiO", 225),
    "lime": ("CaO", 225),
    "yttria": ("Y2O3", 206),
    "baddeleyite": ("ZrO2", 14),
    "BTO": ("BaTiO3", 99),
    "STO": ("SrTiO3", 221),
    "Al": ("Al", 225),
    "Cu": ("Cu", 225),
    "Au": ("Au", 225),
    "Ag": ("Ag", 225),
    "Ni": ("Ni", 225),
    "bcc-Fe": ("Fe", 229),
    "W": ("W", 229),
    "hcp-Ti": ("Ti", 194),
    "Zn": ("Zn", 194),
    "Pt": ("Pt", 225),
    "graphite": ("C", 194, 186),
    "diamond": ("C", 227),
    "hBN": ("BN", 194),
    "SiC": ("SiC", 216, 186, 160),
    "WC": ("WC", 187),
    "TiN": ("TiN", 225),
    "TiC": ("TiC", 225),
    "GaN": ("GaN", 186),
    "GaAs": ("GaAs", 216),
    "CdS": ("CdS", 186, 216),
    "sphalerite": ("ZnS", 216),
    "galena": ("PbS", 225),
    "pyrite": ("FeS2", 205),
    "tenorite": ("CuO", 15),
    "cuprite": ("Cu2O", 224),
    "eskolaite": ("Cr2O3", 167),
    "pyrolusite": ("MnO2", 136),
    "Co3O4": ("Co3O4", 227),
    "LCO": ("LiCoO2", 166),
    "LFP": ("LiFePO4", 62),
    "LMO": ("LiMn2O4", 227),
    "anhydrite": ("CaSO4", 63),
    "barite": ("BaSO4", 62),
    "anglesite": ("PbSO4", 62),
    "dolomite": ("CaMgC2O6", 148),
    "magnesite": ("MgCO3", 167),
    "brucite": ("MgH2O2", 164, 147),
    "portlandite": ("CaH2O2", 164),
    "gibbsite": ("AlH3O3", 14),
    "boehmite": ("AlHO2", 63),
    "goethite": ("FeHO2", 62),
    "orthoclase": ("KAlSi3O8", 12),
    "albite": ("NaAlSi3O8", 2),
    "forsterite": ("Mg2SiO4", 62),
    "zircon": ("ZrSiO4", 141),
    "belite": ("Ca2SiO4", 14),
    "hydroxyapatite": ("Ca5P3HO13", 176, 14),
    "monetite": ("CaHPO4", 2, 1),
    "In2O3": ("In2O3", 206),
    "cassiterite": ("SnO2", 136),
    "WO3": ("WO3", 14),
    "V2O5": ("V2O5", 59),
    "MoO3": ("MoO3", 62),
    "molybdenite": ("MoS2", 194),
    "Bi2Te3": ("Bi2Te3", 166),
    "stibnite": ("Sb2S3", 62),
    "CsPbBr3": ("CsPbBr3", 62),
    "BFO": ("BiFeO3", 161),
    "YBCO": ("YBa2Cu3O7", 47),
    "scheelite": ("CaWO4", 88),
    "spinel": ("MgAl2O4", 227),
    "ilmenite": ("FeTiO3", 148),
    "perovskite": ("CaTiO3", 62),
}
"""Phases that laboratories meet every week: formula and space groups of the polymorph of this name."""


@pytest.fixture(scope="module")
def shipped() -> ReferenceTable:
    references = open_references()
    assert isinstance(references, ReferenceTable)
    return references


@pytest.mark.parametrize("name", COMMON)
def test_common_phases_are_found_by_the_names_that_people_use(shipped: ReferenceTable, name: str) -> None:
    formula, *groups = COMMON[name]
    rows = shipped.find(name)
    assert len(rows)
    first = int(rows[0])
    assert reduced_formula(shipped.composition(first)) == reduced_formula(parse_formula(str(formula)))
    assert int(shipped.space_group[first]) in groups


def test_mullite_is_disordered_and_alite_is_not_there(shipped: ReferenceTable) -> None:
    mullite = shipped.find("mullite")
    assert len(mullite) >= 5
    assert shipped.disordered[mullite].all()
    assert set(shipped.space_group[mullite].tolist()) == {55}
    assert any({"Al", "Si", "O"} == set(shipped.symbols(int(row))) for row in mullite)
    assert not len(shipped.find("alite"))


@pytest.mark.parametrize(
    ("source_id", "expected"),
    [
        ("matbench_101336", "mp-2133"),  # zincite
        ("matbench_099529", "mp-22862"),  # halite
        ("matbench_083528", "mp-149"),  # silicon
        ("matbench_086720", "mp-2680"),  # lanthanum hexaboride
        ("matbench_059828", "mp-390"),  # anatase
    ],
)
def test_ids_of_all_sources_lead_to_the_id_that_people_know(
    shipped: ReferenceTable, source_id: str, expected: str
) -> None:
    (row,) = shipped.find(source_id)
    assert expected in shipped.ids(int(row))
    assert shipped.public_id(int(row)).startswith("mp-")


@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        ("periclase", (4.212,)),
        ("halite", (5.640,)),
        ("corundum", (4.759, 12.992)),
        ("silicon", (5.431,)),
        ("ceria", (5.411,)),
        ("fluorite", (5.463,)),
        ("quartz", (4.913, 5.405)),
        ("spinel", (8.083,)),
        ("rutile", (4.594, 2.959)),
    ],
)
def test_measured_cells_are_those_at_room_temperature(
    shipped: ReferenceTable, name: str, lengths: tuple[float, ...]
) -> None:
    row = int(shipped.find(name)[0])
    assert shipped.experimental[row]
    cell = shipped.cell[row]
    np.testing.assert_allclose((cell[0], cell[2])[: len(lengths)], lengths, rtol=2.5e-3)


def test_sources_and_licences_are_stated(shipped: ReferenceTable) -> None:
    description = describe_table(shipped)
    credit = " ".join(description["credits"])
    assert "CC BY 4.0" in credit
    assert "American Mineralogist" in credit
    assert description["phases"] > 140_000
    assert description["measured_cells"] > 5_000
    assert description["known_from_experiments"] > 20_000


def test_both_tables_are_small() -> None:
    sizes = [shipped_path(name).stat().st_size for name in (REFERENCE_TABLE, TABLE)]
    assert sizes[0] < 20e6
    assert sum(sizes) < 32e6


def test_reading_takes_no_second_and_little_memory_and_no_pandas() -> None:
    code = (
        "import json, resource, sys, time, pyarrow.parquet\n"
        "from xxact_core.search_match.opening import open_references\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "table = open_references()\n"
        "table.lines, table.element_bits, table.cell\n"
        "rss = int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6 if sys.platform == 'linux' else 0\n"
        "print(json.dumps({'seconds': time.process_time() - start, 'rss': rss, 'before': before / 1e3,\n"
        "                  'pandas': 'pandas' in sys.modules, 'torch': 'torch' in sys.modules}))\n"
    )
    result = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert not result["pandas"]
    assert not result["torch"]
    assert result["seconds"] < 4  # about one on an idle machine
    assert result["rss"] - result["before"] < 300


def test_phases_are_expanded_and_simulated_quickly(shipped: ReferenceTable) -> None:
    rows = np.random.default_rng(0).choice(len(shipped), 100, replace=False)
    start = time.process_time()
    for row in rows.tolist():
        shipped.structure(row)
    assert (time.process_time() - start) / 100 < 2e-3


@pytest.mark.parametrize("row", np.random.default_rng(1).choice(140_000, 25, replace=False).tolist())
def test_stored_lines_and_columns_agree_with_the_structure(shipped: ReferenceTable, row: int) -> None:
    sticks, lines = shipped.sticks(row), shipped.lines
    strongest = int(sticks.intensity.argmax())
    d = sticks.wavelength / (2 * np.sin(np.radians(sticks.two_theta[strongest] / 2)))
    strong = np.exp(-lines.position[row][lines.height[row] > 0.95])
    assert np.abs(strong / d - 1).min() < 1e-4
    structure = shipped.structure(row)
    assert set(structure.composition.symbols) <= set(shipped.symbols(row))
    assert row in shipped.rows_within(shipped.symbols(row))
    density = shipped.cell_mass[row] / shipped.cell_volume[row] / 0.602214076
    assert 0.1 < density < 25
    assert sticks.hkl is not None
    assert shipped.symmetry(row)[0] == (int(shipped.space_group[row]) or None)
