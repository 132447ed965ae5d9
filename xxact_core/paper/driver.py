"""All runs of the paper in one command: planned by cost, several at a time, resumed where it was stopped.

Every run is a process of its own, so that one that fails does not stop the others. Several drivers, on machines that
share the folder, divide the runs among them: a run folder has one owner.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from subprocess import Popen
from typing import Any

from xxact_core.checkpoint import DESCRIPTION
from xxact_core.paper.cost import Costs
from xxact_core.paper.experiments import KINDS, TRIALS, experiment_by_name, kind_of, planned, trials_of
from xxact_core.paper.runs import (
    MATERIALS,
    ORIGIN,
    PREDICTIONS,
    check_settings,
    current_settings,
    run_folder,
    write_materials,
)
from xxact_core.paper.trials import CHOSEN, choose, read_choices
from xxact_core.processes import module_command, start_child
from xxact_core.training.journal import STOP
from xxact_core.training.run_folder import read_owner, read_status

LOGS = "logs"
"""Folder of the output of each run."""

COMMAND = "xxact_core.commands.main"

GRACE = 180.0
"""Seconds that runs have to write a snapshot when they are stopped, before they are ended."""

POLL = 0.5
"""Seconds between two looks at the running processes."""

_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
"""Keeps large tensors in the heap of glibc, which saves page faults."""


@dataclass(frozen=True)
class Job:
    """A run that is to be done."""

    name: str
    seed: int
    after: tuple[tuple[str, int], ...] = ()
    """Runs (experiment, seed) that have to be finished before."""

    @property
    def key(self) -> tuple[str, int]:
        """Experiment and seed."""
        return self.name, self.seed


@dataclass(frozen=True)
class PlannedRun:
    """A line of the plan."""

    name: str
    seed: int
    state: str
    """`finished`, `running`, `stopped` or `waiting`."""
    epochs: float
    materials: int
    hours: float
    """Estimated hours that are left, on one process; 0 where it is finished."""
    ends: float
    """Estimated hours from now to its end, with the processes at hand."""


@dataclass
class Summary:
    """What became of the runs."""

    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Reason by run."""
    left: list[str] = field(default_factory=list)
    """Runs that are not finished, because the time was over or a run before them failed."""


def jobs_of(folder: Path, *, size: str, settings: Mapping[str, Any], only: str | None = None) -> list[Job]:
    """All runs in the order in which they decide the claims, with the trials of each kind before its first run.

    Kinds whose batch size and rate are set or chosen already have no trials, nor has the size of the paper, which
    states them. `only` is a pattern of names; what these start from is included.
    """
    choices = read_choices(folder)
    needs_trials = size != "paper" and not all(name in settings for name in CHOSEN)
    jobs: dict[tuple[str, int], Job] = {}
    wanted = [key for key in planned() if only is None or fnmatchcase(key[0], only)]
    for key in wanted:
        _add(key, jobs, trials={kind for kind in KINDS if needs_trials and kind not in choices})
    return list(jobs.values())


def _add(key: tuple[str, int], jobs: dict[tuple[str, int], Job], *, trials: set[str]) -> None:
    if key in jobs:
        return
    name, seed = key
    after: list[tuple[str, int]] = []
    if (before := experiment_by_name(name).start_from) is not None:
        after.append((before, seed))
    if (kind := kind_of(name)) in trials:
        after += [(trial, 0) for trial in trials_of(kind or "")]
    for one in after:
        if one[0] in TRIALS:
            jobs.setdefault(one, Job(*one))
        else:
            _add(one, jobs, trials=trials)
    jobs[key] = Job(name, seed, tuple(after))


def is_finished(folder: Path, name: str, seed: int) -> bool:
    """Whether a run is trained and, if it predicts something, evaluated."""
    run = run_folder(folder, name, seed)
    evaluated = name in TRIALS or name.startswith("pretrain-") or (run / PREDICTIONS).is_file()
    return (run / "model" / DESCRIPTION).is_file() and (run / ORIGIN).is_file() and evaluated


def is_owned(folder: Path, name: str, seed: int) -> bool:
    """Whether a process trains in the folder of a run."""
    owner = read_owner(run_folder(folder, name, seed))
    return owner is not None and not owner.has_ended


def _is_here(folder: Path, name: str, seed: int) -> bool:
    owner = read_owner(run_folder(folder, name, seed))
    return owner is not None and owner.is_here


def plan(folder: Path, costs: Costs, *, processes: int, only: str | None = None) -> list[PlannedRun]:
    """The runs in their order, with estimated durations; kinds that were never run are timed for a few seconds."""
    jobs = jobs_of(folder, size=costs.size, settings=costs.settings, only=only)
    speeds = costs.measured_speeds(job.name for job in jobs)
    free = [0.0] * processes
    ends: dict[tuple[str, int], float] = {}
    lines = []
    for job in jobs:
        cost = costs.of(job.name, job.seed, speeds)
        done = is_finished(folder, job.name, job.seed)
        status = read_status(run_folder(folder, job.name, job.seed)) or {}
        part = 1.0 if done else status.get("step", 0) / (status.get("steps") or 1)
        hours = (1 - part) * cost.seconds / 3600
        place = min(range(processes), key=lambda number: free[number])
        start = max([free[place], *(ends.get(one, 0.0) for one in job.after)])
        ends[job.key] = start + hours
        if not done:
            free[place] = ends[job.key]
        state = "finished" if done else "running" if is_owned(folder, *job.key) else "stopped" if part else "waiting"
        lines.append(PlannedRun(job.name, job.seed, state, cost.epochs, cost.materials, hours, ends[job.key]))
    return lines


class Driver:
    """Runs the jobs of a folder."""

    def __init__(  # noqa: PLR0913 - the options of a command
        self,
        dataset: Path,
        folder: Path,
        *,
        size: str,
        processes: int = 1,
        together: int = 1,
        hours: float | None = None,
        settings: Sequence[str] = (),
        dft: Path | None = None,
        only: str | None = None,
        low_priority: bool = True,
        notice: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Settings of the runs.

        Args:
            dataset: folder of the dataset.
            folder: folder of the runs.
            size: of the models, one of `xxact_core.paper.runs.SIZES`.
            processes: number of runs at a time.
            together: number of processes that train one run, under torchrun.
            hours: after which the runs are stopped; they continue the next time. None for no limit.
            settings: of all runs, as `NAME=VALUE`, see `run_experiments`.
            dft: dataset with DFT labels and band gaps of the same materials.
            only: pattern of the names of experiments.
            low_priority: whether the runs give way to other programs.
            notice: called with a line for each event.
        """
        from xxact_core.training.config import parse_settings  # noqa: PLC0415 - imports torch

        self.dataset, self.folder, self.dft = dataset, folder, dft
        self.size, self.processes, self.together, self.only = size, processes, together, only
        self.deadline = None if hours is None else time.monotonic() + 3600 * hours
        self.texts, self.notice, self.low_priority = tuple(settings), notice, low_priority
        self.settings = current_settings(parse_settings(self.texts))
        check_settings(self.settings)
        self.running: dict[tuple[str, int], Popen[bytes]] = {}
        self.summary = Summary()
        self.interrupted = False
        self._renders: Popen[bytes] | None = None
        self._dirty = False

    def run(self) -> Summary:
        """Do the jobs until all are done, the time is over, or the process is interrupted (Ctrl+C or SIGTERM)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / MATERIALS).is_file():
            write_materials(self.dataset, self.folder, dft=self.dft)
        jobs = jobs_of(self.folder, size=self.size, settings=self.settings, only=self.only)
        waiting = [job for job in jobs if not is_finished(self.folder, *job.key)]
        self._choose()
        with self._stopped_by_signals():
            while (waiting or self.running) and not self._is_over():
                self._collect()
                waiting = self._start(waiting)
                self._render()
                time.sleep(POLL)
            if self.running:
                self._stop()
        self.summary.left += [f"{job.name}, seed {job.seed}" for job in waiting]
        self._render(wait=True)
        return self.summary

    def _is_over(self) -> bool:
        return self.interrupted or (self.deadline is not None and time.monotonic() >= self.deadline)

    def _start(self, waiting: list[Job]) -> list[Job]:
        """Start what can be started; returns what still waits."""
        left, failed = [], set(self.summary.failed)
        owners = {job.key: is_owned(self.folder, *job.key) for job in waiting}
        here = [key for key, owned in owners.items() if owned and _is_here(self.folder, *key)]
        slots = self.processes - len(self.running) - len(here)
        for job in waiting:
            if is_finished(self.folder, *job.key):  # by a process that an earlier driver left behind
                self._finished(job.key)
            elif any(_label(one) in failed for one in job.after if one[0] not in TRIALS) or self._lacks_choice(job):
                self.summary.failed[_label(job.key)] = "a run that it needs failed"
                failed.add(_label(job.key))
            elif slots > 0 and not owners[job.key] and all(self._is_done(one) for one in job.after):
                self._launch(job)
                slots -= 1
            else:
                left.append(job)
        return left

    def _is_done(self, key: tuple[str, int]) -> bool:
        """Whether a run is finished; a trial may have failed as well, since the others can decide."""
        return is_finished(self.folder, *key) or (key[0] in TRIALS and _label(key) in self.summary.failed)

    def _lacks_choice(self, job: Job) -> bool:
        """Whether all trials that a run needs have failed."""
        trials = [one for one in job.after if one[0] in TRIALS]
        return bool(trials) and all(_label(one) in self.summary.failed for one in trials)

    def _launch(self, job: Job) -> None:
        log = self.folder / LOGS / f"{job.name}-seed{job.seed}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = ["paper", "run", str(self.dataset), str(self.folder), "--experiment", job.name]
        arguments += ["--seed", str(job.seed), "--size", self.size]
        arguments += ["--dft", str(self.dft)] if self.dft is not None else []
        arguments += [word for text in self.texts for word in ("--set", text)]
        command = module_command(COMMAND, *arguments)
        if self.together > 1:
            command = (
                sys.executable, "-P", "-m", "torch.distributed.run", "--nproc-per-node", str(self.together),
                "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", COMMAND, *arguments,
            )  # fmt: skip
        with log.open("ab") as output:
            child = start_child(
                command, stdout=output, stderr=output, threads=1, low_priority=self.low_priority, environment=_MALLOC
            )
        self.running[job.key] = child
        self.notice(f"{_label(job.key)}: started")

    def _collect(self) -> None:
        """Note which runs have ended, and choose batch size and rate of kinds whose trials all have."""
        for key, child in list(self.running.items()):
            if child.poll() is None:
                continue
            del self.running[key]
            if is_finished(self.folder, *key):
                self._finished(key)
            else:
                reason = _last_line(self.folder / LOGS / f"{key[0]}-seed{key[1]}.log")
                self.summary.failed[_label(key)] = reason
                self.notice(f"{_label(key)}: failed ({reason})")
                self._choose()

    def _finished(self, key: tuple[str, int]) -> None:
        self.summary.finished.append(_label(key))
        self.notice(f"{_label(key)}: finished")
        self._choose()
        self._dirty |= key[0] not in TRIALS

    def _choose(self) -> None:
        """Choose the settings of the kinds whose trials have all ended."""
        for kind in KINDS:
            trials = [(name, 0) for name in trials_of(kind)]
            if kind in read_choices(self.folder) or not all(map(self._is_done, trials)):
                continue
            runs = [run_folder(self.folder, *key) for key in trials if is_finished(self.folder, *key)]
            if runs:
                chosen = choose(self.folder, kind, runs)
                text = ", ".join(f"{name}={value:g}" for name, value in chosen.items())
                self.notice(f"{kind}: chosen on validation: {text}")

    def _stop(self) -> None:
        """Stop the running processes; they write a snapshot first."""
        self.notice(f"stopping {len(self.running)} runs, which continue the next time")
        ends = time.monotonic() + GRACE
        while self.running and time.monotonic() < ends:
            for name, seed in self.running:
                if (run := run_folder(self.folder, name, seed)).is_dir() and not is_finished(self.folder, name, seed):
                    (run / STOP).touch()  # again and again: a run that is just being opened removes it
            time.sleep(POLL)
            for key, child in list(self.running.items()):
                if child.poll() is not None:
                    del self.running[key]
                    (self._finished if is_finished(self.folder, *key) else self._left)(key)
        for key, child in self.running.items():
            child.terminate()
            self._left(key)
        self.running.clear()

    def _left(self, key: tuple[str, int]) -> None:
        self.summary.left.append(_label(key))

    def _render(self, *, wait: bool = False) -> None:
        """Write the pages of what is finished, in a process of its own; one at a time."""
        if self._renders is not None and (wait or self._renders.poll() is not None):
            self._renders.wait()
            self._renders = None
        if self._dirty and self._renders is None:
            self._dirty = False
            log = self.folder / LOGS / "pages.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            command = module_command(COMMAND, "paper", "pages", str(self.folder), "--dataset", str(self.dataset))
            with log.open("ab") as output:
                self._renders = start_child(
                    command, stdout=output, stderr=output, threads=1, low_priority=self.low_priority
                )
            if wait:
                self._renders.wait()

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        """Ctrl+C and SIGTERM stop the runs."""

        def stop(_number: int, _frame: object) -> None:
            self.interrupted = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def torchrun_processes() -> tuple[int, int]:
    """Rank among the processes that torchrun started on this machine, and their number; (0, 1) without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _label(key: tuple[str, int]) -> str:
    return f"{key[0]}, seed {key[1]}"


def _last_line(log: Path) -> str:
    """The last line of an output that is not empty."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
