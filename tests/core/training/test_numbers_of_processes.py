"""The number of processes that train together: it changes nothing but rounding, and may change on resuming."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.checkpoint import load_checkpoint, make_model
from xxact_core.dataset.loading.batches import BatchMaker, piece_edges
from xxact_core.dataset.table import StickTable
from xxact_core.errors import RecipeError
from xxact_core.objectives.polymorphs import difference_loss
from xxact_core.objectives.symmetry_contrast import symmetry_contrast
from xxact_core.training import run as run_module
from xxact_core.training.batch_norm import SynchronisedBatchNorm, synchronise_batch_norm
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import Ranks
from xxact_core.training.gradients import accumulate, count_pieces, micro_batches
from xxact_core.training.journal import STOP, read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run
from xxact_core.training.start import target_statistics
from xxact_core.training.step import TrainingModule

CPU = torch.device("cpu")
TINY = replace(recipe_by_name("tiny"), epochs=0.4, batch_size=16, validation_rows=16)
EVERYTHING = replace(
    recipe_by_name("compact"),
    name="everything",
    preset="tiny",
    epochs=0.4,
    batch_size=16,
    mask_share=0.5,
    precision="float32",
    threads=1,
    retrieval_rows=0,
    validation_rows=16,
    augmentation=AugmentationConfig(share=0.5),
    model_settings={
        **recipe_by_name("compact").model_settings,
        "tokenizer": "convolution",
        **{name: {"dropout": 0.1} for name in ("pattern", "composition", "fusion")},
    },
)
"""All that could depend on the number of processes: batch normalisation, losses that compare materials, dropout,
augmentation, and Muon."""

LAST = 9
"""Number of steps of both recipes."""

STOPPING = """
import json, sys
from pathlib import Path
import test_numbers_of_processes as tests
from xxact_core.training.config import Recipe

recipe, dataset, folder, last = sys.argv[1:]
tests.train_until(int(last), Recipe.from_dict(json.loads(recipe)), Path(dataset), Path(folder))
"""


def train_until(step: int, recipe: Recipe, dataset: Path, folder: Path) -> None:
    """Train to a step, or to the end where that is earlier, and leave a snapshot; three materials have one formula."""

    def stopping(run: run_module.Run) -> object:
        loss = training_step(run)
        if run.ranks.is_main and run.step == step:
            (run.folder / STOP).touch()
        return loss

    def with_polymorphs(recipe: Recipe, dataset: Path) -> StickTable:
        table = open_table(recipe, dataset)
        return replace(table, formula=np.array([f"X{row // 3}" for row in range(len(table))]))

    training_step, open_table = run_module.training_step, run_module.open_table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "training_step", stopping)
        patch.setattr(run_module, "open_table", with_polymorphs)
        run_module.train(recipe, dataset, folder)


def train_in_two_processes(step: int, recipe: Recipe, dataset: Path, folder: Path) -> None:
    """The same in two processes."""
    code = folder.with_suffix(".py")
    code.write_text(STOPPING)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    command = [sys.executable, *launch, "--rdzv-endpoint", "127.0.0.1:0", str(code), json.dumps(recipe.to_dict())]
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    subprocess.run([*command, str(dataset), str(folder), str(step)], env=environment, check=True, timeout=500)


def losses_of(folder: Path) -> dict[int, float]:
    return {
        event["step"]: event["loss"] for event in read_journal(folder / "journal.jsonl") if event["event"] == "step"
    }


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(("recipe", "relative"), [(TINY, 0.0), (EVERYTHING, 1e-5)], ids=["tiny", "everything"])
def test_one_then_two_then_one_process_learn_what_one_does(
    small_dataset: Path, tmp_path: Path, recipe: Recipe, relative: float
) -> None:
    one, changing = tmp_path / "one", tmp_path / "changing"
    train_until(LAST, recipe, small_dataset, one)
    train_until(LAST // 3, recipe, small_dataset, changing)
    train_in_two_processes(2 * LAST // 3, recipe, small_dataset, changing)
    train_until(LAST, recipe, small_dataset, changing)
    losses = losses_of(changing)
    assert sorted(losses) == list(range(1, LAST + 1))
    assert losses == pytest.approx(losses_of(one), abs=1e-5, rel=relative)
    resumed = [e["step"] for e in read_journal(changing / "journal.jsonl") if e["event"] == "resumed"]
    assert resumed == [LAST // 3, 2 * LAST // 3]
    weights = [load_checkpoint(folder / "model").model.state_dict() for folder in (one, changing)]
    for name, value in weights[0].items():
        if "key_value.bias" not in name:  # half of it has a gradient of 0, whose rounding Adam makes large
            torch.testing.assert_close(weights[1][name], value, rtol=0, atol=2e-3)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_part_of_a_batch_is_as_in_the_whole(small_table: StickTable, world: int) -> None:
    recipe = recipe_by_name("compact")
    maker = BatchMaker(
        small_table, device=CPU, augmentation=AugmentationConfig(share=0.5), lattice_strain=recipe.lattice_strain
    )
    rows = np.arange(37)
    whole = maker.batch(rows, seed=3, pieces=count_pieces(CPU))
    for rank in range(world):
        part = Ranks(rank, world).part(len(rows))
        own, expected = maker.batch(rows, seed=3, pieces=count_pieces(CPU), part=part), whole.part(part)
        for name in ("intensity", "window_mask", "atomic_numbers", "fractions", "rows", "polymorph_group"):
            assert torch.equal(getattr(own, name), getattr(expected, name)), name


def test_pieces_of_a_batch_have_their_own_random_numbers(small_table: StickTable) -> None:
    maker = BatchMaker(small_table, device=CPU, augmentation=AugmentationConfig(share=1.0))
    batch = maker.batch(np.zeros(8, dtype=np.int64), seed=0, pieces=2)
    assert not torch.equal(batch.intensity[:4], batch.intensity[4:])


def test_processes_have_whole_pieces() -> None:
    edges = piece_edges(250, pieces=8)
    assert edges[0] == 0
    assert edges[-1] == 250
    for world in (2, 4, 8):
        assert {Ranks(rank, world).part(250).start for rank in range(world)} <= set(edges)


def test_all_processes_have_as_many_micro_batches() -> None:
    for whole, world, size in ((255, 2, 64), (16, 3, 4), (7, 2, 3)):
        parts = [Ranks(rank, world).part(whole) for rank in range(world)]
        own = [part.stop - part.start for part in parts]
        divided = [micro_batches(count, size=size, ranks=Ranks(0, world), whole=whole) for count in own]
        assert len({len(pieces) for pieces in divided}) == 1
        for count, pieces in zip(own, divided, strict=True):
            assert [row for piece in pieces for row in range(count)[piece]] == list(range(count))
            assert max(piece.stop - piece.start for piece in pieces) <= size


def test_single_materials_that_cannot_be_divided_evenly_are_refused(small_dataset: Path, tmp_path: Path) -> None:
    recipe = replace(EVERYTHING, batch_size=15, micro_batch_size=1, difference_weight=0.0)
    with pytest.raises(RecipeError, match="a batch of 15 cannot be divided evenly among 2 processes"):
        open_run(recipe, small_dataset, tmp_path / "run", device=CPU, ranks=Ranks(0, 2))


def test_micro_batches_of_whole_pieces_drop_the_same_values(small_table: StickTable) -> None:
    """Without batch normalisation and comparisons, for which a micro-batch is a batch."""
    settings = {name: {"dropout": 0.2} for name in ("pattern", "composition", "fusion")}
    recipe = replace(TINY, objectives=("targets", "mxm"), mask_share=0.5, model_settings=settings)
    batch = BatchMaker(small_table, device=CPU).batch(np.arange(recipe.batch_size), seed=0)
    statistics, found = target_statistics(small_table, recipe), []
    for size in (16, 8, 4):
        module = TrainingModule(make_model(recipe.model_config(), seed=0), recipe).train()
        accumulate(module, batch, recipe, statistics, size=size, seed=1, ranks=Ranks(), pieces=4)
        found.append({name: value.grad for name, value in module.named_parameters() if value.grad is not None})
    for other in found[1:]:
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


def test_losses_of_parts_add_up_to_those_of_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(11, 5, generator=generator)
    classes = torch.randint(0, 3, (11,), generator=generator).float()
    classes[4] = torch.nan
    energy, true = torch.randn(2, 11, generator=generator)
    group, usable = torch.randint(0, 3, (11,), generator=generator), torch.rand(11, generator=generator) < 0.8
    parts = [slice(0, 4), slice(4, 5), slice(5, 11)]
    shares = torch.tensor([4, 1, 6]) / 11
    contrasts = [symmetry_contrast(embedding, classes, own=part) for part in parts]
    assert float(shares @ torch.stack(contrasts)) == pytest.approx(float(symmetry_contrast(embedding, classes)))
    differences = [difference_loss(energy, true, group, usable, own=part) for part in parts]
    assert float(shares @ torch.stack(differences)) == pytest.approx(
        float(difference_loss(energy, true, group, usable))
    )


def test_synchronised_batch_norm_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process; and in two that have the same batch, which changes neither mean nor variance."""
    torch.manual_seed(0)
    own = nn.Sequential(nn.BatchNorm2d(6)).train()
    nn.init.normal_(own[0].weight)
    other = nn.Sequential(nn.BatchNorm2d(6)).train()
    other.load_state_dict(own.state_dict())
    synchronise_batch_norm(other, device=CPU)
    assert isinstance(other[0], SynchronisedBatchNorm)
    values = (torch.randn(5, 6, 1, 40) * 3 + 2).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(values)
    results = []
    for module in (own, other):
        input_values = values.clone().requires_grad_()
        output = module(input_values)
        output.backward(gradient)
        results.append([output.detach(), input_values.grad, module[0].weight.grad, module[0].bias.grad])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-4)
    for name, value in own.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    monkeypatch.setattr(
        "xxact_core.training.batch_norm.all_reduce_sum", lambda tensors: [tensor.mul_(2) for tensor in tensors]
    )
    input_values = values.clone().requires_grad_()
    output = other(input_values)
    output.backward(gradient)
    torch.testing.assert_close(output.detach(), results[0][0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(input_values.grad, results[0][1], rtol=1e-4, atol=1e-4)
    other.eval()
    own.load_state_dict(other.state_dict())
    torch.testing.assert_close(other(values), own.eval()(values))
