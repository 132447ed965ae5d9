"""A simulated heating series of known truth: phases, fractions and cells are those that were put in."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from benchmarks.quality.simulated_series import SimulatedFrame, calcite_at, lime_at, simulate_heating, write_xy
from xxact_core.commands.main import app
from xxact_core.errors import InputError, WavelengthError
from xxact_core.search_match.identify import Identifier
from xxact_core.search_match.phases import find_phases
from xxact_core.series.frames import read_frames
from xxact_core.series.phase_series import PhaseSeries
from xxact_core.series.phases import find_phases_of_series


@pytest.fixture(scope="module")
def truth() -> list[SimulatedFrame]:
    return simulate_heating(list(range(500, 921, 60)), two_theta=(20.0, 70.0, 0.02), seed=3)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Computed cells, 1 % too long, of calcite, lime, and phases that are not there."""
    graphite = Structure.from_spacegroup(
        194, Lattice.hexagonal(2.46, 6.7), ["C", "C"], [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
    )
    calcium = Structure.from_spacegroup(225, Lattice.cubic(5.58), ["Ca"], [[0, 0, 0]])
    crystals = {"calcite": calcite_at(25), "lime": lime_at(25), "graphite": graphite, "calcium": calcium}
    rows = [
        {
            "id": name,
            **dict(zip(("a", "b", "c"), 1.01 * np.array(crystal.lattice.abc), strict=True)),
            **dict(zip(("alpha", "beta", "gamma"), crystal.lattice.angles, strict=True)),
            "species": [site.specie.symbol for site in crystal],
            "frac_coords": crystal.frac_coords.ravel().tolist(),
        }
        for name, crystal in crystals.items()
    ]
    path = tmp_path_factory.mktemp("references") / "references.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def folder(truth: list[SimulatedFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patterns as files named after their temperatures."""
    path = tmp_path_factory.mktemp("heating")
    for frame in truth:
        write_xy(frame.pattern, path / f"{frame.pattern.name}.xy")
    return path


@pytest.fixture(scope="module")
def heating(folder: Path, table: Path) -> PhaseSeries:
    references = Identifier.load(table).references
    return find_phases_of_series(
        read_frames(folder, by="temperature", wavelength="CuKa1"),
        lambda pattern, *, rows, start: find_phases(
            pattern, references, rows=rows, elements=["Ca", "C", "O"], start=start
        ),
    )


def test_the_phases_of_a_decomposition_are_found_where_they_are(
    heating: PhaseSeries, truth: list[SimulatedFrame]
) -> None:
    assert heating.value.tolist() == [frame.temperature for frame in truth]
    assert [phase.formula for phase in heating.phases] == ["CaCO3", "CaO"]
    present = np.array([[frame.calcite > 0, frame.calcite < 1] for frame in truth])
    assert ((heating.weight_fraction > 0) == present).all()
    assert heating.changes() == [
        "CaO (lime) appears between temperature 620 and 680 °C",
        "CaCO3 (calcite) vanishes between temperature 800 and 860 °C",
    ]


def test_fractions_and_cells_follow_the_truth_within_their_uncertainties(
    heating: PhaseSeries, truth: list[SimulatedFrame]
) -> None:
    calcite = np.array([frame.calcite for frame in truth])
    assert np.abs(heating.weight_fraction[:, 0] - calcite).max() < 0.03
    for phase, formula in enumerate(("CaCO3", "CaO")):
        weight = heating.weight_fraction[:, phase]
        expected = np.array([frame.cells[formula] for frame in truth])
        refined = heating.cell[:, phase][:, [0, 2]]
        mine = weight > 0.1
        assert np.abs(refined[mine] / expected[mine] - 1).max() < 3e-4
        assert (np.abs(refined[mine] - expected[mine]) < 4 * heating.u_cell[:, phase][:, [0, 2]][mine]).all()


def test_the_command_tells_phases_changes_and_notes_and_goes_on_after_an_interruption(
    folder: Path, table: Path, truth: list[SimulatedFrame], tmp_path: Path
) -> None:
    mine = tmp_path / "patterns"
    mine.mkdir()
    for frame in truth[::2]:
        (mine / f"{frame.pattern.name}.xy").write_bytes((folder / f"{frame.pattern.name}.xy").read_bytes())
    (mine / "broken_999C.xy").write_text("no pattern")
    arguments = ["series", str(mine), "--by", "temperature", "--elements", "Ca,C,O", "--wavelength", "CuKa1"]
    arguments += ["--reference", str(table), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--plot", str(tmp_path / "heating.svg")])
    assert result.exit_code == 0, result.output
    for text in (
        "(5 frames by temperature [°C])",
        "CaO (lime) appears between temperature 620 and 740 °C",
        "note: 1 of 5 frames have no result; the first is broken_999C.xy",
        f"written: {tmp_path / 'heating.svg'}",
    ):
        assert text in result.stdout
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "series.csv").read_text())))
    assert [row["temperature [°C]"] for row in rows if row["phase"] == "CaCO3 (calcite)"] == ["500.0", "620.0", "740.0"]
    assert rows[-1]["error"]
    again = CliRunner().invoke(app, [*arguments, "--json"])
    assert "4 results of an earlier run are used again" in again.stderr
    told = json.loads(again.stdout)
    assert [phase["formula"] for phase in told["phases"]] == ["CaCO3", "CaO"]
    assert told["frames"][2]["phases"][1]["weight_fraction"] == pytest.approx(1 - truth[4].calcite, abs=0.03)


def test_the_command_refuses_what_it_cannot_use(folder: Path, table: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> BaseException | None:
        return CliRunner().invoke(app, ["series", str(folder), "--reference", str(table), *arguments]).exception

    missing = run("--elements", "Ca,C,O")
    assert isinstance(missing, WavelengthError)
    assert "do not state their wavelength; give it as --wavelength CuKa" in str(missing)
    plot = run("--plot", str(tmp_path / "figure.gif"))
    assert isinstance(plot, InputError)
    assert str(plot) == "--plot figure.gif: a figure ends in .png, .svg, .pdf"
    assert "no file states a voltage" in str(run("--by", "voltage", "--wavelength", "CuKa1"))
