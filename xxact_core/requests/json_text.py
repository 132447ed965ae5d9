"""Answers → JSON."""

from __future__ import annotations

import json
import math


def to_json(values: object, *, indent: int | None = None) -> str:
    """JSON in which numbers that are not finite are null; on several lines with `indent`."""
    try:
        return json.dumps(values, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        return json.dumps(_finite(values), ensure_ascii=False, allow_nan=False, indent=indent)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
