"""A run: data set and recipe in, run folder with journal and checkpoints out. The loop is one page."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import TrainingOrder, blockwise_order, shuffled_order
from xxact_core.dataset.store import write_json
from xxact_core.dataset.table import ShardSticks, StickTable
from xxact_core.errors import RecipeError
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import ALONE, Ranks, any_asks, as_the_leader_says, joined, local_device
from xxact_core.training.finish import finished_checkpoint
from xxact_core.training.gradients import gradients_of
from xxact_core.training.journal import STOP, Journal
from xxact_core.training.labels import check_materials, target_statistics
from xxact_core.training.layers import run_compiled, run_recomputed
from xxact_core.training.optimiser import Optimisers, make_optimiser
from xxact_core.training.schedule import learning_rate
from xxact_core.training.snapshots import finish_run, load_snapshot, newest_snapshot, save_snapshot
from xxact_core.training.start import first_model, open_journal, open_table
from xxact_core.training.step import Trainee
from xxact_core.training.trees import grow_trees

STEP_SEEDS = 1_000_003
"""A prime apart, so that no two runs of small seeds share the seed of a step."""

RANK_SEEDS = 7_368_787
"""Another prime apart, so that processes distort their patterns each in their own way."""


@dataclass
class Run:
    """A training under way: what it works on, and where it is."""

    recipe: Recipe
    folder: Path
    device: torch.device
    table: StickTable
    statistics: dict[str, tuple[float, float]]
    trainee: Trainee
    optimiser: Optimisers
    journal: Journal
    order: TrainingOrder
    distorted: BatchMaker
    ideal: BatchMaker
    steps: int
    micro_batch_size: int | None = None
    ranks: Ranks = ALONE
    step: int = 0
    first_step: int = 0
    asked_to_stop: bool = False
    stop_requested: bool = False
    began: float = field(default_factory=time.monotonic)


def train(recipe: Recipe, dataset: Path, folder: Path, *, progress: bool = False) -> Path:
    """Train a model as a recipe says, going on from the newest whole snapshot in the run folder where there is one.

    Returns:
        The folder of the finished checkpoint, or of the last snapshot where the run was stopped by Ctrl+C, SIGTERM or
        a file `stop` in its folder.

    Raises:
        RecipeError: the folder holds a run of another recipe or data set, or the data has no label to train on.
        FloatingPointError: the loss is not a number; the last good snapshot is kept.
    """
    chosen = recipe.device if recipe.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device = local_device(chosen)
    with joined(device) as ranks:
        if recipe.model_config().architecture == "extra-trees":
            return grow_trees(recipe, dataset, folder) if ranks.leads else folder / "model"
        run = open_run(recipe, dataset, folder, device=device, ranks=ranks)
        with _progress_bar(run, shown=progress and ranks.leads) as show, _stopped_by_signals(run):
            while run.step < run.steps and not run.stop_requested:
                show(take_step(run))
                asked = run.asked_to_stop or (ranks.leads and (folder / STOP).exists())
                run.stop_requested = any_asks(asked, device=device)
                if ranks.leads:
                    keep_records(run)
        if ranks.leads and run.step == run.steps:
            finish_run(
                folder, finished_checkpoint(run.trainee.answering, run.table, recipe, run.statistics, device=device)
            )
            run.journal.write("finished", step=run.step)
        write_status(run, "finished" if run.step == run.steps else "cancelled")
    return folder / "model" if run.step == run.steps else folder / "checkpoints" / f"step-{run.step}"


def keep_records(run: Run) -> None:
    """Validate and save when it is time, and always after the last step."""
    last = run.step == run.steps or run.stop_requested
    if last or run.step % run.recipe.validate_every == 0:
        validate(run)
        write_status(run, "running")
    if last or run.step % run.recipe.save_every == 0:
        save_snapshot(run.folder, run.trainee, run.optimiser, step=run.step)
        run.journal.write("saved", step=run.step)


def open_run(recipe: Recipe, dataset: Path, folder: Path, *, device: torch.device, ranks: Ranks = ALONE) -> Run:
    """Everything a run needs, at its first step or where its newest snapshot left it.

    Raises:
        RecipeError: see `train`.
    """
    torch.set_num_threads(recipe.threads)
    if recipe.batch_size < ranks.world:
        msg = f"a batch of {recipe.batch_size} cannot be shared by {ranks.world} processes: choose a larger batch_size"
        raise RecipeError(msg, code="E_RECIPE")
    if recipe.batch_size % ranks.world and "contrastive" in recipe.objectives:
        msg = f"contrastive: a batch of {recipe.batch_size} cannot be shared evenly by {ranks.world} processes"
        raise RecipeError(msg, code="E_RECIPE")
    table = open_table(recipe, dataset)
    materials = check_materials(table, recipe)
    statistics = target_statistics(table, recipe)
    steps = max(1, round(recipe.epochs * materials / recipe.batch_size))
    trainee = Trainee(first_model(recipe), recipe).to(device)
    journal = open_journal(recipe, table, folder, steps=steps) if ranks.leads else Journal(Path(os.devnull))
    if ranks.world > 1 and device.type == "cuda":
        trainee = nn.SyncBatchNorm.convert_sync_batchnorm(trainee)
    if recipe.torch_compile:
        run_compiled(trainee.model)
    if recipe.activation_checkpointing:
        run_recomputed(trainee.model)
    run = Run(
        recipe=recipe,
        folder=folder,
        device=device,
        table=table,
        statistics=statistics,
        trainee=trainee.train(),
        optimiser=make_optimiser(trainee, recipe),
        journal=journal,
        order=training_order(table, recipe),
        distorted=BatchMaker(
            table,
            device=device,
            distortions=recipe.augmentation,
            relatives=recipe.lattice_strain,
            threads=recipe.threads,
        ),
        ideal=BatchMaker(table, device=device, threads=recipe.threads),
        steps=steps,
        micro_batch_size=recipe.micro_batch_size,
        ranks=ranks,
    )
    snapshot = as_the_leader_says(newest_snapshot(folder, journal) if ranks.leads else None)
    if snapshot is not None:
        run.step = run.first_step = load_snapshot(snapshot, trainee, run.optimiser)
    if ranks.leads:
        (folder / STOP).unlink(missing_ok=True)  # of the last time
        journal.forget_after(run.step)
    if snapshot is not None:
        journal.write("resumed", step=run.step)
    write_status(run, "running")
    return run


def training_order(table: StickTable, recipe: Recipe) -> TrainingOrder:
    """The order in which the training rows are gone through: all mixed in memory, by blocks of shards from disk."""
    rows = table.rows("train")
    if isinstance(table.stored, ShardSticks):
        return blockwise_order(rows, table.stored.first_row, batch_size=recipe.batch_size, seed=recipe.seed)
    return shuffled_order(rows, batch_size=recipe.batch_size, seed=recipe.seed)


def take_step(run: Run) -> float:
    """One step: batch → losses → gradients → weights; its randomness follows from its number. Returns the loss."""
    recipe, seed = run.recipe, run.recipe.seed * STEP_SEEDS + run.step
    began = time.monotonic()
    rows = run.order.step(run.step)[run.ranks.part(recipe.batch_size)]
    batch = run.distorted.batch(rows, seed=seed + RANK_SEEDS * run.ranks.rank)
    before = run.micro_batch_size
    values, run.micro_batch_size = gradients_of(
        run.trainee, batch, recipe, run.statistics, micro_batch_size=before, seed=seed, ranks=run.ranks
    )
    if run.micro_batch_size != before:
        run.journal.write("out of memory", step=run.step, micro_batch_size=run.micro_batch_size)
    loss = sum(values.values())
    norm = float(torch.nn.utils.clip_grad_norm_(run.trainee.parameters(), recipe.grad_clip_norm or math.inf))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        run.journal.write("diverged", step=run.step, losses={name: str(value) for name, value in values.items()})
        write_status(run, "diverged")
        msg = f"the loss is {loss} and the norm of its gradient {norm} at step {run.step}; the last good snapshot "
        msg += f"stays in {run.folder}"
        raise FloatingPointError(msg)
    rate = learning_rate(run.step, steps=run.steps, recipe=recipe)
    run.optimiser.set_rate(rate)
    run.optimiser.step()
    run.trainee.follow(step=run.step)
    run.step += 1
    run.journal.write(
        "step",
        step=run.step,
        loss=loss,
        losses=values,
        learning_rate=rate,
        gradient_norm=norm,
        samples_per_second=recipe.batch_size / (time.monotonic() - began),
        seconds_left=seconds_left(run),
    )
    return loss


def validate(run: Run) -> None:
    """Write the metrics on ideal patterns of the validation split into the journal, for recipes that train targets."""
    rows = run.table.rows("validation")[: run.recipe.validation_rows]
    if "targets" in run.recipe.objectives and len(rows):
        predictions = predict_rows(run.trainee.answering, run.ideal, rows, run.statistics)
        run.journal.write("validation", step=run.step, metrics=metrics_of(predictions, run.table))


def seconds_left(run: Run) -> float | None:
    """How long [s] the rest takes at the speed since the run was opened, validations included; None before a step."""
    taken = run.step - run.first_step
    return (run.steps - run.step) * (time.monotonic() - run.began) / taken if taken else None


def write_status(run: Run, state: str) -> None:
    """Replace status.json: state, step, rate and time left, for whoever watches the run folder."""
    if not run.ranks.leads:
        return
    seconds = max(time.monotonic() - run.began, 1e-9)
    steps_a_second = (run.step - run.first_step) / seconds
    content = {
        "state": state,
        "step": run.step,
        "steps": run.steps,
        "samples_per_second": steps_a_second * run.recipe.batch_size,
        "seconds_left": seconds_left(run),
    }
    write_json(run.folder / "status.json", content)


@contextmanager
def _progress_bar(run: Run, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """What shows the loss of each step."""
    if not shown:
        yield lambda _: None
        return
    from tqdm import tqdm  # noqa: PLC0415 - only people at a terminal need it; a machine that trains does without

    with tqdm(total=run.steps, initial=run.step, unit="step") as bar:

        def show(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        yield show


@contextmanager
def _stopped_by_signals(run: Run) -> Iterator[None]:
    """Ctrl+C and SIGTERM end a run after its step, with a snapshot; a second Ctrl+C ends it at once.

    Not a second SIGTERM: where several processes train, schedulers and torchrun send one each.
    """

    def stop(number: int, _: object) -> None:
        run.asked_to_stop = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    if threading.current_thread() is not threading.main_thread():  # where signals do not arrive
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
