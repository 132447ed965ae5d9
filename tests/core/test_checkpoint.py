"""Checkpoints: what comes back is what went in, and nothing foreign or damaged is used."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from xxact_core.checkpoint import (
    DESCRIPTION,
    WEIGHTS,
    Checkpoint,
    load_checkpoint,
    make_model,
    save_checkpoint,
    write_description,
)
from xxact_core.errors import CheckpointError
from xxact_core.model.config import PRESETS


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    checkpoint = Checkpoint(
        make_model(PRESETS["tiny"], seed=3),
        statistics={"band_gap": (1.0, 2.0)},
        calibration={"crystal_system": {"temperature": 1.3}},
        about={"seed": 3},
    )
    save_checkpoint(folder, checkpoint)
    return folder


def test_round_trip(saved: Path) -> None:
    checkpoint, original = load_checkpoint(saved), make_model(PRESETS["tiny"], seed=3).state_dict()
    assert all(torch.equal(value, original[name]) for name, value in checkpoint.model.state_dict().items())
    assert checkpoint.statistics == {"band_gap": (1.0, 2.0)}
    assert checkpoint.calibration == {"crystal_system": {"temperature": 1.3}}
    assert not checkpoint.model.training


def test_half_precision_halves_the_file(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "half"
    other.mkdir()
    save_checkpoint(other, load_checkpoint(saved), dtype=torch.bfloat16)
    sizes = [(folder / WEIGHTS).stat().st_size for folder in (other, saved)]
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.05)
    assert load_checkpoint(other).model.mask_token.dtype == torch.float32


def test_missing_and_damaged_checkpoints_are_refused_by_name(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere")
    content = bytearray((saved / WEIGHTS).read_bytes())
    content[-3] ^= 8
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved)
    (saved / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=WEIGHTS):
        load_checkpoint(saved)
    (saved / DESCRIPTION).write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_checkpoint(saved)
    (saved / DESCRIPTION).write_text(json.dumps({"schema": "other"}))
    with pytest.raises(CheckpointError, match="schema"):
        load_checkpoint(saved)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "nan", "header"])
def test_weights_that_do_not_fit_are_refused(saved: Path, change: str) -> None:
    weights = make_model(PRESETS["tiny"], seed=3).state_dict()
    if change == "missing":
        del weights["mask_token"]
    if change == "extra":
        weights["more"] = torch.zeros(1)
    if change == "shape":
        weights["mask_token"] = torch.zeros(7)
    if change == "nan":
        weights["mask_token"][0] = float("nan")
    save_file(weights, saved / WEIGHTS)
    if change == "header":
        (saved / WEIGHTS).write_bytes((10**14).to_bytes(8, "little") + b"{}")
    description = json.loads((saved / DESCRIPTION).read_text())
    description["weights_sha256"] = hashlib.sha256((saved / WEIGHTS).read_bytes()).hexdigest()
    write_description(saved, description)
    with pytest.raises(CheckpointError):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("pattern", "feedforward", 2**40), ("fusion", "depth", 10**9), ("composition", "feedforward", 2**62)],
)
def test_a_description_of_a_model_larger_than_its_weights_costs_no_memory(
    saved: Path, part: str, name: str, value: int
) -> None:
    description = json.loads((saved / DESCRIPTION).read_text())
    description["model"][part][name] = value
    write_description(saved, description)
    with pytest.raises(CheckpointError, match=r"shape|layers|sizes"):
        load_checkpoint(saved)


def test_pickle_is_never_opened(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple:
            return (Path.touch, (marker,))

    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(pickle.dumps(Payload()))
    (folder / DESCRIPTION).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("part", "name", "values"),
    [
        ("statistics", "band_gap", [1.0, 0.0]),
        ("statistics", "band_gap", [1.0, -1.0]),
        ("statistics", "band_gap", [float("nan"), 1.0]),
        ("statistics", "band_gap", [1.0, 1e38]),
        ("statistics", "band_gap", [1.0]),
        ("statistics", "crystal_system", [1.0, 1.0]),
        ("calibration", "crystal_system", {"temperature": 0.0}),
        ("calibration", "crystal_system", {"temperature": float("inf")}),
        ("calibration", "crystal_system", {"set_threshold_90": 1.5}),
        ("calibration", "crystal_system", {"set_thresholds_90": [0.1, 1.5]}),
        ("calibration", "crystal_system", {"set_thresholds_90": [0.1, 0.2]}),  # two bins without an edge
        ("calibration", "similarity", {"edges": [0.8, 0.4]}),
        ("calibration", "similarity", {"edges": "0.4"}),
        ("calibration", "trust", {"constant": 1.0}),
        ("calibration", "band_gap", {"residual_90": -1.0}),
        ("calibration", "band_gap", {"residuals_90": 1.0}),
        ("calibration", "band_gap", {"residual_90": "1"}),
        (
            "calibration",
            "domain",
            {"mean": [0.0], "directions": [[1.0]], "variances": [0.0], "rest": 1.0, "limit": 1.0},
        ),
        (
            "calibration",
            "domain",
            {"mean": [0.0], "directions": [[9.0]], "variances": [1.0], "rest": 1.0, "limit": 1.0},
        ),
        ("calibration", "domain", {"mean": [0.0]}),
        ("about", "recipe", 3),
        ("about", "elements", "Fe"),
    ],
)
def test_values_that_would_make_predictions_nan_are_refused(saved: Path, part: str, name: str, values: object) -> None:
    description = json.loads((saved / DESCRIPTION).read_text())
    description[part][name] = values
    write_description(saved, description)
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_checkpoint(saved)


@pytest.mark.parametrize("value", [1e38, -1e7, float("inf"), float("nan")])
def test_weights_that_would_overflow_are_refused(saved: Path, value: float) -> None:
    weights = make_model(PRESETS["tiny"], seed=3).state_dict()
    weights["mask_token"][0] = value
    save_file(weights, saved / WEIGHTS)
    description = json.loads((saved / DESCRIPTION).read_text())
    description["weights_sha256"] = hashlib.sha256((saved / WEIGHTS).read_bytes()).hexdigest()
    write_description(saved, description)
    with pytest.raises(CheckpointError, match="predictions would be NaN"):
        load_checkpoint(saved)


def test_description_with_another_field_or_a_changed_value_is_damaged(saved: Path) -> None:
    description = json.loads((saved / DESCRIPTION).read_text())
    for change in ({"extra": 1}, {"statistics": {"band_gap": [1.0, 2.5]}}):
        (saved / DESCRIPTION).write_text(json.dumps({**description, **change}))
        with pytest.raises(CheckpointError, match="is damaged"):
            load_checkpoint(saved)
