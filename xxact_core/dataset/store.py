"""The dataset on disk: HDF5 shards that xarray and h5py both open, named with their digests in a manifest.

A shard contains Miller indices and intensities of reflections, from which patterns are computed on loading; 2θ follows
exactly from the cell. Entries of all materials are concatenated, as CF "contiguous ragged arrays":
`peak_count(material)` gives the number of `hkl(index, peak)` and `intensity(peak)` of each material;
`element_count` and `rotation_count` those of elements and rotations.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from xxact_core.dataset.splits import SPLITS
from xxact_core.errors import DatasetError, shorten
from xxact_core.json_digest import CONTENT_DIGEST, is_damaged
from xxact_core.quantities import ENERGY_KINDS, EXACT_ENERGY_KINDS, FORMATION_ENERGY, TARGETS

if TYPE_CHECKING:
    import h5netcdf

SCHEMA = "xxact-dataset-2"
MANIFEST = "manifest.json"

INTENSITY_STEP = 100 / 65535
"""Step of stored intensities; the rounding error is at most 0.0008 of a maximum of 100."""

CHUNK = 1 << 18
"""Entries per compressed chunk."""

CELL = {"a": "angstrom", "b": "angstrom", "c": "angstrom", "alpha": "degree", "beta": "degree", "gamma": "degree"}
"""The columns of the cell that Miller indices refer to, with their units."""


@dataclass(frozen=True)
class Material:
    """One row of a dataset."""

    id: str
    """Id in the source."""
    formula: str
    """Reduced formula with all numbers, alphabetical: the key of the split."""
    cell: np.ndarray
    """Cell a, b, c [Å], α, β, γ [deg], shape (6,)."""
    hkl: np.ndarray
    """Miller indices, shape (peaks, 3)."""
    intensity: np.ndarray
    """Intensities, 0-100, shape (peaks,)."""
    rotations: np.ndarray
    """Laue group modulo inversion, h' = h W, shape (rotations, 3, 3)."""
    atomic_numbers: np.ndarray
    """Atomic numbers, shape (elements,)."""
    fractions: np.ndarray
    """Atomic fractions, shape (elements,)."""
    targets: Mapping[str, float]
    """Targets by name, in their units; classes as index."""
    energy_kind: str
    """Where the formation energy comes from, one of `ENERGY_KINDS`."""
    split: str
    """One of `SPLITS`."""


def write_shard(path: Path, materials: Sequence[Material], attributes: Mapping[str, Any]) -> str:
    """Write one shard atomically; returns its SHA-256.

    The file is written under a temporary name with checksums, flushed to disk, then renamed.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # another process may be writing the same shard
    try:
        _write_file(part, materials, attributes)
        digest = file_digest(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    fsync_folder(path.parent)
    return digest


def _write_file(path: Path, materials: Sequence[Material], attributes: Mapping[str, Any]) -> None:
    import h5netcdf  # noqa: PLC0415 - needed for writing only

    with h5netcdf.File(path, "w") as file:
        file.attrs.update({"Conventions": "CF-1.11", "featureType": "profile", "schema": SCHEMA, **attributes})
        file.dimensions = {
            "material": len(materials),
            "peak": sum(material.intensity.size for material in materials),
            "element": sum(material.atomic_numbers.size for material in materials),
            "rotation": sum(len(material.rotations) for material in materials),
            "index": 3,
            "index_2": 3,
        }
        _write_rows(file, materials)
        _write_ragged(file, materials)
    with path.open("rb+") as written:
        os.fsync(written.fileno())


def count_entries(materials: Sequence[Material]) -> dict[str, Any]:
    """Sizes of a shard, as a manifest states them."""
    return {
        "materials": len(materials),
        "peaks": sum(material.intensity.size for material in materials),
        "elements": sum(material.atomic_numbers.size for material in materials),
        "rotations": sum(len(material.rotations) for material in materials),
        "hkl_bytes": hkl_type(materials).itemsize,
        "splits": {split: sum(material.split == split for material in materials) for split in SPLITS},
    }


def intensity_to_code(intensity: np.ndarray) -> np.ndarray:
    """Intensities 0-100 in steps of `INTENSITY_STEP`, uint16; at least 1."""
    return np.clip(np.rint(intensity / INTENSITY_STEP), 1, 65535).astype(np.uint16)


def hkl_type(materials: Sequence[Material]) -> np.dtype:
    """The smallest type that holds all Miller indices: one byte, or two for very large cells."""
    largest = max((int(np.abs(material.hkl).max(initial=0)) for material in materials), default=0)
    return np.dtype(np.int8 if largest <= np.iinfo(np.int8).max else np.int16)


def _write_rows(file: h5netcdf.File, materials: Sequence[Material]) -> None:
    for name, label in (("id", "identifier of the material"), ("formula", "reduced formula")):
        _write_text(file, name, [getattr(material, name) for material in materials], label)
    cells = np.array([material.cell for material in materials])
    for column, (name, unit) in enumerate(CELL.items()):
        variable = _write(file, name, ("material",), cells[:, column].copy())
        variable.attrs.update({"units": unit, "long_name": f"{name} of the cell that hkl refers to"})
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
    exact = np.array([material.energy_kind in EXACT_ENERGY_KINDS for material in materials], dtype=np.int8)
    _write(file, "energy_is_exact", ("material",), exact).attrs["long_name"] = "formation energy is of this structure"
    codes = np.array([ENERGY_KINDS.index(material.energy_kind) for material in materials], dtype=np.int8)
    variable = _write(file, "energy_kind", ("material",), codes)
    variable.attrs["flag_values"] = np.arange(len(ENERGY_KINDS), dtype=np.int8)
    variable.attrs["flag_meanings"] = " ".join(ENERGY_KINDS)
    variable.attrs["long_name"] = "where the formation energy comes from"
    codes = np.array([SPLITS.index(material.split) for material in materials], dtype=np.int8)
    variable = _write(file, "split", ("material",), codes)
    variable.attrs["flag_values"] = np.arange(len(SPLITS), dtype=np.int8)
    variable.attrs["flag_meanings"] = " ".join(SPLITS)


def _write_ragged(file: h5netcdf.File, materials: Sequence[Material]) -> None:
    for dimension, attribute in (("peak", "intensity"), ("element", "atomic_numbers"), ("rotation", "rotations")):
        counts = np.array([len(getattr(material, attribute)) for material in materials], dtype=np.int32)
        _write(file, f"{dimension}_count", ("material",), counts).attrs["sample_dimension"] = dimension
    hkl = np.concatenate([material.hkl for material in materials]).T
    variable = _write(file, "hkl", ("index", "peak"), np.ascontiguousarray(hkl, dtype=hkl_type(materials)))
    variable.attrs["long_name"] = "Miller indices of a reflection of the line; 2θ = 2 asin(λ/2 √(hᵀ G* h))"
    codes = intensity_to_code(np.concatenate([material.intensity for material in materials]))
    variable = _write(file, "intensity", ("peak",), codes)
    variable.attrs.update({"scale_factor": INTENSITY_STEP, "units": "1", "long_name": "intensity, strongest = 100"})
    rotations = np.concatenate([material.rotations for material in materials]).astype(np.int8)
    variable = _write(file, "rotation_matrix", ("rotation", "index", "index_2"), rotations)
    variable.attrs["long_name"] = "W of h' = h W: equivalent reflections, Friedel's mates left out"
    numbers = np.concatenate([material.atomic_numbers for material in materials]).astype(np.uint8)
    _write(file, "atomic_number", ("element",), numbers).attrs["long_name"] = "atomic number"
    fractions = np.concatenate([material.fractions for material in materials]).astype(np.float32)
    _write(file, "fraction", ("element",), fractions).attrs.update({"units": "1", "long_name": "atomic fraction"})


def _write_text(file: h5netcdf.File, name: str, texts: Sequence[str], label: str) -> None:
    """Write text as rows of bytes, which compress, unlike HDF5 strings; xarray decodes them."""
    encoded = [text.encode() for text in texts]
    width = max(1, *map(len, encoded))
    letters = np.array(encoded, dtype=f"S{width}").view("S1").reshape(len(encoded), width)
    dimension = f"{name}_length"
    file.dimensions[dimension] = width
    variable = _write(file, name, ("material", dimension), letters)
    variable.attrs.update({"_Encoding": "utf-8", "long_name": label})


def read_text(file: h5py.File, name: str) -> np.ndarray:
    """A text column of a shard that is open in h5py, shape (materials,), of Python strings."""
    letters = file[name][...]
    return np.char.decode(letters.view(f"S{letters.shape[1]}")[:, 0], "utf-8").astype(object)


def read_energy_kind(file: h5py.File) -> np.ndarray:
    """Kind of the formation energy of each material of a shard, as its position in `ENERGY_KINDS`, int8.

    Shards of version 0.1.0 say only whether an energy belongs to the structure itself: then it is `stated`, otherwise
    `approximate`.

    Raises:
        DatasetError: the shard names other kinds.
    """
    if "energy_kind" not in file:
        known = ~np.isnan(file[FORMATION_ENERGY.name][...])
        stated, approximate = ENERGY_KINDS.index("stated"), ENERGY_KINDS.index("approximate")
        derived: np.ndarray = np.where(file["energy_is_exact"][...] == 1, stated, approximate) * known
        return derived.astype(np.int8)
    stored = file["energy_kind"]
    meanings = stored.attrs["flag_meanings"]
    names = (meanings.decode() if isinstance(meanings, bytes) else str(meanings)).split()
    unknown = sorted(set(names) - set(ENERGY_KINDS))
    if unknown:
        msg = f"{Path(file.filename).name}: the kinds of formation energies {unknown} are unknown; "
        msg += f"expected {', '.join(ENERGY_KINDS)}"
        raise DatasetError(msg, code="E_DATASET")
    positions = np.array([ENERGY_KINDS.index(name) for name in names], dtype=np.int8)
    kinds: np.ndarray = positions[stored[...]]
    return kinds


def _write(file: h5netcdf.File, name: str, dimensions: tuple[str, ...], values: np.ndarray) -> h5netcdf.Variable:
    chunks = tuple(
        1 if dimension == "index" and "peak" in dimensions else max(1, min(size, CHUNK))
        for dimension, size in zip(dimensions, values.shape, strict=True)
    )
    variable = file.create_variable(
        name,
        dimensions,
        dtype=values.dtype,
        chunks=chunks,
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
    """Flush a folder, so that renames in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_csv(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Write a CSV table atomically."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    fsync_folder(path.parent)


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # left where the disk is full
    fsync_folder(path.parent)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset folder.

    Raises:
        DatasetError: it is missing, is not JSON, or has another schema.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        msg = f"{folder} is not a finished dataset: it contains no {MANIFEST}; build one with `xxact build`"
        raise DatasetError(msg, code="E_DATASET") from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not JSON: {shorten(error)}"
        raise DatasetError(msg, code="E_DATASET") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        found = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        msg = f"{path} has the schema {found!r}; expected {SCHEMA!r}: rebuild the dataset"
        raise DatasetError(msg, code="E_DATASET")
    damage = next(_manifest_problems(manifest), "") or is_damaged(manifest, known=frozenset(manifest))
    if damage:
        msg = f"{path} is damaged: {damage}; build the dataset again"
        raise DatasetError(msg, code="E_DATASET")
    return {name: value for name, value in manifest.items() if name != CONTENT_DIGEST}


_COUNTS = ("materials", "errors", "duplicates")
_SHARD_COUNTS = ("materials", "peaks", "elements", "rotations", "hkl_bytes")


def _manifest_problems(manifest: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the fields of a manifest; its counts follow from those of the shards."""
    shards, plan = manifest.get("shards"), manifest.get("plan")
    if not isinstance(shards, list) or not shards or not isinstance(plan, dict):
        yield "it lists no shards, or has no plan"
        return
    if not all(_is_count(manifest.get(name, 0)) for name in _COUNTS):
        yield f"{', '.join(_COUNTS)} are no numbers"
    for number, shard in enumerate(shards):
        name = shard.get("file") if isinstance(shard, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            yield f"its shard {number} is not in its folder: {shorten(name)}"
        elif not all(_is_count(shard.get(count)) for count in _SHARD_COUNTS):
            yield f"a count of {name} is no number"
        elif not isinstance(shard.get("sha256"), str) or not isinstance(splits := shard.get("splits"), dict):
            yield f"{name} has no SHA-256 or no splits"
        elif set(splits) != set(SPLITS) or not all(map(_is_count, splits.values())):
            yield f"the splits of {name} are {shorten(splits, limit=60)}"
        elif sum(splits.values()) != shard["materials"]:
            yield f"the splits of {name} do not add up to its {shard['materials']} materials"
        else:
            continue
        return
    if sum(shard["materials"] for shard in shards) != manifest.get("materials"):
        yield f"its shards do not add up to its {manifest.get('materials')} materials"
    if not isinstance(manifest.get("digest"), str) or not re.fullmatch(r"[0-9a-f]{64}", manifest["digest"]):
        yield "its digest is not a SHA-256"


def shards_to_digest(shards: Sequence[Mapping[str, Any]]) -> str:
    """The digest of a dataset: SHA-256 of the digests of its shards, one after another."""
    return hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
