"""What a pack is on disk: a line of JSON, then columns of numbers, each compressed in the way that suits it."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.dataset.table import StickTable
from xxact_core.quantities import BAND_GAP, FORMATION_ENERGY, LATTICE, TARGETS

FORM = "xxact-pack-1"

LABELS = (FORMATION_ENERGY.name, BAND_GAP.name, *(quantity.name for quantity in LATTICE))
"""Values that cannot be calculated from the structure by what a machine that trains has."""

TURN = 100_000
"""Steps of a fractional coordinate: the shipped table has five decimals."""


def fold(frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates as steps of 1/100,000 from the nearest of 0, 1/2 and 1, and where that is; shapes as they come.

    x, -x, 1/2 - x and 1/2 + x, which symmetry makes of one another, have the same steps: they compress by half.

    Raises:
        ValueError: the coordinates have more decimals, or are far outside of the cell.
    """
    steps = np.rint(frac_coords * TURN).astype(np.int64)
    turns, within = np.divmod(steps, TURN)
    half, rest = np.divmod(within, TURN // 2)
    back = rest > TURN // 4
    quadrant = (turns + 1) * 4 + half * 2 + back
    if (np.float32(steps / TURN) != frac_coords).any() or quadrant.min() < 0 or quadrant.max() > 255:
        msg = "coordinates are not numbers of five decimals near the cell, as those of the shipped table are"
        raise ValueError(msg)
    return np.where(back, TURN // 2 - rest, rest).astype(np.uint16), quadrant.astype(np.uint8)


def unfold(folded: np.ndarray, quadrant: np.ndarray) -> np.ndarray:
    """The inverse of `fold`: fractional coordinates, of float32's precision, as float64."""
    turns, within = np.divmod(quadrant.astype(np.int64), 4)
    half, back = np.divmod(within, 2)
    rest = np.where(back == 1, TURN // 2 - folded.astype(np.int64), folded)
    return np.float32(((turns - 1) * TURN + half * (TURN // 2) + rest) / TURN).astype(np.float64)


def values_digest(table: StickTable) -> str:
    """SHA-256 of all values that a data set holds, in whatever files."""
    digest = hashlib.sha256()
    for texts in (table.id, table.formula):
        digest.update("\n".join(texts).encode())
    arrays = [table.split, table.energy_is_exact, table.cell, table.element_start, table.atomic_number, table.fraction]
    arrays += [table.rotation_start, table.rotations, table.peak_start, table.hkl.astype(np.int16), table.intensity]
    for array in arrays + [table.targets[name] for name in TARGETS]:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_pack(path: Path, columns: dict[str, np.ndarray], about: dict[str, Any]) -> dict[str, float]:
    """A line of JSON, then each column compressed; returns megabytes by column."""
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
    """The columns of a pack, and what its head says.

    Raises:
        ValueError: the file is of another form.
    """
    first, _, content = path.read_bytes().partition(b"\n")
    head = json.loads(first)
    if head.get("form") != FORM:
        msg = f"{path} is of the form {head.get('form')!r}; expected {FORM!r}"
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
    """LZMA that knows how wide a number is."""
    bits = itemsize.bit_length() - 1
    return [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 24, "lc": 3 if bits == 0 else 0, "lp": bits,
             "pb": bits}]  # fmt: skip
