"""A run: data set and recipe in, run folder with journal and checkpoints out. The loop is one page."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from xxact_core.checkpoint import Checkpoint, load_checkpoint, make_model
from xxact_core.dataset.batches import BatchMaker, shuffled_rows
from xxact_core.dataset.store import StickTable, read_dataset, write_json
from xxact_core.errors import RecipeError
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe
from xxact_core.training.journal import Journal
from xxact_core.training.schedule import learning_rate
from xxact_core.training.snapshots import finish_run, load_snapshot, newest_snapshot, save_snapshot
from xxact_core.training.step import Trainee, batch_losses


@dataclass
class RunState:
    """Where a run is."""

    step: int = 0
    stop_requested: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def train(recipe: Recipe, dataset: Path, folder: Path) -> Path:
    """Train a model as a recipe says, going on from the newest whole snapshot in the run folder where there is one.

    Returns:
        The folder of the finished checkpoint, or of the last snapshot where the run was stopped by SIGTERM.

    Raises:
        RecipeError: the folder holds a run of another recipe or data set, or the data has no label to train on.
        FloatingPointError: the loss is not a number; the last good snapshot is kept.
    """
    torch.set_num_threads(recipe.threads)
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if recipe.device == "auto" else recipe.device)
    table = read_dataset(dataset)
    rows = table.rows("train")
    if not len(rows):
        msg = f"the data set {dataset} has no materials in its training split"
        raise RecipeError(msg, code="E_RECIPE")
    steps = max(1, round(recipe.epochs * len(rows) / recipe.batch_size))
    statistics = target_statistics(table, recipe)
    journal = _open_run(recipe, table, folder, steps=steps)
    trainee = Trainee(_first_model(recipe), recipe).to(device)
    optimiser = torch.optim.AdamW(
        [parameter for parameter in trainee.parameters() if parameter.requires_grad],
        lr=recipe.first_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
    )
    state = RunState()
    if (snapshot := newest_snapshot(folder, journal)) is not None:
        state.step = load_snapshot(snapshot, trainee, optimiser)
        journal.forget_after(state.step)
        journal.write("resumed", step=state.step)
    maker = BatchMaker(table, device=device, distortions=recipe.distortions)
    ideal = BatchMaker(table, device=device)
    validation = table.rows("validation")[: recipe.validation_rows]
    trainee.train()
    began, first_step = time.monotonic(), state.step
    with _stop_on_sigterm(state):
        while state.step < steps and not state.stop_requested:
            seed = recipe.seed * 1_000_003 + state.step
            torch.manual_seed(seed)  # dropout of this step follows from its number, so that a resumed run is the same
            batch = maker.batch(
                shuffled_rows(rows, batch_size=recipe.batch_size, seed=recipe.seed, step=state.step), seed=seed
            )
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                losses = batch_losses(
                    trainee, batch, recipe, statistics, generator=torch.Generator(device).manual_seed(seed)
                )
                loss = torch.stack(list(losses.values())).sum()
            if not bool(torch.isfinite(loss)):
                journal.write("diverged", step=state.step, **{name: float(value) for name, value in losses.items()})
                msg = f"the loss is {float(loss)} at step {state.step}; the last good snapshot is kept in {folder}"
                raise FloatingPointError(msg)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(state.step, steps=steps, recipe=recipe)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(trainee.parameters(), recipe.clip or float("inf"))
            optimiser.step()
            state.step += 1
            journal.write(
                "step",
                step=state.step,
                loss=float(loss.detach()),
                losses={name: float(value.detach()) for name, value in losses.items()},
                learning_rate=optimiser.param_groups[0]["lr"],
                gradient_norm=float(norm),
            )
            if state.step % recipe.validate_every == 0 or state.step == steps:
                if "targets" in recipe.objectives and len(validation):
                    metrics = metrics_of(predict_rows(trainee.model, ideal, validation, statistics), table)
                    journal.write("validation", step=state.step, metrics=metrics)
                _write_status(folder, "running", state.step, steps, began=began, first=first_step, recipe=recipe)
            if state.step % recipe.save_every == 0 or state.step == steps or state.stop_requested:
                save_snapshot(folder, trainee, optimiser, step=state.step)
                journal.write("saved", step=state.step)
    if state.step < steps:
        _write_status(folder, "cancelled", state.step, steps, began=began, first=first_step, recipe=recipe)
        return folder / "checkpoints" / f"step-{state.step}"
    checkpoint = Checkpoint(model=trainee.model.eval(), statistics=statistics, about=_about(recipe, table))
    final = finish_run(folder, checkpoint)
    _write_status(folder, "finished", state.step, steps, began=began, first=first_step, recipe=recipe)
    journal.write("finished", step=state.step)
    return final


def target_statistics(table: StickTable, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of every value target over the labelled training rows, in its unit.

    Raises:
        RecipeError: a target of the recipe has no label at all, or does not vary.
    """
    train_rows, statistics = table.rows("train"), {}
    for name in recipe.targets:
        values = table.targets[name][train_rows]
        values = values[values == values]  # noqa: PLR0124 - NaN is not equal to itself
        if "targets" in recipe.objectives and not values.size:
            msg = f"no training material has a {name}; leave it out of the targets"
            raise RecipeError(msg, code="E_RECIPE")
        if TARGETS[name].kind == "value" and values.size:
            deviation = float(values.std(dtype="float64"))
            if deviation == 0:
                msg = f"{name} is {values[0]} for every training material: there is nothing to learn"
                raise RecipeError(msg, code="E_RECIPE")
            statistics[name] = (float(values.mean(dtype="float64")), deviation)
    return statistics


def _first_model(recipe: Recipe) -> torch.nn.Module:
    model = make_model(recipe.model_config(), seed=recipe.seed)
    if recipe.start_from is not None:
        before = load_checkpoint(Path(recipe.start_from)).model.state_dict()
        shared = {name: value for name, value in before.items() if not name.startswith("heads.")}
        missing, extra = model.load_state_dict(shared, strict=False)
        if extra or any(not name.startswith("heads.") for name in missing):
            msg = f"{recipe.start_from} is a model of another make than the recipe's preset {recipe.preset!r}"
            raise RecipeError(msg, code="E_RECIPE")
    return model


def _about(recipe: Recipe, table: StickTable) -> dict[str, object]:
    return {"recipe": recipe.to_dict(), "data_digest": table.digest, "seed": recipe.seed, "torch": torch.__version__}


def _open_run(recipe: Recipe, table: StickTable, folder: Path, *, steps: int) -> Journal:
    import json  # noqa: PLC0415

    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    path, described = folder / "recipe.json", json.loads(json.dumps(_about(recipe, table)))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name, value in described["recipe"].items() if before["recipe"].get(name) != value]
        if before["data_digest"] != described["data_digest"]:
            changed.append("data set")
        if changed:
            msg = f"{folder} holds another run; it differs in {changed}: choose another folder"
            raise RecipeError(msg, code="E_RECIPE")
    else:
        write_json(path, described)
    journal = Journal(folder / "journal.jsonl")
    if not journal.path.exists():
        journal.write("started", step=0, steps=steps, materials=len(table.rows("train")))
    return journal


def _write_status(
    folder: Path, state: str, step: int, steps: int, *, began: float, first: int, recipe: Recipe
) -> None:
    elapsed = time.monotonic() - began
    rate = (step - first) * recipe.batch_size / max(elapsed, 1e-9)
    write_json(
        folder / "status.json",
        {
            "state": state,
            "step": step,
            "steps": steps,
            "samples_per_second": rate,
            "seconds_left": (steps - step) * recipe.batch_size / max(rate, 1e-9),
        },
    )


@contextmanager
def _stop_on_sigterm(state: RunState) -> Iterator[None]:
    def stop(*_: object) -> None:
        state.stop_requested = True

    try:
        before: Mapping | object = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread, where signals do not arrive
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)  # type: ignore[arg-type]
