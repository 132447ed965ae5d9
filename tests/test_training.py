"""Recipe → run → checkpoint: gradients everywhere, losses that fall, and runs that survive."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xxact_core.checkpoint import load_checkpoint, make_model
from xxact_core.dataset.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.errors import CheckpointError, RecipeError
from xxact_core.patterns.distortion_effects import LimitedRange
from xxact_core.patterns.distortions import Distortions
from xxact_core.training.config import OBJECTIVES, Recipe, override
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import RECIPES, recipe_by_name
from xxact_core.training.run import target_statistics, train
from xxact_core.training.schedule import learning_rate
from xxact_core.training.step import Trainee, batch_losses

QUICK = replace(recipe_by_name("tiny"), epochs=0.25, batch_size=16, validate_every=3, save_every=2, validation_rows=16)


def steps_of(folder: Path) -> list[dict]:
    return [event for event in read_journal(folder / "journal.jsonl") if event["event"] == "step"]


@pytest.mark.parametrize("preset_name", ["tiny", "compact"])
@pytest.mark.parametrize("objectives", [("contrastive",), ("mxm",), ("contrastive", "mxm"), ("targets",)])
def test_every_parameter_of_an_objective_gets_a_finite_gradient(
    small_table: StickTable, preset_name: str, objectives: tuple[str, ...]
) -> None:
    recipe = replace(
        QUICK, preset=preset_name, objectives=objectives, distortions=Distortions(limited_range=LimitedRange(share=1.0))
    )
    trainee = Trainee(make_model(recipe.model_config(), seed=0), recipe)
    batch = BatchMaker(small_table, device=torch.device("cpu"), distortions=recipe.distortions).batch(
        np.arange(48), seed=0
    )
    statistics = target_statistics(small_table, recipe)
    losses = batch_losses(trainee, batch, recipe, statistics, generator=torch.Generator().manual_seed(0))
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
    for name, parameter in trainee.named_parameters():
        if any(part in name for part in unused):
            continue
        if "mask_token" in name and objectives == ("contrastive",) and not batch.hidden.any():
            continue
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        # The keys' bias shifts every score of a query alike, which softmax does not see.
        if "key_value.bias" not in name:
            assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_few_steps_on_one_batch_lower_the_loss(small_table: StickTable, objective: str) -> None:
    recipe = replace(QUICK, objectives=(objective,))
    trainee = Trainee(make_model(recipe.model_config(), seed=0), recipe).eval()
    batch = BatchMaker(small_table, device=torch.device("cpu")).batch(np.arange(32), seed=0)
    statistics = target_statistics(small_table, recipe)
    optimiser = torch.optim.AdamW(trainee.parameters(), lr=2e-3)
    curve = []
    for _ in range(12):
        losses = batch_losses(trainee, batch, recipe, statistics, generator=torch.Generator().manual_seed(0))
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
    assert checkpoint.about["recipe"] == json.loads(json.dumps(QUICK.to_dict()))
    assert set(checkpoint.statistics) == {"formation_energy_per_atom", "band_gap"}
    events = read_journal(folder / "journal.jsonl")
    assert events[0]["event"] == "started"
    metrics = next(event for event in events if event["event"] == "validation")["metrics"]
    assert 0 <= metrics["crystal_system_accuracy"] <= 1


def test_killed_run_resumes_to_the_same_bits(small_dataset: Path, tmp_path: Path) -> None:
    whole = train(QUICK, small_dataset, tmp_path / "whole")
    folder = tmp_path / "killed"
    code = (
        "import sys\nfrom pathlib import Path\nfrom xxact_core.training.config import Recipe\n"
        "from xxact_core.training.run import train\nimport json\n"
        "train(Recipe.from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    command = [sys.executable, "-c", code, json.dumps(QUICK.to_dict()), str(small_dataset), str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "step-2").is_dir() and time.monotonic() < deadline:
        assert process.poll() in {None, 0}
        time.sleep(0.005)
    process.kill()
    process.wait()
    resumed = train(QUICK, small_dataset, folder)
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


def test_diverging_run_stops_at_once(small_dataset: Path, tmp_path: Path) -> None:
    wild = replace(QUICK, peak_rate=1e30, first_rate=1e30, epochs=2)
    with pytest.raises(FloatingPointError, match="loss is"):
        train(wild, small_dataset, tmp_path / "run")
    assert read_journal(tmp_path / "run" / "journal.jsonl")[-1]["event"] == "diverged"


def test_folder_of_another_run_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    train(QUICK, small_dataset, tmp_path / "run")
    with pytest.raises(RecipeError, match="seed"):
        train(replace(QUICK, seed=7), small_dataset, tmp_path / "run")


def test_transfer_trains_the_heads_only(small_dataset: Path, tmp_path: Path) -> None:
    pretrained = train(replace(QUICK, objectives=("contrastive", "mxm")), small_dataset, tmp_path / "pretrained")
    transfer = replace(QUICK, start_from=str(pretrained), freeze=True, targets=("band_gap",))
    tuned = train(transfer, small_dataset, tmp_path / "transfer")
    before, after = load_checkpoint(pretrained).model.state_dict(), load_checkpoint(tuned).model.state_dict()
    shared = [name for name in after if not name.startswith("heads.")]
    assert all(torch.equal(before[name], after[name]) for name in shared)
    assert not torch.equal(before["heads.band_gap.weight"], after["heads.band_gap.weight"])
    assert "heads.crystal_system.weight" not in after
    with pytest.raises(RecipeError, match="another make"):
        train(replace(transfer, preset="compact"), small_dataset, tmp_path / "other")


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
        ({"preset": "huge"}, "compact"),
        ({"task_sampling": "some"}, "task_sampling"),
        ({"split": "colour"}, "prototype"),
        ({"distortions": {"wobble": 1}}, "wobble"),
        ({"epochs": "many"}, "recipe"),
    ],
)
def test_impossible_recipes_are_refused(values: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        override(Recipe(), values)


def test_run_that_reads_its_sticks_from_disk_goes_the_same_way_twice(small_dataset: Path, tmp_path: Path) -> None:
    recipe = replace(QUICK, streamed=True)
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
from xxact_core.patterns.distortions import Distortions

warnings.simplefilter("ignore")
recipe = replace(recipe_by_name("tiny"), epochs=0.1, batch_size=16, validation_rows=16, distortions=Distortions())
train(recipe, Path(sys.argv[1]), Path(sys.argv[2]))
print("trained")
"""


def test_training_needs_no_more_than_torch_and_the_common_libraries(small_dataset: Path, tmp_path: Path) -> None:
    """A machine with an accelerator has neither pymatgen nor numba nor what reads structures and draws pages."""
    command = [sys.executable, "-c", ELSEWHERE, str(small_dataset), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "trained", done.stderr
