"""Elements that names of files and samples suggest, and names that suggest none."""

from __future__ import annotations

import pytest

from xxact_core.compositions.guessing import guess_elements


@pytest.mark.parametrize(
    ("name", "symbols"),
    [
        ("TiO2_anatase_650C.xy", "Ti O"),
        ("CO2_run3_TiO2.raw", "Ti O"),
        ("folder/Fe2O3-TiO2_1000C_60min.xrdml", "Fe O Ti"),
        ("LaB6-SRM660c.cif", "La B"),
        ("La0.7Sr0.3MnO3.xy", "La Sr Mn O"),
        ("V2O5.xy", "V O"),
        ("Li-Mn-O.xy", "Li Mn O"),
        ("MoKa1_Si.xy", "Si"),
        ("copper_powder.xy", "Cu"),
        ("quartz.xrdml", "Si O"),
        ("TiO2_0p4009-ZnO_0p6010--8min", "Ti O Zn"),
        ("TiN.xy", "Ti N"),
        ("CuSO4.5H2O.xy", "Cu S O H"),
    ],
)
def test_names_of_materials_give_their_elements(name: str, symbols: str) -> None:
    assert guess_elements(name) == tuple(symbols.split())


@pytest.mark.parametrize(
    "name",
    [
        "sample_12.xy", "CO2_run.xy", "scan01.raw", "NIST_SRM.xy", "POH_3.xy", "BN.xy", "S1P2.xy", "P1N2.xy", "C3.xy",
        "CuKa_run.xy", "In-situ_cell.xy", "Nov_12_2024.xy", "As received.xy", "He_run.xy", "No_Co.xy", "PVP_K30.xy",
        "UiO66.xy", "NMC811_C10.xy", "C60.xy", "NaOH_treated.xy", "iron_oxyhydroxide.xrdml", "SCAN_0001.xy",
        "background.xy", "sand_water.xy", "",
    ],
)  # fmt: skip
def test_other_names_give_none(name: str) -> None:
    assert guess_elements(name) == ()


def test_the_first_name_that_tells_something_counts() -> None:
    assert guess_elements("run_3.xy", "ZnO pellet") == ("Zn", "O")
    assert guess_elements("MgO.xy", "ZnO pellet") == ("Mg", "O")
