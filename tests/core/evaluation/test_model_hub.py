"""A checkpoint in the layout of model hubs: the same model, with a card that hubs and people can read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

from xxact_core import example_path, read_pattern
from xxact_core.checkpoint import describe_checkpoint, load_checkpoint
from xxact_core.errors import CheckpointError
from xxact_core.evaluation.model_hub import export_checkpoint
from xxact_core.prediction.predictor import Predictor
from xxact_core.shipped import CHECKPOINT, shipped_path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_checkpoint(shipped_path(CHECKPOINT), tmp_path_factory.mktemp("hub") / "xxact-compact")


def card_of(folder: Path) -> tuple[dict, str]:
    """Metadata and text of README.md."""
    empty, metadata, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(metadata), text


def test_folder_has_the_files_of_a_hub(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "xxact"
    assert config["architectures"] == ["Xxact"]
    assert config["torch_dtype"] == "bfloat16"
    with safe_open(exported / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_model_that_is_loaded_back_is_the_same(exported: Path) -> None:
    zincite = read_pattern(example_path("zincite.prn"), wavelength="CuKa")
    own, other = load_checkpoint(), load_checkpoint(exported)
    assert other.about == own.about
    assert other.statistics == own.statistics
    assert other.calibration == own.calibration
    tensors = other.model.state_dict()
    for name, value in own.model.state_dict().items():
        assert torch.equal(tensors[name], value), name
    predictions = [Predictor.load(folder).predict(zincite, "ZnO").to_dict() for folder in (None, exported)]
    for prediction in predictions:
        prediction.pop("model", None)
    assert predictions[0] == predictions[1]


def test_exported_model_can_be_exported_again(exported: Path, tmp_path: Path) -> None:
    again = export_checkpoint(exported, tmp_path / "again", name="xxact-compact")
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (exported / name).read_bytes()


def test_card_states_license_tags_and_metrics(exported: Path) -> None:
    metadata, text = card_of(exported)
    assert metadata["license"] == "bsd-3-clause"
    assert metadata["library_name"] == "xxact"
    assert "powder-diffraction" in metadata["tags"]
    (model,) = metadata["model-index"]
    assert model["name"] == "xxact-compact"
    about = describe_checkpoint(exported)["about"]
    found = {result["metrics"][0]["name"]: result for result in model["results"]}
    accuracy = found["crystal system, accuracy"]
    assert accuracy["task"] == {"type": "tabular-classification"}
    assert accuracy["metrics"][0]["value"] == pytest.approx(about["test_metrics"]["crystal_system_accuracy"], rel=1e-5)
    assert found["band gap, MAE [eV]"]["metrics"][0]["type"] == "mae"
    assert f"| SHA-256 of the dataset | {about['data_digest']} |" in text
    assert f"| crystal system, accuracy | {about['test_metrics']['crystal_system_accuracy']:.3f} |" in text
    assert "--model xxact-compact" in text
    assert " Zn " in text
    assert "None" not in text


def test_card_of_a_model_that_was_not_evaluated(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(shipped_path(CHECKPOINT), source)
    description = json.loads((source / "checkpoint.json").read_text(encoding="utf-8"))
    del description["content_sha256"]
    for name in ("test_metrics", "test_metrics_distorted", "baselines", "elements"):
        description["about"].pop(name, None)
    (source / "checkpoint.json").write_text(json.dumps(description), encoding="utf-8")
    folder = export_checkpoint(source, tmp_path / "plain", license_name="cc-by-4.0")
    metadata, text = card_of(folder)
    assert metadata["license"] == "cc-by-4.0"
    assert "model-index" not in metadata
    assert "Not evaluated on a test split." in text


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_changed_file_is_refused(exported: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    content = (copy / name).read_bytes()
    changed = content.replace(b'"depth": 2', b'"depth": 3', 1) if name == "config.json" else content[:-1] + b"\x7f"
    assert changed != content
    (copy / name).write_bytes(changed)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(copy)


def test_model_of_another_library_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match=r"is not a checkpoint: it has no checkpoint\.json"):
        load_checkpoint(tmp_path)


def test_folder_that_exists_and_impossible_names_are_refused(exported: Path, tmp_path: Path) -> None:
    model = shipped_path(CHECKPOINT)
    with pytest.raises(CheckpointError, match="exists already; choose another folder"):
        export_checkpoint(model, exported)
    for named in ({"name": "a: b"}, {"name": "../x"}, {"license_name": "MIT\nevil: yes"}):
        with pytest.raises(CheckpointError, match="is none that model hubs accept"):
            export_checkpoint(model, tmp_path / "new", **named)
    assert not (tmp_path / "new").exists()
