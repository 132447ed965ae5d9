"""Predictions file → embeddings → two components to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xxact_core.errors import DatasetError, shorten
from xxact_core.plain_hdf5 import open_plain

MAX_FITTED = 200_000
"""Materials that principal components are fitted to: the plane of more is the same to the eye."""


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
        with open_plain(path) as file:
            systems = file["true/crystal_system"][...]
            known = ~np.isnan(systems)
            identity = np.array(file["id"].asstr()[...], dtype=str)[known]
            return Embeddings(identity, file["embedding"][...][known], systems[known].astype(int))
    except (OSError, KeyError) as error:
        msg = f"{path} is no file of predictions with crystal systems: {shorten(error)}"
        raise DatasetError(msg, code="E_PREDICTIONS") from error


@dataclass(frozen=True)
class Projection:
    """A plane of principal components, onto which further embeddings can be laid.

    mean: shape (width,). directions: unit vectors, shape (components, width). explained: share (0-1) of the variance
    that each component holds, shape (components,).
    """

    mean: np.ndarray
    directions: np.ndarray
    explained: np.ndarray

    def project(self, embedding: np.ndarray) -> np.ndarray:
        """Components of embeddings of shape (materials, width): shape (materials, components)."""
        directions = self.directions.astype(embedding.dtype)
        components: np.ndarray = embedding @ directions.T - (self.mean @ self.directions.T).astype(embedding.dtype)
        return components


def fit_projection(embedding: np.ndarray, *, components: int = 2) -> Projection:
    """Principal components of embeddings of shape (materials, width), in double precision.

    Of more than `MAX_FITTED` materials, evenly spaced ones decide.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import

    fitted = embedding[:: -(-len(embedding) // MAX_FITTED)].astype(np.float64)
    analysis = PCA(n_components=components, svd_solver="covariance_eigh").fit(fitted)
    return Projection(analysis.mean_, analysis.components_, analysis.explained_variance_ratio_)


def embedding_to_components(embedding: np.ndarray, *, components: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of embeddings of shape (materials, width).

    Returns:
        The components, shape (materials, components), and the share (0-1) of the variance that each one holds.
    """
    projection = fit_projection(embedding, components=components)
    return projection.project(embedding.astype(np.float64)), projection.explained
