"""What a recipe may choose besides the paper's: the optimiser, what is hidden, how exactly is multiplied."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from xxact_core.augmentation.effects import Strain
from xxact_core.checkpoint import load_checkpoint, make_model
from xxact_core.dataset.loading.batches import Batch, BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.errors import RecipeError
from xxact_core.evaluation.evaluate import predict_rows
from xxact_core.model.config import preset
from xxact_core.model.xxact import count_parameters
from xxact_core.quantities import ENERGY_KINDS, TEACHER
from xxact_core.training import run as run_module
from xxact_core.training.config import Recipe
from xxact_core.training.gradients import in_half_precision
from xxact_core.training.journal import event_to_line, read_journal
from xxact_core.training.optimiser import make_optimiser
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run, train
from xxact_core.training.start import check_polymorphs, target_statistics
from xxact_core.training.step import TrainingModule, batch_losses, draw_randomness, modality_dropout

QUICK = replace(recipe_by_name("tiny"), epochs=0.25, batch_size=16, validate_every=100, save_every=2)
MUON = replace(QUICK, optimiser="muon", ema_decay=0.9, drop_pattern=0.2, drop_composition=0.2)
CPU = torch.device("cpu")


def losses_of(folder: Path) -> list[float]:
    return [event["loss"] for event in read_journal(folder / "journal.jsonl") if event["event"] == "step"]


def test_muon_takes_the_matrices_inside_the_model_and_adamw_the_rest() -> None:
    config = replace(preset("compact"), element_readout=True, head_hidden_width=32)
    module = TrainingModule(make_model(config, seed=0), MUON)
    adamw, muon = (optimiser for optimiser, _ in make_optimiser(module, replace(MUON, preset="compact")).parts)
    taken = {id(value) for group in muon.param_groups for value in group["params"]}
    rest = {id(value) for group in adamw.param_groups for value in group["params"]}
    names = {name: value for name, value in module.named_parameters() if value.requires_grad}
    assert {id(value) for value in names.values()} == taken | rest
    assert not taken & rest
    assert id(names["model.fusion.layers.0.self_attention.query.weight"]) in taken
    assert id(names["model.heads.space_group.hidden.1.weight"]) in taken
    assert id(names["model.heads.space_group.out.weight"]) in rest
    assert id(names["model.pattern_encoder.positions"]) in rest
    assert all(value.ndim == 2 for value in names.values() if id(value) in taken)


def test_step_of_muon_is_as_large_in_every_direction() -> None:
    weight = torch.nn.Linear(24, 16)
    optimiser = make_optimiser(weight, replace(MUON, weight_decay=0.0, muon_lr_factor=1.0))
    optimiser.set_rate(0.1)
    before = weight.weight.detach().clone()
    slope = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    ((weight.weight * slope).sum() + weight.bias.sum()).backward()
    optimiser.step()
    scales = torch.linalg.svdvals(before - weight.weight.detach())
    assert float(scales.max() / scales.min()) < 1.155 / 0.845 + 1e-3
    # Liu et al.: 0.2 √max(rows, columns) makes the mean square of the entries that of AdamW's step.
    assert float(scales.median()) == pytest.approx(0.1 * 0.2 * 24**0.5, rel=0.3)


def test_killed_run_with_two_optimisers_resumes_to_the_same_bits(small_dataset: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(MUON, small_dataset, whole)
    shutil.copytree(whole, killed)
    shutil.rmtree(killed / "model")
    newest = max(killed.glob("checkpoints/step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    shutil.rmtree(newest)
    train(MUON, small_dataset, killed)
    assert losses_of(killed) == losses_of(whole)
    first, second = (load_checkpoint(folder / "model").model.state_dict() for folder in (whole, killed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_inputs_are_hidden_as_often_as_said_and_never_both(small_table: StickTable) -> None:
    batch = BatchMaker(small_table, device=CPU).batch(np.arange(400) % len(small_table), seed=0)
    recipe = replace(QUICK, drop_pattern=0.3, drop_composition=0.2)
    shown = modality_dropout(batch, recipe, draw_randomness(400, recipe, generator=torch.Generator().manual_seed(1)))
    no_pattern, no_composition = shown.window_mask.all(dim=1), (shown.fractions == 0).all(dim=1)
    assert float(no_pattern.float().mean()) == pytest.approx(0.3, abs=0.06)
    assert float(no_composition.float().mean()) == pytest.approx(0.2, abs=0.06)
    assert not bool((no_pattern & no_composition).any())
    assert torch.equal(shown.fractions[~no_composition], batch.fractions[~no_composition])


JITTERED = replace(QUICK, fraction_jitter=0.1, drop_light_elements=0.4)


def jittered(table: StickTable, recipe: Recipe, *, rows: int = 400) -> tuple[Batch, Batch]:
    batch = BatchMaker(table, device=CPU).batch(np.arange(rows) % len(table), seed=0)
    return batch, modality_dropout(
        batch, recipe, draw_randomness(rows, recipe, generator=torch.Generator().manual_seed(1))
    )


def test_recipes_without_jitter_draw_the_same_random_numbers(small_table: StickTable) -> None:
    batch, shown = jittered(small_table, QUICK)
    assert shown.fractions is batch.fractions
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    plain, more = (draw_randomness(8, recipe, generator=generators[0]) for recipe in (QUICK, JITTERED))
    again = draw_randomness(8, JITTERED, generator=generators[1])
    for name in ("masking", "tasks", "modality"):
        assert torch.equal(getattr(plain, name), getattr(again, name))
    assert plain.light_elements is None
    assert more.jitter is not None


def test_light_elements_are_dropped_at_the_given_rate_unless_there_are_no_others(small_table: StickTable) -> None:
    batch, shown = jittered(small_table, replace(QUICK, drop_light_elements=0.4))
    light = torch.isin(batch.atomic_numbers, torch.tensor([1, 3, 6, 8])) & (batch.fractions > 0)
    affected = light.any(dim=1) & ((batch.fractions > 0) & ~light).any(dim=1)
    gone = (light & (shown.fractions == 0)).any(dim=1)
    assert bool(affected.any())
    assert not bool((gone & ~affected).any())
    assert float(gone[affected].float().mean()) == pytest.approx(0.4, abs=0.08)
    torch.testing.assert_close(shown.fractions.sum(dim=1), torch.ones(400))
    assert not bool((shown.fractions[gone] * light[gone]).any())
    torch.testing.assert_close(shown.fractions[~gone], batch.fractions[~gone])


def test_fractions_of_half_of_the_materials_are_jittered(
    small_table: StickTable,
) -> None:
    batch, shown = jittered(small_table, replace(QUICK, fraction_jitter=0.1))
    present = batch.fractions > 0
    assert torch.equal(shown.fractions > 0, present)
    torch.testing.assert_close(shown.fractions.sum(dim=1), torch.ones(400))
    two = present.sum(dim=1) >= 2
    off = (shown.fractions / batch.fractions).log()[two]
    difference = off[:, 0] - off[:, 1]
    assert float((difference.abs() < 1e-6).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(difference.std()) == pytest.approx(0.1 * (2 / 6) ** 0.5, rel=0.2)  # mean of σ² over 0 and 0-0.1


def test_a_blurred_batch_is_the_same_in_pieces(small_table: StickTable) -> None:
    batch, shown = jittered(small_table, JITTERED, rows=48)
    randomness = draw_randomness(48, JITTERED, generator=torch.Generator().manual_seed(1))
    for piece in (slice(0, 20), slice(20, 48)):
        part = modality_dropout(batch.part(piece), JITTERED, randomness.part(piece))
        torch.testing.assert_close(part.fractions, shown.fractions[piece])


def test_material_without_pattern_or_composition_is_answered_by_the_other(small_table: StickTable) -> None:
    model = make_model(preset("tiny"), seed=0).eval()
    batch = BatchMaker(small_table, device=CPU).batch(np.arange(4), seed=0)
    nothing = torch.zeros_like(batch.fractions)
    first = model(replace(batch, fractions=nothing))
    other_elements = model(replace(batch, atomic_numbers=batch.atomic_numbers.flip(0), fractions=nothing))
    for name, output in first.items():
        assert bool(torch.isfinite(output).all())
        torch.testing.assert_close(output, other_elements[name])


def test_bfloat16_is_for_devices_unless_asked_for() -> None:
    assert not in_half_precision(QUICK, CPU)
    assert in_half_precision(QUICK, torch.device("cuda"))
    assert in_half_precision(replace(QUICK, precision="bfloat16"), CPU)
    assert not in_half_precision(replace(QUICK, precision="float32"), torch.device("cuda"))


def test_bfloat16_follows_float32_to_its_accuracy(small_dataset: Path, tmp_path: Path) -> None:
    curves = {}
    for precision in ("float32", "bfloat16"):
        train(replace(QUICK, precision=precision), small_dataset, tmp_path / precision)
        curves[precision] = losses_of(tmp_path / precision)
    assert curves["float32"] != curves["bfloat16"]
    assert curves["float32"] == pytest.approx(curves["bfloat16"], rel=0.02)


def test_gradient_that_is_no_number_stops_the_run_before_it_is_taken(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = run_module.gradients_of

    def spoilt(module: TrainingModule, *arguments: object, **rest: object) -> object:
        answer = honest(module, *arguments, **rest)
        if rest["seed"] == 3:
            next(value for value in module.parameters() if value.grad is not None).grad[:] = math.inf
        return answer

    monkeypatch.setattr(run_module, "gradients_of", spoilt)
    with pytest.raises(FloatingPointError, match=r"gradient (inf|nan)"):
        train(replace(QUICK, grad_clip_norm=None), small_dataset, tmp_path / "run")
    snapshots = sorted((tmp_path / "run" / "checkpoints").glob("step-*/model.safetensors"))
    assert [path.parent.name for path in snapshots] == ["step-2"]
    assert all(bool(value.isfinite().all()) for value in load_file(snapshots[0]).values() if value.is_floating_point())
    monkeypatch.undo()
    assert train(replace(QUICK, grad_clip_norm=None), small_dataset, tmp_path / "run").name == "model"


def test_run_killed_before_its_first_snapshot_leaves_no_trace_in_the_journal(
    small_dataset: Path, tmp_path: Path
) -> None:
    train(QUICK, small_dataset, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    shutil.copy(tmp_path / "whole" / "recipe.json", tmp_path / "killed")
    lines = (tmp_path / "whole" / "journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "killed" / "journal.jsonl").write_text("".join(lines[:2]) + lines[2][:20], encoding="utf-8")
    train(QUICK, small_dataset, tmp_path / "killed")
    assert losses_of(tmp_path / "killed") == losses_of(tmp_path / "whole")


def test_a_decoder_that_is_trained_alone_leaves_everything_else_as_it_is(small_dataset: Path, tmp_path: Path) -> None:
    both = replace(QUICK, objectives=("targets", "mxm"))
    before = load_checkpoint(train(replace(both, training_rows=20), small_dataset, tmp_path / "both"))
    alone = replace(both, start_from=str(tmp_path / "both" / "model"), freeze_backbone=True, freeze_heads=True)
    after = load_checkpoint(train(alone, small_dataset, tmp_path / "alone"))
    assert after.predicts_targets
    assert after.statistics == before.statistics  # of the materials that the heads learned from
    weights = after.model.state_dict()
    changed = {name for name, value in before.model.state_dict().items() if not torch.equal(value, weights[name])}
    assert changed
    assert all(name.startswith("reconstruction_head.") for name in changed)


def test_a_trained_model_predicts_the_same_at_the_first_step_on_other_data(small_dataset: Path, tmp_path: Path) -> None:
    recipe = replace(QUICK, model_settings={"metal_head": True, "composition_estimate": True, "teacher_offset": True})
    before = load_checkpoint(train(replace(recipe, training_rows=20), small_dataset, tmp_path / "before"))
    again = replace(recipe, start_from=str(tmp_path / "before" / "model"))
    run = open_run(again, small_dataset, tmp_path / "again", device=CPU)
    of_data = target_statistics(run.table, recipe)
    assert all(abs(mean - of_data[name][0]) > 0.05 * of_data[name][1] for name, (mean, _) in before.statistics.items())
    rows = run.table.rows("validation")
    expected, found = (
        predict_rows(model.eval(), run.validation_batches, rows, statistics)
        for model, statistics in ((before.model, before.statistics), (run.module.inference_model, run.statistics))
    )
    for name in ("formation_energy_per_atom", "band_gap"):
        np.testing.assert_allclose(found.values[name], expected.values[name], rtol=1e-5, atol=1e-5)
    for name, logits in expected.logits.items():
        np.testing.assert_allclose(found.logits[name], logits, rtol=1e-5, atol=1e-5)


def test_new_heads_and_those_that_never_learned_have_the_statistics_of_the_data(
    small_dataset: Path, small_table: StickTable, tmp_path: Path
) -> None:
    few = {"training_rows": 20}
    pretrained = train(replace(QUICK, objectives=("mxm",), **few), small_dataset, tmp_path / "pretrained")
    trained = train(replace(QUICK, **few), small_dataset, tmp_path / "trained")
    of_data = target_statistics(small_table, QUICK)
    assert target_statistics(small_table, replace(QUICK, start_from=str(pretrained))) == of_data
    other_gap = replace(QUICK, start_from=str(trained), model_settings={"metal_head": True})
    found = target_statistics(small_table, other_gap)
    assert found["band_gap"] == of_data["band_gap"]
    assert found["formation_energy_per_atom"] == load_checkpoint(trained).statistics["formation_energy_per_atom"]
    assert found["formation_energy_per_atom"] != of_data["formation_energy_per_atom"]


def test_runs_are_resumed_with_the_statistics_that_they_began_with(small_dataset: Path, tmp_path: Path) -> None:
    before = train(replace(QUICK, training_rows=20), small_dataset, tmp_path / "before")
    again = replace(QUICK, start_from=str(before))
    train(again, small_dataset, tmp_path / "run")
    assert open_run(again, small_dataset, tmp_path / "run", device=CPU).statistics == load_checkpoint(before).statistics
    journal = tmp_path / "run" / "journal.jsonl"
    lines = []
    for event in read_journal(journal):
        event.pop("statistics", None)  # journals of earlier versions have none, and meant those of the data
        lines.append(event_to_line(event))
    journal.write_text("".join(lines), encoding="utf-8")
    former = open_run(again, small_dataset, tmp_path / "run", device=CPU)
    assert former.statistics == target_statistics(former.table, QUICK)


def test_parameters_of_an_averaged_or_frozen_model_are_all_counted(small_dataset: Path, tmp_path: Path) -> None:
    plain, averaged = (
        train(QUICK, small_dataset, tmp_path / "plain"),
        train(replace(QUICK, ema_decay=0.9), small_dataset, tmp_path / "averaged"),
    )
    frozen = train(replace(QUICK, start_from=str(plain), freeze_backbone=True), small_dataset, tmp_path / "frozen")
    counts = {load_checkpoint(folder).about["parameters"] for folder in (plain, averaged, frozen)}
    assert counts == {count_parameters(make_model(QUICK.model_config(), seed=0))}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optimiser": "sgd"}, "optimiser"),
        ({"contrastive_loss": "triplet"}, "contrastive_loss"),
        ({"precision": "float64"}, "precision"),
        ({"muon_lr_factor": 0.0}, "muon_lr_factor"),
        ({"drop_pattern": 0.6, "drop_composition": 0.6}, "drop_pattern"),
        ({"drop_pattern": -0.1}, "drop_pattern"),
        ({"lattice_strain": Strain(), "targets": ("density",)}, "lattice_strain"),
        ({"objectives": ("contrastive",), "drop_pattern": 0.1}, "drop_pattern"),
        ({"preset": "crabnet-small", "drop_composition": 0.1}, "crabnet"),
        ({"fraction_jitter": -0.1}, "fraction_jitter"),
        ({"drop_light_elements": 1.5}, "drop_light_elements"),
        ({"preset": "xrd-transformer", "drop_light_elements": 0.1}, "does not read the composition"),
    ],
)
def test_impossible_choices_are_refused(change: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        replace(QUICK, **change)


PAIRED = {"difference_weight": 1.0, "polymorphs_together": 2}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"difference_weight": 1.0}, "polymorphs_together"),
        ({"difference_weight": -1.0, "polymorphs_together": 2}, "difference_weight"),
        ({"symmetry_contrast_weight": -0.1}, "symmetry_contrast_weight"),
        ({"mask_share": 0.0}, "mask_share"),
        ({"mxm_weight": 0.0}, "mxm_weight"),
        ({"polymorphs_together": 0}, "polymorphs_together"),
    ],
)
def test_settings_of_polymorphs_and_masks_are_checked(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        replace(recipe_by_name("tiny"), **settings)


def test_a_recipe_that_compares_polymorphs_needs_two_of_a_formula(small_table: StickTable) -> None:
    recipe = replace(recipe_by_name("tiny"), **PAIRED)
    check_polymorphs(small_table, replace(recipe, difference_weight=0.0))
    alone = replace(small_table, formula=np.array([f"X{row}" for row in range(len(small_table))]))
    check_polymorphs(alone, replace(recipe, targets=("band_gap",)))
    with pytest.raises(RecipeError, match="no formula has two training materials"):
        check_polymorphs(alone, recipe)


def test_polymorphs_are_compared_within_one_kind_of_label(small_table: StickTable) -> None:
    """One formula for all: DFT and teacher labels are two groups, whose differences are never compared."""
    kinds = np.full(len(small_table), ENERGY_KINDS.index("unique"), dtype=np.int8)
    kinds[1::2] = ENERGY_KINDS.index(TEACHER)
    table = replace(small_table, formula=np.full(len(small_table), "Na1Cl1"), energy_kind=kinds)
    batch = BatchMaker(table, device=torch.device("cpu")).batch(np.arange(6), seed=0)
    assert len(set(batch.polymorph_group[::2].tolist())) == len(set(batch.polymorph_group[1::2].tolist())) == 1
    assert batch.polymorph_group[0] != batch.polymorph_group[1]
    assert batch.from_teacher.tolist() == [False, True] * 3


def test_teacher_labels_train_an_offset_and_not_the_energy_of_dft(small_table: StickTable) -> None:
    """With nothing but teacher labels the offset gets the gradient of the energy; with DFT labels it gets none."""
    settings = {"composition_estimate": True, "teacher_offset": True, "head_hidden_width": 8}
    recipe = replace(recipe_by_name("tiny"), model_settings=settings)
    statistics = target_statistics(small_table, recipe)
    gradients = {}
    for kind in ("unique", TEACHER):
        kinds = np.full(len(small_table), ENERGY_KINDS.index(kind), dtype=np.int8)
        table = replace(small_table, energy_kind=kinds)
        module = TrainingModule(make_model(recipe.model_config(), seed=0), recipe)
        batch = BatchMaker(table, device=torch.device("cpu")).batch(np.arange(24), seed=0)
        randomness = draw_randomness(len(batch), recipe, generator=torch.Generator().manual_seed(0))
        losses = batch_losses(module, batch, recipe, statistics, randomness)
        losses["formation_energy_per_atom"].backward()
        head = module.model.heads["formation_energy_per_atom"]
        gradients[kind] = sum(float(value.grad.abs().sum()) for value in head.offset.parameters())
    assert gradients["unique"] == 0
    assert gradients[TEACHER] > 0


def test_masked_materials_are_spread_over_the_batch() -> None:
    recipe = replace(recipe_by_name("tiny"), objectives=("targets", "mxm"), mask_share=0.12)
    randomness = draw_randomness(256, recipe, generator=torch.Generator().manual_seed(0))
    assert randomness.mask_share is not None
    chosen = (randomness.mask_share < recipe.mask_share).squeeze(1)
    assert int(chosen.sum()) in range(28, 34)
    assert all(bool(part.any()) for part in chosen.split(16))
