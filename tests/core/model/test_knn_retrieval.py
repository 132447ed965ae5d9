"""What a finished model remembers: the nearest training materials have their say, and no more than that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from xxact_core.checkpoint import Checkpoint, load_checkpoint, make_model, save_checkpoint
from xxact_core.commands.main import app
from xxact_core.errors import CheckpointError
from xxact_core.model.config import preset
from xxact_core.model.knn_retrieval import (
    GATE_MIDPOINT,
    GATE_WIDTH,
    MIXING_WEIGHT,
    NEIGHBOURS,
    UNKNOWN,
    KnnRetrieval,
    fit_knn_retrieval,
)
from xxact_core.training.config import override
from xxact_core.training.finish import mean_checkpoint
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train

TARGETS = ("formation_energy_per_atom", "crystal_system")
GROUPS, EACH, WIDTH = 7, 2 * NEIGHBOURS, 16


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
    return retrieval(embedding, {"crystal_system": logits, TARGETS[0]: torch.zeros(len(embedding), 1)})


def trust_in(retrieval: KnnRetrieval, embedding: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid((retrieval.nearest(embedding)[0][:, 0] - GATE_MIDPOINT) / GATE_WIDTH)


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
    retrieval = fit_knn_retrieval(known, TARGETS, classes={"crystal_system": system}, residuals={TARGETS[0]: residuals})
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
        wide, TARGETS, classes={"crystal_system": SYSTEM[:500]}, residuals={TARGETS[0]: torch.zeros(500)}
    )
    similarity, nearest = retrieval.nearest(wide)
    assert (nearest[:, 0] == torch.arange(500)).all()
    assert float(similarity[:, 0].min()) > 0.98  # on average 0.994: Max 1960 has 1.15 % of the variance lost
    assert retrieval.keys.shape == (500, 96)
    assert retrieval.keys.dtype == torch.uint8


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
        torch.testing.assert_close(value, (weights[0][name] + weights[1][name]) / 2)


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
