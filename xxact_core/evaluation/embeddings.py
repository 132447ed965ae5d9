"""Predictions file → embeddings → two components to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from xxact_core.errors import DatasetError, shorten


@dataclass(frozen=True)
class Embeddings:
    """What a model makes of materials whose crystal system is known.

    id: shape (materials,). embedding: shape (materials, width). crystal_system: its index, shape (materials,).
    """

    id: np.ndarray
    embedding: np.ndarray
    crystal_system: np.ndarray


def read_embeddings(path: Path) -> Embeddings:
    """The embeddings of a file that `write_predictions` made.

    Raises:
        DatasetError: there is no such file, it is not HDF5, or it holds no embeddings beside crystal systems.
    """
    try:
        with h5py.File(path, "r") as file:
            systems = file["true/crystal_system"][...]
            known = ~np.isnan(systems)
            identity = np.array(file["id"].asstr()[...], dtype=str)[known]
            return Embeddings(identity, file["embedding"][...][known], systems[known].astype(int))
    except (OSError, KeyError) as error:
        msg = f"{path} is no file of predictions with crystal systems: {shorten(error)}"
        raise DatasetError(msg, code="E_PREDICTIONS") from error


def embedding_to_components(embedding: np.ndarray, *, components: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of embeddings of shape (materials, width).

    Returns:
        The components, shape (materials, components), and the share (0-1) of the variance that each one holds.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import

    analysis = PCA(n_components=components, svd_solver="full")
    return analysis.fit_transform(embedding.astype(np.float64)), analysis.explained_variance_ratio_
