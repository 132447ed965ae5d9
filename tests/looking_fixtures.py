"""What the tests of Reconstruction and Embeddings share: a workspace with runs whose models are small and new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xxact_app.library.workspace import Workspace, open_workspace
from xxact_core.checkpoint import Checkpoint, make_model, save_checkpoint
from xxact_core.evaluation.embeddings import Embeddings, write_embeddings
from xxact_core.model.config import preset
from xxact_core.quantities import TARGETS


def workspace_with(
    folder: Path, *, runs: dict[str, Sequence[str]], dataset: Path | None = None, kind: str = "tiny"
) -> Workspace:
    """A workspace with a finished run for each name, of these objectives, and the data set `small` where given."""
    workspace = open_workspace(folder, sources=())
    for seed, (name, objectives) in enumerate(runs.items()):
        place = workspace.runs / name / "model"
        place.mkdir(parents=True)
        about = {"recipe": {"name": name, "objectives": list(objectives)}}
        statistics = {name: (0.0, 1.0) for name, target in TARGETS.items() if target.kind == "value"}
        save_checkpoint(place, Checkpoint(make_model(preset(kind), seed=seed), statistics, about=about))
    if dataset is not None:
        copy = workspace.datasets / "small"
        copy.mkdir()
        for path in dataset.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
    return workspace


def embedded_of(size: int, *, width: int = 8, seed: int = 0) -> Embeddings:
    """Materials in seven clouds, one a crystal system, that lie apart along the first axes."""
    generator = np.random.default_rng(seed)
    systems = np.arange(size) % 7
    values = generator.normal(size=(size, width)).astype(np.float32)
    values[:, 0] += 12 * systems
    return Embeddings(
        id=np.array([f"m{number}" for number in range(size)]),
        formula=np.full(size, "NaCl"),
        row=np.arange(size),
        parts={"fused": values, "pattern": values[:, ::-1].copy()},
        targets={"crystal_system": systems.astype(np.float32), "band_gap": generator.random(size).astype(np.float32)},
    )


def write_run_file(workspace: Workspace, run: str, embedded: Embeddings, *, name: str = "test.h5") -> Path:
    """The embeddings as a file that a run left."""
    path = workspace.runs / run / name
    write_embeddings(path, embedded)
    return path
