from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from looking_fixtures import embedded_of
from typer.testing import CliRunner

from xxact_core.checkpoint import Checkpoint, load_checkpoint, make_model, save_checkpoint
from xxact_core.commands import main as cli
from xxact_core.compositions.formula import parse_formula
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.errors import DatasetError
from xxact_core.evaluation.embeddings import PARTS, embed_dataset, embed_pattern, read_embeddings, write_embeddings
from xxact_core.evaluation.evaluate import predict_rows, silhouettes
from xxact_core.evaluation.projection import embedding_to_components, fit_projection, place_by_neighbours, t_sne
from xxact_core.evaluation.report import write_predictions
from xxact_core.model.config import preset
from xxact_core.peak_profiles.reference import broaden_sticks


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_checkpoint(folder, Checkpoint(make_model(preset("tiny"), seed=0), statistics={}))
    return folder


def test_the_fused_part_is_what_the_heads_read(
    model_folder: Path, small_dataset: Path, small_table: StickTable
) -> None:
    embedded = embed_dataset(model_folder, small_dataset, limit=40)
    model = load_checkpoint(model_folder).model
    maker = BatchMaker(small_table, device=torch.device("cpu"))
    predictions = predict_rows(model, maker, np.arange(40), {})
    np.testing.assert_allclose(embedded.parts["fused"], predictions.embedding, atol=1e-5)
    assert set(embedded.parts) == set(PARTS)
    assert embedded.dataset == small_table.digest
    assert embedded.formula.tolist() == small_table.formula[:40].tolist()


def test_a_measured_pattern_of_a_material_lies_where_the_material_does(
    model_folder: Path, small_dataset: Path, small_table: StickTable
) -> None:
    embedded = embed_dataset(model_folder, small_dataset, limit=3)
    model = load_checkpoint(model_folder).model
    own = embed_pattern(model, broaden_sticks(small_table.sticks(2)), parse_formula(str(small_table.formula[2])))
    for part in PARTS:
        np.testing.assert_allclose(own[part], embedded.parts[part][2], atol=2e-3)


def test_what_was_written_is_read_again_and_a_predictions_file_is_read_too(
    tmp_path: Path, model_folder: Path, small_table: StickTable
) -> None:
    embedded = embedded_of(30)
    write_embeddings(tmp_path / "a.h5", embedded)
    again = read_embeddings(tmp_path / "a.h5")
    np.testing.assert_array_equal(again.id, embedded.id)
    for name, values in embedded.parts.items():
        np.testing.assert_array_equal(again.parts[name], values)
    for name, values in embedded.targets.items():
        np.testing.assert_array_equal(again.targets[name], values)
    assert list(tmp_path.glob("*.part")) == []

    checkpoint = load_checkpoint(model_folder)
    maker = BatchMaker(small_table, device=torch.device("cpu"))
    predictions = predict_rows(checkpoint.model, maker, np.arange(20), {})
    predictions = replace(predictions, values={}, logits=predictions.logits)
    write_predictions(tmp_path / "predictions.h5", predictions, small_table, temperatures={})
    of_run = read_embeddings(tmp_path / "predictions.h5")
    np.testing.assert_array_equal(of_run.parts["fused"], predictions.embedding)
    assert of_run.id.tolist() == small_table.id[:20].tolist()
    assert set(of_run.formula) == {""}


def test_a_compact_file_has_half_precision_and_a_t_sne_beside(tmp_path: Path) -> None:
    embedded = embedded_of(400, width=64)
    planar = {"fused": np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)}
    write_embeddings(tmp_path / "whole.h5", embedded)
    write_embeddings(tmp_path / "small.h5", replace(embedded, model="abc", t_sne=planar), compact=True)
    assert (tmp_path / "small.h5").stat().st_size < 0.6 * (tmp_path / "whole.h5").stat().st_size
    again = read_embeddings(tmp_path / "small.h5", parts=("fused",))
    assert (again.model, list(again.t_sne), again.parts["fused"].dtype) == ("abc", ["fused"], np.float32)
    np.testing.assert_allclose(again.parts["fused"], embedded.parts["fused"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(again.t_sne["fused"], planar["fused"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fault", ["absent", "text", "empty", "no part", "lengths"])
def test_a_file_without_embeddings_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "bad.h5"
    if fault == "text":
        path.write_text("hello")
    elif fault != "absent":
        with h5py.File(path, "w") as file:
            if fault != "empty":
                file["id"] = np.array(["a", "b"], dtype=h5py.string_dtype())
                file["row"] = np.arange(2)
            if fault == "lengths":
                file["embedding"] = np.zeros((3, 4), dtype=np.float32)
    with pytest.raises(DatasetError, match=r"bad\.h5"):
        read_embeddings(path)


def test_the_projection_is_scikit_learns_and_takes_further_embeddings() -> None:
    from sklearn.decomposition import PCA

    embedding = embedded_of(200).parts["fused"].astype(np.float64)
    projection = fit_projection(embedding)
    analysis = PCA(n_components=2, svd_solver="full").fit(embedding)
    np.testing.assert_allclose(np.abs(projection.project(embedding)), np.abs(analysis.transform(embedding)), atol=1e-8)
    np.testing.assert_allclose(projection.explained, analysis.explained_variance_ratio_, atol=1e-10)
    components, explained = embedding_to_components(embedding)
    np.testing.assert_allclose(components[:5], projection.project(embedding[:5]), atol=1e-10)
    np.testing.assert_array_equal(explained, projection.explained)


def test_a_t_sne_keeps_clouds_apart_and_further_embeddings_join_their_cloud() -> None:
    embedded = embedded_of(140)
    values, systems = embedded.parts["fused"], embedded.targets["crystal_system"]
    planar = t_sne(values)
    np.testing.assert_array_equal(planar, t_sne(values))
    assert silhouettes(planar, systems)["mean"] > 0.8
    placed = place_by_neighbours(values[:7] + 0.01, values, planar)
    for place, system in zip(placed, systems[:7], strict=True):
        nearest = np.linalg.norm(planar - place, axis=1).argmin()
        assert systems[nearest] == system
    assert t_sne(values[:4]).shape == (4, 2)


def test_the_command_tells_its_progress_and_writes_the_file(
    tmp_path: Path, model_folder: Path, small_dataset: Path
) -> None:
    file = tmp_path / "map.h5"
    line = ["embed", str(model_folder), str(small_dataset), str(file), "--limit", "200", "--json"]
    result = CliRunner().invoke(cli.app, line)
    assert result.exit_code == 0
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["done"] for entry in told[:-1]] == [128, 200]
    assert told[-1]["materials"] == len(read_embeddings(file)) == 200
