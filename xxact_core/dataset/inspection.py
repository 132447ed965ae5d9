"""Describe and verify a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xxact_core.dataset.shard_cache import fetch_shard, is_copy, local_folder
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.store import file_digest, read_energy_kind, read_manifest, read_text
from xxact_core.dataset.table import count_compared_formulas, shard_paths
from xxact_core.errors import DatasetError
from xxact_core.quantities import ENERGY_KINDS, FORMATION_ENERGY, TARGETS


def describe_dataset(source: Path | str) -> dict[str, Any]:
    """Counts, labels, sizes and origin of a dataset, in a folder or at a URL, from its manifest and its columns.

    Raises:
        DatasetError: the folder is no finished dataset, or a shard is missing.
    """
    folder = local_folder(source)
    manifest = read_manifest(folder)
    shards, paths = manifest["shards"], shard_paths(folder, manifest)
    labelled = dict.fromkeys(TARGETS, 0)
    kinds = np.zeros(len(ENERGY_KINDS), dtype=int)
    classes = {name: np.zeros(target.width, dtype=int) for name, target in TARGETS.items() if target.kind == "class"}
    attributes: dict[str, Any] = {}
    for path in paths:
        with h5py.File(path, "r") as file:
            attributes = {name: np.squeeze(value).tolist() for name, value in file.attrs.items() if name[0] != "_"}
            kinds += np.bincount(read_energy_kind(file), minlength=len(ENERGY_KINDS))
            for name, target in TARGETS.items():
                values = file[name][...]
                known = values[values >= 0] if target.kind == "class" else values[~np.isnan(values)]
                labelled[name] += known.size
                if target.kind == "class":
                    classes[name] += np.bincount(known, minlength=target.width)
    size = sum(path.stat().st_size for path in paths)
    systems = zip(TARGETS["crystal_system"].classes, classes["crystal_system"].tolist(), strict=True)
    return {
        "materials": manifest["materials"],
        "errors": manifest.get("errors", 0),
        "duplicates": manifest.get("duplicates", 0),
        "lines_per_material": sum(shard["peaks"] for shard in shards) / manifest["materials"],
        "bytes_per_material": size / manifest["materials"],
        "shards": len(shards),
        "splits": {split: sum(shard["splits"][split] for shard in shards) for split in SPLITS},
        "labelled": labelled,
        "formation_energies": {kind: count for kind, count in zip(ENERGY_KINDS, kinds.tolist(), strict=True) if count},
        "crystal_systems": dict(systems),
        "space_groups": int((classes["space_group"] > 0).sum()),
        "digest": manifest["digest"],
        "plan": manifest["plan"],
        "made_with": {name: attributes[name] for name in ("xxact", "spglib")},
    }


def count_training_polymorphs(folder: Path) -> int:
    """Number of formulas of which several training materials have formation energies of one kind.

    Raises:
        DatasetError: the folder is no finished dataset, or a shard is missing.
    """
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for path in shard_paths(folder, read_manifest(folder)):
        with h5py.File(path, "r") as file:
            training = file["split"][...] == SPLITS.index("train")
            columns.append(
                (
                    np.asarray(read_text(file, "formula"))[training],
                    file[FORMATION_ENERGY.name][...][training],
                    read_energy_kind(file)[training],
                )
            )
    formula, energy, kind = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return count_compared_formulas(formula, energy, kind)


def verify_dataset(source: Path | str) -> list[str]:
    """Problems with the files of a dataset, one sentence each; empty if it is intact.

    Every shard is compared with its digest, then read in full, which verifies the checksums of HDF5, and its counts are
    compared with those of the manifest.

    Raises:
        DatasetError: the folder is no finished dataset.
    """
    folder = local_folder(source)
    manifest = read_manifest(folder)
    problems: list[str] = []
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        if is_copy(folder):
            try:
                fetch_shard(folder, shard)
            except DatasetError as error:
                problems.append(str(error))
                continue
        if not path.is_file():
            problems.append(f"{path.name} is missing")
        elif file_digest(path) != shard["sha256"]:
            problems.append(f"{path.name} is damaged: its SHA-256 differs from that of the manifest")
        else:
            problems += _wrong_counts(path, shard)
    if sum(shard["materials"] for shard in manifest["shards"]) != manifest["materials"]:
        problems.append(f"the shards of the manifest do not add up to its {manifest['materials']} materials")
    return problems


def _wrong_counts(path: Path, shard: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    with h5py.File(path, "r") as file:
        sizes = {name: file[name][...].shape for name in file if isinstance(file[name], h5py.Dataset)}
        for name, size in (("peak", "peaks"), ("element", "elements"), ("rotation", "rotations")):
            total = int(file[f"{name}_count"][...].sum())
            stored = {"peak": sizes["intensity"], "element": sizes["fraction"], "rotation": sizes["rotation_matrix"]}
            if not total == stored[name][0] == shard[size]:
                wrong.append(f"{path.name}: {total} {size} are counted, {stored[name][0]} stored, {shard[size]} named")
    return wrong
