"""The data set on disk: HDF5 shards that xarray and h5py both open, named with their digests in a manifest.

A shard holds sticks, not patterns, as CF "contiguous ragged arrays": `peak_count(material)` says how many entries of
`two_theta(peak)` and `intensity(peak)` belong to each material, `element_count(material)` the same for elements.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.dataset.splits import SPLITS
from xxact_core.errors import DatasetError
from xxact_core.quantities import TARGETS

SCHEMA = "xxact-dataset-1"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Material:
    """One row of a data set: sticks, composition and labels.

    two_theta [deg], intensity (0-100): shape (peaks,). atomic_numbers, fractions: shape (elements,).
    targets: values of regression quantities by name; class labels as index into the quantity's classes.
    """

    id: str
    formula: str
    two_theta: np.ndarray
    intensity: np.ndarray
    atomic_numbers: np.ndarray
    fractions: np.ndarray
    targets: Mapping[str, float]
    energy_is_exact: bool
    split: str


def write_shard(path: Path, materials: Sequence[Material], attributes: Mapping[str, Any]) -> str:
    """Write one shard so that it is either whole or not there; returns its SHA-256.

    The file is written under a temporary name with checksums, flushed to disk, then renamed.
    """
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with h5netcdf.File(part, "w") as file:
        file.attrs.update({"Conventions": "CF-1.11", "featureType": "profile", "schema": SCHEMA, **attributes})
        file.dimensions = {
            "material": len(materials),
            "peak": sum(material.two_theta.size for material in materials),
            "element": sum(material.atomic_numbers.size for material in materials),
        }
        _write_rows(file, materials)
        _write_ragged(file, materials)
    with part.open("rb+") as written:
        os.fsync(written.fileno())
    digest = file_digest(part)
    part.replace(path)
    fsync_folder(path.parent)
    return digest


def _write_rows(file: h5netcdf.File, materials: Sequence[Material]) -> None:
    text = h5py.string_dtype()
    for name, label in (("id", "identifier of the material"), ("formula", "reduced formula")):
        variable = file.create_variable(name, ("material",), dtype=text)
        variable[...] = np.array([getattr(material, name) for material in materials], dtype=object)
        variable.attrs["long_name"] = label
    for target in TARGETS.values():
        values = np.array([material.targets.get(target.name, np.nan) for material in materials], dtype=np.float32)
        if target.kind == "value":
            variable = _write(file, target.name, ("material",), values)
            variable.attrs["units"] = target.unit
        else:
            codes = np.where(np.isnan(values), -1, values).astype(np.int16)
            variable = _write(file, target.name, ("material",), codes)
            variable.attrs["flag_values"] = np.arange(len(target.classes), dtype=np.int16)
            variable.attrs["flag_meanings"] = " ".join(target.classes)
        variable.attrs["long_name"] = target.label
    exact = np.array([material.energy_is_exact for material in materials], dtype=np.int8)
    _write(file, "energy_is_exact", ("material",), exact).attrs["long_name"] = "formation energy is of this structure"
    codes = np.array([SPLITS.index(material.split) for material in materials], dtype=np.int8)
    variable = _write(file, "split", ("material",), codes)
    variable.attrs["flag_values"] = np.arange(len(SPLITS), dtype=np.int8)
    variable.attrs["flag_meanings"] = " ".join(SPLITS)


def _write_ragged(file: h5netcdf.File, materials: Sequence[Material]) -> None:
    counts = np.array([material.two_theta.size for material in materials], dtype=np.int32)
    _write(file, "peak_count", ("material",), counts).attrs["sample_dimension"] = "peak"
    counts = np.array([material.atomic_numbers.size for material in materials], dtype=np.int32)
    _write(file, "element_count", ("material",), counts).attrs["sample_dimension"] = "element"
    for name, dimension, dtype, unit, label in (
        ("two_theta", "peak", np.float32, "degree", "2θ of the reflection"),
        ("intensity", "peak", np.float32, "1", "intensity, strongest = 100"),
        ("atomic_number", "element", np.uint8, "1", "atomic number"),
        ("fraction", "element", np.float32, "1", "atomic fraction"),
    ):
        attribute = {"atomic_number": "atomic_numbers", "fraction": "fractions"}.get(name, name)
        values = np.concatenate([getattr(material, attribute) for material in materials]).astype(dtype)
        variable = _write(file, name, (dimension,), values)
        variable.attrs["units"] = unit
        variable.attrs["long_name"] = label


def _write(file: h5netcdf.File, name: str, dimensions: tuple[str, ...], values: np.ndarray) -> h5netcdf.Variable:
    variable = file.create_variable(
        name,
        dimensions,
        dtype=values.dtype,
        chunks=(min(max(values.size, 1), 1 << 18),),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
        fletcher32=True,
    )
    variable[...] = values
    return variable


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: object) -> None:
    """Write JSON so that it is either the old or the new file, never half of one."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    fsync_folder(path.parent)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a data set folder.

    Raises:
        DatasetError: there is none, it is not JSON, or it is of another schema.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{folder} is not a finished data set: it holds no {MANIFEST} (make one with `xxact build`)"
        raise DatasetError(msg, code="E_DATASET") from error
    except json.JSONDecodeError as error:
        msg = f"{path} is not JSON: {error}"
        raise DatasetError(msg, code="E_DATASET") from error
    if manifest.get("schema") != SCHEMA:
        msg = f"{path} has the schema {manifest.get('schema')!r}; expected {SCHEMA!r}"
        raise DatasetError(msg, code="E_DATASET")
    return manifest


@dataclass(frozen=True)
class StickTable:
    """A whole data set in memory: flat arrays of all materials, ready to be cut into batches.

    peak_start, element_start: shape (materials + 1,), where each material's entries begin.
    two_theta [deg], intensity (0-100): shape (peaks,), float32. atomic_number (uint8), fraction: shape (entries,).
    targets: name → shape (materials,), float32; NaN where unknown, class index for classes.
    """

    id: np.ndarray
    formula: np.ndarray
    split: np.ndarray
    energy_is_exact: np.ndarray
    targets: Mapping[str, np.ndarray]
    peak_start: np.ndarray
    two_theta: np.ndarray
    intensity: np.ndarray
    element_start: np.ndarray
    atomic_number: np.ndarray
    fraction: np.ndarray
    digest: str

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.id)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split, in file order."""
        if split not in SPLITS:
            msg = f"{split!r} is not a split; choose from {SPLITS}"
            raise DatasetError(msg, code="E_DATASET")
        return np.flatnonzero(self.split == SPLITS.index(split))

    def elements(self, split: str) -> list[str]:
        """Symbols of the elements that occur in a split, by atomic number."""
        counts = np.diff(self.element_start)
        in_split = np.repeat(self.split == SPLITS.index(split), counts)
        return [SYMBOLS[number - 1] for number in np.unique(self.atomic_number[in_split])]


def read_dataset(folder: Path, *, verify: bool = True) -> StickTable:
    """Read every shard of a data set folder into memory.

    Raises:
        DatasetError: a shard is missing, or its digest is not the manifest's (when `verify`).
    """
    manifest = read_manifest(folder)
    columns: dict[str, list[np.ndarray]] = {}
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        if not path.is_file():
            msg = f"the shard {path} is missing"
            raise DatasetError(msg, code="E_DATASET")
        if verify and file_digest(path) != shard["sha256"]:
            msg = f"the shard {path} is damaged: its SHA-256 is not the manifest's; delete it and build again"
            raise DatasetError(msg, code="E_DATASET")
        with h5py.File(path, "r") as file:
            for name in (*_ROW_COLUMNS, *TARGETS, *_RAGGED_COLUMNS):
                data = file[name]
                values = data.asstr()[...] if name in {"id", "formula"} else data[...]
                columns.setdefault(name, []).append(values)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    targets = {}
    for target in TARGETS.values():
        values = joined[target.name].astype(np.float32)
        targets[target.name] = np.where(values < 0, np.nan, values) if target.kind == "class" else values
    return StickTable(
        id=joined["id"],
        formula=joined["formula"],
        split=joined["split"],
        energy_is_exact=joined["energy_is_exact"].astype(bool),
        targets=targets,
        peak_start=np.concatenate([[0], np.cumsum(joined["peak_count"], dtype=np.int64)]),
        two_theta=joined["two_theta"],
        intensity=joined["intensity"],
        element_start=np.concatenate([[0], np.cumsum(joined["element_count"], dtype=np.int64)]),
        atomic_number=joined["atomic_number"],
        fraction=joined["fraction"],
        digest=manifest["digest"],
    )


_ROW_COLUMNS = ("id", "formula", "split", "energy_is_exact", "peak_count", "element_count")
_RAGGED_COLUMNS = ("two_theta", "intensity", "atomic_number", "fraction")
