"""Snapshots of a running training: written atomically, verified by their digests, resumed from the newest valid one."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from xxact_core.checkpoint import Checkpoint, save_checkpoint
from xxact_core.dataset.store import file_digest, fsync_folder, write_json
from xxact_core.errors import CheckpointError, shorten
from xxact_core.stored_names import rename_tensors
from xxact_core.training.journal import JOURNAL, Journal
from xxact_core.training.optimiser import Optimisers
from xxact_core.training.run_folder import RECIPE, STATUS
from xxact_core.training.step import TrainingModule

KEPT = 2
FILES = ("model.safetensors", "state.pt")
_DAMAGED = ".damaged"
_RESTARTED = (JOURNAL, "checkpoints", "model", RECIPE)


def save_snapshot(folder: Path, module: TrainingModule, optimiser: Optimisers, *, step: int) -> Path:
    """Write checkpoints/step-N with weights, optimiser state and digests; only the two newest snapshots are kept."""
    final = folder / "checkpoints" / f"step-{step}"
    part = final.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _write_snapshot(part, module, optimiser, step=step)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)  # a full disk gets its room back
        raise
    shutil.rmtree(final, ignore_errors=True)
    part.replace(final)
    fsync_folder(final.parent)
    for old in _snapshots(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _write_snapshot(part: Path, module: TrainingModule, optimiser: Optimisers, *, step: int) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    (part / FILES[0]).write_bytes(save_tensors(weights))
    buffer = io.BytesIO()
    torch.save(optimiser.state_dict(), buffer)
    (part / FILES[1]).write_bytes(buffer.getvalue())
    for name in FILES:
        with (part / name).open("rb+") as file:
            os.fsync(file.fileno())
    write_json(part / "manifest.json", {"step": step, "sha256": {name: file_digest(part / name) for name in FILES}})


def newest_snapshot(folder: Path, journal: Journal) -> Path | None:
    """The newest undamaged snapshot; damaged ones are renamed and noted in the journal. None for a new run.

    Raises:
        CheckpointError: snapshots were saved, but none is left undamaged. A run never starts again by itself.
    """
    for path in _snapshots(folder):
        try:
            check_snapshot(path)
        except CheckpointError as error:
            aside = path.with_name(f"{path.name}{_DAMAGED}")
            shutil.rmtree(aside, ignore_errors=True)
            path.replace(aside)
            journal.write("damaged", snapshot=path.name, reason=str(error))
        else:
            return path
    damaged = list((folder / "checkpoints").glob(f"step-*{_DAMAGED}"))
    if damaged or any(event["event"] in {"saved", "damaged", "resumed"} for event in journal.read()):
        state = (
            f"all snapshots in {folder / 'checkpoints'} are damaged"
            if damaged
            else (f"the snapshots that this run had saved are missing from {folder / 'checkpoints'}")
        )
        msg = f"{state}; the run cannot continue. Restore them from a backup, or start again with `xxact train "
        msg += "--restart`, which keeps what is there under other names"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    return None


def check_snapshot(path: Path) -> int:
    """Check the manifest of a snapshot, field by field, and the digests of its files; returns the step.

    Raises:
        CheckpointError: a file is missing or damaged, or the manifest states another step than the name of the folder.
    """
    place = path / "manifest.json"
    try:
        manifest = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{place} cannot be read: {shorten(error)}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    digests = manifest.get("sha256") if isinstance(manifest, dict) and set(manifest) == {"step", "sha256"} else None
    if not isinstance(digests, dict) or set(digests) != set(FILES):
        msg = f"{place} is damaged: expected a step and the SHA-256 of {' and '.join(FILES)}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    step = manifest["step"]
    if type(step) is not int or path.name != f"step-{step}":
        msg = f"{place} is damaged: it states the step {shorten(step)}, its folder is {path.name}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    for name in FILES:
        try:
            digest = file_digest(path / name)
        except OSError as error:
            msg = f"{path / name} cannot be read: {shorten(error)}"
            raise CheckpointError(msg, code="E_CHECKPOINT") from error
        if digest != digests[name]:
            msg = f"{path / name} is damaged: its SHA-256 is not the one in the manifest"
            raise CheckpointError(msg, code="E_CHECKPOINT")
    return step


def set_run_aside(folder: Path) -> None:
    """Make room for a new start of a run: journal, snapshots and model get names with the next free number."""
    number = 1
    while any((folder / f"{name}.{number}").exists() for name in _RESTARTED):
        number += 1
    for name in _RESTARTED:
        if (folder / name).exists():
            (folder / name).replace(folder / f"{name}.{number}")
    (folder / STATUS).unlink(missing_ok=True)


def load_snapshot(path: Path, module: TrainingModule, optimiser: Optimisers) -> int:
    """Load a snapshot into a run; returns its step.

    Raises:
        CheckpointError: it is damaged, or of a model with a different architecture.
    """
    step = check_snapshot(path)
    try:
        module.load_state_dict(rename_tensors(load_tensors((path / FILES[0]).read_bytes())))
        optimiser.load_state_dict(torch.load(path / FILES[1], weights_only=True, map_location="cpu"))
    except (RuntimeError, ValueError, KeyError) as error:  # what torch raises for other names, shapes and groups
        msg = f"the snapshot {path} is of a model with a different architecture: {shorten(error)}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    return step


def finish_run(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write the finished model to the run folder, atomically."""
    final, part = folder / "model", folder / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        save_checkpoint(part, checkpoint)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    part.replace(final)
    return final


def _snapshots(folder: Path) -> list[Path]:
    found = [path for path in (folder / "checkpoints").glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)
