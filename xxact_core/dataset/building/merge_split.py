"""Merge datasets, and split a dataset into several."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xxact_core.dataset.building.build import ERRORS, NOTES, write_manifest
from xxact_core.dataset.building.shard import shard_name
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.store import (
    CELL,
    INTENSITY_STEP,
    MANIFEST,
    Material,
    count_entries,
    read_energy_kind,
    read_manifest,
    read_text,
    write_csv,
    write_shard,
)
from xxact_core.dataset.table import check_shard, counts_to_start, shard_paths
from xxact_core.errors import DatasetError
from xxact_core.quantities import ENERGY_KINDS, TARGETS

SAME = ("wavelength", "two_theta_range", "symprec", "symmetry", "seed")
"""Settings that datasets must share to be merged."""

SHARD_ROWS = 4096
"""Materials of a shard."""


def merge_datasets(folders: Sequence[Path], merged: Path) -> dict[str, int]:
    """Copy the shards of several datasets into one; duplicates are listed in its duplicates.csv.

    Returns:
        Counts of materials, errors and duplicates.

    Raises:
        DatasetError: the settings of the datasets differ, a shard is damaged, or `merged` exists.
    """
    _must_be_new(merged)
    manifests = [read_manifest(folder) for folder in folders]
    for folder, manifest in zip(folders, manifests, strict=True):
        differing = [name for name in SAME if manifest["plan"].get(name) != manifests[0]["plan"].get(name)]
        if differing:
            msg = f"{folder} and {folders[0]} cannot be merged: they differ in {differing}"
            raise DatasetError(msg, code="E_DATASET")
    merged.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Any]] = []
    errors: list[tuple[str, ...]] = []
    notes: list[tuple[str, ...]] = []
    start = 0
    for folder, manifest in zip(folders, manifests, strict=True):
        for path, shard in zip(shard_paths(folder, manifest), manifest["shards"], strict=True):
            check_shard(path, shard["sha256"])
            name = f"{shard_name(start)}.h5"
            shutil.copyfile(path, merged / name)
            shards.append({**shard, "file": name, "start": start})
            start += shard["materials"] + shard["errors"]
        errors += _read_csv(folder / ERRORS)
        notes += _read_csv(folder / NOTES) if (folder / NOTES).is_file() else []  # version 0.1.0 wrote none
    write_csv(merged / ERRORS, ("id", "reason"), errors)
    write_csv(merged / NOTES, ("id", "note"), notes)
    parts = [{"digest": manifest["digest"], "source": manifest["plan"]["source"]} for manifest in manifests]
    plan = {name: manifests[0]["plan"].get(name) for name in SAME} | {"source": "merged", "merged": parts}
    return write_manifest(merged, plan, shards, errors=len(errors))


def _read_csv(path: Path) -> list[tuple[str, ...]]:
    """Rows of a table without its header."""
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def split_dataset(folder: Path, parts: Path, *, by: str = "split", shard_rows: int = SHARD_ROWS) -> dict[str, int]:
    """Write one dataset per split, or per crystal system, into folders of these names in `parts`.

    Returns:
        Materials in each part.

    Raises:
        DatasetError: `by` is neither, a shard is damaged, or a part's folder exists.
    """
    names = {"split": SPLITS, "crystal_system": TARGETS["crystal_system"].classes}
    if by not in names:
        msg = f"a dataset cannot be split by {by!r}; choose from {', '.join(names)}"
        raise DatasetError(msg, code="E_DATASET")
    manifest = read_manifest(folder)
    for name in names[by]:
        _must_be_new(parts / name)

    def part_of(material: Material) -> str:
        if by == "split":
            return material.split
        system = material.targets.get(by, np.nan)
        return "" if np.isnan(system) else names[by][int(system)]

    writers = {name: DatasetWriter(parts / name, shard_rows) for name in names[by]}
    for path, shard in zip(shard_paths(folder, manifest), manifest["shards"], strict=True):
        check_shard(path, shard["sha256"])
        materials, attributes = read_materials(path)
        for material in materials:
            if (name := part_of(material)) in writers:
                writers[name].add(material, attributes)
    plan = {**manifest["plan"], "part_of": manifest["digest"], "by": by}
    return {name: writer.finish({**plan, "part": name}) for name, writer in writers.items()}


class DatasetWriter:
    """Writes a dataset from materials, one shard at a time."""

    def __init__(self, folder: Path, shard_rows: int = SHARD_ROWS) -> None:
        self.folder, self.shard_rows = folder, shard_rows
        self.shards: list[dict[str, Any]] = []
        self.waiting: list[Material] = []
        self.attributes: dict[str, Any] = {}

    def add(self, material: Material, attributes: dict[str, Any]) -> None:
        """Append a material; those of a shard have the same attributes."""
        if self.waiting and attributes != self.attributes:
            self._write()
        self.attributes = attributes
        self.waiting.append(material)
        if len(self.waiting) == self.shard_rows:
            self._write()

    def finish(self, plan: dict[str, Any]) -> int:
        """Write the manifest; returns the number of materials. Nothing is written without any."""
        if self.waiting:
            self._write()
        if not self.shards:
            return 0
        write_csv(self.folder / ERRORS, ("id", "reason"), [])
        return write_manifest(self.folder, plan, self.shards, errors=0)["materials"]

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        start = sum(shard["materials"] for shard in self.shards)
        path = self.folder / f"{shard_name(start)}.h5"
        digest = write_shard(path, self.waiting, self.attributes)
        self.shards.append(
            {"start": start, "errors": 0, "file": path.name, "sha256": digest, **count_entries(self.waiting)}
        )
        self.waiting = []


def read_materials(path: Path) -> tuple[list[Material], dict[str, Any]]:
    """The materials of a shard and its attributes, as they were written."""
    with h5py.File(path, "r") as file:
        attributes = {
            name: np.squeeze(value).tolist()
            for name, value in file.attrs.items()
            if name not in {"Conventions", "featureType", "schema"} and not name.startswith("_")
        }
        columns = {name: read_text(file, name) for name in ("id", "formula")}
        columns |= {name: file[name][...] for name in (*TARGETS, "split")} | {"energy_kind": read_energy_kind(file)}
        cells = np.stack([file[name][...] for name in CELL], axis=1)
        hkl, intensity = file["hkl"][...].T, file["intensity"][...] * INTENSITY_STEP
        entries = {name: file[name][...] for name in ("atomic_number", "fraction", "rotation_matrix")}
        peaks, elements, rotations = (
            counts_to_start(file[f"{name}_count"][...]) for name in ("peak", "element", "rotation")
        )
    slices = _slices(peaks), _slices(elements), _slices(rotations)
    return [
        Material(
            id=columns["id"][row],
            formula=columns["formula"][row],
            cell=cells[row],
            hkl=hkl[slices[0](row)],
            intensity=intensity[slices[0](row)],
            rotations=entries["rotation_matrix"][slices[2](row)],
            atomic_numbers=entries["atomic_number"][slices[1](row)],
            fractions=entries["fraction"][slices[1](row)],
            targets=dict(_targets(columns, row)),
            energy_kind=ENERGY_KINDS[columns["energy_kind"][row]],
            split=SPLITS[columns["split"][row]],
        )
        for row in range(len(cells))
    ], attributes


def _slices(start: np.ndarray) -> Callable[[int], slice]:
    return lambda row: slice(start[row], start[row + 1])


def _targets(columns: dict[str, np.ndarray], row: int) -> Iterator[tuple[str, float]]:
    for name, target in TARGETS.items():
        value = float(columns[name][row])
        if not (np.isnan(value) or (target.kind == "class" and value < 0)):
            yield name, value


def _must_be_new(folder: Path) -> None:
    if (folder / MANIFEST).exists() or (folder.is_dir() and any(folder.iterdir())):
        msg = f"{folder} is not empty: choose another folder"
        raise DatasetError(msg, code="E_DATASET")
