"""File format of a packed dataset: a line of JSON, then compressed columns of numbers."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.dataset.table import StickTable
from xxact_core.quantities import BAND_GAP, FORMATION_ENERGY, LATTICE, TARGETS

FORM = "xxact-pack-2"

LABELS = (FORMATION_ENERGY.name, BAND_GAP.name, *(quantity.name for quantity in LATTICE))
"""Labels that are stored, since a machine for training cannot calculate them from the structure."""

TURN = 144_000
"""Steps of a fractional coordinate; those of the shipped table are multiples of it, see `asymmetric_units.GRID`."""

ROUND_OFF = 1e-9
"""Largest deviation of a coordinate from a step."""


def fold(frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates as distances from the nearest of 0, 1/2 and 1 in steps of 1/144,000, and the quadrant; same shapes.

    x, -x, 1/2 - x and 1/2 + x, which are often related by symmetry, have the same distance, which halves the size.

    Raises:
        ValueError: the coordinates are no multiples of the step, or are far outside the cell.
    """
    steps = np.rint(frac_coords * TURN).astype(np.int64)
    turns, within = np.divmod(steps, TURN)
    half, rest = np.divmod(within, TURN // 2)
    back = rest > TURN // 4
    quadrant = (turns + 1) * 4 + half * 2 + back
    if (np.abs(steps / TURN - frac_coords) > ROUND_OFF).any() or quadrant.min() < 0 or quadrant.max() > 255:
        msg = f"fractional coordinates must be multiples of 1/{TURN:,} and lie near the cell"
        raise ValueError(msg)
    return np.where(back, TURN // 2 - rest, rest).astype(np.uint16), quadrant.astype(np.uint8)


def unfold(folded: np.ndarray, quadrant: np.ndarray) -> np.ndarray:
    """Inverse of `fold`: fractional coordinates."""
    turns, within = np.divmod(quadrant.astype(np.int64), 4)
    half, back = np.divmod(within, 2)
    rest = np.where(back == 1, TURN // 2 - folded.astype(np.int64), folded)
    coords: np.ndarray = ((turns - 1) * TURN + half * (TURN // 2) + rest) / TURN
    return coords


def values_digest(table: StickTable) -> str:
    """SHA-256 of all values of a dataset, independent of its files."""
    digest = hashlib.sha256()
    for texts in (table.id, table.formula):
        digest.update("\n".join(texts).encode())
    arrays = [table.split, table.energy_kind, table.cell, table.element_start, table.atomic_number, table.fraction]
    arrays += [table.rotation_start, table.rotations, table.peak_start, table.hkl.astype(np.int16), table.intensity]
    for array in arrays + [table.targets[name] for name in TARGETS]:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_pack(path: Path, columns: dict[str, np.ndarray], about: dict[str, Any]) -> dict[str, float]:
    """Write a pack; returns megabytes by column."""
    packed = {name: lzma.compress(values.tobytes(), lzma.FORMAT_RAW, filters=_filters(values.itemsize))
              for name, values in columns.items()}  # fmt: skip
    head = {
        "form": FORM,
        **about,
        "columns": {
            name: [values.dtype.str, list(values.shape), len(packed[name])] for name, values in columns.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(json.dumps(head).encode() + b"\n" + b"".join(packed.values()))
    part.replace(path)
    return {name: len(content) / 1e6 for name, content in packed.items()}


def read_pack(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The columns and the header of a pack.

    Raises:
        ValueError: the file has another format.
    """
    first, _, content = path.read_bytes().partition(b"\n")
    head = json.loads(first)
    if head.get("form") != FORM:
        msg = f"{path} has the format {head.get('form')!r}; expected {FORM!r}"
        raise ValueError(msg)
    columns, begin = {}, 0
    for name, (kind, shape, size) in head["columns"].items():
        dtype = np.dtype(kind)
        packed = content[begin : begin + size]
        raw = lzma.decompress(packed, lzma.FORMAT_RAW, filters=_filters(dtype.itemsize))
        columns[name] = np.frombuffer(raw, dtype=dtype).reshape(shape)
        begin += size
    return columns, head


def _filters(itemsize: int) -> list[dict[str, int]]:
    """LZMA filters for numbers of this size [bytes]."""
    bits = itemsize.bit_length() - 1
    return [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 24, "lc": 3 if bits == 0 else 0, "lp": bits,
             "pb": bits}]  # fmt: skip
