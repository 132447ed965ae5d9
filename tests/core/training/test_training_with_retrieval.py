"""What spares memory or time leaves the gradients as they are: pieces of a batch, layers computed twice or compiled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from xxact_core.checkpoint import make_model
from xxact_core.dataset.loading.batches import Batch, BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import SINGLE_PROCESS
from xxact_core.training.gradients import RANDOMNESS_SEEDS, DropoutSeeds, accumulate
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import target_statistics, train
from xxact_core.training.start import checkpoint_activations
from xxact_core.training.step import TrainingModule, draw_randomness, encode_batch

ALL = ("contrastive", "mxm", "targets")
CPU = torch.device("cpu")
BATCH, PIECE, SEED = 17, 6, 5
"""The last piece is a smaller one."""


def recipe_for(*objectives: str, preset: str = "tiny", dropout: float = 0.1) -> Recipe:
    settings = {part: {"dropout": dropout} for part in ("pattern", "composition", "fusion")}
    return replace(
        recipe_by_name("tiny"), preset=preset, objectives=objectives, batch_size=BATCH, model_settings=settings
    )


def module_for(recipe: Recipe) -> TrainingModule:
    return TrainingModule(make_model(recipe.model_config(), seed=0), recipe).train()


def batch_from(table: StickTable) -> Batch:
    return BatchMaker(table, device=CPU).batch(np.arange(BATCH), seed=0)


def gradients_after(
    module: TrainingModule, recipe: Recipe, table: StickTable, *, size: int = BATCH
) -> dict[str, Tensor]:
    statistics = target_statistics(table, recipe)
    accumulate(module, batch_from(table), recipe, statistics, size=size, seed=SEED, ranks=SINGLE_PROCESS)
    return {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}


def test_contrastive_pieces_with_dropout_have_the_gradients_of_pieces_that_are_all_kept(
    small_table: StickTable,
) -> None:
    recipe, batch = recipe_for("contrastive"), batch_from(small_table)
    module = module_for(recipe)
    randomness = draw_randomness(BATCH, recipe, generator=torch.Generator().manual_seed(SEED + RANDOMNESS_SEEDS))
    kept = []
    for first in range(0, BATCH, PIECE):
        piece = slice(first, min(first + PIECE, BATCH))
        with DropoutSeeds(SEED, BATCH, 1, first=0, device=CPU).seeded(piece):
            kept.append(encode_batch(module.model, batch.part(piece), recipe, randomness.part(piece))[0])
    pattern, composition = (
        torch.cat([getattr(encoded, name)[:, 0] for encoded in kept]) for name in ("pattern", "composition")
    )
    module.contrastive(pattern, composition).backward()
    wanted = {name: value.grad for name, value in module.named_parameters() if value.grad is not None}
    found = gradients_after(module_for(recipe), recipe, small_table, size=PIECE)
    assert "contrastive.log_inverse_temperature" in found
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7)


def test_pieces_of_one_batch_drop_other_values(small_table: StickTable) -> None:
    recipe = recipe_for("contrastive")
    batch = batch_from(small_table)
    names = [entry.name for entry in fields(Batch) if entry.name != "targets"]
    twice = Batch(**{name: getattr(batch, name)[[0] * BATCH] for name in names}, targets={})
    module, randomness = (
        module_for(recipe),
        draw_randomness(BATCH, recipe, generator=torch.Generator().manual_seed(SEED + RANDOMNESS_SEEDS)),
    )
    seen = []
    for first in (0, 1):
        piece = slice(first, first + 1)
        with DropoutSeeds(SEED, BATCH, 1, first=0, device=CPU).seeded(piece):
            seen.append(encode_batch(module.model, twice.part(piece), recipe, randomness.part(piece))[0].pattern)
    assert not torch.equal(*seen)


def test_batch_normalisation_counts_a_piece_once_whatever_the_objectives(small_table: StickTable) -> None:
    counted = []
    for objectives in (("contrastive", "targets"), ("targets",)):
        recipe = recipe_for(*objectives, preset="compact")
        module = module_for(recipe)
        gradients_after(module, recipe, small_table, size=PIECE)
        counted.append(module.model.state_dict())
    batches = [int(value) for name, value in counted[0].items() if "num_batches" in name]
    assert set(batches) == {3}
    for name, value in counted[1].items():
        assert torch.equal(counted[0][name], value), name


@pytest.mark.parametrize("preset", ["tiny", "compact"])
def test_recomputed_layers_give_the_same_gradients_and_keep_less(small_table: StickTable, preset: str) -> None:
    recipe = recipe_for(*ALL, preset=preset)
    found, kept, buffers = [], [], []
    for recomputed in (False, True):
        module = module_for(recipe)
        if recomputed:
            checkpoint_activations(module.model)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: (sizes.append(tensor.numel()), tensor)[1], lambda tensor: tensor
        ):
            found.append(gradients_after(module, recipe, small_table))
        kept.append(sum(sizes))
        buffers.append(dict(module.named_buffers()))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-7)
    assert kept[1] < (0.5 if preset == "tiny" else 0.9) * kept[0]
    assert all(torch.equal(buffers[1][name], value) for name, value in buffers[0].items())


GOING_ON = """
import json, sys
from functools import partial
from pathlib import Path

import torch

from xxact_core.training import start, run
from xxact_core.training.config import Recipe

run.compile_layers = partial(start.compile_layers, backend="eager")
folder = run.train(Recipe.from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
print(folder.name, torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0)
"""


@pytest.mark.slow
def test_run_may_go_on_with_layers_that_are_run_otherwise(small_dataset: Path, tmp_path: Path) -> None:
    """The last step of a run with layers computed twice and compiled, in a process where shapes are not checked. Traced
    by torch.compile and run by torch's own operations, which is quick."""
    recipe = replace(recipe_for("targets", dropout=0.0), epochs=0.2, ema_decay=0.9, save_every=1)
    train(recipe, small_dataset, tmp_path / "plain")
    special = tmp_path / "special"
    shutil.copytree(tmp_path / "plain", special)
    shutil.rmtree(special / "model")
    newest = max((special / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
    shutil.rmtree(newest)
    changed = json.dumps(replace(recipe, activation_checkpointing=True, torch_compile=True).to_dict())
    command = [sys.executable, "-c", GOING_ON, changed, str(small_dataset), str(special)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout.strip() == "model True", done.stderr
    events = [read_journal(tmp_path / name / "journal.jsonl") for name in ("plain", "special")]
    assert "resumed" in {event["event"] for event in events[1]}
    for name in ("step", "loss", "gradient_norm"):
        plain, other = ([event[name] for event in run if event["event"] == "step"] for run in events)
        assert other == pytest.approx(plain, rel=1e-4)
    weights = Path("checkpoints") / newest.name / "model.safetensors"
    plain, other = (load_tensors((folder / weights).read_bytes()) for folder in (tmp_path / "plain", special))
    assert other.keys() == plain.keys()


COMPILED = """
import sys
from pathlib import Path

import torch
from dataclasses import replace

from xxact_core.training import start
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import SINGLE_PROCESS
from xxact_core.training.gradients import gradients_of
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run

still = {name: {"dropout": 0.0} for name in ("pattern", "composition", "fusion")}
recipe = replace(
    recipe_by_name("tiny"), batch_size=17, objectives=("contrastive", "mxm", "targets"), model_settings=still
)
found = []
for compiled in (False, True):
    run = open_run(recipe, Path(sys.argv[1]), Path(sys.argv[2]) / str(compiled), device=torch.device("cpu"))
    if compiled:
        start.compile_layers(run.module.model, backend="aot_eager")
        start.checkpoint_activations(run.module.model)
    batch = run.training_batches.batch(run.order.step(0), seed=0)
    gradients_of(run.module, batch, recipe, run.statistics, micro_batch_size=6, seed=0, ranks=SINGLE_PROCESS)
    found.append({name: value.grad for name, value in run.module.named_parameters() if value.grad is not None})
assert found[0].keys() == found[1].keys()
for name, gradient in found[0].items():
    torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-6)
print("the same", torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0)
"""


@pytest.mark.long
def test_compiled_layers_give_the_same_gradients(small_dataset: Path, tmp_path: Path) -> None:
    """In a process of its own, where shapes are not checked. Traced and differentiated by torch.compile, but run by
    torch's own operations: to make kernels takes a minute more and is torch's affair."""
    command = [sys.executable, "-c", COMPILED, str(small_dataset), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout.strip() == "the same True", done.stderr
