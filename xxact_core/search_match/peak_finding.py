"""Maxima of a curve, their prominences and widths.

As `find_peaks` and `peak_widths` of `scipy.signal`, with which the tests compare them; importing that takes longer than
a search.
"""

from __future__ import annotations

import numpy as np


def find_maxima(curve: np.ndarray, *, height: float, distance: int = 1) -> np.ndarray:
    """Places of the maxima of a curve, in ascending order; of a flat top the middle, and never an end of the curve.

    Args:
        curve: shape (points,).
        height: of the lowest maximum that counts.
        distance: smallest number of points between two maxima; of closer ones the higher stays.
    """
    changes = np.flatnonzero(np.diff(curve))
    first, last = changes[:-1] + 1, changes[1:]  # of each run of equal values between two changes
    top = (curve[first] > curve[changes[:-1]]) & (curve[last] > curve[last + 1]) & (curve[first] >= height)
    places = (first[top] + last[top]) // 2
    if distance <= 1:
        return places
    kept = np.ones(len(places), dtype=np.bool_)
    for place in np.argsort(curve[places], kind="stable")[::-1]:
        if kept[place]:
            near = np.abs(places - places[place]) < distance
            near[place] = False
            kept[near] = False
    return places[kept]


def prominences(curve: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Height of each maximum above the higher of the lowest points between it and a higher one on either side."""
    found = np.empty(len(places))
    for number, place in enumerate(places.tolist()):
        first, last = _reach(curve, place, above=curve[place])
        lowest = max(curve[first : place + 1].min(), curve[place:last].min())
        found[number] = curve[place] - lowest
    return found


def widths_at_half(curve: np.ndarray, places: np.ndarray, prominence: np.ndarray) -> np.ndarray:
    """Width of each maximum at half its prominence, linearly interpolated [points]."""
    found = np.empty(len(places))
    for number, place in enumerate(places.tolist()):
        level = curve[place] - prominence[number] / 2
        left, right = _below(curve[place::-1], level), _below(curve[place:], level)
        found[number] = left + right
    return found


def _reach(curve: np.ndarray, place: int, *, above: float) -> tuple[int, int]:
    """The points around a place, first and one behind the last, up to where the curve rises above a value."""
    left = np.flatnonzero(curve[:place] > above)
    right = np.flatnonzero(curve[place:] > above)
    return (int(left[-1]) + 1 if len(left) else 0), (place + int(right[0]) if len(right) else len(curve))


def _below(side: np.ndarray, level: float) -> float:
    """Distance from the first point to where the curve falls to a level [points]; to its end if it does not."""
    under = np.flatnonzero(side < level)
    if not len(under):
        return float(len(side) - 1)
    place = int(under[0])
    return place - float((level - side[place]) / (side[place - 1] - side[place]))
