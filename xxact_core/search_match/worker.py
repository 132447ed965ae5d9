"""The process that identifies phases for the app: `python -m xxact_core.search_match.worker`.

The reference database stays open from one pattern to the next, so that a search takes a second rather than four. A
request with `reference` alone (a path; None for the shipped table) opens it and searches once, so that the first search
for a user takes no longer than others. Other requests are a header with `states` (lists of symbols by the names of
`ElementStates`), `wavelength` [Å], `name`, `reference` and `SearchOptions`, and a block of angles [deg] and
intensities, float64. Headers with `done` and `total` report progress; the last one has either `error`, or `result`, and
the block of `read_curves`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from xxact_core.errors import InputError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.readers.content import MAX_BYTES
from xxact_core.sandbox.framing import read_message, write_message
from xxact_core.search_match.element_states import parse_element_states

if TYPE_CHECKING:
    from xxact_core.search_match.identify import Identifier
    from xxact_core.search_match.phase_analysis import PhaseAnalysis

MATCHES_SHARE = 0.4
"""Share of the time that comparing single phases takes; the rest finds the phases. Ours: of the shipped examples."""

_REHEARSAL = ("Al", "O"), (25.58, 35.15, 37.78, 43.36, 52.55, 57.50, 61.30, 66.52, 68.21, 76.87)
"""Elements and reflections [deg at Cu Kα] of corundum, which is searched to prepare for others."""

_STEPS = 1000
"""Parts in which progress is reported."""


@dataclass(frozen=True)
class SearchOptions:
    """What else a request may state, under the key `options`."""

    warnings: tuple[str, ...] = ()
    """Warnings of reading the pattern, which the result repeats."""

    count: int = 10
    """Largest number of matches."""

    reflections: bool = True
    """Whether the result lists the fitted reflections."""

    gridded: bool = False
    """The pattern is on the grid: the block holds intensities, and 1 where a point was measured; the result has the
    matches alone."""


def analysis_to_curves(analysis: PhaseAnalysis) -> np.ndarray:
    """Angles, measured intensity, background and each phase, float32, shape (3 + phases, points)."""
    rows = [analysis.two_theta, analysis.measured, analysis.background, *(one.calculated for one in analysis.phases)]
    return np.asarray(rows, dtype=np.float32)


def read_curves(block: bytes, *, phases: int) -> np.ndarray:
    """The curves of `analysis_to_curves` from a block."""
    return np.frombuffer(block, dtype=np.float32).reshape(3 + phases, -1)


def pattern_to_block(two_theta: np.ndarray, intensity: np.ndarray) -> bytes:
    """The block of a request."""
    return np.stack([two_theta, intensity]).astype(np.float64).tobytes()


class Searcher:
    """Identifies phases, with the reference database that was used last kept open."""

    def __init__(self) -> None:
        self._opened: tuple[tuple[str | None, int], Identifier] | None = None

    def open(self, reference: str | None) -> Identifier:
        """The identifier for a reference database as it is on disk."""
        from xxact_core.search_match.identify import Identifier  # noqa: PLC0415 - scipy takes half a second

        changed = 0 if reference is None else Path(reference).stat().st_mtime_ns
        if self._opened is None or self._opened[0] != (reference, changed):
            self._opened = None  # the memory of the former database comes first
            self._opened = ((reference, changed), Identifier.load(None if reference is None else Path(reference)))
        return self._opened[1]

    def prepare(self, reference: str | None) -> None:
        """Open a reference database and search once in it: imports and tables then are there for the first search."""
        elements, reflections = _REHEARSAL
        two_theta = np.arange(10.0, 80.0, 0.02)
        peaks = np.exp(-0.5 * ((two_theta[:, None] - reflections) / 0.05) ** 2).sum(axis=1)
        pattern = Pattern(two_theta, 10 + 1000 * peaks, wavelength=CU_K_ALPHA, name="corundum")
        _ = self.open(reference).identify(pattern, elements=elements).analysis

    def search(self, request: dict[str, Any], data: bytes, outgoing: BinaryIO) -> None:
        """Answer a request."""

        def report(done: int, total: int, *, start: float, share: float) -> None:
            finished = start + share * done / max(total, 1)
            write_message(outgoing, {"done": round(_STEPS * finished), "total": _STEPS})

        options = SearchOptions(**request.get("options", {}))
        first, second = np.frombuffer(data, dtype=np.float64).reshape(2, -1)
        pattern: Pattern | GriddedPattern
        if options.gridded:
            pattern = GriddedPattern(first, second > 0, name=request["name"])
        else:
            pattern = Pattern(
                first,
                second,
                wavelength=request["wavelength"],
                name=request["name"],
                warnings=tuple(options.warnings),
            )
        states = parse_element_states(**request["states"])
        found = self.open(request["reference"]).identify(
            pattern,
            elements=states.must or None,
            maybe=states.may or None,
            one_of=states.one_of or None,
            exclude=states.never or None,
            count=options.count,
            progress=lambda done, total: report(done, total, start=0.0, share=MATCHES_SHARE),
            phase_progress=lambda done, total: report(done, total, start=MATCHES_SHARE, share=1 - MATCHES_SHARE),
        )
        if options.gridded:
            matches = [match.to_dict(reflections=True) for match in found.matches]
            write_message(outgoing, {"result": {"matches": matches}})
            return
        result = found.to_dict(reflections=options.reflections)
        analysis = found.analysis
        assert analysis is not None, "a measured pattern is analysed"
        write_message(outgoing, {"result": result}, analysis_to_curves(analysis).tobytes())


def main() -> None:
    """Identify phases until the input ends."""
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the messages
    searcher = Searcher()
    while (message := read_message(sys.stdin.buffer, max_bytes=MAX_BYTES)) is not None:
        request, data = message
        try:
            if "states" in request:
                searcher.search(request, data, outgoing)
            else:
                searcher.prepare(request["reference"])
                write_message(outgoing, {"result": {}})
        except InputError as error:
            write_message(outgoing, {"error": str(error), "code": error.code})
        except OSError as error:
            write_message(outgoing, {"error": f"the reference database cannot be read: {error}", "code": "E_DATASET"})


if __name__ == "__main__":
    main()
