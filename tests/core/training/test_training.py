"""Recipe → run → checkpoint: gradients everywhere, losses that fall, and runs that survive."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import LimitedRange
from xxact_core.checkpoint import load_checkpoint, make_model
from xxact_core.dataset.loading.batches import Batch, BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import CheckpointError, RecipeError
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.model.xxact import Xxact
from xxact_core.training import gradients
from xxact_core.training import run as run_module
from xxact_core.training.config import OBJECTIVES, Recipe, override
from xxact_core.training.distributed import SINGLE_PROCESS, Ranks
from xxact_core.training.gradients import gradients_of
from xxact_core.training.journal import STOP, read_journal
from xxact_core.training.optimiser import learning_rate
from xxact_core.training.recipes import RECIPES, recipe_by_name
from xxact_core.training.run import Run, open_run, target_statistics, train, write_status
from xxact_core.training.start import initial_model
from xxact_core.training.step import BatchRandomness, TrainingModule, batch_losses, draw_randomness

QUICK = replace(recipe_by_name("tiny"), epochs=0.25, batch_size=16, validate_every=3, save_every=2, validation_rows=16)


def part_that_counts(name: str, gradient: torch.Tensor) -> torch.Tensor:
    """All but that of the bias of keys: it shifts every score of a query alike, which softmax does not see."""
    return gradient.chunk(2)[1] if name.endswith("key_value.bias") else gradient


def randomness_for(batch: Batch, recipe: Recipe) -> BatchRandomness:
    return draw_randomness(len(batch), recipe, generator=torch.Generator().manual_seed(0))


def steps_of(folder: Path) -> list[dict]:
    return [event for event in read_journal(folder / "journal.jsonl") if event["event"] == "step"]


@pytest.mark.parametrize("preset_name", ["tiny", "compact"])
@pytest.mark.parametrize("objectives", [("contrastive",), ("mxm",), ("contrastive", "mxm"), ("targets",)])
def test_every_parameter_of_an_objective_gets_a_finite_gradient(
    small_table: StickTable, preset_name: str, objectives: tuple[str, ...]
) -> None:
    recipe = replace(
        QUICK,
        preset=preset_name,
        objectives=objectives,
        augmentation=AugmentationConfig(limited_range=LimitedRange(share=1.0)),
    )
    module = TrainingModule(make_model(recipe.model_config(), seed=0), recipe)
    batch = BatchMaker(small_table, device=torch.device("cpu"), augmentation=recipe.augmentation).batch(
        np.arange(48), seed=0
    )
    statistics = target_statistics(small_table, recipe)
    losses = batch_losses(module, batch, recipe, statistics, randomness_for(batch, recipe))
    sum(losses.values()).backward()
    outside = {
        # What an objective has no use for: the other objectives' heads, and for the encoders' own alignment the fusion.
        "contrastive": (
            "heads.",
            "window_readout.",
            "reconstruction_head.",
            "fusion.",
            "pattern_projection.",
            "composition_projection.",
        ),
        "mxm": ("heads.", "window_readout."),
        "targets": ("reconstruction_head.",),
    }
    unused = set.intersection(*(set(outside[name]) for name in objectives))
    for name, parameter in module.named_parameters():
        if any(part in name for part in unused):
            continue
        if "mask_token" in name and objectives == ("contrastive",) and not batch.window_mask.any():
            continue
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(part_that_counts(name, parameter.grad).abs().sum()) > 0, name


LEARNED = [name for name, recipe in RECIPES.items() if recipe.model_config().architecture != "extra-trees"]
"""Recipes of models that learn by gradients; trees grow."""


@pytest.mark.parametrize("name", LEARNED)
def test_every_trained_parameter_of_a_recipe_gets_a_finite_gradient(small_table: StickTable, name: str) -> None:
    """In the widths of its preset; of a stack of layers with one layer, for the others are the same again."""
    shallow = {part: {"depth": 1} for part in ("pattern", "composition", "fusion")}
    recipe = replace(recipe_by_name(name), batch_size=24, task_sampling="all", model_settings=shallow)
    module = TrainingModule(make_model(recipe.model_config(), seed=0), recipe).train()
    noisy = AugmentationConfig(limited_range=LimitedRange(share=1.0))  # hides windows, which the [MASK] then stands for
    batch = BatchMaker(small_table, device=torch.device("cpu"), augmentation=noisy).batch(np.arange(24), seed=0)
    gradients_of(
        module,
        batch,
        recipe,
        target_statistics(small_table, recipe),
        micro_batch_size=None,
        seed=0,
        ranks=SINGLE_PROCESS,
    )
    unused = {
        "contrastive": ("heads.", "reconstruction_head.", "fusion.", "_projection.", "window_readout."),
        "mxm": ("heads.", "window_readout."),
        "targets": ("reconstruction_head.",),
    }
    idle = set.intersection(*(set(unused[objective]) for objective in recipe.objectives))
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    assert ("contrastive.log_inverse_temperature" in trained) == ("contrastive" in recipe.objectives)
    for parameter_name, parameter in trained.items():
        if any(part in parameter_name for part in idle):
            continue
        assert parameter.grad is not None, parameter_name
        assert bool(torch.isfinite(parameter.grad).all()), parameter_name
        assert float(part_that_counts(parameter_name, parameter.grad).abs().sum()) > 0, parameter_name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_few_steps_on_one_batch_lower_the_loss(small_table: StickTable, objective: str) -> None:
    recipe = replace(QUICK, objectives=(objective,))
    module = TrainingModule(make_model(recipe.model_config(), seed=0), recipe).eval()
    batch = BatchMaker(small_table, device=torch.device("cpu")).batch(np.arange(32), seed=0)
    statistics = target_statistics(small_table, recipe)
    optimiser = torch.optim.AdamW(module.parameters(), lr=2e-3)
    curve = []
    for _ in range(12):
        losses = batch_losses(module, batch, recipe, statistics, randomness_for(batch, recipe))
        loss = torch.stack(list(losses.values())).sum()
        curve.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert curve[-1] < 0.9 * curve[0]


def test_run_leaves_recipe_journal_status_and_a_model(small_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    model = train(QUICK, small_dataset, folder)
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "finished"
    assert status["step"] == status["steps"] == len(steps_of(folder))
    checkpoint = load_checkpoint(model)
    assert checkpoint.about["recipe"] == json.loads(json.dumps({**QUICK.to_dict(), "precision": "float32"}))
    assert set(checkpoint.statistics) == {"formation_energy_per_atom", "band_gap"}
    events = read_journal(folder / "journal.jsonl")
    assert events[0]["event"] == "started"
    *_, metrics = (event["metrics"] for event in events if event["event"] == "validation")
    table = read_dataset(small_dataset)
    maker = BatchMaker(table, device=torch.device("cpu"))
    sample = table.sample("validation", QUICK.validation_rows)
    predictions = predict_rows(checkpoint.model, maker, sample, checkpoint.statistics)
    assert metrics == pytest.approx(metrics_of(predictions, table))


EVERYTHING = replace(
    QUICK,
    objectives=("contrastive", "mxm", "targets"),
    micro_batch_size=5,
    activation_checkpointing=True,
    ema_decay=0.9,
    epochs=0.3,
)


@pytest.mark.parametrize("recipe", [QUICK, EVERYTHING], ids=["plain", "everything"])
def test_killed_run_resumes_to_the_same_bits(small_dataset: Path, tmp_path: Path, recipe: Recipe) -> None:
    whole = train(recipe, small_dataset, tmp_path / "whole")
    folder = tmp_path / "killed"
    code = (
        "import sys\nfrom pathlib import Path\nfrom xxact_core.training.config import Recipe\n"
        "from xxact_core.training.run import train\nimport json\n"
        "train(Recipe.from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    command = [sys.executable, "-c", code, json.dumps(recipe.to_dict()), str(small_dataset), str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "step-2").is_dir() and time.monotonic() < deadline:
        assert process.poll() in {None, 0}
        time.sleep(0.005)
    process.kill()
    process.wait()
    resumed = train(recipe, small_dataset, folder)
    first, second = load_checkpoint(whole).model.state_dict(), load_checkpoint(resumed).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [e["loss"] for e in steps_of(folder)] == [e["loss"] for e in steps_of(tmp_path / "whole")]


def test_sigterm_leaves_a_snapshot_and_the_run_goes_on(small_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom xxact_core.training.config import Recipe\n"
        "from xxact_core.training.run import train\n"
        "train(Recipe.from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    long = replace(QUICK, epochs=50)
    command = [sys.executable, "-c", code, json.dumps(long.to_dict()), str(small_dataset), str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "step-2").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "cancelled"
    assert (folder / "checkpoints" / f"step-{status['step']}" / "manifest.json").is_file()


def test_ctrl_c_ends_a_run_after_its_step_and_a_second_one_at_once(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = run_module.training_step

    def interrupted(run: Run) -> float:
        loss = honest(run)
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)
        return loss

    monkeypatch.setattr(run_module, "training_step", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        presses = 1
        snapshot = train(QUICK, small_dataset, tmp_path / "once")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        presses = 2
        with pytest.raises(KeyboardInterrupt):
            train(QUICK, small_dataset, tmp_path / "twice")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert snapshot == tmp_path / "once" / "checkpoints" / "step-1"
    assert (snapshot / "manifest.json").is_file()
    assert json.loads((tmp_path / "once" / "status.json").read_text())["state"] == "cancelled"
    assert not list((tmp_path / "twice" / "checkpoints").iterdir())


def test_a_file_in_the_run_folder_ends_it_after_its_step_and_the_same_run_goes_on(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = run_module.training_step

    def asked(run: Run) -> float:
        (run.folder / STOP).touch()
        return honest(run)

    monkeypatch.setattr(run_module, "training_step", asked)
    assert train(QUICK, small_dataset, tmp_path).name == "step-1"
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "cancelled"
    monkeypatch.setattr(run_module, "training_step", honest)
    assert train(QUICK, small_dataset, tmp_path) == tmp_path / "model"


def test_a_run_that_is_stopped_during_a_validation_ends_without_waiting_for_its_metrics(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = run_module.predict_rows

    def asked(*given: object, **settings: object) -> object:
        (tmp_path / STOP).touch()
        return honest(*given, **settings)

    monkeypatch.setattr(run_module, "predict_rows", asked)
    recipe = replace(QUICK, validate_every=1)
    assert train(recipe, small_dataset, tmp_path).name == "step-2"
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "cancelled"
    assert not any(event["event"] == "validation" for event in read_journal(tmp_path / "journal.jsonl"))
    monkeypatch.setattr(run_module, "predict_rows", honest)
    assert train(recipe, small_dataset, tmp_path) == tmp_path / "model"
    assert any(event["event"] == "validation" for event in read_journal(tmp_path / "journal.jsonl"))


def test_damaged_snapshot_is_set_aside_and_the_one_before_used(small_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(QUICK, small_dataset, folder)
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    weights = newest / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    train(QUICK, small_dataset, folder)
    assert (folder / "checkpoints" / f"{newest.name}.damaged").is_dir()
    assert any(event["event"] == "damaged" for event in read_journal(folder / "journal.jsonl"))
    for path in (folder / "checkpoints").glob("step-*"):
        (path / "manifest.json").unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="damaged"):
        train(QUICK, small_dataset, folder)


@pytest.mark.parametrize("objectives", [("targets", "mxm"), ("contrastive",), ("contrastive", "mxm", "targets")])
def test_batch_in_pieces_gives_the_gradients_of_the_whole(
    small_dataset: Path, tmp_path: Path, objectives: tuple[str, ...]
) -> None:
    """Without dropout, for every piece would draw its own."""
    still = {name: {"dropout": 0.0} for name in ("pattern", "composition", "fusion")}
    recipe = replace(QUICK, model_settings=still, objectives=objectives, task_sampling="one")
    found = []
    for size in (None, 5):
        run = open_run(
            replace(recipe, micro_batch_size=size), small_dataset, tmp_path / str(size), device=torch.device("cpu")
        )
        batch = run.training_batches.batch(run.order.step(0), seed=0)
        losses, _ = gradients_of(
            run.module, batch, run.recipe, run.statistics, micro_batch_size=size, seed=0, ranks=SINGLE_PROCESS
        )
        found.append(({name: p.grad for name, p in run.module.named_parameters() if p.grad is not None}, losses))
    (whole, losses), (pieces, same) = found
    assert same == pytest.approx(losses, rel=1e-5)
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("objectives", [("targets",), ("contrastive",)])
def test_exhausted_memory_halves_the_pieces_and_not_the_batch(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objectives: tuple[str, ...]
) -> None:
    recipe = replace(QUICK, objectives=objectives)
    honest = gradients.batch_losses

    def greedy(module: TrainingModule, batch: Batch, *arguments: object, **named: object) -> dict[str, torch.Tensor]:
        if len(batch) > 4:
            raise torch.OutOfMemoryError
        return honest(module, batch, *arguments, **named)

    monkeypatch.setattr(gradients, "batch_losses", greedy)
    train(recipe, small_dataset, tmp_path / "run")
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert [event["micro_batch_size"] for event in events if event["event"] == "out of memory"] == [4]
    monkeypatch.setattr(gradients, "batch_losses", lambda *_, **__: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(RecipeError, match="memory"):
        train(recipe, small_dataset, tmp_path / "other")


def test_moving_average_of_the_weights_is_what_is_saved_and_survives_a_resume(
    small_dataset: Path, tmp_path: Path
) -> None:
    recipe = replace(QUICK, ema_decay=0.5, epochs=0.5)
    whole = train(recipe, small_dataset, tmp_path / "whole")
    plain = train(replace(recipe, ema_decay=None), small_dataset, tmp_path / "plain")
    averaged, last = (load_checkpoint(folder).model.state_dict() for folder in (whole, plain))
    assert any(not torch.equal(averaged[name], last[name]) for name in averaged)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "model")
    newest = max((tmp_path / "resumed" / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(newest)
    again = load_checkpoint(train(recipe, small_dataset, tmp_path / "resumed")).model.state_dict()
    assert all(torch.equal(averaged[name], again[name]) for name in averaged)


def test_rates_after_a_resume_count_what_was_done_since(small_dataset: Path, tmp_path: Path) -> None:
    train(QUICK, small_dataset, tmp_path)
    run = open_run(QUICK, small_dataset, tmp_path, device=torch.device("cpu"))
    run.steps, run.step, run.began = run.steps + 5, run.step + 2, time.monotonic() - 10
    write_status(run, "running")
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["samples_per_second"] == pytest.approx(2 * QUICK.batch_size / 10, rel=0.1)
    assert status["seconds_left"] == pytest.approx(3 * 10 / 2, rel=0.1)
    assert [event["seconds_left"] > 0 for event in steps_of(tmp_path)] == [True] * (run.steps - 6) + [False]


def test_diverging_run_stops_at_once(small_dataset: Path, tmp_path: Path) -> None:
    wild = replace(QUICK, lr_peak=1e30, lr_init=1e30, epochs=2)
    with pytest.raises(FloatingPointError, match="loss is"):
        train(wild, small_dataset, tmp_path / "run")
    assert read_journal(tmp_path / "run" / "journal.jsonl")[-1]["event"] == "diverged"


def test_folder_of_another_run_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    train(QUICK, small_dataset, tmp_path / "run")
    with pytest.raises(RecipeError, match="seed"):
        train(replace(QUICK, seed=7), small_dataset, tmp_path / "run")


def test_transfer_trains_the_heads_only(small_dataset: Path, tmp_path: Path) -> None:
    pretrained = train(replace(QUICK, objectives=("contrastive", "mxm")), small_dataset, tmp_path / "pretrained")
    transfer = replace(QUICK, start_from=str(pretrained), freeze_backbone=True, targets=("band_gap",))
    tuned = train(transfer, small_dataset, tmp_path / "transfer")
    before, after = load_checkpoint(pretrained).model.state_dict(), load_checkpoint(tuned).model.state_dict()
    shared = [name for name in after if not name.startswith("heads.")]
    assert all(torch.equal(before[name], after[name]) for name in shared)
    assert not torch.equal(before["heads.band_gap.weight"], after["heads.band_gap.weight"])
    assert "heads.crystal_system.weight" not in after
    with pytest.raises(RecipeError, match="different architecture"):
        train(replace(transfer, preset="compact"), small_dataset, tmp_path / "other")


def test_readout_and_deeper_heads_are_added_to_a_trained_model_but_not_behind_frozen_ones(
    small_dataset: Path, tmp_path: Path
) -> None:
    before = train(QUICK, small_dataset, tmp_path / "before")
    more = replace(QUICK, start_from=str(before), model_settings={"element_readout": True, "head_hidden_width": 16})
    model, trained = initial_model(more), load_checkpoint(before).model
    assert isinstance(model, Xxact)
    assert model.element_readout is not None
    assert all(torch.equal(model.state_dict()[name], value) for name, value in trained.state_dict().items()
               if not name.startswith("heads."))  # fmt: skip
    assert "heads.band_gap.hidden.1.weight" in model.state_dict()
    with pytest.raises(RecipeError, match="element_readout"):
        initial_model(replace(more, freeze_backbone=True))


def test_learning_rate_is_the_papers() -> None:
    recipe = Recipe()
    rates = [learning_rate(step, steps=1000, recipe=recipe) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-6)
    assert max(rates) == pytest.approx(5e-4) == rates[100]
    assert rates[50] == pytest.approx((1e-6 + 5e-4) / 2, rel=1e-2)
    assert rates[550] == pytest.approx((5e-4 + 1e-7) / 2, rel=1e-2)
    assert 1e-7 <= rates[-1] < 2e-7
    assert all(math.isfinite(rate) for rate in rates)


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes_round_trip(name: str) -> None:
    recipe = recipe_by_name(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epoch": 3}, "epoch"),
        ({"objectives": ["contrastive", "colour"]}, "objectives"),
        ({"targets": ["colour"]}, "targets"),
        ({"mask_ratio": 0}, "mask_ratio"),
        ({"batch_size": 0}, "batch_size"),
        ({"validation_rows": -5}, "validation_rows"),
        ({"preset": "huge"}, "compact"),
        ({"task_sampling": "some"}, "task_sampling"),
        ({"split_by": "colour"}, "prototype"),
        ({"augmentation": {"wobble": 1}}, "wobble"),
        ({"epochs": "many"}, "recipe"),
    ],
)
def test_impossible_recipes_are_refused(values: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        override(Recipe(), values)


def test_run_that_reads_its_sticks_from_disk_goes_the_same_way_twice(small_dataset: Path, tmp_path: Path) -> None:
    recipe = replace(QUICK, stream_from_disk=True)
    losses = []
    for name in ("one", "other"):
        train(recipe, small_dataset, tmp_path / name)
        losses.append([event["loss"] for event in steps_of(tmp_path / name)])
    assert losses[0] == losses[1]
    assert (tmp_path / "one" / "model").is_dir()


ELSEWHERE = """
import sys

for name in (
    "numba pymatgen spglib h5netcdf dask distributed pyarrow tqdm typer ase panel bokeh holoviews param geddes "
    "pybaselines beartype platformdirs psutil"
).split():
    sys.modules[name] = None

import warnings
from dataclasses import replace
from pathlib import Path
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train
from xxact_core.augmentation.config import AugmentationConfig

warnings.simplefilter("ignore")
sizes = {"epochs": 0.1, "batch_size": 16, "validation_rows": 16}
recipe = replace(recipe_by_name("tiny"), **sizes, augmentation=AugmentationConfig())
train(recipe, Path(sys.argv[1]), Path(sys.argv[2]))
print("trained")
"""


def test_training_needs_no_more_than_torch_and_the_common_libraries(small_dataset: Path, tmp_path: Path) -> None:
    """A machine with an accelerator has neither pymatgen nor numba nor what reads structures and draws pages."""
    command = [sys.executable, "-c", ELSEWHERE, str(small_dataset), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "trained", done.stderr


SMALL_SECOND = """
import json, os, sys
from pathlib import Path

import torch

from xxact_core.training import gradients
from xxact_core.training.config import Recipe
from xxact_core.training.run import train

honest, room = gradients.batch_losses, int(sys.argv[4])

def greedy(module, batch, *arguments, **named):
    if os.environ["RANK"] == "1" and len(batch) > room:
        raise torch.OutOfMemoryError
    return honest(module, batch, *arguments, **named)

gradients.batch_losses = greedy
train(Recipe.from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("objectives", "pieces", "room"),
    [
        pytest.param(("targets", "mxm"), None, 4, marks=pytest.mark.long),
        pytest.param(("contrastive", "targets"), None, 8, marks=pytest.mark.long),
        (("contrastive", "mxm", "targets"), 3, 8),
    ],
)
def test_two_processes_go_the_way_of_one(
    small_dataset: Path, tmp_path: Path, objectives: tuple[str, ...], pieces: int | None, room: int
) -> None:
    """Under torchrun, with gloo; without dropout and distortions, which every process draws for itself.

    room: materials that fit into the memory of the second; where that is less than its part, both cut theirs.
    """
    still = {name: {"dropout": 0.0} for name in ("pattern", "composition", "fusion")}
    recipe = replace(QUICK, model_settings=still, objectives=objectives, task_sampling="one", epochs=0.3)
    train(recipe, small_dataset, tmp_path / "one")
    code = tmp_path / "script.py"
    code.write_text(SMALL_SECOND)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", str(code)]
    command += [json.dumps(replace(recipe, micro_batch_size=pieces).to_dict())]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command += [str(small_dataset), str(tmp_path / "two"), str(room)]
    subprocess.run(command, env=environment, check=True, timeout=300)
    one, two = ([event["loss"] for event in steps_of(tmp_path / name)] for name in ("one", "two"))
    assert len(one) == len(two) > 4
    assert two == pytest.approx(one, abs=1e-5)
    halved = [
        e["micro_batch_size"] for e in read_journal(tmp_path / "two" / "journal.jsonl") if e["event"] == "out of memory"
    ]
    assert halved == ([4] if room == 4 else [])
    weights = [load_checkpoint(tmp_path / name / "model").model.state_dict() for name in ("one", "two")]
    for name, value in weights[0].items():
        # Adam makes much of the rounding of a gradient that ought to be 0, as is that of every bias of keys.
        if "key_value.bias" not in name:
            torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-3)


GRADIENT_OF_ONE = """
import json, sys
import torch
from xxact_core.training.distributed import all_reduce_sum, fill_missing_gradients, process_group

with process_group(torch.device("cpu")) as ranks:
    used, unused = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    if ranks.rank == 1:
        used.grad = torch.ones(2)
    fill_missing_gradients([used, unused])
    all_reduce_sum([used.grad])
    with open(f"{sys.argv[1]}/{ranks.rank}.json", "w") as file:
        json.dump([used.grad.tolist(), unused.grad is None], file)
"""


def test_part_of_the_model_that_one_process_uses_alone_is_trained_by_all(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(GRADIENT_OF_ONE)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", str(tmp_path / "script.py"), str(tmp_path)]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=300)
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [[1.0, 1.0], True]


def test_batch_of_fewer_materials_than_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a batch of 2 cannot be divided among 3 processes"):
        open_run(replace(QUICK, batch_size=2), tmp_path, tmp_path, device=torch.device("cpu"), ranks=Ranks(0, 3))


def test_parts_of_a_batch_are_all_of_it() -> None:
    for batch, world in ((10, 3), (7, 8), (32_768, 8)):
        rows = [row for rank in range(world) for row in range(batch)[Ranks(rank, world).part(batch)]]
        assert rows == list(range(batch))
