"""Energies above the convex hull, and formation energies from energies of one method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.dataset.building.energy_table import read_total_energies
from xxact_core.errors import DatasetError
from xxact_core.search_match.hull_energies import energies_above_hull, formation_energies

FORMULAS = {"a": "Al1", "a2": "Al1", "o": "O1", "ao": "Al1O1", "ao2": "Al1O1", "a3o": "Al3O1", "aso": "Al1O1S1"}
ENERGIES = {"a": 0.0, "a2": 0.1, "o": 0.0, "ao": -1.0, "ao2": -0.9, "a3o": -0.3, "aso": -0.5}


def test_energies_above_a_hull_that_is_known() -> None:
    above = energies_above_hull(FORMULAS, ENERGIES)
    assert above["ao"] == 0
    assert above["ao2"] == pytest.approx(0.1)
    assert above["a3o"] == pytest.approx(0.2)  # half AlO, half Al: -0.5
    assert above["a2"] == pytest.approx(0.1)
    assert above["aso"] == pytest.approx(2 / 3 - 0.5)  # decomposes to AlO and S, which has no entry


def test_reference_energies_of_the_elements_are_fitted() -> None:
    rng = np.random.default_rng(0)
    references = {"Al": -3.7, "O": -4.9}
    formulas, labels, total = {}, {}, {}
    for number in range(60):
        aluminium, oxygen = rng.integers(1, 9, 2)
        identity = f"m-{number}"
        formulas[identity] = f"Al{aluminium}O{oxygen}"
        labels[identity] = float(rng.normal(-1, 0.5))
        mean = (aluminium * references["Al"] + oxygen * references["O"]) / (aluminium + oxygen)
        total[identity] = labels[identity] + mean + (2.0 if number == 7 else 0.0)  # an outlier does not matter
    formulas |= {"other": "Al1O2", "rare": "Al1Xe1", "labelled": "Al1Xe2"}
    total |= {"other": -5.5, "rare": -3.0}
    labels["labelled"] = 0.3
    found = formation_energies(formulas, total, labels)
    assert found["other"] == pytest.approx(-5.5 - (-3.7 - 2 * 4.9) / 3, abs=0.01)
    assert "rare" not in found
    assert found["labelled"] == 0.3


def test_the_command_writes_a_table_that_build_reads(tmp_path: Path) -> None:
    from xxact_core.search_match.reference_building import read_energies

    rows = [
        {"id": name, "reduced_formula": formula, "formation_energy_per_atom": ENERGIES[name]}
        for name, formula in FORMULAS.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "labelled.parquet")
    result = CliRunner().invoke(
        app, ["reference", "energies", str(tmp_path / "out.csv"), str(tmp_path / "labelled.parquet")]
    )
    assert result.exit_code == 0, result.output
    assert read_energies(tmp_path / "out.csv")["a3o"] == pytest.approx(0.2)


def test_energies_are_read_with_and_without_a_header_and_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "energies.csv"
    path.write_text("id,energy_per_atom\nmp-1,-0.8\nmp-2,nan\n", encoding="utf-8")
    assert read_total_energies(path) == {"mp-1": -0.8}
    path.write_text("mp-1,-0.8\nmp-3,-1.5\n", encoding="utf-8")
    assert read_total_energies(path) == {"mp-1": -0.8, "mp-3": -1.5}
    path.write_text("mp-1,-0.8\nmp-3\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="line 2"):
        read_total_energies(path)
