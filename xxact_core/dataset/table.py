"""Dataset in memory: columns of all materials, and reflections in memory or on disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.dataset.shard_cache import SIZE_VARIABLE, fetch_shard, is_copy, local_folder
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.store import CELL, INTENSITY_STEP, file_digest, read_energy_kind, read_manifest, read_text
from xxact_core.errors import DatasetError
from xxact_core.patterns.pattern import Sticks
from xxact_core.plain_hdf5 import UnreadableError, open_plain
from xxact_core.quantities import ENERGY_KINDS, EXACT_ENERGY_KINDS, TARGETS, TEACHER
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, hkl_to_two_theta

_OPENINGS = 5
"""Attempts to open a shard that other processes remove from a full cache. Ours."""


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

    The checksum of a shard is verified before its first use, and again where the file was changed since.
    """

    def __init__(self, folder: Path, shards: list[dict[str, Any]], *, kept: int) -> None:
        self.folder, self.shards, self.kept = folder, shards, kept
        self.first_row = np.concatenate([[0], np.cumsum([shard["materials"] for shard in shards])])
        self._open: OrderedDict[int, ResidentSticks] = OrderedDict()
        self._whole: dict[int, tuple[int, int, int] | None] = {}
        """Inode, size and time of change of the shards that were verified, by number."""

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
        shard = self.shards[number]
        state = _file_state(self.folder / shard["file"])
        with open_shard(self.folder, shard, verify=state is None or self._whole.get(number) != state) as file:
            self._whole[number] = state
            start = counts_to_start(file["peak_count"][...])
            sticks = ResidentSticks(start, np.ascontiguousarray(file["hkl"][...].T), file["intensity"][...])
        self._open[number] = sticks
        while len(self._open) > self.kept:
            self._open.popitem(last=False)
        return sticks


def _file_state(path: Path) -> tuple[int, int, int] | None:
    """Inode, size and time of change of a file, by which a change is noticed; None where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


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
    energy_kind: np.ndarray
    """Where the formation energy comes from, as its position in `ENERGY_KINDS`, shape (materials,), int8."""
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
    cell_is_measured: np.ndarray
    """Whether the cell was measured, or scaled to measured ones, shape (materials,)."""
    others: tuple[str, ...] = ()
    """Digests of datasets joined to it."""

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.id)

    @cached_property
    def energy_is_exact(self) -> np.ndarray:
        """Whether the formation energy is one by which a model is judged, shape (materials,), bool."""
        return np.isin(self.energy_kind, [ENERGY_KINDS.index(kind) for kind in EXACT_ENERGY_KINDS])

    @cached_property
    def formula_group(self) -> np.ndarray:
        """Number of each material's reduced formula, equal for polymorphs, shape (materials,), int64."""
        _, group = np.unique(np.asarray(self.formula, dtype=str), return_inverse=True)
        return group.astype(np.int64)

    @property
    def resident(self) -> bool:
        """Whether the reflections are in memory."""
        return isinstance(self.stored, ResidentSticks)

    @property
    def from_teacher(self) -> np.ndarray:
        """Whether the formation energy is that of a teacher, shape (materials,)."""
        teacher: np.ndarray = self.energy_kind == ENERGY_KINDS.index(TEACHER)
        return teacher

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

    def sample(self, split: str, count: int) -> np.ndarray:
        """At most `count` rows of a split, evenly spaced in file order: each part of a joined dataset has its share."""
        rows = self.rows(split)
        if count >= len(rows):
            return rows
        return rows[(np.arange(count) * len(rows)) // max(count, 1)]

    def elements(self, split: str) -> list[str]:
        """Symbols of the elements in a split, by atomic number."""
        counts = np.diff(self.element_start)
        in_split = np.repeat(self.split == SPLITS.index(split), counts)
        return [SYMBOLS[number - 1] for number in np.unique(self.atomic_number[in_split])]


def count_compared_formulas(formula: np.ndarray, energy: np.ndarray, energy_kind: np.ndarray) -> int:
    """Number of formulas of which several materials have formation energies of one kind, so that they can be compared.

    Args:
        formula: reduced formulas, shape (materials,).
        energy: formation energies [eV/atom], NaN where unknown, shape (materials,).
        energy_kind: their kinds, as positions in `ENERGY_KINDS`, shape (materials,).
    """
    from_teacher = energy_kind == ENERGY_KINDS.index(TEACHER)
    exact = np.isin(energy_kind, [ENERGY_KINDS.index(kind) for kind in EXACT_ENERGY_KINDS])
    known = ~np.isnan(energy) & (exact | from_teacher)
    _, group = np.unique(np.asarray(formula, dtype=str)[known], return_inverse=True)
    _, counts = np.unique(2 * group + from_teacher[known], return_counts=True)
    return int((counts > 1).sum())


def polymorph_groups(table: StickTable) -> np.ndarray:
    """A number for every material, equal where formula and kind of formation energy are, shape (materials,)."""
    groups: np.ndarray = 2 * table.formula_group + table.from_teacher
    return groups


def read_dataset(source: Path | str, *, verify: bool = True, resident: bool = True, kept: int = 32) -> StickTable:
    """Read the columns of a dataset, and with `resident` its reflections, into memory.

    The source is a folder, or a URL of one, see `xxact_core.dataset.shard_cache`.

    Reflections that do not fit into memory are read from shards on demand, of which `kept` stay in memory; the order
    of `xxact_core.dataset.loading.sampler.blockwise_order` reads each shard once per epoch.

    Raises:
        DatasetError: a shard is missing, or its digest differs from the manifest's (with `verify`; shards that stay on
            disk are verified at their first use).
    """
    folder = local_folder(source)
    manifest = read_manifest(folder)
    shards = manifest["shards"]
    peaks = sum(shard["peaks"] for shard in shards)
    dtype = np.int8 if all(shard["hkl_bytes"] == 1 for shard in shards) else np.int16
    hkl = np.empty((peaks if resident else 0, 3), dtype=dtype)
    intensity = np.empty(peaks if resident else 0, dtype=np.uint16)
    columns: dict[str, list[np.ndarray]] = {}
    filled, wavelength = 0, float("nan")
    for shard in shards:
        with open_shard(folder, shard, verify=verify and resident) as file:
            wavelength = float(np.asarray(file.attrs["wavelength"]).item())
            for name, values in _read_columns(file):
                columns.setdefault(name, []).append(values)
            measured = bool(np.squeeze(file.attrs.get("measured_cells", 0)))  # version 0.1.0 wrote no such attribute
            columns.setdefault("cell_is_measured", []).append(np.full(shard["materials"], measured))
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
        energy_kind=joined["energy_kind"],
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
        cell_is_measured=joined["cell_is_measured"],
    )


def _read_columns(file: h5py.File) -> Iterator[tuple[str, np.ndarray]]:
    for name in ("id", "formula"):
        yield name, read_text(file, name)
    for name in (*CELL, *TARGETS, "split", "peak_count"):
        yield name, file[name][...]
    yield "energy_kind", read_energy_kind(file)
    for name in ("element_count", "atomic_number", "fraction", "rotation_count", "rotation_matrix"):
        yield name, file[name][...]


def shard_paths(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Paths of the shards that a manifest names; of a dataset at a URL all are fetched.

    Raises:
        DatasetError: a shard is missing, or the cache has no room for all of a dataset at a URL.
    """
    paths = [_find_shard(folder, shard) for shard in manifest["shards"]]
    if gone := [path for path in paths if not path.is_file()]:
        msg = (
            f"{len(gone)} of {len(paths)} shards had to be removed for the others, since the cache {folder.parent} is "
        )
        msg += f"full; set a larger size by {SIZE_VARIABLE}"
        raise DatasetError(msg, code="E_DATASET")
    return paths


def _find_shard(folder: Path, shard: Mapping[str, Any]) -> Path:
    if is_copy(folder):
        return fetch_shard(folder, shard)
    path: Path = folder / shard["file"]
    if not path.is_file():
        msg = f"the shard {path} is missing"
        raise DatasetError(msg, code="E_DATASET")
    return path


@contextmanager
def open_shard(folder: Path, shard: Mapping[str, Any], *, verify: bool) -> Iterator[h5py.File]:
    """Open a shard for reading, after its digest was compared with the manifest's where `verify`.

    Of a dataset at a URL it is fetched, and always verified.

    Raises:
        DatasetError: the shard is missing, damaged, or another than that of the manifest.
    """
    for attempt in range(_OPENINGS):
        path = _find_shard(folder, shard)
        if verify and not is_copy(folder):
            check_shard(path, shard["sha256"])
        with ExitStack() as opened:
            try:
                file = opened.enter_context(open_plain(path))
            except UnreadableError:
                if path.exists() or not is_copy(folder) or attempt == _OPENINGS - 1:
                    raise
                continue  # another process removed it from the cache, to make room
            yield file
            return


def check_shard(path: Path, sha256: str) -> None:
    """Compare a shard with its digest.

    Raises:
        DatasetError: the file was changed or damaged after it was written.
    """
    if file_digest(path) != sha256:
        msg = f"the shard {path} is damaged: its SHA-256 differs from that of the manifest; delete it and build again"
        raise DatasetError(msg, code="E_DATASET")
