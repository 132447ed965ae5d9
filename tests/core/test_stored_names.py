"""What version 0.1.0 wrote under former names is read, gives the same results, and is written under present names."""

from __future__ import annotations

import json
import math
import shutil
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from locations import REPOSITORY
from typer.testing import CliRunner

from xxact_core.checkpoint import describe_checkpoint, load_checkpoint, save_checkpoint
from xxact_core.commands.main import app
from xxact_core.errors import CheckpointError, RecipeError
from xxact_core.evaluation.embeddings import read_embeddings
from xxact_core.evaluation.report import evaluate_checkpoint
from xxact_core.evaluation.tables import read_system_predictions
from xxact_core.model.config import BlockSizes, ForestSizes, ModelConfig
from xxact_core.paper.runs import current_settings, run_experiments
from xxact_core.paper.tables import folder_to_table
from xxact_core.paper.texts import table_to_rows
from xxact_core.prediction.predictor import Predictor
from xxact_core.processing.gridding import put_on_grid
from xxact_core.readers.read import read_pattern
from xxact_core.stored_names import (
    FOREST_SETTINGS,
    JOURNAL_FIELDS,
    MODEL_SETTINGS,
    RECIPE_SETTINGS,
    rename,
    rename_model,
    rename_recipe,
    rename_tensors,
)
from xxact_core.training.config import Recipe, override, parse_settings
from xxact_core.training.curves import describe_progress
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train
from xxact_core.training.start import check_same_run

WRITTEN = REPOSITORY / "tests" / "fixtures" / "v0_1_0"
MODELS = sorted(path.parent for path in WRITTEN.rglob("checkpoint.json"))
PREDICTING = ("full", "windows", "crabnet", "xrd-transformer", "extra-trees", "remembered")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files as the current folder, since they name one another by relative paths."""
    copy = tmp_path / "v0_1_0"
    shutil.copytree(WRITTEN, copy)
    monkeypatch.chdir(copy)
    return copy


def reference(name: str) -> Any:  # noqa: ANN401 - plain values of JSON
    return json.loads((WRITTEN / "reference" / f"{name}.json").read_text(encoding="utf-8"))


def stored_recipe(run: Path) -> dict[str, Any]:
    return json.loads((run / "recipe.json").read_text(encoding="utf-8"))["recipe"]


def assert_same(one: object, other: object, *, at: str = "") -> None:
    """Plain values are alike, numbers within what processors differ in."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), at
        for key, value in one.items():
            assert_same(value, other[key], at=f"{at}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), at
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, at=f"{at}[{number}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-5), (at, one, other)
    else:
        assert one == other, at


def assert_same_where_expected(one: dict[str, Any], expected: dict[str, Any]) -> None:
    """All that 0.1.0 stated is stated and the same; more may be, at every level."""
    assert set(expected) <= set(one)
    for key, value in expected.items():
        if isinstance(value, dict) and isinstance(one[key], dict):
            assert_same_where_expected(one[key], value)
        else:
            assert_same(one[key], value, at=key)


# ------------------------------------------------------------------------------------------------------------- recipes
def test_former_names_are_no_present_ones_and_lead_to_settings_that_there_are() -> None:
    for names, settings in ((RECIPE_SETTINGS, Recipe), (MODEL_SETTINGS, ModelConfig), (FOREST_SETTINGS, ForestSizes)):
        known = {item.name for item in fields(settings)}
        assert set(names.values()) <= known
        assert not set(names) & known
        assert len(set(names.values())) == len(names)


def test_every_setting_of_a_recipe_is_read_from_json_and_toml() -> None:
    folder = WRITTEN / "recipes"
    plain = json.loads((folder / "every_setting.json").read_text(encoding="utf-8"))
    table = tomllib.loads((folder / "every_setting.toml").read_text(encoding="utf-8"))
    written = json.loads((folder / "every_setting_to_dict.json").read_text(encoding="utf-8"))
    base = recipe_by_name(str(table.pop("recipe", "compact")))
    plain.pop("recipe", None)
    recipe = override(base, plain)
    # Settings that 0.1.0 did not have keep the value of the recipe that the file begins with.
    later = {item.name for item in fields(Recipe)} - {RECIPE_SETTINGS.get(name, name) for name in written}
    added = {name: getattr(base, name) for name in later}
    assert recipe == override(base, table) == override(Recipe.from_dict(written), added)
    assert set(RECIPE_SETTINGS) <= set(written)
    now = json.loads(json.dumps(recipe.to_dict()))
    assert set(now) == {item.name for item in fields(Recipe)}
    for name, value in written.items():
        if name not in {"distortions", "relatives", "model_settings"}:
            assert now[RECIPE_SETTINGS.get(name, name)] == value, name
    config = recipe.model_config()
    assert (config.tokenizer, config.peak_tokens) == (
        written["model_settings"]["tokens"],
        written["model_settings"]["peaks"],
    )
    assert Recipe.from_dict(now) == recipe


def test_values_of_the_intensity_scale_are_renamed() -> None:
    for former, present in (("linear", "linear"), ("root", "sqrt"), ("both", "sqrt_and_log")):
        recipe = override(recipe_by_name("tiny"), {"model_settings": {"intensity": former}})
        assert recipe.model_config().intensity_scale == present
        assert recipe.model_settings == {"intensity_scale": present}


def test_settings_of_the_command_line_are_read_and_their_present_names_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    values = parse_settings(["peak_rate=0.1", "epochs=2", "clip=null"], notice=lambda *names: told.append(names))
    assert values == {"lr_peak": 0.1, "epochs": 2, "grad_clip_norm": None}
    assert told == [("peak_rate", "lr_peak"), ("clip", "grad_clip_norm")]
    (tmp_path / "mine.toml").write_text(
        'recipe = "tiny"\nwarm_up = 0.2\nmodel_settings = { head_width = 8 }\n', encoding="utf-8"
    )
    line = ["train", str(tmp_path / "nowhere"), str(tmp_path / "run"), "--recipe", str(tmp_path / "mine.toml")]
    said = CliRunner().invoke(app, [*line, "--set", "peak_rate=0.1", "--set", "epochs=1"]).stderr.splitlines()
    assert said == [
        "xxact: the setting warm_up is now called warmup_fraction",
        "xxact: the setting head_width is now called head_hidden_width",
        "xxact: the setting peak_rate is now called lr_peak",
    ]


def test_settings_on_the_command_line_override_those_of_a_file_under_either_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('recipe = "tiny"\npeak_rate = -1.0\n', encoding="utf-8")
    line = ["train", str(tmp_path / "nowhere"), str(tmp_path / "run"), "--recipe", str(tmp_path / "mine.toml")]
    result = CliRunner().invoke(app, [*line, "--set", "lr_peak=0.1"])
    assert "nowhere" in str(result.exception), "the file's learning rate would have been refused first"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"peak_rate": 0.1, "lr_peak": 0.1}, ("here", "'peak_rate'", "'lr_peak'")),
        ({"model_settings": {"kind": "fcn", "architecture": "fcn"}}, ("here", "'kind'", "'architecture'")),
        ({"peak_rat": 0.1}, ("here", "'peak_rat'", "lr_peak")),
    ],
)
def test_two_names_of_a_setting_and_unknown_names_are_refused(values: dict[str, Any], named: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict(values, owner="here")
    assert all(part in str(caught.value) for part in named)


def test_settings_of_the_papers_runs_are_read() -> None:
    settings = {"pretrain-*:clip": 1.0, "peak_rate": 0.1, "epochs": 2}
    assert current_settings(settings) == {"pretrain-*:grad_clip_norm": 1.0, "lr_peak": 0.1, "epochs": 2}
    with pytest.raises(RecipeError, match="'peak_rate' is the former name of 'lr_peak'"):
        current_settings({"peak_rate": 0.1, "lr_peak": 0.1})


# --------------------------------------------------------------------------------------------------------- checkpoints
@pytest.mark.parametrize("model", MODELS, ids=[str(path.relative_to(WRITTEN)) for path in MODELS])
def test_every_model_is_loaded_and_written_under_present_names(model: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(model)
    save_checkpoint(tmp_path, checkpoint)
    written = json.loads((tmp_path / "checkpoint.json").read_text(encoding="utf-8"))
    assert not set(written["model"]) & set(MODEL_SETTINGS)
    assert not set(written["about"]["recipe"]) & set(RECIPE_SETTINGS)
    assert Recipe.from_dict(written["about"]["recipe"]) == Recipe.from_dict(
        stored_description(model)["about"]["recipe"]
    )
    again = load_checkpoint(tmp_path).model.state_dict()
    for name, value in checkpoint.model.state_dict().items():
        assert torch.equal(again[name], value), name
        assert not name.startswith(("memory.", "shares", "jump"))


def stored_description(model: Path) -> dict[str, Any]:
    return json.loads((model / "checkpoint.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PREDICTING)
def test_models_predict_what_they_predicted(name: str) -> None:
    model = WRITTEN / "models" / name if name == "remembered" else WRITTEN / "runs" / name / "model"
    (expected,) = reference(f"predict_by_{name}")
    gridded = put_on_grid(read_pattern(WRITTEN / "patterns" / "rock_salt.xy"))
    prediction = json.loads(json.dumps(Predictor.load(model).predict(gridded, "NaCl").to_dict()))
    prediction["space_group"] = prediction["space_group"][: len(expected["space_group"])]
    compared = set(expected) - {"file", "warnings"}
    assert_same({key: prediction[key] for key in compared}, {key: expected[key] for key in compared})


@pytest.mark.parametrize("name", ["full", "extra-trees"])
def test_metrics_are_what_they_were(name: str) -> None:
    metrics = evaluate_checkpoint(WRITTEN / "runs" / name / "model", WRITTEN / "dataset").to_dict()
    assert_same_where_expected(json.loads(json.dumps(metrics)), reference(f"evaluate_{name}"))


def test_the_description_of_the_shipped_model_keeps_its_keys() -> None:
    told, expected = json.loads(CliRunner().invoke(app, ["info", "--json"]).stdout), reference("info")
    assert set(expected) - {"mean_of"} <= set(told)  # the model of 0.1.0 was the mean of several


def test_the_description_of_a_model_keeps_its_keys_and_its_settings_their_values() -> None:
    name = "info_full"
    arguments = ["info", "--json", "--model", str(WRITTEN / "runs" / "full" / "model")]
    told, expected = json.loads(CliRunner().invoke(app, arguments).stdout), reference(name)
    assert set(expected) <= set(told)
    assert told["recipe"] == json.loads(json.dumps(rename_recipe(expected.pop("recipe"), owner=name)))
    settings = rename_model(expected.pop("model"), owner=name)
    assert set(settings) <= set(told["model"])
    assert ModelConfig.from_dict(told["model"]) == ModelConfig.from_dict(settings)
    assert_same_where_expected(told, expected)
    assert told.get("extra_digests") == expected.get("more_digests")


def test_a_description_with_two_names_of_a_setting_is_refused(folder: Path) -> None:
    path = folder / "runs" / "crabnet" / "model" / "checkpoint.json"
    description = stored_description(path.parent)
    description["about"]["recipe"]["lr_peak"] = 0.1
    path.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        describe_checkpoint(path.parent)
    assert all(part in str(caught.value) for part in (str(path), "'peak_rate'", "'lr_peak'"))


def test_a_description_with_an_unknown_setting_is_refused(folder: Path) -> None:
    path = folder / "runs" / "crabnet" / "model" / "checkpoint.json"
    description = stored_description(path.parent)
    description["model"]["layers"] = 3
    path.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path.parent)
    assert all(part in str(caught.value) for part in (str(path.parent), "'layers'", "tokenizer"))


def test_tensors_are_renamed_without_copies() -> None:
    former = ("memory.missed", "memory.keys", "average.heads.band_gap.bias", "model.average_pool", "shares", "heads.x")
    tensors = {name: torch.zeros(1) for name in former}
    renamed = rename_tensors(tensors)
    assert list(renamed) == [
        "knn_retrieval.residuals",
        "knn_retrieval.keys",
        "ema_model.heads.band_gap.bias",
        "model.average_pool",
        "leaf_probabilities",
        "heads.x",
    ]
    assert [value.data_ptr() for value in renamed.values()] == [value.data_ptr() for value in tensors.values()]
    assert rename_tensors(renamed) == renamed


# ---------------------------------------------------------------------------------------------------------------- runs
def test_an_unfinished_run_is_resumed_to_the_model_that_0_1_0_made(folder: Path) -> None:
    expected = reference("unfinished_resumed")
    run = folder / "runs" / "unfinished"
    model = train(Recipe.from_dict(stored_recipe(run)), Path("dataset"), run)
    assert model == run / "model"
    description = stored_description(model)
    # Calibrations are fitted on augmented patterns since then, so that their values differ.
    assert set(expected["calibration"]) <= set(description["calibration"])
    assert [event["event"] for event in read_journal(run / "journal.jsonl")].count("resumed") == 1
    losses = {event["step"]: event["loss"] for event in read_journal(run / "journal.jsonl") if event["event"] == "step"}
    told = [event for event in expected["journal"] if event["event"] == "step"]
    assert len(told) == len(losses)
    # Muon on a CPU takes steps of slightly another direction than in 0.1.0.
    assert [losses[event["step"]] for event in told] == pytest.approx([event["loss"] for event in told], rel=1e-3)


def test_a_killed_run_is_resumed_from_its_snapshot(folder: Path) -> None:
    run = folder / "runs" / "killed"
    assert train(Recipe.from_dict(stored_recipe(run)), Path("dataset"), run) == run / "model"
    steps = [event["step"] for event in read_journal(run / "journal.jsonl") if event["event"] == "step"]
    assert steps == sorted(set(steps))


def test_a_run_is_compared_with_its_recipe_and_an_unknown_setting_in_it_is_refused(folder: Path) -> None:
    run = folder / "runs" / "full"
    described = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    described["extra_digests"] = described.pop("more_digests")
    described["recipe"] = json.loads(json.dumps(Recipe.from_dict(described["recipe"]).to_dict()))
    check_same_run(described, run)
    described["recipe"]["lr_peak"] *= 2
    with pytest.raises(RecipeError, match=r"differs in \['lr_peak'\]"):
        check_same_run(described, run)
    stored = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    stored["recipe"]["momentum"] = 0.9
    (run / "recipe.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        check_same_run(described, run)
    assert all(part in str(caught.value) for part in (str(run / "recipe.json"), "'momentum'", "weight_decay"))


def test_every_journal_is_read_and_its_fields_are_renamed() -> None:
    runs = sorted(path.parent for path in (WRITTEN / "runs").rglob("journal.jsonl"))
    assert len(runs) > 5
    for run in runs:
        events = read_journal(run / "journal.jsonl")
        assert events[0]["event"] == "started"
        assert not any(set(event) & set(JOURNAL_FIELDS) for event in events)
        assert describe_progress(run).partition(":")[0] in {"finished", "cancelled", "running", "diverged"}
    events = read_journal(WRITTEN / "runs" / "events" / "journal.jsonl")
    assert [event["micro_batch_size"] for event in events if event["event"] == "out of memory"]


def test_files_of_embeddings_and_predictions_are_read() -> None:
    embedded = read_embeddings(WRITTEN / "embeddings" / "full.h5")
    assert set(embedded.parts) == {"fused", "pattern", "composition"}
    assert len(embedded) == 16
    for name in ("full", "extra-trees"):
        answers = read_system_predictions(WRITTEN / "predictions" / f"{name}.h5")
        assert len(answers.true) == len(answers.chosen) > 0
        assert np.isfinite(read_embeddings(WRITTEN / "predictions" / f"{name}.h5").parts["fused"]).all()


def test_runs_of_the_paper_are_kept_and_make_the_same_table(folder: Path) -> None:
    rows = json.loads(json.dumps(table_to_rows(folder_to_table(1, folder / "paper"))))
    expected = {(row["row"], row["column"]): row["value"] for row in reference("paper_table_1")["rows"]}
    assert sum(value is not None for value in expected.values()) == 3
    found = {(row["row"], row["column"]): row["value"] for row in rows}
    assert sorted(value for value in found.values() if value is not None) == pytest.approx(
        sorted(value for value in expected.values() if value is not None)
    )
    transfer = folder / "paper" / "xrd-transformer-crystal-system-to-band-gap-seed0"
    recipe = json.loads((transfer / "recipe.json").read_text(encoding="utf-8"))
    start = folder / "paper" / "xrd-transformer-crystal-system-seed0" / "model"
    recipe["recipe"]["start_from"] = str(start)
    (transfer / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    settings = {
        "batch_size": 4,
        "epochs": 0.5,
        "device": "cpu",
        "model_settings": stored_recipe(transfer)["model_settings"],
    }
    outcomes = run_experiments(
        ["xrd-transformer-crystal-system-to-band-gap"],
        folder / "dataset",
        folder / "paper",
        size="tiny",
        seeds=1,
        settings=settings,
    )
    assert [outcome.state for outcome in outcomes] == ["kept", "kept"]


def test_rename_keeps_what_has_no_former_name() -> None:
    assert rename({"a": 1, "b": 2}, {"a": "c"}, owner="x") == {"c": 1, "b": 2}
    assert {item.name for item in fields(BlockSizes)} == {"width", "depth", "heads", "feedforward", "dropout"}


def test_a_message_on_an_unknown_setting_names_the_file_the_setting_and_the_known_ones(folder: Path) -> None:
    recipe = folder / "changed.toml"
    recipe.write_text('recipe = "tiny"\npeak_rate = 0.001\nlayers = 3\n', encoding="utf-8")
    for options, origin in ((["--recipe", str(recipe)], str(recipe)), (["--set", "layers=3"], "--set")):
        result = CliRunner().invoke(app, ["train", "dataset", "new_run", *options])
        assert isinstance(result.exception, RecipeError)
        assert str(result.exception).startswith(f"{origin}: a recipe has no setting 'layers'; it has ")
        assert "lr_peak" in str(result.exception)


def test_a_run_folder_given_as_a_checkpoint_is_answered_with_the_folder_of_its_model(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the checkpoint of this run is .*crabnet.model"):
        load_checkpoint(folder / "runs" / "crabnet")
