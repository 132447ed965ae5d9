"""The few metrics by which models are compared, and where results come from."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xxact_core.checkpoint import load_checkpoint
from xxact_core.evaluation.provenance import commit_of, provenance, provenance_to_line
from xxact_core.evaluation.summary import BASELINES, SHOWN_TOGETHER, SUMMARY, rows_to_text, summarise

METRICS = {
    "formation_energy_per_atom_mae_mev_per_atom": 146.1,
    "crystal_system_accuracy": 0.8,
    "crystal_system_class_mean_accuracy": 0.7,
    "crystal_system_calibration_error": 0.02,
    "space_group_calibration_error": 0.5,
    "formation_energy_per_atom_interval_coverage": 0.91,
    "band_gap_interval_coverage": 0.88,
    "crystal_system_set_coverage": 0.94,
    "crystal_system_set_size": 1.4,
    "formation_energy_per_atom_unique_mae_mev_per_atom": 41.9,
    "polymorph_pair_accuracy": 0.66,
    "silhouette_mean": 0.35,
    "silhouette_cubic": 0.5,
    "crystal_system_unseen_prototype_accuracy": 0.75,
}


def test_summary_has_the_metrics_that_there_are_and_says_what_is_not_known() -> None:
    assert summarise(METRICS) == {
        "formation_energy_mae_mev": 146.1,
        "band_gap_mae_ev": None,
        "crystal_system_accuracy": 0.8,
        "crystal_system_class_mean": 0.7,
        "space_group_accuracy": None,
        "calibration_error": 0.02,
        "coverage_90": pytest.approx((0.91 + 0.88 + 0.94) / 3),
        "formation_energy_unique_mae_mev": 41.9,
        "polymorph_pair_accuracy": 0.66,
        "polymorph_slope": None,
        "silhouette_crystal_system": 0.35,
        "reconstruction_gain": None,
        "crystal_system_unseen_prototype": 0.75,
    }
    assert set(summarise({}).values()) == {None}


def test_calibration_is_judged_on_the_patterns_that_it_was_made_for() -> None:
    distorted = {"crystal_system_calibration_error": 0.01, "band_gap_interval_coverage": 0.9, "band_gap_mae_ev": 2.0}
    told = summarise(METRICS | {"band_gap_mae_ev": 0.5}, distorted)
    assert (told["calibration_error"], told["coverage_90"], told["band_gap_mae_ev"]) == (0.01, 0.9, 0.5)


def test_table_has_a_line_for_each_model_and_a_dash_where_nothing_is_known() -> None:
    first, second = rows_to_text({"model": summarise(METRICS), "constant": summarise({})}).split("\n\n")
    *heading, model, constant = first.splitlines()
    assert " ".join(line[:21].strip() for line in heading).split() == ["formation", "energy,", "MAE", "[meV/atom]"]
    assert model.split()[:2] == ["model", "146.1"]
    assert constant.split() == ["constant", *"-" * SHOWN_TOGETHER]
    assert second.splitlines()[-2].split() == ["model", "41.9", "0.660", "-", "0.35", "-", "0.750"]
    assert rows_to_text({"model": {"band_gap_mae_ev": 0.3}}).count("\n\n") == 0  # nothing for a second table
    assert len({len(line) for line in (*heading, model, constant)}) == 1


def test_info_tells_the_shipped_models_summary_beside_that_of_each_baseline() -> None:
    command = [sys.executable, "-m", "xxact_core.commands.main", "info"]
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    about = load_checkpoint().about
    assert {name: told[name] for name in SUMMARY} == summarise(about["test_metrics"], about["test_metrics_distorted"])
    assert told["crystal_system_accuracy"] > told["baselines"]["constant"]["crystal_system_accuracy"]
    assert all(set(baseline) == set(SUMMARY) for baseline in told["baselines"].values())
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in text for name in ("this model", *(BASELINES[name] for name in told["baselines"])))
    assert f"{told['formation_energy_mae_mev']:.1f}" in text


def test_a_result_says_where_it_comes_from(tmp_path: Path, repository: Path) -> None:
    stated = provenance(table_digest="abc", seeds=[0, 7])
    assert json.loads(json.dumps(stated)) == stated
    assert datetime.fromisoformat(stated["date"]).date() == datetime.now(UTC).date()
    assert stated["data_digest"] == "abc"
    assert stated["hardware"].endswith("cores")
    assert set(stated["versions"]) == {"python", "torch", "numpy", "scikit-learn"}
    assert all(
        part in provenance_to_line(stated) for part in (stated["date"], "`abc`", "seed 0, 7", stated["hardware"])
    )
    assert commit_of(tmp_path) == "unknown"
    if (repository / ".git").exists():
        head = subprocess.run(
            ["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        assert head.stdout.startswith(stated["commit"].removesuffix("+"))
