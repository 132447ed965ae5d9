"""Heads: a composition estimate with a correction, a gate for metals, and an embedding that class heads read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from xxact_core.checkpoint import make_model
from xxact_core.errors import RecipeError
from xxact_core.model.config import PRESETS, preset
from xxact_core.model.heads import GapHead, TargetHeads
from xxact_core.model.inputs import ModelInput

CONFIG = replace(
    preset("tiny"),
    element_readout=True,
    head_hidden_width=16,
    embedding_width=8,
    composition_estimate=True,
    teacher_offset=True,
    metal_head=True,
)


def inputs_for(batch: int = 3) -> ModelInput:
    generator = torch.Generator().manual_seed(0)
    return ModelInput(
        100 * torch.rand(batch, 4250, generator=generator),
        torch.zeros(batch, 17, dtype=torch.bool),
        torch.tensor([[11, 17]]).repeat(batch, 1),
        torch.tensor([[0.5, 0.5]]).repeat(batch, 1),
    )


def test_embedding_is_the_beginning_of_the_features_and_has_one_length() -> None:
    model = make_model(CONFIG, seed=0).eval()
    with torch.inference_mode():
        features, embedding = model.features(inputs_for()), model.embed(inputs_for())
    assert features.shape == (3, model.heads.width) == (3, 8 + 32 + 32)
    assert torch.equal(features[:, :8], embedding)
    torch.testing.assert_close(embedding.norm(dim=1), torch.full((3,), 8**0.5))


def test_class_heads_are_linear_on_the_embedding_and_read_nothing_else() -> None:
    heads = TargetHeads(CONFIG, width=32)
    features = torch.randn(4, heads.width)
    changed = torch.cat([features[:, :8], torch.randn(4, heads.width - 8)], dim=1)
    for name in ("crystal_system", "space_group"):
        assert isinstance(heads[name], torch.nn.Linear)
        assert torch.equal(heads(features)[name], heads(changed)[name])
    energy = "formation_energy_per_atom"
    assert not torch.equal(heads(features)[energy], heads(changed)[energy])


def test_an_old_model_embeds_the_fused_cls_and_has_no_parts() -> None:
    model = make_model(preset("tiny"), seed=0).eval()
    with torch.no_grad():
        features = model.features(inputs_for())
        assert torch.equal(features, model.fuse(model.encode(inputs_for()), cls_only=True)[:, 0])
        assert torch.equal(model.embed(inputs_for()), features)
    assert model.heads.with_parts(features)[1] == {}
    assert model.heads.teacher_offset(features) is None


def test_the_energy_is_the_estimate_plus_a_correction_that_does_not_train_the_estimate() -> None:
    heads = TargetHeads(CONFIG, width=32)
    head = heads["formation_energy_per_atom"]
    features = torch.randn(4, heads.width)
    outputs, parts = heads.with_parts(features)
    total = parts["composition_estimate"] + head.correction(features[:, 8:])
    torch.testing.assert_close(outputs["formation_energy_per_atom"], total)
    outputs["formation_energy_per_atom"].sum().backward()
    assert all(parameter.grad is None for parameter in head.estimate.parameters())
    assert all(parameter.grad is not None for parameter in head.correction.parameters())


def test_the_estimate_reads_the_composition_alone() -> None:
    model = make_model(CONFIG, seed=0).eval()
    inputs = inputs_for()
    other = replace(inputs, intensity=inputs.intensity.flip(1))
    with torch.inference_mode():
        first, second = (model.heads.with_parts(model.features(each)) for each in (inputs, other))
    assert torch.equal(first[1]["composition_estimate"], second[1]["composition_estimate"])
    assert not torch.equal(first[0]["formation_energy_per_atom"], second[0]["formation_energy_per_atom"])


@torch.no_grad()
def test_a_probable_metal_has_no_gap_and_a_sure_nonmetal_the_whole_value() -> None:
    head = GapHead(1, 0)
    head.head.weight.copy_(torch.tensor([[0.0], [1.0]]))  # the value is constant, the feature is the logit
    head.head.bias.copy_(torch.tensor([2.0, 0.0]))
    gap, parts = head(torch.tensor([[-3.0], [0.0], [0.5], [40.0]]))
    above = (gap - head.zero).squeeze(1)
    assert above[:2].tolist() == [0.0, 0.0]
    assert 0 < float(above[2]) < float(above[3])
    assert float(above[3]) == pytest.approx(2.1269, abs=1e-3)  # softplus(2)
    assert parts["nonmetal"].squeeze(1).tolist() == [-3.0, 0.0, 0.5, 40.0]


@pytest.mark.parametrize(
    "setting", [{"embedding_width": 8}, {"composition_estimate": True}, {"decoder": "peaks"}, {"peak_ratios": 4}]
)
def test_baselines_refuse_what_needs_the_fusion(setting: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="fus"):
        replace(PRESETS["crabnet-small"], intensity_scale="sqrt", **setting)
