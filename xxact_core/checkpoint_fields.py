"""Checks of the description of a checkpoint, field by field: values that would make predictions NaN are refused."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from xxact_core.errors import shorten
from xxact_core.quantities import TARGETS

LARGEST_STATISTIC = 1e6
"""Largest mean or standard deviation of a target, in its unit. Ours: the targets are below 10⁴."""

TEMPERATURES = (1e-2, 1e2)
"""Smallest and largest temperature; calibration finds exp(-3) to exp(3)."""

BINNED = frozenset({"set_thresholds_90", "residuals_90"})
"""Fields of a calibration that have a value for each bin of similarity."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def field_problems(description: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a description whose parts are dictionaries, one message for each field."""
    if not isinstance(digest := description.get("weights_sha256"), str) or not _SHA256.fullmatch(digest):
        yield f"weights_sha256 is {shorten(digest, limit=20)!r}; expected 64 hexadecimal digits"
    targets = description["model"].get("targets")
    names = set(targets) if isinstance(targets, list) and all(isinstance(name, str) for name in targets) else set()
    yield from _statistics_problems(description["statistics"])
    for name, fit in description["calibration"].items():
        if not isinstance(fit, dict):
            yield f"the calibration of {shorten(name)!r} is no table of values"
        elif name == "domain":
            yield from _domain_problems(fit)
        elif name == "similarity":
            continue  # below
        elif name == "trust":
            if set(fit) != {"constant", "similarity", "agreement"} or not all(map(_is_number, fit.values())):
                yield f"the trust is {shorten(fit, limit=60)}; expected numbers constant, similarity and agreement"
        elif name not in names:
            yield f"the calibration names {shorten(name)!r}, which is no target of the model"
        else:
            yield from _calibration_problems(name, fit)
    yield from _similarity_problems(description["calibration"])
    yield from _about_problems(description["about"])


def _statistics_problems(statistics: Mapping[str, Any]) -> Iterator[str]:
    for name, values in statistics.items():
        if name not in TARGETS or TARGETS[name].kind != "value":
            yield f"the statistics name {shorten(name)!r}, which is no regression target"
        elif not isinstance(values, list) or len(values) != 2 or not all(map(_is_number, values)):  # noqa: PLR2004 - a pair
            yield f"the statistics of {name} are {shorten(values, limit=40)}; expected mean and standard deviation"
        elif not (abs(values[0]) <= LARGEST_STATISTIC and 0 < values[1] <= LARGEST_STATISTIC):
            yield f"the statistics of {name} are {values}; expected a standard deviation above 0, and below 10⁶"


def _calibration_problems(name: str, fit: Mapping[str, Any]) -> Iterator[str]:
    ranges = {
        "temperature": TEMPERATURES,
        "set_threshold_90": (0.0, 1.0),
        "set_thresholds_90": (0.0, 1.0),
        "residual_90": (0.0, LARGEST_STATISTIC),
        "residuals_90": (0.0, LARGEST_STATISTIC),
    }
    for field, value in fit.items():
        if field not in ranges:
            yield f"the calibration of {name} has an unknown field {shorten(field)!r}"
            continue
        low, high = ranges[field]
        values = value if field in BINNED else [value]
        if not isinstance(values, list) or not all(_is_number(one) and low <= one <= high for one in values):
            expected = "numbers" if field in BINNED else "a number"
            yield f"{field} of {name} is {shorten(value, limit=40)}; expected {expected} from {low:g} to {high:g}"


def _similarity_problems(calibration: Mapping[str, Any]) -> Iterator[str]:
    fit = calibration.get("similarity", {"edges": []})
    edges = fit.get("edges") if isinstance(fit, dict) else None
    if not isinstance(edges, list) or set(fit) != {"edges"} or not all(map(_is_number, edges)):
        yield f"the bins of similarity are {shorten(fit, limit=60)}; expected a list of numbers called edges"
        return
    if edges != sorted(edges):
        yield f"the edges of the bins of similarity are {shorten(edges, limit=60)}; expected ascending numbers"
    for name, of_target in calibration.items():
        for field in BINNED & set(of_target if isinstance(of_target, dict) else ()):
            values = of_target[field]
            if isinstance(values, list) and len(values) != len(edges) + 1:
                yield f"{field} of {name} has {len(values)} values; expected one for each of {len(edges) + 1} bins"


def _domain_problems(domain: Mapping[str, Any]) -> Iterator[str]:
    if set(domain) != {"mean", "directions", "variances", "rest", "limit"}:
        yield f"the domain has the fields {shorten(sorted(domain))}"
        return
    mean, directions, variances = domain["mean"], domain["directions"], domain["variances"]
    vectors = [mean, variances, *directions] if isinstance(directions, list) else []
    if not vectors or not all(isinstance(vector, list) and all(map(_is_number, vector)) for vector in vectors):
        yield "mean, directions or variances of the domain are no lists of numbers"
    elif len(directions) != len(variances) or any(len(direction) != len(mean) for direction in directions):
        yield "the directions of the domain do not have the length of its mean, or there are more or fewer variances"
    elif any(value <= 0 for value in variances):
        yield "a variance of the domain is not above 0"
    elif any(abs(sum(value * value for value in direction) - 1) > 1e-3 for direction in directions):  # noqa: PLR2004 - of unit length
        yield "a direction of the domain is no unit vector"
    for name in ("rest", "limit"):
        if not _is_number(domain[name]) or domain[name] <= 0:
            yield f"{name} of the domain is {shorten(domain[name], limit=40)}; expected a number above 0"


def _about_problems(about: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(about.get("recipe", {}), dict):
        yield "the recipe is no table of settings"
        return
    objectives = about.get("recipe", {}).get("objectives", [])
    if not isinstance(objectives, list) or not set(map(str, objectives)) <= {"contrastive", "mxm", "targets"}:
        yield f"the objectives of the recipe are {shorten(objectives, limit=60)}"
    elements = about.get("elements", [])
    if not isinstance(elements, list) or not all(isinstance(symbol, str) for symbol in elements):
        yield "the elements of the training materials are no list of symbols"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
