"""Embeddings of a dataset's materials by the encoders and the fusion of a model, and their file."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch

from xxact_core.checkpoint import describe_checkpoint, load_checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import rows_in_order
from xxact_core.dataset.table import read_dataset
from xxact_core.errors import DatasetError, shorten
from xxact_core.model.inputs import ModelInput, pattern_to_input
from xxact_core.model.model import Model
from xxact_core.model.xxact import Xxact
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.plain_hdf5 import open_plain
from xxact_core.quantities import TARGETS

PARTS = ("fused", "pattern", "composition")
"""Embeddings: the input of the heads, and the [CLS] of the two encoders, which only XxaCT has."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of materials, with their labels."""

    id: np.ndarray
    """Identifiers, shape (materials,)."""

    formula: np.ndarray
    """Formulas, shape (materials,); empty where the file has none."""

    row: np.ndarray
    """Rows of the dataset, shape (materials,)."""

    parts: Mapping[str, np.ndarray]
    """Embeddings by the names of `PARTS`, each of shape (materials, width), float32."""

    targets: Mapping[str, np.ndarray]
    """Labels by target, each of shape (materials,): NaN where unknown, class indices for classification."""

    dataset: str = ""
    """Digest of the dataset; empty where unknown."""

    model: str = ""
    """SHA-256 of the weights of the model; empty where unknown."""

    t_sne: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Coordinates of `projection.t_sne` by the names of `PARTS`, each of shape (materials, 2); empty where the file has
    none."""

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.id)


def embed_dataset(
    model_folder: Path,
    dataset: Path,
    *,
    limit: int | None = None,
    batch_size: int = 128,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Embeddings:
    """Embeddings of the ideal patterns of a dataset, of all or of the first `limit` materials.

    `progress` is called after each batch with the number of finished materials and of all.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DatasetError: the dataset cannot be read.
    """
    model = load_checkpoint(model_folder, device=device).model
    weights = str(describe_checkpoint(model_folder).get("weights_sha256", ""))
    table = read_dataset(dataset)
    rows = np.arange(len(table))[:limit]
    maker = BatchMaker(table, device=torch.device(device))
    batches: list[dict[str, np.ndarray]] = []
    done = 0
    for chosen in rows_in_order(rows, batch_size=batch_size):
        batch = maker.batch(chosen, seed=0)
        batches.append(_embed(model, batch))
        done += len(chosen)
        progress(done, len(rows))
    return Embeddings(
        id=table.id[rows],
        formula=table.formula[rows],
        row=rows,
        parts={name: np.concatenate([piece[name] for piece in batches]) for name in batches[0]},
        targets={name: values[rows] for name, values in table.targets.items()},
        dataset=table.digest,
        model=weights,
    )


def embed_pattern(model: Model, pattern: GriddedPattern, composition: Composition) -> dict[str, np.ndarray]:
    """Embeddings of one measured material: name of `PARTS` → shape (width,)."""
    parts = _embed(model, pattern_to_input(pattern, [composition]))
    return {name: values[0] for name, values in parts.items()}


@torch.inference_mode()
def _embed(model: Model, inputs: ModelInput) -> dict[str, np.ndarray]:
    if isinstance(model, Xxact):
        encoded = model.encode(inputs)
        fused = model.embedding_of(model.features_of(encoded, model.fuse(encoded, cls_only=True)[:, 0]))
        parts = {"fused": fused, "pattern": encoded.pattern[:, 0], "composition": encoded.composition[:, 0]}
    else:
        parts = {"fused": model.embed(inputs)}
    return {name: values.float().cpu().numpy() for name, values in parts.items()}


def write_embeddings(path: Path, embedded: Embeddings, *, compact: bool = False) -> None:
    """Write embeddings as HDF5 in the layout of `write_predictions`, atomically.

    Additional datasets: `formula`, `embedding_pattern`, `embedding_composition`, coordinates of a t-SNE as `t_sne`,
    `t_sne_pattern` and `t_sne_composition`, and every known target. With `compact`, embeddings and coordinates are
    float16, and everything is compressed.
    """
    precision = np.float16 if compact else np.float32
    packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if compact else {}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.touch()  # a folder that is missing or may not be written gets a message that names it
    with h5py.File(part, "w") as file:
        file.attrs["dataset"], file.attrs["model"] = embedded.dataset, embedded.model
        for name in ("id", "formula"):
            file.create_dataset(name, data=getattr(embedded, name).astype(h5py.string_dtype()), **packed)
        file.create_dataset("row", data=embedded.row, **packed)
        for name, values in embedded.parts.items():
            file.create_dataset(_hdf5_name(name), data=values.astype(precision), **packed)
        for name, values in embedded.t_sne.items():
            file.create_dataset(_hdf5_name(name, "t_sne"), data=values.astype(precision), **packed)
        for name, values in embedded.targets.items():
            if not np.isnan(values).all():
                file.create_dataset(f"true/{name}", data=values.astype(np.float32), **packed)
                file[f"true/{name}"].attrs["units"] = TARGETS[name].unit
    part.replace(path)


def read_embeddings(path: Path, *, parts: Collection[str] = PARTS) -> Embeddings:
    """The embeddings of a file of `write_embeddings`, or of `xxact evaluate --predictions`.

    Those of the requested `parts` that the file contains are read.

    Raises:
        DatasetError: there is no such file, it is not HDF5, or its columns differ in length.
    """
    try:
        with open_plain(path) as file:
            identity = file["id"].asstr()[...].astype(str)
            taken = {name: file[_hdf5_name(name)][...].astype(np.float32) for name in parts if _hdf5_name(name) in file}
            planar = {name: _hdf5_name(name, "t_sne") for name in parts if _hdf5_name(name, "t_sne") in file}
            known = [name for name in TARGETS if f"true/{name}" in file]
            embedded = Embeddings(
                id=identity,
                formula=file["formula"].asstr()[...].astype(str) if "formula" in file else np.full(len(identity), ""),
                row=file["row"][...],
                parts=taken,
                targets={name: file[f"true/{name}"][...].astype(np.float32) for name in known},
                dataset=str(file.attrs.get("dataset", "")),
                model=str(file.attrs.get("model", "")),
                t_sne={name: file[column][...].astype(np.float32) for name, column in planar.items()},
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = shorten(error) if isinstance(error, OSError) else "it lacks a column"
        msg = f"{path} is not a file of embeddings or predictions: {reason}"
        raise DatasetError(msg, code="E_PREDICTIONS") from error
    columns = [
        embedded.formula, embedded.row, *embedded.parts.values(), *embedded.targets.values(), *embedded.t_sne.values()
    ]  # fmt: skip
    if not taken or not len(identity) or any(len(column) != len(identity) for column in columns):
        msg = f"{path} has no embedding of the part {' or '.join(parts)}, or columns of different lengths"
        raise DatasetError(msg, code="E_PREDICTIONS")
    return embedded


def _hdf5_name(part: str, kind: str = "embedding") -> str:
    return kind if part == "fused" else f"{kind}_{part}"
