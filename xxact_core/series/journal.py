"""Results of the frames on disk, written one by one, so that an interrupted analysis of a series goes on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from xxact_core.patterns.pattern import Pattern
from xxact_core.series.phase_series import FramePhase, FrameResult


class Journal:
    """A text file with one result a line, in the order in which they were found.

    The first line has the settings; a journal of other settings is begun anew. A last line that is cut off, as after a
    power failure, is dropped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open or begin the journal at `path` of an analysis with `settings` (plain values for JSON)."""
        self.path = path
        self._results: dict[str, FrameResult] = {}
        head = json.dumps({"settings": dict(settings)}, sort_keys=True)
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        if lines and lines[0] == head:
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                    self._results[entry["pattern"]] = _to_result(entry["result"])
                except (ValueError, TypeError, KeyError):
                    continue
        entries = [_to_line(key, result) for key, result in self._results.items()]
        path.write_text("\n".join([head, *entries, ""]), encoding="utf-8")

    def __len__(self) -> int:
        """Number of results."""
        return len(self._results)

    def result_of(self, pattern: Pattern) -> FrameResult | None:
        """The result of a pattern of the same points and wavelength; None where there is none."""
        return self._results.get(_digest(pattern))

    def add(self, pattern: Pattern, result: FrameResult) -> None:
        """Write the result of a pattern."""
        key = _digest(pattern)
        self._results[key] = result
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_to_line(key, result) + "\n")


def _digest(pattern: Pattern) -> str:
    content = hashlib.blake2b(digest_size=16)
    for values in (pattern.two_theta, pattern.intensity):
        content.update(values.tobytes())
    content.update(repr(pattern.wavelength).encode())
    return content.hexdigest()


def _to_line(key: str, result: FrameResult) -> str:
    return json.dumps({"pattern": key, "result": _finite(asdict(result))})


def _finite(value: Any) -> Any:  # noqa: ANN401 - any value of JSON
    """None instead of NaN, at any depth."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_result(values: Mapping[str, Any]) -> FrameResult:
    numbers = [field.name for field in fields(FramePhase) if field.type == "float"]
    phases = []
    for phase in values["phases"]:
        lists = {name: tuple(map(_number, phase[name])) for name in ("cell", "u_cell")}
        phases.append(FramePhase(**{**phase, **{name: _number(phase[name]) for name in numbers}, **lists}))
    return FrameResult(
        phases=tuple(phases),
        verdict=values["verdict"],
        unexplained_fraction=_number(values["unexplained_fraction"]),
        weighted_residual=_number(values["weighted_residual"]),
        error=str(values["error"]),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
