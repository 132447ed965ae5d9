"""The training loop: recipe and dataset → run folder with journal, snapshots and the finished model."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import TrainingOrder, blockwise_order, shuffled_order
from xxact_core.dataset.table import ShardSticks, StickTable, polymorph_groups
from xxact_core.errors import DatasetError, RecipeError
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.training.batch_norm import synchronise_batch_norm
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import SINGLE_PROCESS, Ranks, any_rank, broadcast, local_device, process_group
from xxact_core.training.finish import finished_checkpoint
from xxact_core.training.gradients import count_pieces, gradients_of
from xxact_core.training.journal import STOP, Journal
from xxact_core.training.optimiser import Optimisers, learning_rate, make_optimiser
from xxact_core.training.precision import EVENT as PRECISION
from xxact_core.training.precision import choose_precision
from xxact_core.training.run_folder import owning, write_run_status
from xxact_core.training.snapshots import finish_run, load_snapshot, newest_snapshot, save_snapshot, set_run_aside
from xxact_core.training.start import (
    check_materials,
    check_polymorphs,
    checkpoint_activations,
    compile_layers,
    initial_model,
    open_journal,
    open_table,
    target_statistics,
)
from xxact_core.training.step import TrainingModule
from xxact_core.training.trees import grow_trees

STEP_SEEDS = 1_000_003
"""Offset of the seeds of two runs, a prime: runs of small seeds have no step seed in common."""


@dataclass
class Run:
    """The state of a running training."""

    recipe: Recipe
    """The recipe, with the precision that was chosen where it has `auto`."""

    folder: Path
    device: torch.device
    table: StickTable
    statistics: dict[str, tuple[float, float]]
    module: TrainingModule
    optimiser: Optimisers
    journal: Journal
    order: TrainingOrder
    training_batches: BatchMaker
    validation_batches: BatchMaker
    steps: int
    micro_batch_size: int | None = None
    pieces: int = 1
    """Pieces of a batch with random numbers of their own, see `count_pieces`; 1 in runs of earlier versions."""

    ranks: Ranks = SINGLE_PROCESS
    step: int = 0
    first_step: int = 0
    interrupted: bool = False
    stopping: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether a signal has arrived, or in the main process the file `stop` is there."""
        return self.interrupted or (self.ranks.is_main and (self.folder / STOP).exists())


class _ValidationStoppedError(Exception):
    """The run is to stop while a validation is under way."""


def train(
    recipe: Recipe,
    dataset: Path | str,
    folder: Path,
    *,
    progress: bool = False,
    restart: bool = False,
    notice: Callable[[str], None] | None = None,
) -> Path:
    """Train a model by a recipe, resuming from the newest valid snapshot in the run folder where there is one.

    Args:
        recipe: all settings.
        dataset: folder or URL of the dataset.
        folder: run folder; no other process may train in it.
        progress: show a progress bar.
        restart: begin again at the first step; journal, snapshots, model and recipe.json of the former run are kept
            under other names.
        notice: called with what one should know of the run, such as the precision that was chosen.

    Returns:
        The folder of the finished checkpoint, or of the last snapshot if the run was stopped by Ctrl+C, SIGTERM or a
        file `stop` in its folder.

    Raises:
        RecipeError: the folder belongs to a run of another recipe or dataset, another process trains in it, or the
            dataset has no labels to train on.
        CheckpointError: all snapshots of the run are damaged or missing.
        FloatingPointError: the loss or its gradient is not finite; the last snapshot is kept.
        OSError: the disk is full, or cannot be written any more; the last snapshot is kept.
    """
    chosen = recipe.device if recipe.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device = local_device(chosen)
    with process_group(device) as ranks, owning(folder) if ranks.is_main else nullcontext():
        if restart and ranks.is_main:
            set_run_aside(folder)
        if recipe.model_config().architecture == "extra-trees":
            return grow_trees(recipe, dataset, folder) if ranks.is_main else folder / "model"
        run = open_run(recipe, dataset, folder, device=device, ranks=ranks, notice=notice)
        try:
            _train(run, progress=progress)
        except OSError:
            with suppress(OSError):  # on a full disk there may be room for the few bytes, since the snapshot is removed
                write_status(run, "failed")
            raise
    return folder / "model" if run.step == run.steps else folder / "checkpoints" / f"step-{run.step}"


def _train(run: Run, *, progress: bool) -> None:
    """Train to the last step, or until the run is stopped, and write the finished model."""
    folder, device, main = run.folder, run.device, run.ranks.is_main
    with _progress_bar(run, shown=progress and main) as show, _stopped_by_signals(run):
        while run.step < run.steps and not run.stopping:
            show(training_step(run))
            run.stopping = any_rank(run.is_asked_to_stop, device=device)
            if main:
                validate_and_save(run)
    if main and run.step == run.steps:
        model, recipe = run.module.inference_model, run.recipe
        finish_run(folder, finished_checkpoint(model, run.table, recipe, run.statistics, device=device))
        run.journal.write("finished", step=run.step)
    write_status(run, "finished" if run.step == run.steps else "cancelled")


def validate_and_save(run: Run) -> None:
    """Validate and save a snapshot at their intervals, and after the last step.

    A run that is stopped is saved without a validation, so that it ends quickly.
    """
    last = run.step == run.steps
    if last or run.step % run.recipe.validate_every == 0:
        validate(run)
        write_status(run, "running")
    if last or run.stopping or run.step % run.recipe.save_every == 0:
        save_snapshot(run.folder, run.module, run.optimiser, step=run.step)
        run.journal.write("saved", step=run.step)


def open_run(
    recipe: Recipe,
    dataset: Path | str,
    folder: Path,
    *,
    device: torch.device,
    ranks: Ranks = SINGLE_PROCESS,
    notice: Callable[[str], None] | None = None,
) -> Run:
    """A run at its first step, or at the step of its newest snapshot; for `notice` see `train`.

    Raises:
        RecipeError: see `train`.
    """
    torch.set_num_threads(recipe.threads)
    _check_processes(recipe, ranks)
    table = open_table(recipe, dataset)
    if broadcast(table.digest) != table.digest:
        msg = f"{dataset} was changed while it was opened: the processes found different datasets; start again"
        raise DatasetError(msg, code="E_DATASET")
    materials = check_materials(table, recipe)
    check_polymorphs(table, recipe)
    statistics = target_statistics(table, recipe)
    steps = max(1, round(recipe.epochs * materials / recipe.batch_size))
    module = TrainingModule(initial_model(recipe), recipe).to(device)
    journal = (
        open_journal(recipe, table, folder, steps=steps, pieces=count_pieces(device), statistics=statistics)
        if ranks.is_main
        else Journal(Path(os.devnull))
    )
    if ranks.world > 1:
        synchronise_batch_norm(module, device=device)
    if recipe.torch_compile:
        compile_layers(module.model)
    if recipe.activation_checkpointing:
        checkpoint_activations(module.model)
    events = journal.read() if ranks.is_main else []
    started = broadcast(next((event for event in events if event["event"] == "started"), {}))
    pieces = started.get("pieces", 1)
    if "statistics" in started:
        statistics = {name: (mean, deviation) for name, (mean, deviation) in started["statistics"].items()}
    elif started:  # a run of an earlier version
        statistics = target_statistics(table, recipe, inherit=False)
    snapshot = broadcast(newest_snapshot(folder, journal) if ranks.is_main else None)
    precision = broadcast(choose_precision(recipe, device, events=events, resumed=snapshot is not None))
    run = Run(
        recipe=replace(recipe, precision=precision.name),
        folder=folder,
        device=device,
        table=table,
        statistics=statistics,
        module=module.train(),
        optimiser=make_optimiser(module, recipe),
        journal=journal,
        order=training_order(table, recipe),
        training_batches=BatchMaker(
            table,
            device=device,
            augmentation=recipe.augmentation,
            lattice_strain=recipe.lattice_strain,
            threads=recipe.threads,
        ),
        validation_batches=BatchMaker(table, device=device, threads=recipe.threads),
        steps=steps,
        micro_batch_size=recipe.micro_batch_size,
        pieces=pieces,
        ranks=ranks,
    )
    if snapshot is not None:
        run.step = run.first_step = load_snapshot(snapshot, module, run.optimiser)
    if ranks.is_main:
        (folder / STOP).unlink(missing_ok=True)  # of an earlier session
        journal.truncate_after(run.step)
    if snapshot is not None:
        journal.write("resumed", step=run.step, processes=ranks.world)
    if snapshot is None or precision.former:
        journal.write(PRECISION, step=run.step, precision=precision.name, cpu=precision.cpu, former=precision.former)
    if precision.notice and notice is not None and ranks.is_main:
        notice(precision.notice)
    write_status(run, "running")
    return run


def _check_processes(recipe: Recipe, ranks: Ranks) -> None:
    """Check that the batch can be divided among the processes.

    Raises:
        RecipeError: it cannot.
    """
    if recipe.batch_size < ranks.world:
        msg = f"a batch of {recipe.batch_size} cannot be divided among {ranks.world} processes; increase batch_size"
        raise RecipeError(msg, code="E_RECIPE")
    uneven = recipe.batch_size % ranks.world > 0
    if uneven and "contrastive" in recipe.objectives:
        msg = f"contrastive: a batch of {recipe.batch_size} cannot be divided evenly among {ranks.world} processes"
        raise RecipeError(msg, code="E_RECIPE")
    if uneven and recipe.micro_batch_size == 1:
        msg = f"a batch of {recipe.batch_size} cannot be divided evenly among {ranks.world} processes, one material "
        msg += "at a time; choose a micro_batch_size of at least 2"
        raise RecipeError(msg, code="E_RECIPE")


def training_order(table: StickTable, recipe: Recipe) -> TrainingOrder:
    """Order of the training rows: shuffled in memory, or within blocks of shards when they are read from disk."""
    rows, together = table.rows("train"), recipe.polymorphs_together
    groups = polymorph_groups(table) if together > 1 else None
    settings = {"batch_size": recipe.batch_size, "seed": recipe.seed}
    if isinstance(table.stored, ShardSticks):
        return blockwise_order(rows, table.stored.first_row, **settings, groups=groups, together=together)
    return shuffled_order(rows, **settings, groups=groups, together=together)


def training_step(run: Run) -> float:
    """One step: batch → losses → gradients → weights. Its randomness follows from its number. Returns the loss."""
    recipe, seed = run.recipe, run.recipe.seed * STEP_SEEDS + run.step
    began = time.monotonic()
    batch = run.training_batches.batch(
        run.order.step(run.step), seed=seed, pieces=run.pieces, part=run.ranks.part(recipe.batch_size)
    )
    before = run.micro_batch_size
    values, run.micro_batch_size = gradients_of(
        run.module,
        batch,
        recipe,
        run.statistics,
        micro_batch_size=before,
        seed=seed,
        ranks=run.ranks,
        pieces=run.pieces,
    )
    if run.micro_batch_size != before:
        run.journal.write("out of memory", step=run.step, micro_batch_size=run.micro_batch_size)
    loss = sum(values.values())
    norm = float(torch.nn.utils.clip_grad_norm_(run.module.parameters(), recipe.grad_clip_norm or math.inf))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        run.journal.write("diverged", step=run.step, losses={name: str(value) for name, value in values.items()})
        write_status(run, "diverged")
        msg = f"the loss is {loss} and the norm of its gradient {norm} at step {run.step}; the last "
        msg += f"snapshot is kept in {run.folder}"
        raise FloatingPointError(msg)
    rate = learning_rate(run.step, steps=run.steps, recipe=recipe)
    run.optimiser.set_rate(rate)
    run.optimiser.step()
    run.module.ema_update(step=run.step)
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
    """Write metrics on ideal patterns of the validation split to the journal, for recipes that train targets.

    Unless it is the last one, a validation ends without metrics where the run is to stop.
    """
    rows = run.table.sample("validation", run.recipe.validation_rows)
    if "targets" not in run.recipe.objectives or not len(rows):
        return

    def before_batch() -> None:
        if run.step < run.steps and run.is_asked_to_stop:
            raise _ValidationStoppedError

    model = run.module.inference_model
    was_training = model.training
    try:
        predictions = predict_rows(model, run.validation_batches, rows, run.statistics, before_batch=before_batch)
    except _ValidationStoppedError:
        model.train(was_training)
        return
    run.journal.write("validation", step=run.step, metrics=metrics_of(predictions, run.table))


def seconds_left(run: Run) -> float | None:
    """Estimated time left [s], at the speed since the run was opened; None before the first step."""
    taken = run.step - run.first_step
    return (run.steps - run.step) * (time.monotonic() - run.began) / taken if taken else None


def write_status(run: Run, state: str) -> None:
    """Write status.json: state, step, speed and time left, for those who monitor the run folder."""
    if not run.ranks.is_main:
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
    write_run_status(run.folder, content)


@contextmanager
def _progress_bar(run: Run, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """A function that shows the loss of each step."""
    if not shown:
        yield lambda _: None
        return
    from tqdm import tqdm  # noqa: PLC0415 - only needed at a terminal

    with tqdm(total=run.steps, initial=run.step, unit="step") as bar:

        def show(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        yield show


@contextmanager
def _stopped_by_signals(run: Run) -> Iterator[None]:
    """Ctrl+C and SIGTERM stop a run after the current step, with a snapshot; a second Ctrl+C stops it at once.

    A second SIGTERM does not: with several processes, the scheduler and torchrun both send one.
    """

    def stop(number: int, _: object) -> None:
        run.interrupted = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    if threading.current_thread() is not threading.main_thread():  # signals arrive in the main thread only
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
