"""Formulas are written as chemists write them, and stay the same material."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ELECTRONEGATIVITIES, SYMBOLS
from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import FormulaError

AS_CHEMISTS_WRITE = """
    ZnO TiO2 LaB6 Al2O3 Fe3O4 NaCl SiC WC GaN Si3N4 CdTe Bi2Te3 Sb2S3 MoS2 CuFeS2 CuInSe2 Cu2ZnSnS4 Ag2S MoSi2 PtAs2
    AuTe2 TiB2 Fe3C LaHO LaOF LaOCl BiOCl La2O2S CsPbBr3 K2NiF4 Na3AlF6 NH3 CH4 H2O CO2 SO2 OF2 NaBH4 LiNH2 LiPF6
    H2SO4 H3BO3 H2 O2 Na2O2 BaTiO3 PbTiO3 FeTiO3 PbCrO4 CaWO4 BiFeO3 NiFe2O4 CoAl2O4 MgAl2O4 LiCoO2 LiMn2O4 LiFePO4
    FePO4 KAlSi3O8 CaAl2Si2O8 Mg2SiO4 CaCO3 CaMg(CO3)2 BaSO4 PbSO4 Al2(SO4)3 KNO3 Ba(NO3)2 KIO3 NaClO4 Fe2(MoO4)3
    YAl3(BO3)4 Ca3Al2(SiO4)3 Ca5(PO4)3F Pb5(VO4)3Cl Ca5(PO4)3(OH) CaHPO4 KH2PO4 NaHCO3 Cu2CO3(OH)2 Cu3(CO3)2(OH)2
    KAl3(SO4)2(OH)6 Cu2(OH)3Cl LiOH Mg(OH)2 Al(OH)3 FeO(OH) NH4Cl (NH4)2SO4 (NH4)2SiF6 NH4H2PO4 (NH4)2Fe(SO4)2·6H2O
    CaSO4·2H2O CuSO4·5H2O MgCl2·6H2O CaHPO4·2H2O
"""


@pytest.mark.parametrize("formula", AS_CHEMISTS_WRITE.split())
def test_a_formula_is_written_as_chemists_write_it(formula: str) -> None:
    stored = reduced_formula(parse_formula(formula))  # alphabetical, all groups dissolved
    assert format_formula(stored) == formula


def test_other_compounds_of_carbon_and_hydrogen_are_in_hill_order() -> None:
    assert format_formula("PbI3NH3CH3") == "CH6I3NPb"


def test_what_the_counts_leave_open_is_not_guessed() -> None:
    assert format_formula("Al2Si2O5(OH)4") == "Al2Si2H4O9"  # kaolinite: hydroxide or water, and no charge decides
    assert format_formula("LiOH·H2O") == "LiH3O2"


def test_amounts_that_are_no_fractions_stay_decimals() -> None:
    assert format_formula(Composition(("Fe", "O"), (0.123456789, 1.0))) == "Fe0.123457O"
    assert format_formula("Li0.5CoO2") == "LiCo2O4"


def test_subscripts_leave_the_number_of_waters_on_the_line() -> None:
    assert format_formula("CuSO4·5H2O", subscripts=True) == "CuSO₄·5H₂O"
    assert format_formula("Al2(SO4)3", subscripts=True) == "Al₂(SO₄)₃"


def test_what_is_no_formula_is_refused() -> None:
    with pytest.raises(FormulaError, match="not a chemical element"):
        format_formula("Xx2")


def test_electronegativities_are_those_of_pymatgen() -> None:
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have none
        expected = [Element(symbol).X for symbol in SYMBOLS]
    assert pytest.approx(expected, nan_ok=True) == ELECTRONEGATIVITIES


def test_the_formulas_of_the_materials_project_stay_the_same_material(repository: Path) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(
        repository / "xxact_core" / "data" / "materials_project.parquet", columns=["reduced_formula"]
    )
    stored = sorted(set(table.column("reduced_formula").to_pylist()))[::37]
    written = [format_formula(formula) for formula in stored]
    assert [reduced_formula(parse_formula(formula)) for formula in written] == stored
    assert len(set(written)) == len(stored)


def test_vanadium_before_iodine_is_no_oxidation_number() -> None:
    compound = Composition(("Cs", "V", "I", "Br"), (1.0, 1.0, 1.0, 2.0))
    shown = format_formula(compound)
    assert "V1I" in shown
    assert parse_formula(shown) == compound


@pytest.mark.parametrize(
    "amounts", [{"C": 3, "S": 1}, {"Al": 1, "Mg": 3}, {"Cu": 1, "Be": 2}, {"C": 1, "I": 1, "S": 1}]
)
def test_a_formula_that_is_the_name_of_a_material_is_written_to_be_read(amounts: dict[str, float]) -> None:
    compound = Composition(tuple(amounts), tuple(map(float, amounts.values())))
    assert parse_formula(format_formula(compound)) == compound
