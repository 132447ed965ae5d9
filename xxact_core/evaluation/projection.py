"""Embeddings → their principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_FITTED = 200_000
"""Largest number of materials that principal components are fitted to; more do not change the plane visibly."""


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
