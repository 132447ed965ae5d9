"""Files of a refinement: CIFs, pattern, curves, and projects that other programs read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.core.refinement.phase_fixtures import mixture_pattern, rock_salt
from xxact_core.errors import InputError
from xxact_core.readers.read import read_pattern
from xxact_core.refinement.output_files import write_refinement
from xxact_core.refinement.refine import refine
from xxact_core.refinement.results import Refinement
from xxact_core.structures.cif_files import read_cif

rietx = pytest.importorskip("rietx", reason="the extra refine is not installed")


@pytest.fixture(scope="module")
def refined() -> Refinement:
    return refine(
        mixture_pattern([(rock_salt(12, 8, 4.2117, name="periclase"), 1.0)]), [rock_salt(12, 8, 4.22, name="x")]
    )


@pytest.fixture(scope="module")
def folder(refined: Refinement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refined") / "new"
    files = write_refinement(refined, folder, instant=[{"id": "", "weight_fraction": 1.0, "cell": None}])
    assert sorted(files) == sorted(path for path in folder.iterdir())
    return folder


def test_the_report_is_json_and_text(folder: Path, refined: Refinement) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["phases"][0]["cell"][0] == pytest.approx(refined.phases[0].cell[0])
    assert report["instant_analysis"][0]["weight_fraction"] == 1.0
    assert "Rietveld refinement of 1 phase" in (folder / "report.txt").read_text(encoding="utf-8")


def test_the_cif_of_a_phase_has_its_refined_cell(folder: Path, refined: Refinement) -> None:
    structure = read_cif(folder / "MgO.cif")
    assert structure.cell[0] == pytest.approx(refined.phases[0].cell[0], abs=1e-4)
    assert structure.reduced_formula == "Mg1O1"


def test_the_pattern_is_written_as_it_was_refined(folder: Path, refined: Refinement) -> None:
    pattern = read_pattern(folder / "pattern.xye", wavelength="CuKa")
    assert pattern.intensity == pytest.approx(refined.observed, rel=1e-5)
    curves = np.loadtxt(folder / "curves.csv", delimiter=",", skiprows=1)
    assert curves[:, 4] == pytest.approx(refined.difference, abs=1e-2 * refined.observed.max())


def test_projects_of_other_programs_state_the_refined_cell(folder: Path, refined: Refinement) -> None:
    for name in ("topas.inp", "fullprof.pcr", "gsas.EXP"):
        structure = rietx.read_project_model(folder / name).to_structure()
        assert structure.phases[0].cell.a.value == pytest.approx(refined.phases[0].cell[0], rel=1e-5), name


def test_pages_of_the_report_load_nothing_from_other_sites(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "@import" not in page


def test_a_folder_that_cannot_be_made_is_named(refined: Refinement, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write_refinement(refined, tmp_path / "file" / "inside")
