"""Snapshots of a running training: whole or not there, checked by digest, the newest good one wins."""

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
from xxact_core.training.journal import Journal
from xxact_core.training.optimiser import Optimisers
from xxact_core.training.step import Trainee

KEPT = 2
FILES = ("model.safetensors", "state.pt")


def save_snapshot(folder: Path, trainee: Trainee, optimiser: Optimisers, *, step: int) -> Path:
    """Write checkpoints/step-N with weights, optimiser and a manifest of digests; older ones but one are deleted."""
    final = folder / "checkpoints" / f"step-{step}"
    part = final.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in trainee.state_dict().items()}
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
    """The newest snapshot whose digests hold; damaged ones are renamed away and noted in the journal.

    Raises:
        CheckpointError: there are snapshots, but none of them is whole: a run never silently begins anew.
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
        msg = f"every snapshot in {folder / 'checkpoints'} is damaged; choose another run folder to begin anew"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    return None


def load_snapshot(path: Path, trainee: Trainee, optimiser: Optimisers) -> int:
    """Put a snapshot into a run; returns its step.

    Raises:
        CheckpointError: it is of a model of another make.
    """
    try:
        trainee.load_state_dict(load_tensors((path / FILES[0]).read_bytes()))
        optimiser.load_state_dict(torch.load(path / FILES[1], weights_only=True, map_location="cpu"))
    except (RuntimeError, ValueError, KeyError) as error:  # torch's own types for other names, shapes and groups
        msg = f"the snapshot {path} is of a model of another make: {shorten(error)}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    return int(json.loads((path / "manifest.json").read_text(encoding="utf-8"))["step"])


def finish_run(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write the finished model to the run folder, whole or not at all."""
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
