"""Embeddings of a predictions file, and their principal components."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xxact_core.errors import DatasetError, shorten
from xxact_core.plain_hdf5 import open_plain

MAX_FITTED = 200_000
"""Largest number of materials that principal components are fitted to; more do not change the plane visibly."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of materials whose crystal system is known."""

    id: np.ndarray
    """Identifiers, shape (materials,)."""

    embedding: np.ndarray
    """Embeddings, shape (materials, width)."""

    crystal_system: np.ndarray
    """Index of the crystal system, shape (materials,)."""


def read_embeddings(path: Path) -> Embeddings:
    """The embeddings of a file that `write_predictions` made.

    Raises:
        DatasetError: there is no such file, it is not HDF5, or it has no embeddings with crystal systems.
    """
    try:
        with open_plain(path) as file:
            systems = file["true/crystal_system"][...]
            known = ~np.isnan(systems)
            identity = np.array(file["id"].asstr()[...], dtype=str)[known]
            return Embeddings(identity, file["embedding"][...][known], systems[known].astype(int))
    except (OSError, KeyError) as error:
        msg = f"{path} is not a file of predictions with crystal systems: {shorten(error)}"
        raise DatasetError(msg, code="E_PREDICTIONS") from error


@dataclass(frozen=True)
class Projection:
    """Principal components, onto which further embeddings can be projected."""

    mean: np.ndarray
    """Mean embedding, shape (width,)."""

    directions: np.ndarray
    """Unit vectors, shape (components, width)."""

    explained: np.ndarray
    """Explained fraction (0-1) of the variance, shape (components,)."""

    def project(self, embedding: np.ndarray) -> np.ndarray:
        """Components of embeddings of shape (materials, width): shape (materials, components)."""
        directions = self.directions.astype(embedding.dtype)
        components: np.ndarray = embedding @ directions.T - (self.mean @ self.directions.T).astype(embedding.dtype)
        return components


def fit_projection(embedding: np.ndarray, *, components: int = 2) -> Projection:
    """Principal components of embeddings of shape (materials, width), in double precision.

    Of more than `MAX_FITTED` materials, evenly spaced ones are used.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import

    fitted = embedding[:: -(-len(embedding) // MAX_FITTED)].astype(np.float64)
    analysis = PCA(n_components=components, svd_solver="covariance_eigh").fit(fitted)
    return Projection(analysis.mean_, analysis.components_, analysis.explained_variance_ratio_)


def embedding_to_components(embedding: np.ndarray, *, components: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of embeddings of shape (materials, width).

    Returns:
        The components, shape (materials, components), and the fraction (0-1) of the variance that each explains.
    """
    projection = fit_projection(embedding, components=components)
    return projection.project(embedding.astype(np.float64)), projection.explained
