"""One way to name a model and one place where loaded models are kept."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from looking_fixtures import workspace_with

from xxact_app.library import models
from xxact_app.library.models import (
    SHIPPED,
    SHIPPED_RECONSTRUCTION,
    ModelCache,
    find_model,
    former_run_to_key,
    keys_by_text,
    list_models,
    load_model,
    load_predictor,
    open_model,
)
from xxact_app.library.workspace import Workspace, WorkspaceError
from xxact_core import checkpoint as checkpoints
from xxact_core.errors import CheckpointError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with(tmp_path / "work", runs={"one": ["targets"], "run two": ["mxm"]})


def test_every_listed_model_is_found_by_its_key(workspace: Workspace) -> None:
    listed = list_models(workspace)
    assert [model.key for model in listed] == [SHIPPED, "run one", "run run two"]
    for model in listed:
        assert find_model(model.key, workspace=lambda: workspace) == model
    assert [model.predicts for model in listed] == [True, True, False]
    assert [model.reconstructs for model in listed] == [True, False, True]


def test_one_model_carries_all_screens(workspace: Workspace) -> None:
    listed = list_models(workspace)
    assert keys_by_text(listed)[SHIPPED_RECONSTRUCTION] == SHIPPED  # in addresses and sessions of version 0.1.0
    assert find_model(SHIPPED_RECONSTRUCTION).key == SHIPPED


def test_shipped_models_are_found_without_a_workspace() -> None:
    def refuse() -> Workspace:
        pytest.fail("a workspace was opened")

    assert find_model(SHIPPED, workspace=refuse).predicts
    assert load_predictor(find_model(SHIPPED, workspace=refuse)).checkpoint.predicts_targets


@pytest.mark.parametrize("key", ["", "run three", "one", "run ../one", "folder /etc", "run "])
def test_a_key_of_no_model_is_refused(workspace: Workspace, key: str) -> None:
    with pytest.raises(WorkspaceError, match="has no run"):
        find_model(key, workspace=lambda: workspace)


def test_names_of_version_0_1_0_are_read(workspace: Workspace) -> None:
    assert (former_run_to_key(""), former_run_to_key("one")) == (SHIPPED, "run one")
    texts = keys_by_text(list_models(workspace))
    assert (texts["one"], texts["run one"], texts["shipped"]) == ("run one", "run one", SHIPPED)
    assert texts["run two"] == "run run two"


def test_a_model_that_was_pretrained_only_predicts_nothing(workspace: Workspace) -> None:
    with pytest.raises(CheckpointError, match="pretrained"):
        load_predictor(find_model("run run two", workspace=lambda: workspace))


def test_prediction_and_maps_share_one_loaded_model(workspace: Workspace) -> None:
    by_run, by_folder = find_model("run one", workspace=lambda: workspace), open_model(workspace.runs / "one")
    assert load_model(by_run) is load_predictor(by_folder).checkpoint
    assert load_predictor(by_run) is load_predictor(by_folder)


def test_few_models_are_kept_and_each_is_read_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    load = checkpoints.load_checkpoint

    def record(folder: Path) -> checkpoints.Checkpoint:
        read.append(folder)
        return load(folder)

    monkeypatch.setattr(checkpoints, "load_checkpoint", record)
    one, two = (workspace.runs / name / "model" for name in ("one", "run two"))
    cache = ModelCache(1)
    threads = [threading.Thread(target=cache.predictor, args=(one,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [one]
    cache.checkpoint(two)
    cache.checkpoint(one)
    assert read == [one, two, one]
    assert len(cache._kept) == 1
    assert not cache._predictors


def test_a_run_that_was_trained_anew_is_read_anew(workspace: Workspace) -> None:
    before = load_model(open_model(workspace.runs / "one"))
    shutil.rmtree(workspace.runs / "one")
    with pytest.raises(CheckpointError):
        open_model(workspace.runs / "one")
    again = workspace_with(workspace.root.parent / "again", runs={"one": ["targets"]})
    shutil.move(again.runs / "one", workspace.runs / "one")
    assert load_model(open_model(workspace.runs / "one")) is not before


def test_a_damaged_model_is_passed_over_and_told_where_it_is_asked_for(workspace: Workspace) -> None:
    (workspace.runs / "one" / "model" / "checkpoint.json").write_text("{")
    assert "run one" not in [model.key for model in list_models(workspace)]
    with pytest.raises(CheckpointError):
        find_model("run one", workspace=lambda: workspace)
    assert models.run_name(SHIPPED) == ""
