"""Embeddings → coordinates in the plane: principal components, or t-SNE."""

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


def t_sne(embedding: np.ndarray, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """Coordinates of embeddings of shape (materials, width) whose neighbours stay neighbours: shape (materials, 2).

    Distances between far groups mean nothing. Starts from the principal components, so that the map keeps its
    orientation. For 2000 materials some seconds on one core, for 20,000 two minutes.

    Source: van der Maaten & Hinton 2008, J. Mach. Learn. Res. 9, 2579, by scikit-learn.
    """
    from sklearn.manifold import TSNE  # noqa: PLC0415 - slow to import

    perplexity = min(perplexity, max(1.0, (len(embedding) - 1) / 3))
    fitted = TSNE(init="pca", perplexity=perplexity, random_state=seed, n_jobs=1).fit_transform(embedding)
    coordinates: np.ndarray = fitted.astype(np.float32)
    return coordinates


def place_by_neighbours(
    embedding: np.ndarray, known: np.ndarray, coordinates: np.ndarray, *, neighbours: int = 5
) -> np.ndarray:
    """Coordinates of further embeddings: the mean of those of their nearest neighbours, weighted by inverse distance.

    Args:
        embedding: to place, shape (samples, width).
        known: embeddings of the materials on the map, shape (materials, width).
        coordinates: of these materials, shape (materials, 2).
        neighbours: number of materials that are averaged. Ours.

    Returns:
        Coordinates, shape (samples, 2), float32.
    """
    distance = np.linalg.norm(known[None] - embedding[:, None], axis=2)
    nearest = np.argsort(distance, axis=1)[:, :neighbours]
    weights = 1 / (np.take_along_axis(distance, nearest, axis=1) + 1e-6)
    placed: np.ndarray = (coordinates[nearest] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    return placed.astype(np.float32)


def embedding_to_components(embedding: np.ndarray, *, components: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of embeddings of shape (materials, width).

    Returns:
        The components, shape (materials, components), and the fraction (0-1) of the variance that each explains.
    """
    projection = fit_projection(embedding, components=components)
    return projection.project(embedding.astype(np.float64)), projection.explained
