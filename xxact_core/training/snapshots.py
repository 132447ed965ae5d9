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
from xxact_core.training.journal import Journal
from xxact_core.training.optimiser import Optimisers
from xxact_core.training.step import TrainingModule

KEPT = 2
FILES = ("model.safetensors", "state.pt")


def save_snapshot(folder: Path, module: TrainingModule, optimiser: Optimisers, *, step: int) -> Path:
    """Write checkpoints/step-N with weights, optimiser state and digests; only the two newest snapshots are kept."""
    final = folder / "checkpoints" / f"step-{step}"
    part = final.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    (part / FILES[0]).write_bytes(save_tensors(weights))
    buffer = io.BytesIO()
    torch.save(optimiser.state_dict(), buffer)
    (part / FILES[1]).write_bytes(buffer.getvalue())
    for name in FILES:
        with (part / name).open("rb+") as file:
            os.fsync(file.fileno())
    write_json(part / "manifest.json", {"step": step, "sha256": {name: file_digest(part / name) for name in FILES}})
    shutil.rmtree(final, ignore_errors=True)
    part.replace(final)
    fsync_folder(final.parent)
    for old in _snapshots(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest_snapshot(folder: Path, journal: Journal) -> Path | None:
    """The newest snapshot whose digests are correct; damaged ones are renamed and noted in the journal.

    Raises:
        CheckpointError: there are snapshots, but all of them are damaged: a run never silently starts again.
    """
    found = _snapshots(folder)
    for path in found:
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
            if all(file_digest(path / name) == manifest["sha256"][name] for name in FILES):
                return path
        except (OSError, KeyError, json.JSONDecodeError):
            pass
        aside = path.with_name(path.name + ".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        path.replace(aside)
        journal.write("damaged", snapshot=path.name)
    if found:
        msg = f"every snapshot in {folder / 'checkpoints'} is damaged; choose another run folder to start again"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    return None


def load_snapshot(path: Path, module: TrainingModule, optimiser: Optimisers) -> int:
    """Load a snapshot into a run; returns its step.

    Raises:
        CheckpointError: it is of a model with a different architecture.
    """
    try:
        module.load_state_dict(rename_tensors(load_tensors((path / FILES[0]).read_bytes())))
        optimiser.load_state_dict(torch.load(path / FILES[1], weights_only=True, map_location="cpu"))
    except (RuntimeError, ValueError, KeyError) as error:  # what torch raises for other names, shapes and groups
        msg = f"the snapshot {path} is of a model with a different architecture: {shorten(error)}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    return int(json.loads((path / "manifest.json").read_text(encoding="utf-8"))["step"])


def finish_run(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write the finished model to the run folder, atomically."""
    final, part = folder / "model", folder / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_checkpoint(part, checkpoint)
    shutil.rmtree(final, ignore_errors=True)
    part.replace(final)
    return final


def _snapshots(folder: Path) -> list[Path]:
    found = [path for path in (folder / "checkpoints").glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)
