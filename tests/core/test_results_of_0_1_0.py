"""Version 0.1.0's datasets, search results and command line: they are read, and the answers are the same or better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.dataset.building.build import build_dataset
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.inspection import describe_dataset, verify_dataset
from xxact_core.dataset.table import read_dataset

FIXTURES = Path(__file__).parents[1] / "fixtures" / "v0_1_0"


def reference(name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads((FIXTURES / "reference" / f"{name}.json").read_text(encoding="utf-8"))


def xxact(*arguments: object) -> Any:  # noqa: ANN401 - JSON
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


TOLERANCES = {"score": 0.01, "shift": 0.05, "scale": 0.002}
"""Differences between the fits of 0.1.0 and those of today."""


def assert_same_match(match: dict[str, Any], former: dict[str, Any]) -> None:
    assert set(former) <= set(match)
    assert reduced_formula(parse_formula(match["formula"])) == reduced_formula(parse_formula(former["formula"]))
    assert match["space_group"] == former["space_group"]


def test_a_search_with_former_options_gives_the_same_matches_and_mixture(examples: Path) -> None:
    zincite = ("identify", examples / "zincite.prn", "--wavelength", "CuKa", "--formula", "ZnO", "--json")
    now, before = xxact(*zincite, "--whole"), reference("identify_zincite_whole")
    assert set(before) <= set(now)
    assert_same_match(now["neighbours"][0], before["neighbours"][0])
    assert now["neighbours"][0]["name"] == "zincite"
    assert set(before["mixture"]) <= set(now["mixture"])
    assert now["mixture"]["likely"] == before["mixture"]["likely"]  # the numbers come from a joint fit now
    assert_same_match(now["neighbours"][0], reference("identify_zincite")[0])


def test_the_index_and_the_gridded_pattern_of_a_workspace_are_read() -> None:
    workspace = FIXTURES / "workspace"
    (pattern,) = (workspace / "known" / "patterns").glob("*.npz")
    before = sorted(path.name for path in (workspace / "known").glob("*.npz"))
    assert before
    now = xxact(
        "identify", pattern, "--prepared", "--table", workspace / "datasets" / "cells", "--cache", workspace / "known",
        "--json", "--whole", "--count", "3",
    )  # fmt: skip
    first, former = now["neighbours"][0], reference("identify_prepared")["neighbours"][0]
    assert first["source_id"] == former["id"]
    assert_same_match(first, former)
    for name, tolerance in TOLERANCES.items():
        assert first[name] == pytest.approx(former[name], abs=tolerance)
    assert sorted(path.name for path in (workspace / "known").glob("*.npz")) == before  # used, not rebuilt


def test_a_prediction_combined_with_reference_phases_is_surer_of_the_same_answer(examples: Path) -> None:
    arguments = ("predict", examples / "corundum.prn", "--formula", "Al2O3", "--wavelength", "CuKa")
    (now,), (before,) = xxact(*arguments, "--known", "--json"), reference("predict_corundum_known")
    assert set(before) <= set(now)
    first, former = now["crystal_system"][0], before["crystal_system"][0]
    assert first["label"] == former["label"] == "trigonal"
    assert first["probability"] >= former["probability"]  # the table holds corundum now
    assert now["space_group"][0]["label"] == "167"
    assert now["crystal_system_set"] == ["trigonal"]


def test_a_dataset_is_intact_and_described_alike() -> None:
    assert verify_dataset(FIXTURES / "dataset") == []
    now, before = describe_dataset(FIXTURES / "dataset"), reference("dataset_info")
    assert {name: now[name] for name in before} == before
    assert set(now) - set(before) == {"formation_energies"}


def test_a_dataset_built_again_has_the_same_reflections_labels_and_split(tmp_path: Path) -> None:
    plan = BuildPlan(
        source=str(FIXTURES / "source" / "structures.parquet"), shard_rows=8, seed=52, labels=("band_gap=band_gap:eV",)
    )
    build_dataset(plan, tmp_path / "again", workers=1, progress=False)
    now, before = read_dataset(tmp_path / "again"), read_dataset(FIXTURES / "dataset")
    for name in ("id", "formula", "split", "reflection_count", "hkl", "intensity", "rotations", "fraction"):
        np.testing.assert_array_equal(getattr(now, name), getattr(before, name))
    np.testing.assert_allclose(now.cell, before.cell, rtol=1e-14)  # the last digit of arccos differs between CPUs
    for name, values in before.targets.items():
        np.testing.assert_array_equal(now.targets[name], values)
