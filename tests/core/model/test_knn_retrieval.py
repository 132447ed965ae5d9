"""What a finished model remembers: the nearest training materials have their say, and no more than that."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from xxact_core.checkpoint import Checkpoint, load_checkpoint, make_model, save_checkpoint
from xxact_core.commands.main import app
from xxact_core.dataset.splits import prototypes
from xxact_core.dataset.table import StickTable
from xxact_core.errors import CheckpointError
from xxact_core.model.config import preset
from xxact_core.model.knn_retrieval import (
    NEIGHBOURS,
    UNKNOWN,
    UNLIMITED,
    KnnRetrieval,
    RetrievalSettings,
    bytes_of_materials,
    fit_knn_retrieval,
    materials_within,
)
from xxact_core.quantities import ENERGY_KINDS
from xxact_core.training.config import override
from xxact_core.training.finish import HeadOutputs, choose_materials, fit_settings, mean_checkpoint
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train

TARGETS = ("formation_energy_per_atom", "crystal_system")
GROUPS, EACH, WIDTH = 7, 2 * NEIGHBOURS, 16
MIXING_WEIGHT = RetrievalSettings().mixing_weight


@pytest.fixture(scope="module")
def embedding() -> torch.Tensor:
    """Seven clouds far from each other, a crystal system each."""
    random = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(GROUPS, WIDTH, generator=random)
    return (centres.repeat_interleave(EACH, 0) + torch.randn(GROUPS * EACH, WIDTH, generator=random)).float()


SYSTEM = torch.arange(GROUPS).repeat_interleave(EACH)
UNDECIDED = torch.zeros(GROUPS * EACH, GROUPS)


def fitted(
    embedding: torch.Tensor, *, system: torch.Tensor = SYSTEM, residuals: torch.Tensor | None = None
) -> KnnRetrieval:
    error = SYSTEM / 10 if residuals is None else residuals
    return fit_knn_retrieval(embedding, TARGETS, classes={"crystal_system": system}, residuals={TARGETS[0]: error})


def answers(
    retrieval: KnnRetrieval, embedding: torch.Tensor, logits: torch.Tensor = UNDECIDED
) -> dict[str, torch.Tensor]:
    return retrieval(embedding, {"crystal_system": logits, TARGETS[0]: torch.zeros(len(embedding), 1)})[0]


def trust_in(retrieval: KnnRetrieval, embedding: torch.Tensor) -> torch.Tensor:
    settings = RetrievalSettings()
    return torch.sigmoid((retrieval.nearest(embedding)[0][:, 0] - settings.gate_midpoint) / settings.gate_width)


def test_neighbours_have_their_say_in_classes_and_their_mean_error_is_made_good(embedding: torch.Tensor) -> None:
    retrieval = fitted(embedding)
    said, trust = answers(retrieval, embedding), trust_in(retrieval, embedding)
    probability = said["crystal_system"].exp()
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(len(embedding)))
    own = probability[torch.arange(len(SYSTEM)), SYSTEM]
    torch.testing.assert_close(own, MIXING_WEIGHT * trust + (1 - MIXING_WEIGHT * trust) / GROUPS, rtol=0, atol=1e-3)
    torch.testing.assert_close(said[TARGETS[0]][:, 0], trust * SYSTEM / 10, rtol=0, atol=1e-3)


def test_what_nothing_remembered_is_like_is_left_to_the_heads() -> None:
    random = torch.Generator().manual_seed(1)
    known, unknown = torch.randn(2, 500, 192, generator=random)
    system, residuals = torch.zeros(500, dtype=torch.long), torch.ones(500)
    retrieval = fit_knn_retrieval(
        known, TARGETS, classes={"crystal_system": system}, residuals={TARGETS[0]: residuals}, components=192
    )
    said = {
        name: answers(retrieval, asked, UNDECIDED[:500]) for name, asked in (("known", known), ("unknown", unknown))
    }
    error = {name: values[TARGETS[0]][:, 0] for name, values in said.items()}
    first = {name: values["crystal_system"].exp()[:, 0] for name, values in said.items()}
    assert error["known"].min() > 0.95
    assert error["unknown"].max() < 0.1
    assert first["known"].min() > 0.95 * MIXING_WEIGHT + (1 - 0.95 * MIXING_WEIGHT) / GROUPS
    assert first["unknown"].max() < 0.1 + 1 / GROUPS


def test_what_nobody_knows_of_the_neighbours_leaves_the_heads_their_word(embedding: torch.Tensor) -> None:
    retrieval = fitted(embedding, system=torch.full_like(SYSTEM, -1), residuals=torch.full((len(SYSTEM),), torch.nan))
    assert (retrieval.classes == UNKNOWN).all()
    logits = torch.randn(len(SYSTEM), GROUPS)
    said = answers(retrieval, embedding, logits)
    torch.testing.assert_close(said["crystal_system"], logits.log_softmax(dim=1))
    assert (said[TARGETS[0]] == 0).all()


def test_four_bits_a_component_keep_what_is_near() -> None:
    random = torch.Generator().manual_seed(1)
    wide = torch.randn(500, 192, generator=random)
    retrieval = fit_knn_retrieval(
        wide,
        TARGETS,
        classes={"crystal_system": SYSTEM[:500]},
        residuals={TARGETS[0]: torch.zeros(500)},
        components=192,
    )
    similarity, nearest = retrieval.nearest(wide)
    assert (nearest[:, 0] == torch.arange(500)).all()
    assert float(similarity[:, 0].min()) > 0.98  # on average 0.994: Max 1960 has 1.15 % of the variance lost
    assert retrieval.keys.shape == (500, 96)
    assert retrieval.keys.dtype == torch.uint8


def test_directions_of_largest_variance_are_stored_alone() -> None:
    random = torch.Generator().manual_seed(2)
    wide = torch.randn(400, 192, generator=random) * torch.cat([torch.full((32,), 10.0), torch.full((160,), 0.1)])
    retrieval = fit_knn_retrieval(
        wide, TARGETS, classes={"crystal_system": SYSTEM[:400]}, residuals={TARGETS[0]: torch.zeros(400)}, components=32
    )
    assert retrieval.keys.shape == (400, 16)
    moved = wide + torch.cat([torch.zeros(32), torch.ones(160)])  # along directions that are not stored
    assert (retrieval.nearest(moved)[1][:, 0] == torch.arange(400)).all()


def test_a_correction_is_limited_and_the_limit_is_stored(embedding: torch.Tensor) -> None:
    retrieval = fitted(embedding, residuals=torch.full((len(SYSTEM),), -2.4))
    assert retrieval.largest_correction.tolist() == [UNLIMITED]
    assert float(answers(retrieval, embedding)[TARGETS[0]].min()) < -2
    retrieval.largest_correction[0] = 0.25
    again = KnnRetrieval.from_weights(TARGETS, retrieval.state_dict(), width=WIDTH)
    corrected = answers(again, embedding)[TARGETS[0]]
    torch.testing.assert_close(corrected, torch.full_like(corrected, -0.25))


def test_settings_are_stored_and_impossible_ones_refused(embedding: torch.Tensor) -> None:
    retrieval = fitted(embedding)
    chosen = RetrievalSettings(0.0625, 0.25, 0.5, 0.125)
    retrieval.settings = chosen.to_tensor()
    again = KnnRetrieval.from_weights(TARGETS, retrieval.state_dict(), width=WIDTH)
    assert RetrievalSettings.from_tensor(again.settings) == chosen
    retrieval.settings = RetrievalSettings(similarity_temperature=0.0).to_tensor()
    with pytest.raises(CheckpointError, match="impossible settings"):
        KnnRetrieval.from_weights(TARGETS, retrieval.state_dict(), width=WIDTH)


def test_a_checkpoint_of_0_1_0_has_the_settings_of_that_version(embedding: torch.Tensor) -> None:
    weights = fitted(embedding).state_dict()
    former = {name: value for name, value in weights.items() if name not in {"settings", "largest_correction"}}
    again = KnnRetrieval.from_weights(TARGETS, former, width=WIDTH)
    assert RetrievalSettings.from_tensor(again.settings).gate_midpoint == pytest.approx(0.6)
    assert again.largest_correction.tolist() == [UNLIMITED]


def test_size_is_that_of_the_file(embedding: torch.Tensor) -> None:
    weights = fitted(embedding).state_dict()
    size = sum(
        value.numel() * (2 if value.is_floating_point() else value.element_size())
        for name, value in weights.items()
        if name not in {"settings", "largest_correction"}
    )
    assert bytes_of_materials(len(SYSTEM), TARGETS, width=WIDTH, components=WIDTH) == size
    assert materials_within(size, TARGETS, width=WIDTH, components=WIDTH) == len(SYSTEM)
    assert materials_within(size - 1, TARGETS, width=WIDTH, components=WIDTH) == len(SYSTEM) - 1


def test_rare_prototypes_are_kept_when_materials_are_too_many(small_table: StickTable) -> None:
    rows = small_table.rows("train")
    assert choose_materials(small_table, most=len(rows)).tolist() == rows.tolist()
    few = choose_materials(small_table, most=len(rows) // 2)
    names = prototypes(small_table).astype(str)
    assert len(set(few)) == len(rows) // 2
    assert set(few) <= set(rows)
    count, count_of_few = (dict(zip(*np.unique(names[one], return_counts=True), strict=True)) for one in (rows, few))
    dropped = [name for name in count if count[name] > count_of_few.get(name, 0)]
    assert min(count[name] for name in dropped) >= max(count_of_few.values()) - 1


@pytest.mark.parametrize("helpful", [True, False])
def test_neighbours_count_as_far_as_they_help_on_validation(
    small_table: StickTable, embedding: torch.Tensor, *, helpful: bool
) -> None:
    rows = np.arange(len(SYSTEM)) % len(small_table)
    system = SYSTEM if helpful else SYSTEM[torch.randperm(len(SYSTEM), generator=torch.Generator().manual_seed(0))]
    energy = torch.tensor(np.resize(0.1 if helpful else 0.0, len(small_table)), dtype=torch.float32)
    table = replace(
        small_table,
        energy_kind=np.full(len(small_table), ENERGY_KINDS.index("unique"), dtype=np.int8),
        targets={
            **small_table.targets,
            "crystal_system": np.resize(SYSTEM.numpy().astype(np.float32), len(small_table)),
            TARGETS[0]: energy.numpy(),
        },
    )
    true = torch.tensor(table.targets["crystal_system"][rows]).long()
    retrieval = fitted(embedding, system=true if helpful else system, residuals=torch.full((len(SYSTEM),), 0.1))
    outputs = {
        "crystal_system": 2 * torch.nn.functional.one_hot(true, 7).float(),
        TARGETS[0]: torch.zeros(len(true), 1),
    }
    loss = fit_settings(retrieval, HeadOutputs(embedding, outputs), table, rows, {TARGETS[0]: (0.0, 1.0)})
    settings = RetrievalSettings.from_tensor(retrieval.settings)
    assert settings.mixing_weight == pytest.approx(0.8 if helpful else 0.65)
    assert (loss < 0.3) is helpful
    assert float(retrieval.largest_correction[0]) == pytest.approx(0.1 if helpful else 0.0)


def test_few_materials_are_all_neighbours(embedding: torch.Tensor) -> None:
    few = torch.arange(0, len(SYSTEM), EACH // 2)
    retrieval = fitted(embedding[few], system=SYSTEM[few], residuals=SYSTEM[few] / 10)
    assert retrieval.nearest(embedding)[0].shape == (len(SYSTEM), len(few))
    assert (answers(retrieval, embedding)["crystal_system"].argmax(dim=1) == SYSTEM).float().mean() > 0.8


def test_half_precision_around_it_does_not_blur_what_is_near(embedding: torch.Tensor) -> None:
    retrieval = fitted(embedding)
    expected = answers(retrieval, embedding.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = answers(retrieval, embedding.bfloat16(), UNDECIDED.bfloat16())
    for name, value in expected.items():
        torch.testing.assert_close(said[name], value)


@pytest.fixture
def with_memory(tmp_path: Path) -> Path:
    model = make_model(preset("tiny"), seed=0)
    width, targets = model.heads.width, model.config.targets
    classes = {name: torch.arange(60) % 7 for name in targets if name in {"crystal_system", "space_group"}}
    residuals = {name: torch.randn(60) for name in targets if name not in classes}
    model.knn_retrieval = fit_knn_retrieval(torch.randn(60, width), targets, classes=classes, residuals=residuals)
    save_checkpoint(tmp_path, Checkpoint(model, {}), dtype=torch.bfloat16)
    return tmp_path


def test_retrieval_is_part_of_the_checkpoint(with_memory: Path) -> None:
    first = load_checkpoint(with_memory).model
    assert first.knn_retrieval is not None
    save_checkpoint(with_memory, Checkpoint(first, {}))
    again = load_checkpoint(with_memory).model
    embedding = torch.randn(5, first.heads.width)
    for name, output in first.eval().apply_heads(embedding).items():
        torch.testing.assert_close(again.eval().apply_heads(embedding)[name], output)
        assert not torch.equal(first.heads(embedding)[name], output)


@pytest.mark.parametrize("broken", ["missing", "shape", "infinite"])
def test_retrieval_that_does_not_fit_is_refused(with_memory: Path, broken: str) -> None:
    model = load_checkpoint(with_memory).model
    assert model.knn_retrieval is not None
    weights = model.knn_retrieval.state_dict()
    if broken == "missing":
        del weights["keys"]
    elif broken == "shape":
        weights["classes"] = weights["classes"][1:]
    else:
        weights["residuals"] = torch.full_like(weights["residuals"], torch.inf)
    with pytest.raises(CheckpointError, match="retrieval"):
        KnnRetrieval.from_weights(model.config.targets, weights, width=model.heads.width)


def test_training_ends_with_a_memory_of_the_training_materials_which_a_next_one_forgets(
    small_dataset: Path, tmp_path: Path
) -> None:
    recipe = override(recipe_by_name("tiny"), {"retrieval_rows": 30, "epochs": 0.2, "validate_every": 1000})
    first = load_checkpoint(train(recipe, small_dataset, tmp_path / "first")).model
    assert first.knn_retrieval is not None
    assert len(first.knn_retrieval.keys) == 30
    again = override(recipe, {"retrieval_rows": 0, "start_from": str(tmp_path / "first" / "model")})
    assert load_checkpoint(train(again, small_dataset, tmp_path / "second")).model.knn_retrieval is None


def test_a_model_of_averaged_weights_is_given_retrieval(small_dataset: Path, tmp_path: Path) -> None:
    recipe = override(recipe_by_name("tiny"), {"retrieval_rows": 0, "epochs": 0.2, "validate_every": 1000})
    runs = [train(override(recipe, {"seed": seed}), small_dataset, tmp_path / str(seed)) for seed in (0, 1)]
    line = ["retrieval", "attach", str(runs[0]), str(small_dataset), str(tmp_path / "mean"), "--materials", "20"]
    result = CliRunner().invoke(app, [*line, "--mean-with", str(runs[1])])
    assert result.exit_code == 0, result.output
    mean, weights = load_checkpoint(tmp_path / "mean"), [load_checkpoint(run).model.state_dict() for run in runs]
    assert mean.model.knn_retrieval is not None
    assert len(mean.model.knn_retrieval.keys) == 20
    assert mean.calibration["crystal_system"]["temperature"] > 0
    assert len(set(mean.about["mean_of"])) == 2
    for name, value in mean.model.named_parameters():
        torch.testing.assert_close(value, ((weights[0][name] + weights[1][name]) / 2).bfloat16().float())


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Checkpoint(make_model(replace(preset("tiny"), targets=("crystal_system",)), seed=0), {}), "targets"),
        (Checkpoint(make_model(preset("tiny"), seed=0), {"band_gap": (1.0, 2.0)}), "statistics"),
        (Checkpoint(make_model(preset("tiny"), seed=0), {}, about={"data_digest": "other"}), "data: None and other"),
    ],
    ids=["model", "statistics", "data"],
)
def test_weights_that_do_not_go_together_are_not_averaged(other: Checkpoint, named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        mean_checkpoint([Checkpoint(make_model(preset("tiny"), seed=0), {}), other])


def test_trees_are_not_averaged() -> None:
    trees = Checkpoint(make_model(preset("extra-trees"), seed=0), {})
    with pytest.raises(CheckpointError, match="trees"):
        mean_checkpoint([trees, trees])


def test_a_model_is_finished_within_a_size_from_its_materials_and_those_of_another_dataset(
    small_dataset: Path, small_table: StickTable, tmp_path: Path
) -> None:
    recipe = override(recipe_by_name("tiny"), {"retrieval_rows": 0, "epochs": 0.2, "validate_every": 1000})
    run, output = train(recipe, small_dataset, tmp_path / "run"), tmp_path / "finished"
    line = ["finish", str(run), str(small_dataset), str(output), "--extra", str(small_dataset)]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    finished = load_checkpoint(output)
    assert finished.model.knn_retrieval is not None
    assert len(finished.model.knn_retrieval.keys) == 2 * len(small_table.rows("train"))
    assert set(finished.calibration["trust"]) == {"constant", "similarity", "agreement"}
    assert finished.about["recipe"]["retrieval_rows"] == 2 * len(small_table.rows("train"))
    shutil.rmtree(output)
    weights = sum(2 * value.numel() for value in load_checkpoint(run).model.state_dict().values())
    refused = CliRunner().invoke(app, [*line, "--size", str(weights)])
    assert isinstance(refused.exception, CheckpointError)
    assert "no room" in str(refused.exception)
