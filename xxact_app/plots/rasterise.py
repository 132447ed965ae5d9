"""Images of very many points, and selection of points by an outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_FAINTEST = 90
"""Opacity (0-255) of a pixel with one point; the fullest pixel has 255, between them by the logarithm."""


def points_to_image(
    positions: np.ndarray,
    values: np.ndarray,
    *,
    palette: Sequence[str],
    value_range: tuple[float, float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    size: tuple[int, int],
    unknown: str,
) -> np.ndarray:
    """Image of points at `positions`, shape (points, 2): uint32 RGBA of shape (height, width), the lowest row first.

    A pixel has the mean colour of its points and an opacity that grows with their number. Values outside of the range
    have the colour of its end, NaN has the colour `unknown`.
    """
    width, height = size
    column = _to_pixels(positions[:, 0], x_range, pixels=width)
    row = _to_pixels(positions[:, 1], y_range, pixels=height)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = row[inside].astype(np.int64) * width + column[inside]
    count = np.bincount(pixel, minlength=width * height)
    colours = np.array([_to_rgb(colour) for colour in (*palette, unknown)], dtype=np.float64)
    chosen = _to_colour_number(values[inside], value_range, colours=len(palette))
    image = np.zeros((width * height, 4), dtype=np.uint8)
    filled = count > 0
    for channel in range(3):
        total = np.bincount(pixel, weights=colours[chosen, channel], minlength=width * height)
        image[filled, channel] = total[filled] / count[filled]
    if filled.any():
        share = np.log1p(count[filled] - 1) / max(np.log1p(count.max() - 1), 1e-9)
        image[filled, 3] = _FAINTEST + (255 - _FAINTEST) * share
    return image.view(np.uint32).reshape(height, width)


def outline_to_points(positions: np.ndarray, geometry: Mapping[str, Any]) -> np.ndarray:
    """Indices of the points inside a geometry of Bokeh's `SelectionGeometry`: a rectangle or a polygon."""
    x, y = positions[:, 0], positions[:, 1]
    if geometry.get("type") == "rect":
        left, right = sorted((geometry["x0"], geometry["x1"]))
        bottom, top = sorted((geometry["y0"], geometry["y1"]))
        return np.flatnonzero((x >= left) & (x <= right) & (y >= bottom) & (y <= top))
    if geometry.get("type") != "poly":
        return np.zeros(0, dtype=np.int64)
    from matplotlib.path import Path as Outline  # noqa: PLC0415 - slow to import, and few maps are that large

    corners = np.column_stack([np.asarray(geometry["x"], dtype=float), np.asarray(geometry["y"], dtype=float)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(((positions >= low) & (positions <= high)).all(axis=1))
    return near[Outline(corners).contains_points(positions[near])]


def _to_pixels(positions: np.ndarray, ends: tuple[float, float], *, pixels: int) -> np.ndarray:
    scale = pixels / ((ends[1] - ends[0]) or 1.0)
    return np.floor((positions - ends[0]) * scale).astype(np.int32)


def _to_colour_number(values: np.ndarray, ends: tuple[float, float], *, colours: int) -> np.ndarray:
    """Index in the palette; one past its end for NaN."""
    share = (values - ends[0]) / ((ends[1] - ends[0]) or 1.0)
    number = np.clip(np.nan_to_num(share * colours), 0, colours - 1).astype(np.int64)
    return np.where(np.isnan(values), colours, number)


def _to_rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
