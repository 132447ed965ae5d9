"""The baselines: exact sizes, what each looks at and what it does not, and that each can be trained and asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import LimitedRange
from xxact_core.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint, make_model, save_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.errors import FormulaError, RecipeError
from xxact_core.evaluation.evaluate import predict_rows
from xxact_core.model.baselines.crabnet import CrabNet, ResidualNetwork
from xxact_core.model.baselines.fcn import ConvolutionBlocks
from xxact_core.model.baselines.fcn_mlp import to_element_vector
from xxact_core.model.config import PRESETS, ModelConfig
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import WINDOW_POINTS, WINDOWS
from xxact_core.model.xxact import count_parameters
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.prediction.predictor import Predictor
from xxact_core.quantities import PREDICTED
from xxact_core.training.config import Recipe, override
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import target_statistics, train
from xxact_core.training.step import TrainingModule, batch_losses, draw_randomness

TINY = PRESETS["tiny"]
KINDS = ["xxact", "crabnet", "xrd-transformer", "fcn", "fcn-mlp"]
BASELINES = KINDS[1:]
READ_THE_PATTERN = ["xxact", "xrd-transformer", "fcn", "fcn-mlp"]
READ_THE_COMPOSITION = ["xxact", "crabnet", "fcn-mlp"]


def small_model(kind: str) -> Model:
    return make_model(replace(TINY, architecture=kind), seed=0).eval()


def tiny_recipe(kind: str) -> Recipe:
    """The recipe of a kind with the smallest layers that the kind allows, for a few steps."""
    quick = {"task_sampling": "all", "batch_size": 16, "epochs": 0.1, "validation_rows": 8}
    if kind == "xxact":
        return override(recipe_by_name("tiny"), quick)
    sizes = {name: getattr(TINY, name) for name in ("pattern", "composition", "fusion")}
    return override(recipe_by_name(kind), quick | {"model_settings": sizes, "lr_peak": 1e-3})


def inputs() -> dict[str, torch.Tensor]:
    return {
        "intensity": 100 * torch.rand(3, GRID.points, generator=torch.Generator().manual_seed(0)),
        "window_mask": torch.zeros(3, WINDOWS, dtype=torch.bool),
        "atomic_numbers": torch.tensor([[8, 13, 0], [14, 0, 0], [8, 26, 3]]),
        "fractions": torch.tensor([[0.6, 0.4, 0.0], [1.0, 0.0, 0.0], [0.5, 0.3, 0.2]]),
    }


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "target", "parameters"),
    [
        ("fcn-mlp", "formation_energy_per_atom", 1_814_401),  # the paper's own figure
        ("fcn", "formation_energy_per_atom", 1_672_593),
        ("fcn", "crystal_system", 1_672_593 + 6 * 65),
        ("fcn", "space_group", 2_026_742),
        ("xrd-transformer", "formation_energy_per_atom", 6_446_592 + 512 + 513),
        ("crabnet", "formation_energy_per_atom", 11_987_206 - 2 * 129),  # without the reference's spread and gate
    ],
)
def test_baselines_have_the_exact_sizes_of_the_paper(name: str, target: str, parameters: int) -> None:
    assert count_parameters(make_model(replace(PRESETS[name], targets=(target,)), seed=0)) == parameters


def test_crabnet_has_the_encoder_of_the_reference_and_no_cls() -> None:
    model = make_model(PRESETS["crabnet"], seed=0)
    assert isinstance(model, CrabNet)
    assert count_parameters(model.composition_encoder) == 9_560_067
    assert count_parameters(model.residual_network) == 2_426_752


def test_crabnets_answer_is_the_mean_of_what_its_elements_say() -> None:
    model, data = small_model("crabnet"), inputs()
    assert isinstance(model, CrabNet)
    tokens, present = model.composition_encoder(data["atomic_numbers"], data["fractions"])
    each = model.heads["band_gap"](model.residual_network(tokens))
    wanted = torch.stack([says[there].mean(dim=0) for says, there in zip(each, present, strict=True)])
    torch.testing.assert_close(model(ModelInput(**data))["band_gap"], wanted)


def test_residual_network_without_its_layers_is_its_shortcuts() -> None:
    network = ResidualNetwork([4, 8, 2])
    for layer in network.layers:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    elements = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    shortcut = network.shortcuts[1].weight @ network.shortcuts[0].weight
    torch.testing.assert_close(network(elements), elements @ shortcut.T)


def test_twelve_halvings_leave_one_point_of_the_grid() -> None:
    assert ConvolutionBlocks(dropout=0.0, last_dropout=0.0)(torch.zeros(2, GRID.points)).shape == (2, 512, 1)


def test_blocks_are_the_published_ones() -> None:
    """Taking the larger of two neighbours before LeakyReLU changes neither the output nor a gradient."""
    torch.manual_seed(0)
    blocks = ConvolutionBlocks(dropout=0.0, last_dropout=0.0)
    pattern = inputs()["intensity"] / 100
    expected = pattern.unsqueeze(1)
    for convolution in list(blocks)[::4]:
        expected = nn.functional.max_pool1d(nn.functional.leaky_relu(convolution(expected), 0.3), 2)
    output = blocks(pattern)
    assert output.equal(expected)
    weights = list(blocks.parameters())
    for left, right in zip(
        torch.autograd.grad(output.sum(), weights), torch.autograd.grad(expected.sum(), weights), strict=True
    ):
        assert left.equal(right)


def test_convolutions_let_the_pattern_through_at_the_start() -> None:
    """With torch's own start, two patterns differ by a ten-thousandth after the blocks."""
    torch.manual_seed(0)
    with torch.no_grad():
        left = ConvolutionBlocks(dropout=0.0, last_dropout=0.0)(inputs()["intensity"] / 100)
    assert float((left[0] - left[1]).abs().mean()) > 0.02 * float(left.abs().mean())


def test_composition_is_read_as_the_fraction_of_each_of_a_hundred_elements() -> None:
    data = inputs()
    fractions = to_element_vector(data["atomic_numbers"], data["fractions"])
    assert fractions.shape == (3, 100)
    assert fractions[0].nonzero().flatten().tolist() == [7, 12]
    assert fractions[2, [7, 25, 2]].tolist() == data["fractions"][2].tolist()
    assert fractions.sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(FormulaError, match="101"):
        to_element_vector(torch.tensor([[101]]), torch.tensor([[1.0]]))


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_every_kind_have_one_head_a_target(kind: str) -> None:
    model, data = small_model(kind), inputs()
    embedding, outputs = model.embed(ModelInput(**data)), model(ModelInput(**data))
    assert embedding.ndim == 2
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "formation_energy_per_atom": (3, 1),
        "band_gap": (3, 1),
        "crystal_system": (3, 7),
        "space_group": (3, 230),
    }
    assert same(outputs, model.heads(embedding))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_looks_at_its_own_inputs_only(kind: str) -> None:
    model, data = small_model(kind), inputs()
    before = model(ModelInput(**data))
    other_pattern = data | {"intensity": data["intensity"].flip(1)}
    all_hidden = data | {"window_mask": torch.ones_like(data["window_mask"])}
    other_elements = data | {"atomic_numbers": torch.tensor([[9, 14, 0], [15, 0, 0], [9, 27, 4]])}
    other_fractions = data | {"fractions": torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.4, 0.3, 0.3]])}
    for changed in (other_pattern, all_hidden):
        assert same(model(ModelInput(**changed)), before) is (kind not in READ_THE_PATTERN)
    for changed in (other_elements, other_fractions):
        assert same(model(ModelInput(**changed)), before) is (kind not in READ_THE_COMPOSITION)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_elements_and_empty_slots_do_not_matter_to_any_kind(kind: str) -> None:
    model, data = small_model(kind), inputs()
    order = [2, 0, 1]
    shuffled = data | {
        name: torch.nn.functional.pad(data[name][:, order], (0, 4)) for name in ("atomic_numbers", "fractions")
    }
    wanted = model(ModelInput(**data))
    for name, output in model(ModelInput(**shuffled)).items():
        torch.testing.assert_close(output, wanted[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_materials_of_a_batch_do_not_see_one_another_in_any_kind(kind: str) -> None:
    model, data = small_model(kind), inputs()
    together, alone = model(ModelInput(**data)), model(ModelInput(**{name: value[1:2] for name, value in data.items()}))
    for name in together:
        torch.testing.assert_close(together[name][1:2], alone[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_intensities_of_hidden_windows_matter_to_no_kind(kind: str) -> None:
    model, data = small_model(kind), inputs()
    data["window_mask"][:, [0, 5, 16]] = True
    changed = data["intensity"].clone().unflatten(1, (WINDOWS, WINDOW_POINTS))
    changed[:, [0, 5, 16]] = 77.0
    assert same(model(ModelInput(**data)), model(ModelInput(**data | {"intensity": changed.flatten(1)})))


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("targets", [PREDICTED, ("crystal_system",), ("formation_energy_per_atom",)], ids=len)
def test_every_parameter_of_a_baseline_gets_a_finite_gradient(
    small_table: StickTable, kind: str, targets: tuple[str, ...]
) -> None:
    limited = AugmentationConfig(limited_range=LimitedRange(share=1.0))
    recipe = replace(tiny_recipe(kind), targets=targets, augmentation=limited)
    module = TrainingModule(make_model(recipe.model_config(), seed=0), recipe)
    maker = BatchMaker(small_table, device=torch.device("cpu"), augmentation=limited)
    losses = batch_losses(
        module,
        maker.batch(np.arange(32), seed=0),
        recipe,
        target_statistics(small_table, recipe),
        draw_randomness(32, recipe, generator=torch.Generator().manual_seed(0)),
    )
    assert set(losses) == set(targets)
    sum(losses.values()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        # The keys' bias shifts every score of a query alike, which softmax does not see.
        if "key_value.bias" not in name:
            assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("kind", BASELINES)
def test_three_steps_lower_the_loss_of_a_baseline(small_table: StickTable, kind: str) -> None:
    recipe = tiny_recipe(kind)
    module = TrainingModule(make_model(recipe.model_config(), seed=0), recipe).eval()
    batch = BatchMaker(small_table, device=torch.device("cpu")).batch(np.arange(24), seed=0)
    statistics = target_statistics(small_table, recipe)
    optimiser = torch.optim.AdamW(module.parameters(), lr=2e-3)
    curve = []
    for _ in range(4):
        randomness = draw_randomness(len(batch), recipe, generator=torch.Generator().manual_seed(0))
        losses = batch_losses(module, batch, recipe, statistics, randomness)
        loss = torch.stack(list(losses.values())).sum()
        curve.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert curve[3] < curve[0]


@pytest.mark.parametrize("kind", KINDS)
def test_run_of_every_kind_finishes_with_a_model_that_answers(
    small_dataset: Path, small_table: StickTable, tmp_path: Path, kind: str
) -> None:
    folder = train(tiny_recipe(kind), small_dataset, tmp_path / "run")
    assert describe_checkpoint(folder)["model"]["architecture"] == kind
    checkpoint = load_checkpoint(folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    save_checkpoint(copy, checkpoint)
    assert same(checkpoint.model.state_dict(), load_checkpoint(copy).model.state_dict())
    maker, rows = BatchMaker(small_table, device=torch.device("cpu")), small_table.rows("test")[:4]
    predictions = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics)
    batch = maker.batch(rows[:1], seed=0)
    pattern = GriddedPattern(intensity=batch.intensity[0].numpy(), coverage=np.ones(GRID.points, dtype=bool))
    prediction = Predictor.load(copy).predict(pattern, "Al2O3")
    assert sum(entry.probability for entry in prediction.crystal_system) == pytest.approx(1)
    assert prediction.formation_energy_per_atom is not None
    assert np.isfinite(prediction.formation_energy_per_atom.value)
    assert predictions.embedding.shape[0] == len(rows)


@pytest.mark.parametrize("kind", BASELINES)
def test_transfer_trains_the_head_of_a_baseline_only(small_dataset: Path, tmp_path: Path, kind: str) -> None:
    recipe = replace(tiny_recipe(kind), targets=("crystal_system",))
    start = tmp_path / "start"
    start.mkdir()
    save_checkpoint(start, Checkpoint(make_model(recipe.model_config(), seed=4), statistics={}))
    transfer = replace(recipe, targets=("band_gap",), start_from=str(start), freeze_backbone=True)
    tuned = train(transfer, small_dataset, tmp_path / "transfer")
    before, after = (load_checkpoint(folder).model.state_dict() for folder in (start, tuned))
    shared = [name for name in after if not name.startswith("heads.")]
    assert all(torch.equal(before[name], after[name]) for name in shared)
    fresh = make_model(transfer.model_config(), seed=transfer.seed).state_dict()
    assert not torch.equal(fresh["heads.band_gap.weight"], after["heads.band_gap.weight"])


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if config.architecture != "xxact"])
def test_every_baseline_has_a_recipe_of_its_own_name(name: str) -> None:
    recipe = recipe_by_name(name)
    heads = (
        "head_hidden_width",
        "teacher_offset",
        "metal_head",
    )  # those of the small ones are those of the recipe compact
    trained = recipe.model_config()
    assert replace(trained, **{head: getattr(PRESETS[name], head) for head in heads}) == PRESETS[name]
    single = override(recipe, {"targets": ["band_gap"]})
    assert single.model_config().targets == ("band_gap",)


def test_weights_of_one_kind_are_no_start_for_another(small_dataset: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    start.mkdir()
    save_checkpoint(start, Checkpoint(make_model(replace(TINY, architecture="xrd-transformer"), seed=0), statistics={}))
    with pytest.raises(RecipeError, match="different architecture"):
        train(replace(tiny_recipe("crabnet"), start_from=str(start)), small_dataset, tmp_path / "run")


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("objectives", [("contrastive",), ("mxm",), ("mxm", "targets")])
def test_objectives_of_two_encoders_are_refused_for_a_baseline(kind: str, objectives: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match=f"{kind}.*targets"):
        override(recipe_by_name(kind), {"objectives": objectives})


def test_config_written_before_there_were_kinds_is_of_the_first_kind() -> None:
    values = TINY.to_dict()
    del values["architecture"]
    assert ModelConfig.from_dict(values) == TINY
