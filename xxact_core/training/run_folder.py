"""What a run folder states of its run: settings, state, and the process that trains in it."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xxact_core.dataset.store import write_json
from xxact_core.errors import RecipeError, shorten
from xxact_core.json_digest import CONTENT_DIGEST, is_damaged, with_digest
from xxact_core.processes import ProcessIdentity

RECIPE, STATUS, OWNER = "recipe.json", "status.json", "running.json"
"""Settings of the run, its state, and the process that trains in the folder."""

STATES = frozenset({"running", "finished", "cancelled", "diverged", "failed"})
"""What status.json states. A run whose process has gone is `interrupted`, see `run_state`."""

_STATUS_FIELDS = frozenset({"state", "step", "steps", "samples_per_second", "seconds_left"})
_RECIPE_FIELDS = frozenset({"recipe", "data_digest", "seed", "torch", "extra_digests", "more_digests"})


# ----------------------------------------------------------------------------------------------------- recipe and state
def write_recipe(folder: Path, described: Mapping[str, Any]) -> None:
    """Write recipe.json with the digest of its content."""
    write_json(folder / RECIPE, with_digest(described))


def read_recipe(folder: Path) -> dict[str, Any]:
    """What recipe.json states; names are those that it was written with.

    Raises:
        RecipeError: it is damaged.
    """
    path = folder / RECIPE
    values = _read(path)
    damage = "it holds no settings" if values is None else is_damaged(values, known=_RECIPE_FIELDS)
    if values is None or damage or not isinstance(values.get("recipe"), dict):
        msg = f"{path} is damaged: {damage or 'it holds no recipe'}; restore it from a backup, or choose another folder"
        raise RecipeError(msg, code="E_RECIPE")
    return {name: value for name, value in values.items() if name != CONTENT_DIGEST}


def write_run_status(folder: Path, status: Mapping[str, Any]) -> None:
    """Write status.json with the digest of its content."""
    write_json(folder / STATUS, with_digest(status))


def read_status(folder: Path) -> dict[str, Any] | None:
    """What status.json states; None where there is none, or it is damaged."""
    values = _read(folder / STATUS)
    if values is None or is_damaged(values, known=_STATUS_FIELDS):
        return None
    step, steps = values.get("step", 0), values.get("steps")
    numbers = [values.get("samples_per_second"), values.get("seconds_left")]
    right = (
        values.get("state") in STATES
        and type(step) is int
        and type(steps) is int
        and 0 <= step <= steps
        and all(number is None or _is_number(number) for number in numbers)
    )
    return {**dict.fromkeys(_STATUS_FIELDS), "step": step, **values} if right else None


def run_state(folder: Path, state: str) -> str:
    """The state of a run whose status.json states `state`: `interrupted` where its process has ended without a word."""
    if state != "running":
        return state
    owner = read_owner(folder)
    return "interrupted" if owner is not None and owner.has_ended else state


# ------------------------------------------------------------------------------------------------------------ one owner
@dataclass(frozen=True)
class Owner:
    """The process that trains in a run folder."""

    host: str
    pid: int
    started: float | None
    """Start of the process, see `ProcessIdentity`; None where psutil is not installed."""

    job: str | None = None
    """Number of its Slurm job, a full stop, and how often Slurm had queued the job again; None outside of Slurm."""

    @classmethod
    def this_process(cls) -> Owner:
        """This process."""
        try:
            started = ProcessIdentity.of(os.getpid()).started
        except ModuleNotFoundError:  # a machine that only trains has no psutil
            started = None
        job = os.environ.get("SLURM_JOB_ID")
        if job is not None:
            job += f".{os.environ.get('SLURM_RESTART_COUNT', '0')}"
        return cls(socket.gethostname(), os.getpid(), started, job)

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return self.host == socket.gethostname()

    @property
    def was_queued_again(self) -> bool:
        """Whether this process belongs to a later start of the same Slurm job."""
        (job, _, restarts), (own, _, own_restarts) = (
            (owner.job or "").partition(".") for owner in (self, Owner.this_process())
        )
        counts = restarts.isdecimal() and own_restarts.isdecimal()
        return counts and job == own and int(restarts) < int(own_restarts)

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended; what another machine does is not known.

        Where Slurm has queued its job again, it has ended on whatever machine.
        """
        if self.was_queued_again:
            return True
        if not self.is_here:
            return False
        try:
            if self.started is not None:
                return ProcessIdentity(self.pid, self.started).find() is None
        except ModuleNotFoundError:
            pass
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def read_owner(folder: Path) -> Owner | None:
    """The process that trains in a folder, or that did when it was killed; None where there is none."""
    return _read_owner(folder / OWNER)


def _read_owner(path: Path) -> Owner | None:
    values = _read(path)
    if values is None:
        return None
    host, pid, started = values.get("host"), values.get("pid"), values.get("started")
    if not isinstance(host, str) or type(pid) is not int or pid < 1 or not (started is None or _is_number(started)):
        return None
    job = values.get("job")  # version 0.1.0 wrote none
    return Owner(host, pid, started, job if isinstance(job, str) else None)


@contextmanager
def owning(folder: Path) -> Iterator[None]:
    """Train in a run folder alone: no other process may, until the block ends or this process does.

    The record of a process that has ended is replaced. It is made by linking a complete file, which fails where there
    is one, so that of two processes at the same time one wins, on network disks, too.

    Raises:
        RecipeError: another process trains in the folder; the message names it. Or the folder cannot be written.
    """
    path, own = folder / OWNER, Owner.this_process()
    part = folder / f"{OWNER}.{own.host}.{own.pid}.part"
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(own)), encoding="utf-8")
        try:
            while not _linked(part, path):
                _remove_stale(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{folder} cannot be a run folder: {shorten(error.strerror or error)}; choose another path"
        raise RecipeError(msg, code="E_RECIPE") from error
    try:
        yield
    finally:
        if read_owner(folder) == own:
            path.unlink(missing_ok=True)
        if made:
            with suppress(OSError):
                folder.rmdir()  # where nothing was written into it


def _linked(part: Path, path: Path) -> bool:
    """Whether the record could be made; false where there is one."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except (NotImplementedError, PermissionError):  # a disk without links, such as exFAT
        if path.exists():
            return False
        part.replace(path)
    return True


def _remove_stale(path: Path) -> None:
    """Remove the record of a process that has ended.

    Raises:
        RecipeError: it has not, or it is on another machine.
    """
    owner = read_owner(path.parent)
    if owner is None or owner.has_ended:
        aside = path.with_name(f"{path.name}.{os.getpid()}.stale")
        try:
            path.replace(aside)  # one of several processes succeeds
        except FileNotFoundError:
            return
        if _read_owner(aside) != owner:  # another process was faster, and this is its record
            _linked(aside, path)
        aside.unlink(missing_ok=True)
        return
    place = f"process {owner.pid} on {shorten(owner.host, limit=60)}"
    msg = f"{path.parent} is in use: {place} trains in it; stop it first, or choose another folder"
    if not owner.is_here:
        msg += f". If it has ended, delete {path}"
    raise RecipeError(msg, code="E_RECIPE")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
