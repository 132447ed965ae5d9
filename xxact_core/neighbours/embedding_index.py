"""Patterns of all known materials → embeddings, kept: which of them look like a measured one, elements not known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from xxact_core.checkpoint import Checkpoint
from xxact_core.dataset.ideal_patterns import sticks_to_patterns
from xxact_core.dataset.store import INTENSITY_STEP
from xxact_core.errors import CheckpointError, StructureError
from xxact_core.model.xxact import Xxact
from xxact_core.neighbours.references import KnownMaterials
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.patterns.smearing import SIGMA
from xxact_core.reliability import pattern_traits
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

WIDEST = 4.0
"""Standard deviations that the 127 steps of a stored embedding reach to."""

MEASURED_SIGMA = 0.05
"""σ of the lines of a diffractometer [deg], which are smeared to those of simulated patterns. Ours."""

_TOGETHER = 256
_SCHEMA = b"xxact-neighbours-1"


@dataclass(frozen=True, eq=False)
class EmbeddingIndex:
    """What the pattern encoder of a model makes of reference patterns, without their composition.

    codes: shape (materials, traits), int8; a row of zeros for a material that scatters nothing. mean, deviation: of the
    traits, shape (traits,).
    """

    codes: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def nearest(self, traits: np.ndarray, *, count: int) -> np.ndarray:
        """Rows of the materials of largest cosine similarity to traits of shape (traits,), the nearest first."""
        codes = self.codes.astype(np.float32)
        lengths = np.maximum(np.linalg.norm(codes, axis=1), 1.0)
        similarity = codes @ ((traits - self.mean) / self.deviation).astype(np.float32) / lengths
        return np.argsort(-similarity, kind="stable")[:count]


def pattern_to_traits(pattern: GriddedPattern, checkpoint: Checkpoint) -> np.ndarray:
    """Traits of a measured pattern as the index holds them of simulated ones, shape (traits,).

    Raises:
        CheckpointError: the model does not encode a pattern apart from the composition.
    """
    width = np.sqrt(SIGMA**2 - MEASURED_SIGMA**2) / GRID.step
    smeared = gaussian_filter1d(pattern.intensity, width) * pattern.coverage
    intensity = torch.tensor(100 * smeared / smeared.max(), dtype=torch.float32)
    hidden = torch.tensor(pattern.hidden_windows)
    return _encode(checkpoint, intensity[None], hidden[None])[0]


def open_index(
    references: KnownMaterials,
    checkpoint: Checkpoint,
    *,
    folder: Path | None = None,
    progress: bool = True,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> EmbeddingIndex:
    """The index of this table and this model: read from the user's cache, or built and put there on first use.

    Building takes some minutes for a hundred thousand materials; 40 MB are kept.
    tell: called with how many of how many materials are done.

    Raises:
        CheckpointError: the model does not encode a pattern apart from the composition.
    """
    from platformdirs import user_cache_path  # noqa: PLC0415 - only where nobody names a folder

    folder = user_cache_path("xxact") if folder is None else folder
    path = folder / f"neighbours-{_digest(references, checkpoint)}.npz"
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return EmbeddingIndex(stored["codes"], stored["mean"], stored["deviation"])
    except (OSError, KeyError, ValueError, BadZipFile):
        pass  # not built yet, or damaged: built again
    index = build_index(references, checkpoint, progress=progress, tell=tell)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as written:
        np.savez(written, codes=index.codes, mean=index.mean, deviation=index.deviation)
    part.replace(path)
    return index


def build_index(
    references: KnownMaterials,
    checkpoint: Checkpoint,
    *,
    progress: bool = False,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> EmbeddingIndex:
    """Simulate and encode every material of the table.

    Raises:
        CheckpointError: the model does not encode a pattern apart from the composition.
    """
    from tqdm import tqdm  # noqa: PLC0415 - only where something is built

    traits, scatters = [], np.ones(len(references), dtype=np.bool_)
    rows = range(0, len(references), _TOGETHER)
    for first in tqdm(rows, desc="index of known materials", unit_scale=_TOGETHER, disable=not progress):
        last = min(first + _TOGETHER, len(references))
        patterns = _simulate(references, first, last)
        scatters[first:last] = patterns.any(axis=1)
        hidden = torch.zeros((len(patterns), GRID.windows), dtype=torch.bool)
        traits.append(_encode(checkpoint, torch.from_numpy(patterns), hidden))
        tell(last, len(references))
    joined = np.concatenate(traits)
    mean, deviation = joined[scatters].mean(axis=0), joined[scatters].std(axis=0) + 1e-6
    steps = np.rint((joined - mean) / deviation * (127 / WIDEST)).clip(-127, 127)
    return EmbeddingIndex((steps * scatters[:, None]).astype(np.int8), mean, deviation)


def _simulate(references: KnownMaterials, first: int, last: int) -> np.ndarray:
    """Ideal patterns of some rows, shape (last - first, points), float32; zeros where nothing scatters."""
    hkl, intensity, counts = [np.empty((0, 3), dtype=np.int16)], [np.empty(0, dtype=np.uint16)], []
    for row in range(first, last):
        try:
            sticks = references.sticks(row)
        except StructureError:
            counts.append(0)
            continue
        assert sticks.hkl is not None
        inside = (sticks.two_theta >= GRID.start) & (sticks.two_theta <= GRID.stop)
        hkl.append(sticks.hkl[inside])
        intensity.append(np.rint(sticks.intensity[inside] / INTENSITY_STEP).astype(np.uint16))
        counts.append(int(inside.sum()))
    start = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    patterns = np.empty((last - first, GRID.points), dtype=np.float32)
    metric = cell_to_reciprocal_metric(references.cell[first:last])
    sticks_to_patterns(
        np.concatenate(hkl), np.concatenate(intensity), start, np.arange(last - first), metric, patterns,
        wavelength=CU_K_ALPHA, sigma=SIGMA,
    )  # fmt: skip
    return patterns


@torch.inference_mode()
def _encode(checkpoint: Checkpoint, intensity: torch.Tensor, hidden: torch.Tensor) -> np.ndarray:
    model = checkpoint.model
    if not isinstance(model, Xxact):
        msg = f"a model of the kind {model.config.kind!r} does not encode patterns apart from compositions: "
        msg += "give the elements, or a model of the kind 'xxact'"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    tokens = model.pattern_encoder(intensity, hidden, model.mask_token)
    return pattern_traits(tokens).float().cpu().numpy()


def _digest(references: KnownMaterials, checkpoint: Checkpoint) -> str:
    """What the index depends on: the table, and the weights of the model."""
    digest = hashlib.sha256(_SCHEMA)
    digest.update(references.digest.encode())
    for name, weights in sorted(checkpoint.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weights.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
