"""The model: exact sizes, and that it sees what it should and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from xxact_core.checkpoint import make_model
from xxact_core.errors import RecipeError
from xxact_core.model.attention import DecoderLayer, EncoderLayer
from xxact_core.model.config import PRESETS, BlockSizes, ModelConfig, preset
from xxact_core.model.heads import ElementReadout, ReconstructionHead
from xxact_core.model.inference import class_probabilities
from xxact_core.model.inputs import ModelInput
from xxact_core.model.pattern_tokens import WINDOW_POINTS, WINDOWS, scale_intensity
from xxact_core.model.xxact import Xxact, count_parameters
from xxact_core.patterns.grid import GRID
from xxact_core.quantities import SYSTEM_OF_GROUP

SMALL_PRESETS = [name for name, config in PRESETS.items() if config.architecture == "xxact" and name != "paper"]


def inputs(batch: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    fractions = torch.tensor([[0.6, 0.4, 0.0], [1.0, 0.0, 0.0], [0.5, 0.3, 0.2]])[:batch]
    return {
        "intensity": 100 * torch.rand(batch, GRID.points, generator=generator),
        "window_mask": torch.zeros(batch, WINDOWS, dtype=torch.bool),
        "atomic_numbers": torch.tensor([[8, 13, 0], [14, 0, 0], [8, 26, 3]])[:batch],
        "fractions": fractions,
    }


@pytest.fixture(params=SMALL_PRESETS)
def model(request: pytest.FixtureRequest) -> Xxact:
    return make_model(PRESETS[request.param], seed=0).eval()


def test_paper_preset_has_the_exact_sizes_of_the_paper() -> None:
    model = make_model(PRESETS["paper"], seed=0)
    cls = 512  # CrabNet has no [CLS]; ours is counted apart
    assert count_parameters(model.pattern_encoder) == 6_446_592
    assert count_parameters(model.composition_encoder) - cls == 9_560_067
    assert count_parameters(model.fusion) == 94_534_656
    assert count_parameters(model.pattern_projection) == 393_984
    assert count_parameters(model.composition_projection) == 393_984


def test_layers_have_the_sizes_of_torchs_own() -> None:
    sizes = BlockSizes(width=24, depth=1, heads=4, feedforward=40)
    assert count_parameters(EncoderLayer(sizes)) == count_parameters(torch.nn.TransformerEncoderLayer(24, 4, 40))
    assert count_parameters(DecoderLayer(sizes)) == count_parameters(torch.nn.TransformerDecoderLayer(24, 4, 40))


def test_grid_and_model_cut_the_same_windows() -> None:
    assert (GRID.windows, GRID.window_points) == (WINDOWS, WINDOW_POINTS)


def test_outputs_have_one_head_a_target(model: Xxact) -> None:
    outputs = model(ModelInput(**inputs()))
    shapes = {name: tuple(output.shape) for name, output in outputs.items()}
    assert shapes == {
        "formation_energy_per_atom": (3, 1),
        "band_gap": (3, 1),
        "crystal_system": (3, 7),
        "space_group": (3, 230),
    }


def test_order_of_the_elements_and_empty_slots_do_not_matter(model: Xxact) -> None:
    data = inputs()
    wanted = model(ModelInput(**data))
    order = [2, 0, 1]
    shuffled = data | {
        "atomic_numbers": torch.nn.functional.pad(data["atomic_numbers"][:, order], (0, 4)),
        "fractions": torch.nn.functional.pad(data["fractions"][:, order], (0, 4)),
    }
    for name, output in model(ModelInput(**shuffled)).items():
        torch.testing.assert_close(output, wanted[name], atol=2e-5, rtol=1e-4)


def test_materials_of_a_batch_do_not_see_one_another(model: Xxact) -> None:
    data = inputs()
    together, alone = model(ModelInput(**data)), model(ModelInput(**{name: value[1:2] for name, value in data.items()}))
    for name in together:
        torch.testing.assert_close(together[name][1:2], alone[name], atol=2e-5, rtol=1e-4)


def test_hidden_windows_are_not_seen_at_all(model: Xxact) -> None:
    data = inputs()
    data["window_mask"][:, [0, 5, 16]] = True
    wanted = model(ModelInput(**data))
    changed = data["intensity"].clone().unflatten(1, (WINDOWS, WINDOW_POINTS))
    changed[:, [0, 5, 16]] = 77.0
    for name, output in model(ModelInput(**data | {"intensity": changed.flatten(1)})).items():
        assert torch.equal(output, wanted[name])
    seen = data["intensity"].clone().unflatten(1, (WINDOWS, WINDOW_POINTS))
    seen[:, 6] = 77.0
    assert not torch.equal(model(ModelInput(**data | {"intensity": seen.flatten(1)}))["band_gap"], wanted["band_gap"])


def test_each_window_of_the_pattern_reaches_the_answer(model: Xxact) -> None:
    data = inputs(1)
    data["intensity"].requires_grad_()
    model(ModelInput(**data))["crystal_system"].square().sum().backward()
    per_window = data["intensity"].grad.unflatten(1, (WINDOWS, WINDOW_POINTS)).abs().sum(dim=2)
    assert bool((per_window > 0).all())


def test_fraction_of_an_element_matters(model: Xxact) -> None:
    data = inputs()
    changed = data | {"fractions": torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.2, 0.3]])}
    before, after = model(ModelInput(**data))["band_gap"], model(ModelInput(**changed))["band_gap"]
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


def test_fused_cls_alone_is_the_first_of_all_fused_tokens(model: Xxact) -> None:
    values = inputs()
    encoded = model.encode(ModelInput(**values))
    torch.testing.assert_close(model.fuse(encoded, cls_only=True), model.fuse(encoded)[:, :1], rtol=1e-5, atol=1e-6)


def test_reconstruction_has_the_shape_of_the_windows_and_is_not_negative(model: Xxact) -> None:
    data = inputs()
    rebuilt = model.reconstruct(model.fuse(model.encode(ModelInput(**data))), ModelInput(**data))
    assert rebuilt.shape == (3, WINDOWS, WINDOW_POINTS)
    assert float(rebuilt.detach().min()) >= 0


def test_reconstruction_that_is_below_zero_everywhere_can_still_learn() -> None:
    head = ReconstructionHead(preset("tiny"))
    torch.nn.init.constant_(head[0].bias, -5.0)
    fused = torch.randn(2, WINDOWS, preset("tiny").fusion.width)
    head.train()(fused).square().mean().backward()
    assert head[0].bias.grad is not None
    assert (head[0].bias.grad < 0).all()
    assert (head.eval()(fused) == 0).all()


def test_intensity_scales() -> None:
    intensity = torch.tensor([[0.0, 25.0, 100.0]])
    assert scale_intensity(intensity, intensity_scale="linear").tolist() == [[0.0, 0.25, 1.0]]
    assert scale_intensity(intensity, intensity_scale="sqrt").tolist() == [[0.0, 0.5, 1.0]]


def test_weights_follow_from_the_seed_and_leave_the_callers_randomness_alone() -> None:
    torch.manual_seed(5)
    first = make_model(PRESETS["tiny"], seed=1).state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    second, other = (make_model(PRESETS["tiny"], seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["mask_token"], other["mask_token"])


@pytest.mark.parametrize("name", list(PRESETS))
def test_config_round_trip(name: str) -> None:
    config = PRESETS[name]
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert ModelConfig.from_dict(replace(config, intensity_scale="sqrt", tokenizer="convolution").to_dict()) != replace(
        config, intensity_scale="linear", tokenizer="windows"
    )


def test_system_and_group_never_contradict_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = {
        "crystal_system": 3 * torch.randn(50, 7, generator=generator),
        "space_group": 3 * torch.randn(50, 230, generator=generator),
    }
    probabilities = class_probabilities(logits, {"crystal_system": 1.4, "space_group": 0.8})
    by_groups = torch.zeros(50, 7, dtype=torch.float64)
    by_groups.index_add_(1, torch.tensor(SYSTEM_OF_GROUP), probabilities["space_group"])
    torch.testing.assert_close(by_groups, probabilities["crystal_system"])
    torch.testing.assert_close(by_groups.sum(dim=1), torch.ones(50, dtype=torch.float64))


def test_heads_that_agree_are_left_as_they_are() -> None:
    groups = torch.randn(20, 230, generator=torch.Generator().manual_seed(1)).double()
    systems = torch.zeros(20, 7, dtype=torch.float64)
    systems.index_add_(1, torch.tensor(SYSTEM_OF_GROUP), groups.softmax(dim=1))
    probabilities = class_probabilities({"crystal_system": systems.log(), "space_group": groups}, {})
    torch.testing.assert_close(probabilities["crystal_system"], systems)
    torch.testing.assert_close(probabilities["space_group"], groups.softmax(dim=1))


def test_single_class_head_is_a_softmax_at_its_temperature() -> None:
    logits = torch.tensor([[0.0, 2.0, 4.0, 0.0, 0.0, 0.0, 0.0]])
    probabilities = class_probabilities({"crystal_system": logits}, {"crystal_system": 2.0})
    torch.testing.assert_close(probabilities["crystal_system"], (logits.double() / 2).softmax(dim=1))


def test_elements_say_their_share_whatever_their_order_and_empty_slots_say_nothing() -> None:
    readout = ElementReadout(PRESETS["tiny"])
    elements = torch.randn(1, 3, 32)
    said = readout(elements, torch.tensor([[True, True, False]]))
    single = [readout(elements[:, [place]], torch.ones(1, 1, dtype=torch.bool)) for place in (0, 1)]
    torch.testing.assert_close(said, (single[0] + single[1]) / 2)
    assert not readout(elements, torch.zeros(1, 3, dtype=torch.bool)).any()


def test_deep_head_is_no_linear_map() -> None:
    head = make_model(replace(PRESETS["tiny"], head_hidden_width=16), seed=0).heads["band_gap"]
    first, second = torch.randn(2, 1, 32)
    middle = (head(first) + head(second)) / 2
    assert head(first).shape == (1, 1)
    assert not torch.allclose(head((first + second) / 2), middle, atol=1e-4)


def test_impossible_configs_are_refused() -> None:
    tiny = PRESETS["tiny"]
    with pytest.raises(RecipeError, match="heads"):
        BlockSizes(width=10, depth=1, heads=3, feedforward=8)
    with pytest.raises(RecipeError, match="one width"):
        replace(tiny, composition=BlockSizes(width=64, depth=1, heads=2, feedforward=8))
    with pytest.raises(RecipeError, match="tokenizer"):
        replace(tiny, tokenizer="words")
    with pytest.raises(RecipeError, match="colour"):
        replace(tiny, targets=("colour",))
    with pytest.raises(RecipeError, match="crabnet"):
        replace(tiny, architecture="crab")
    with pytest.raises(RecipeError, match="bypass the fusion"):
        replace(PRESETS["compact"], architecture="crabnet")
    with pytest.raises(RecipeError, match="bypass the fusion"):
        replace(PRESETS["crabnet-small"], element_readout=True)
    for preset_name, width in (("tiny", -1), ("tiny", 10_000), ("extra-trees", 16)):
        with pytest.raises(RecipeError, match=f"head_hidden_width is {width}"):
            replace(PRESETS[preset_name], head_hidden_width=width)
    with pytest.raises(RecipeError, match="heigth"):
        ModelConfig.from_dict(tiny.to_dict() | {"heigth": 1})
    with pytest.raises(RecipeError, match="compact"):
        preset("huge")
