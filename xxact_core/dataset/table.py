"""Dataset in memory: columns of all materials, and reflections in memory or on disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.store import CELL, INTENSITY_STEP, file_digest, read_manifest, read_text
from xxact_core.errors import DatasetError
from xxact_core.patterns.pattern import Sticks
from xxact_core.plain_hdf5 import open_plain
from xxact_core.quantities import TARGETS
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, hkl_to_two_theta


@dataclass(frozen=True)
class StickRows:
    """Reflections of several materials, concatenated."""

    count: np.ndarray
    """Number of reflections of each material, shape (rows,)."""
    hkl: np.ndarray
    """Miller indices, shape (peaks, 3), int8 or int16."""
    intensity: np.ndarray
    """Intensities in steps of `INTENSITY_STEP`, shape (peaks,), uint16."""


class ResidentSticks:
    """Reflections of all materials in memory: 5 bytes each."""

    def __init__(self, start: np.ndarray, hkl: np.ndarray, intensity: np.ndarray) -> None:
        self.start, self.hkl, self.intensity = start, hkl, intensity

    def take(self, rows: np.ndarray) -> StickRows:
        """Reflections of these rows, in this order."""
        pieces = [slice(first, last) for first, last in zip(self.start[rows], self.start[rows + 1], strict=True)]
        return StickRows(
            self.start[rows + 1] - self.start[rows],
            np.concatenate([self.hkl[piece] for piece in pieces]),
            np.concatenate([self.intensity[piece] for piece in pieces]),
        )


class ShardSticks:
    """Reflections in shards on disk, of which the most recently used stay in memory.

    The checksum of a shard is verified before its first use.
    """

    def __init__(self, folder: Path, shards: list[dict[str, Any]], *, kept: int) -> None:
        self.folder, self.shards, self.kept = folder, shards, kept
        self.first_row = np.concatenate([[0], np.cumsum([shard["materials"] for shard in shards])])
        self._open: OrderedDict[int, ResidentSticks] = OrderedDict()
        self._whole: set[int] = set()

    def take(self, rows: np.ndarray) -> StickRows:
        """Reflections of these rows, in this order; fast for rows of few shards."""
        rows = np.asarray(rows)
        shard_of = np.searchsorted(self.first_row, rows, side="right") - 1
        pieces: list[StickRows] = []
        places: list[np.ndarray] = []
        for shard in np.unique(shard_of):
            place = np.flatnonzero(shard_of == shard)
            pieces.append(self._shard(int(shard)).take(rows[place] - self.first_row[shard]))
            places.append(place)
        return _in_order(pieces, np.concatenate(places))

    def _shard(self, number: int) -> ResidentSticks:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        path = self.folder / self.shards[number]["file"]
        if number not in self._whole:
            check_shard(path, self.shards[number]["sha256"])
            self._whole.add(number)
        with open_plain(path) as file:
            start = counts_to_start(file["peak_count"][...])
            sticks = ResidentSticks(start, np.ascontiguousarray(file["hkl"][...].T), file["intensity"][...])
        self._open[number] = sticks
        while len(self._open) > self.kept:
            self._open.popitem(last=False)
        return sticks


def _in_order(pieces: list[StickRows], places: np.ndarray) -> StickRows:
    """Concatenated pieces, permuted so that row `i` moves to `places[i]`."""
    if len(pieces) == 1:
        return pieces[0]
    joined = ResidentSticks(
        counts_to_start(np.concatenate([piece.count for piece in pieces])),
        np.concatenate([piece.hkl for piece in pieces]),
        np.concatenate([piece.intensity for piece in pieces]),
    )
    return joined.take(np.argsort(places))


def counts_to_start(counts: np.ndarray) -> np.ndarray:
    """Offsets of each material's entries, shape (materials + 1,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


@dataclass(frozen=True)
class StickTable:
    """A dataset as columns of all materials."""

    id: np.ndarray
    """Ids, shape (materials,)."""
    formula: np.ndarray
    """Reduced formulas with all numbers, shape (materials,)."""
    split: np.ndarray
    """Index of the split in `SPLITS`, -1 for none, shape (materials,)."""
    energy_is_exact: np.ndarray
    """Whether the formation energy belongs to the structure itself, shape (materials,)."""
    targets: Mapping[str, np.ndarray]
    """Targets by name, shape (materials,), float32; NaN where unknown, index for classes."""
    cell: np.ndarray
    """Cells a, b, c [Å], α, β, γ [deg] that Miller indices refer to, shape (materials, 6)."""
    element_start: np.ndarray
    """Offsets of each material's elements, shape (materials + 1,)."""
    atomic_number: np.ndarray
    """Atomic numbers, shape (elements,), uint8."""
    fraction: np.ndarray
    """Atomic fractions, shape (elements,)."""
    rotation_start: np.ndarray
    """Offsets of each material's rotations, shape (materials + 1,)."""
    rotations: np.ndarray
    """Laue groups modulo inversion, h' = h W, shape (rotations, 3, 3), int8."""
    reflection_count: np.ndarray
    """Number of reflections, shape (materials,)."""
    stored: ResidentSticks | ShardSticks
    """The reflections, in memory or on disk."""
    wavelength: float
    """Wavelength of the intensities [Å]."""
    digest: str
    """Digest of the dataset."""
    others: tuple[str, ...] = ()
    """Digests of datasets joined to it."""

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.id)

    @property
    def resident(self) -> bool:
        """Whether the reflections are in memory."""
        return isinstance(self.stored, ResidentSticks)

    @property
    def peak_start(self) -> np.ndarray:
        """Offsets of each material in `hkl` and `intensity`, shape (materials + 1,)."""
        return self._in_memory.start

    @property
    def hkl(self) -> np.ndarray:
        """Miller indices of all reflections, shape (peaks, 3)."""
        return self._in_memory.hkl

    @property
    def intensity(self) -> np.ndarray:
        """Intensities of all reflections in steps of `INTENSITY_STEP`, shape (peaks,), uint16."""
        return self._in_memory.intensity

    @property
    def _in_memory(self) -> ResidentSticks:
        if not isinstance(self.stored, ResidentSticks):
            msg = "the reflections of this dataset are read from disk; get them with take_sticks"
            raise DatasetError(msg, code="E_DATASET")
        return self.stored

    def take_sticks(self, rows: np.ndarray) -> StickRows:
        """Reflections of these rows, in this order, from memory or from the shards."""
        return self.stored.take(np.asarray(rows))

    def sticks(self, row: int) -> Sticks:
        """Stick pattern of one material."""
        taken = self.take_sticks(np.array([row]))
        metric = cell_to_reciprocal_metric(self.cell[row])
        return Sticks(
            hkl_to_two_theta(taken.hkl, metric, wavelength=self.wavelength),
            taken.intensity * INTENSITY_STEP,
            wavelength=self.wavelength,
            hkl=taken.hkl,
        )

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split, in file order."""
        if split not in SPLITS:
            msg = f"{split!r} is not a split; choose from {', '.join(SPLITS)}"
            raise DatasetError(msg, code="E_DATASET")
        return np.flatnonzero(self.split == SPLITS.index(split))

    def elements(self, split: str) -> list[str]:
        """Symbols of the elements in a split, by atomic number."""
        counts = np.diff(self.element_start)
        in_split = np.repeat(self.split == SPLITS.index(split), counts)
        return [SYMBOLS[number - 1] for number in np.unique(self.atomic_number[in_split])]


def read_dataset(folder: Path, *, verify: bool = True, resident: bool = True, kept: int = 32) -> StickTable:
    """Read the columns of a dataset folder, and with `resident` its reflections, into memory.

    Reflections that do not fit into memory are read from shards on demand, of which `kept` stay in memory; the order
    of `xxact_core.dataset.loading.sampler.blockwise_order` reads each shard once per epoch.

    Raises:
        DatasetError: a shard is missing, or its digest differs from the manifest's (with `verify`; shards that stay on
            disk are verified at their first use).
    """
    manifest = read_manifest(folder)
    shards = manifest["shards"]
    peaks = sum(shard["peaks"] for shard in shards)
    dtype = np.int8 if all(shard["hkl_bytes"] == 1 for shard in shards) else np.int16
    hkl = np.empty((peaks if resident else 0, 3), dtype=dtype)
    intensity = np.empty(peaks if resident else 0, dtype=np.uint16)
    columns: dict[str, list[np.ndarray]] = {}
    filled, wavelength = 0, float("nan")
    for path, shard in zip(shard_paths(folder, manifest), shards, strict=True):
        if verify and resident:
            check_shard(path, shard["sha256"])
        with open_plain(path) as file:
            wavelength = float(np.asarray(file.attrs["wavelength"]).item())
            for name, values in _read_columns(file):
                columns.setdefault(name, []).append(values)
            if resident:
                piece = slice(filled, filled + shard["peaks"])
                hkl[piece] = file["hkl"][...].T
                file["intensity"].read_direct(intensity, dest_sel=np.s_[piece])
                filled += shard["peaks"]
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    targets = {}
    for target in TARGETS.values():
        values = joined[target.name].astype(np.float32)
        targets[target.name] = np.where(values < 0, np.nan, values) if target.kind == "class" else values
    in_memory = ResidentSticks(counts_to_start(joined["peak_count"]), hkl, intensity)
    return StickTable(
        id=joined["id"],
        formula=joined["formula"],
        split=joined["split"],
        energy_is_exact=joined["energy_is_exact"].astype(bool),
        targets=targets,
        cell=np.stack([joined[name] for name in CELL], axis=1),
        element_start=counts_to_start(joined["element_count"]),
        atomic_number=joined["atomic_number"],
        fraction=joined["fraction"],
        rotation_start=counts_to_start(joined["rotation_count"]),
        rotations=joined["rotation_matrix"],
        reflection_count=joined["peak_count"],
        stored=in_memory if resident else ShardSticks(folder, shards, kept=kept),
        wavelength=wavelength,
        digest=manifest["digest"],
    )


def _read_columns(file: h5py.File) -> Iterator[tuple[str, np.ndarray]]:
    for name in ("id", "formula"):
        yield name, read_text(file, name)
    for name in (*CELL, *TARGETS, "split", "energy_is_exact", "peak_count"):
        yield name, file[name][...]
    for name in ("element_count", "atomic_number", "fraction", "rotation_count", "rotation_matrix"):
        yield name, file[name][...]


def shard_paths(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Paths of the shards that a manifest names.

    Raises:
        DatasetError: a shard is missing.
    """
    paths = [folder / shard["file"] for shard in manifest["shards"]]
    for path in paths:
        if not path.is_file():
            msg = f"the shard {path} is missing"
            raise DatasetError(msg, code="E_DATASET")
    return paths


def check_shard(path: Path, sha256: str) -> None:
    """Compare a shard with its digest.

    Raises:
        DatasetError: the file was changed or damaged after it was written.
    """
    if file_digest(path) != sha256:
        msg = f"the shard {path} is damaged: its SHA-256 differs from that of the manifest; delete it and build again"
        raise DatasetError(msg, code="E_DATASET")
