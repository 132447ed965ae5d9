"""Frames of a series → phases with their fractions and cells over the series, and where they appear and vanish."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from xxact_core.errors import InputError
from xxact_core.patterns.conversions import change_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match.phase_analysis import CELL_NAMES, PhaseAnalysis
from xxact_core.series.frames import Frame, Frames

if TYPE_CHECKING:
    from xarray import Dataset

    from xxact_core.series.journal import Journal

SAME_CELL = 0.05
"""Largest relative difference of the cell lengths of two reference phases of one formula and space group that count as
one phase of a series. Ours: above calculated against measured cells (2 %) and thermal expansion (2 %)."""

FEW = 0.1
"""Weight fraction below which a phase that is found in one frame alone is checked. Ours."""

WORSE = 0.03
"""Relative rise of the residual below which a phase of one frame alone is left out. Ours."""

LOOK_BACK = 10
"""Frames before the first with a new phase that are checked for smaller amounts of it. Ours."""

FEWEST = 5
"""Number of frames of the shortest series in which a phase of one frame alone is checked. Ours."""


class Analyse(Protocol):
    """Finds the phases of one pattern: `find_phases` with its reference phases and settings."""

    def __call__(self, pattern: Pattern, *, rows: np.ndarray | None, start: PhaseAnalysis | None) -> PhaseAnalysis:
        """The phases of a pattern.

        Args:
            pattern: the frame.
            rows: reference phases to choose from; None for all.
            start: result of the frame before.

        Raises:
            InputError: the pattern cannot be used.
        """
        ...


@dataclass(frozen=True)
class FramePhase:
    """A phase in one frame."""

    formula: str
    name: str | None
    space_group: int | None
    id: str
    source_id: str
    row: int
    weight_fraction: float
    u_weight_fraction: float
    cell: tuple[float, ...]
    """a, b, c [Å], α, β, γ [deg]."""
    u_cell: tuple[float, ...]
    scale_factor: float
    size: float
    """Crystallite size [nm]."""
    strain: float
    probability: float


@dataclass(frozen=True)
class FrameResult:
    """What was found in one frame."""

    phases: tuple[FramePhase, ...] = ()
    """Largest weight fraction first; empty where nothing matches or the frame could not be used."""
    verdict: str | None = None
    """`single`, `mixture` or `no match`; None where the frame could not be used."""
    unexplained_fraction: float = math.nan
    weighted_residual: float = math.nan
    error: str = ""
    """Why the frame could not be read or analysed."""


@dataclass(frozen=True)
class SeriesPhase:
    """A phase of a series."""

    label: str
    """Formula with name or space group, different for each phase of the series."""
    formula: str
    name: str | None
    space_group: int | None
    id: str
    """Id of the reference phase that most frames have."""
    source_id: str
    stretches: tuple[tuple[int, int], ...]
    """First and last frame of each stretch in which the phase is present; frames without a result do not end one."""


@dataclass(frozen=True, eq=False)
class PhaseSeries:
    """The phases of all frames of a series; numbers are NaN where a frame has no result."""

    by: str
    """Quantity that the series runs over."""
    unit: str
    """Unit of the values."""
    frames: tuple[Frame, ...]
    """The frames, with their values and patterns."""
    results: tuple[FrameResult, ...]
    """One for each frame."""
    phases: tuple[SeriesPhase, ...]
    """Phases in the order in which they appear."""
    places: tuple[tuple[int | None, ...], ...]
    """For each frame and phase of the series, the place among the phases of the frame; None where it is absent."""
    notes: tuple[str, ...] = ()
    """Notes for the user."""

    @property
    def value(self) -> np.ndarray:
        """Values of the frames, NaN where unknown, shape (frames,)."""
        return np.array([math.nan if frame.value is None else frame.value for frame in self.frames])

    @property
    def usable(self) -> np.ndarray:
        """Whether each frame has a result, shape (frames,)."""
        return np.array([not result.error for result in self.results], dtype=np.bool_)

    @property
    def weight_fraction(self) -> np.ndarray:
        """Weight fractions, 0 where a phase is absent, shape (frames, phases)."""
        return self._numbers(lambda phase: phase.weight_fraction, absent=0.0)

    @property
    def u_weight_fraction(self) -> np.ndarray:
        """Standard uncertainties of the weight fractions, NaN where a phase is absent, shape (frames, phases)."""
        return self._numbers(lambda phase: phase.u_weight_fraction)

    @property
    def cell(self) -> np.ndarray:
        """Cells a, b, c [Å], α, β, γ [deg], NaN where a phase is absent, shape (frames, phases, 6)."""
        return np.stack([self._numbers(partial(_parameter, "cell", i)) for i in range(len(CELL_NAMES))], axis=-1)

    @property
    def u_cell(self) -> np.ndarray:
        """Standard uncertainties of the cells, shape (frames, phases, 6)."""
        return np.stack([self._numbers(partial(_parameter, "u_cell", i)) for i in range(len(CELL_NAMES))], axis=-1)

    def _numbers(self, number: Callable[[FramePhase], float], *, absent: float = math.nan) -> np.ndarray:
        values = np.full((len(self.frames), len(self.phases)), absent)
        values[~self.usable] = math.nan
        for frame, (result, places) in enumerate(zip(self.results, self.places, strict=True)):
            for phase, place in enumerate(places):
                if place is not None:
                    values[frame, phase] = number(result.phases[place])
        return values

    def changes(self) -> list[str]:
        """Where phases appear and vanish, as sentences in the order of the frames."""
        found: list[tuple[int, str]] = []
        last = len(self.frames) - 1
        usable = np.flatnonzero(self.usable)
        for phase in self.phases:
            for begin, end in phase.stretches:
                before, after = usable[usable < begin], usable[usable > end]
                if before.size:
                    found.append((begin, f"{phase.label} appears {self._between(int(before[-1]), begin)}"))
                if after.size and end < last:
                    found.append((end, f"{phase.label} vanishes {self._between(end, int(after[0]))}"))
        return [sentence for _, sentence in sorted(found, key=lambda pair: pair[0])]

    def _between(self, first: int, second: int) -> str:
        values = [self.frames[frame].value for frame in (first, second)]
        if None in values:
            return f"between {self.frames[first].name} and {self.frames[second].name}"
        unit = f" {self.unit}" if self.unit else ""
        return f"between {self.by} {values[0]:g} and {values[1]:g}{unit}"

    def to_rows(self) -> list[dict[str, Any]]:
        """A table with one row for each frame and phase; one row for a frame without phases.

        `phase` is the same text wherever the phase is the same; `change` is `appears` in the first frame of a stretch
        with the phase and `vanishes` in the last; numbers that are not known are None.
        """
        rows = []
        quantity = f"{self.by} [{self.unit}]" if self.unit else _free_name(self.by, _COLUMNS)
        for number, (frame, result, places) in enumerate(zip(self.frames, self.results, self.places, strict=True)):
            head: dict[str, Any] = {"number": number, "file": frame.file, "scan": frame.scan, quantity: frame.value}
            tail = {
                "verdict": result.verdict,
                "unexplained_fraction": _finite(result.unexplained_fraction),
                "weighted_residual": _finite(result.weighted_residual),
                "error": result.error or None,
            }
            present = [(index, place) for index, place in enumerate(places) if place is not None]
            for index, place in present:
                one, phase = result.phases[place], self.phases[index]
                rows.append({**head, **_phase_to_row(one, phase, self._change(index, number)), **tail})
            if not present:
                rows.append({**head, **dict.fromkeys(_ROW_OF_PHASE), **tail})
        return rows

    def _change(self, phase: int, frame: int) -> str | None:
        usable = np.flatnonzero(self.usable)
        stretches = self.phases[phase].stretches
        words = [
            *(["appears"] if any(frame == begin > usable[0] for begin, _ in stretches) else []),
            *(["vanishes"] if any(frame == end < usable[-1] for _, end in stretches) else []),
        ]
        return " and ".join(words) or None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: quantity, phases with the stretches in which they are present, frames, changes."""
        return {
            "by": self.by,
            "unit": self.unit,
            "phases": [
                {
                    "label": phase.label,
                    "formula": phase.formula,
                    "name": phase.name,
                    "space_group": phase.space_group,
                    "id": phase.id,
                    "source_id": phase.source_id,
                    "stretches": [list(stretch) for stretch in phase.stretches],
                }
                for phase in self.phases
            ],
            "frames": [
                {
                    "file": frame.file,
                    "scan": frame.scan,
                    "value": frame.value,
                    "verdict": result.verdict,
                    "unexplained_fraction": _finite(result.unexplained_fraction),
                    "weighted_residual": _finite(result.weighted_residual),
                    "error": result.error or None,
                    "phases": [
                        {"phase": index, **_numbers_of(result.phases[place])}
                        for index, place in enumerate(places)
                        if place is not None
                    ],
                }
                for frame, result, places in zip(self.frames, self.results, self.places, strict=True)
            ],
            "changes": self.changes(),
            "notes": list(self.notes),
        }

    def to_xarray(self) -> Dataset:
        """Fractions and cells over frame and phase, and the patterns on common angles, with units as attributes."""
        import xarray  # noqa: PLC0415 - slow to import

        angles, patterns, wavelength = patterns_to_image(self.frames)
        along, over = ("frame", "phase"), ("frame", "phase", "cell_parameter")
        cell_units = {"units": "Å, Å, Å, deg, deg, deg"}
        return xarray.Dataset(
            {
                "weight_fraction": (along, self.weight_fraction),
                "u_weight_fraction": (along, self.u_weight_fraction),
                "scale_factor": (along, self._numbers(lambda phase: phase.scale_factor)),
                "size": (along, self._numbers(lambda phase: phase.size), {"units": "nm"}),
                "strain": (along, self._numbers(lambda phase: phase.strain)),
                "probability": (along, self._numbers(lambda phase: phase.probability)),
                "cell": (over, self.cell, cell_units),
                "u_cell": (over, self.u_cell, cell_units),
                "unexplained_fraction": (("frame",), np.array([one.unexplained_fraction for one in self.results])),
                "weighted_residual": (("frame",), np.array([one.weighted_residual for one in self.results])),
                "intensity": (("frame", "two_theta"), patterns),
            },
            coords={
                _variable_name(self.by): (("frame",), self.value, {"units": self.unit, "long_name": self.by}),
                "file": (("frame",), np.array([frame.name for frame in self.frames], dtype=str)),
                "error": (("frame",), np.array([result.error for result in self.results], dtype=str)),
                "phase": np.array([phase.label for phase in self.phases], dtype=str),
                "cell_parameter": list(CELL_NAMES),
                "two_theta": (("two_theta",), angles, {"units": "deg"}),
            },
            attrs={"by": self.by, "wavelength": wavelength, "notes": "\n".join(self.notes)},
        )


_ROW_OF_PHASE = (
    "phase", "formula", "name", "space_group", "id", "change", "weight_fraction", "u_weight_fraction",
    *(name for parameter in CELL_NAMES for name in (parameter, f"u_{parameter}")), "size", "strain", "scale_factor",
    "probability",
)  # fmt: skip


_COLUMNS = frozenset(
    ("number", "file", "scan", *_ROW_OF_PHASE, "verdict", "unexplained_fraction", "weighted_residual", "error")
)
"""Columns of the table besides the quantity."""

_VARIABLES = _COLUMNS | {"cell", "u_cell", "intensity", "two_theta", "cell_parameter"}
"""Names that variables and coordinates of the dataset have, or might be mistaken for."""


def _variable_name(by: str) -> str:
    """Name of the quantity as netCDF allows it; another one where the dataset has a variable of that name."""
    return _free_name(re.sub(r"\W+", "_", by).strip("_") or "value", _VARIABLES)


def _free_name(name: str, taken: frozenset[str]) -> str:
    return f"{name}_value" if name in taken else name


def _parameter(cell: Literal["cell", "u_cell"], number: int, phase: FramePhase) -> float:
    values: tuple[float, ...] = getattr(phase, cell)
    return values[number]


def _phase_to_row(phase: FramePhase, of_series: SeriesPhase, change: str | None) -> dict[str, Any]:
    names = ("formula", "name", "space_group", "id")
    values = {
        "phase": of_series.label,
        **{name: getattr(of_series, name) for name in names},
        "change": change,
        **_numbers_of(phase),
    }
    cells = dict(zip(CELL_NAMES, values.pop("cell"), strict=True))
    u_cells = {f"u_{name}": value for name, value in zip(CELL_NAMES, values.pop("u_cell"), strict=True)}
    return {name: (values | cells | u_cells)[name] for name in _ROW_OF_PHASE}


def _numbers_of(phase: FramePhase) -> dict[str, Any]:
    names = ("weight_fraction", "u_weight_fraction", "scale_factor", "size", "strain", "probability")
    cells = {name: [_finite(value) for value in getattr(phase, name)] for name in ("cell", "u_cell")}
    return {**{name: _finite(getattr(phase, name)) for name in names}, **cells}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


# ---- analysis


def find_phases_of_series(
    frames: Frames,
    analyse: Analyse,
    *,
    journal: Journal | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PhaseSeries:
    """Find the phases of all frames: the result of each frame starts the next, and phases keep one identity.

    A second look then settles what one frame alone cannot: frames before the first with a new phase are searched for
    smaller amounts of it, a phase that one frame alone has is left out where the fit is as good without it, and a frame
    that lacks a phase of both its neighbours is searched for it.

    Args:
        frames: of `frames.read_frames`.
        analyse: finds the phases of one pattern.
        journal: results of an earlier, interrupted run, and where each result is written as soon as it is known.
        progress: progress callback (frames done, frames).

    Raises:
        InputError: no frame could be analysed (E_SERIES); the message has the error of the first.
    """
    results: list[FrameResult] = []
    analyses: dict[int, PhaseAnalysis] = {}
    start: PhaseAnalysis | None = None
    known: set[str] = set()
    for number, frame in enumerate(frames.frames):
        progress(number, len(frames))
        result = None if journal is None or frame.pattern is None else journal.result_of(frame.pattern)
        if result is None:
            result, analysis = _analyse_frame(frame, analyse, start=start)
            if analysis is not None:
                start = analysis if analysis.phases else None
                if {phase.source_id for phase in analysis.phases} - known:
                    analyses[number] = analysis
            if journal is not None and frame.pattern is not None:
                journal.add(frame.pattern, result)
        results.append(result)
        known |= {phase.source_id for phase in result.phases}
    progress(len(frames), len(frames))
    if all(result.error for result in results):
        msg = f"no frame could be analysed; {frames.frames[0].name}: {results[0].error}"
        raise InputError(msg, code="E_SERIES")
    results = _look_back(frames.frames, results, analyses, analyse)
    results = _check_single_frames(frames.frames, results, analyse)
    return to_series(frames, results)


def to_series(frames: Frames, results: Sequence[FrameResult]) -> PhaseSeries:
    """Results of the frames → the series, in which each phase has one identity."""
    groups = source_ids_to_identities(results)
    order = {identity: place for place, identity in enumerate(dict.fromkeys(groups.values()))}
    places = []
    for result in results:
        mine: list[int | None] = [None] * len(order)
        for place, phase in enumerate(result.phases):
            identity = order[groups[phase.source_id]]
            if mine[identity] is None:  # the largest weight fraction of two entries of one phase comes first
                mine[identity] = place
        places.append(tuple(mine))
    usable = [not result.error for result in results]
    phases = []
    for index in range(len(order)):
        pairs = [(result, mine[index]) for result, mine in zip(results, places, strict=True)]
        found = [result.phases[place] for result, place in pairs if place is not None]
        source_id = Counter(phase.source_id for phase in found).most_common(1)[0][0]
        chosen = next(phase for phase in found if phase.source_id == source_id)
        phases.append((chosen, _stretches([mine[index] is not None for mine in places], usable)))
    labels = _labels([phase for phase, _ in phases])
    return PhaseSeries(
        by=frames.by,
        unit=frames.unit,
        frames=frames.frames,
        results=tuple(results),
        phases=tuple(
            SeriesPhase(label, phase.formula, phase.name, phase.space_group, phase.id, phase.source_id, stretches)
            for label, (phase, stretches) in zip(labels, phases, strict=True)
        ),
        places=tuple(places),
        notes=(*frames.notes, *_notes_on_errors(frames.frames, results)),
    )


def source_ids_to_identities(results: Iterable[FrameResult]) -> dict[str, str]:
    """Source id → that of the first entry of the same phase, in the order in which they occur.

    Two entries are one phase if formula and space group are equal, the cell lengths differ by less than `SAME_CELL`,
    and no frame has both.
    """
    results = list(results)
    first: dict[str, FramePhase] = {}
    for result in results:
        for phase in result.phases:
            first.setdefault(phase.source_id, phase)
    together = {
        frozenset((one.source_id, other.source_id))
        for result in results
        for one in result.phases
        for other in result.phases
        if one.source_id != other.source_id
    }
    identities: dict[str, str] = {}
    for source_id, phase in first.items():
        identities[source_id] = next(
            (
                identity
                for identity in dict.fromkeys(identities.values())
                if _same_phase(phase, first[identity])
                and not any(
                    frozenset((source_id, other)) in together
                    for other, its_identity in identities.items()
                    if its_identity == identity
                )
            ),
            source_id,
        )
    return identities


def _same_phase(one: FramePhase, other: FramePhase) -> bool:
    if (one.formula, one.space_group) != (other.formula, other.space_group):
        return False
    mine, theirs = np.sort(one.cell[:3]), np.sort(other.cell[:3])
    return bool((np.abs(mine / theirs - 1) < SAME_CELL).all())


def _stretches(present: Sequence[bool], usable: Sequence[bool]) -> tuple[tuple[int, int], ...]:
    """First and last frame of each stretch of frames with a phase."""
    frames = [number for number, used in enumerate(usable) if used]
    mine = [place for place, number in enumerate(frames) if present[number]]
    breaks = [0, *(index + 1 for index, (one, other) in enumerate(pairwise(mine)) if other > one + 1), len(mine)]
    return tuple((frames[mine[begin]], frames[mine[end - 1]]) for begin, end in pairwise(breaks) if end > begin)


def _labels(phases: Sequence[FramePhase]) -> list[str]:
    """A label for each phase: the shortest of formula and name, space group, and id that tells them apart."""
    forms: tuple[Callable[[FramePhase], str], ...] = (
        lambda phase: f"{phase.formula} ({phase.name})" if phase.name else phase.formula,
        lambda phase: f"{phase.formula} (space group {phase.space_group})",
        lambda phase: f"{phase.formula} ({phase.source_id})",
    )
    labels = [forms[0](phase) for phase in phases]
    for form in forms[1:]:
        counts = Counter(labels)
        labels = [form(phase) if counts[label] > 1 else label for label, phase in zip(labels, phases, strict=True)]
    return labels


def _notes_on_errors(frames: Sequence[Frame], results: Sequence[FrameResult]) -> list[str]:
    failed = [(frame.name, result.error) for frame, result in zip(frames, results, strict=True) if result.error]
    if not failed:
        return []
    return [f"{len(failed)} of {len(frames)} frames have no result; the first is {failed[0][0]}: {failed[0][1]}"]


def _analyse_frame(
    frame: Frame, analyse: Analyse, *, rows: np.ndarray | None = None, start: PhaseAnalysis | None = None
) -> tuple[FrameResult, PhaseAnalysis | None]:
    if frame.pattern is None:
        return FrameResult(error=frame.error), None
    try:
        analysis = analyse(frame.pattern, rows=rows, start=start)
    except InputError as error:
        return FrameResult(error=str(error)), None
    return analysis_to_result(analysis), analysis


def analysis_to_result(analysis: PhaseAnalysis) -> FrameResult:
    """The numbers of an analysis without its curves."""
    names = ("formula", "name", "space_group", "id", "source_id", "row", "weight_fraction", "u_weight_fraction")
    more = ("scale_factor", "size", "strain", "probability")
    return FrameResult(
        phases=tuple(
            FramePhase(
                **{name: getattr(phase, name) for name in (*names, *more)},
                cell=tuple(map(float, phase.cell)),
                u_cell=tuple(map(float, phase.u_cell)),
            )
            for phase in analysis.phases
        ),
        verdict=analysis.verdict,
        unexplained_fraction=analysis.unexplained_fraction,
        weighted_residual=analysis.weighted_residual,
    )


def _look_back(
    frames: Sequence[Frame], results: Sequence[FrameResult], analyses: dict[int, PhaseAnalysis], analyse: Analyse
) -> list[FrameResult]:
    """Search the frames before the first with a new phase for smaller amounts of it, from its result backwards."""
    found = list(results)
    groups = source_ids_to_identities(results)
    seen: set[str] = set()
    for number, result in enumerate(results):
        new = {groups[phase.source_id] for phase in result.phases} - seen
        seen |= new
        start = analyses.get(number)
        if number == 0 or start is None or not new:
            continue
        for before in range(number - 1, max(-1, number - 1 - LOOK_BACK), -1):
            mine = {groups[phase.source_id] for phase in found[before].phases}
            again, analysis = _analyse_frame(frames[before], analyse, start=start)
            if found[before].error or analysis is None:
                continue
            theirs = {groups.get(phase.source_id) for phase in again.phases}
            if not (theirs & new) - mine or not mine <= theirs:
                break
            if not again.weighted_residual < found[before].weighted_residual:
                break
            found[before], start = again, analysis
    return found


def _check_single_frames(
    frames: Sequence[Frame], results: Sequence[FrameResult], analyse: Analyse
) -> list[FrameResult]:
    """Analyse again the frames that alone have a small amount of a phase, and those that alone lack one.

    The phases to choose from are those that more than one frame has.
    """
    usable = [number for number, result in enumerate(results) if not result.error]
    if len(usable) < FEWEST:
        return list(results)
    groups = source_ids_to_identities(results)
    members = [{groups[phase.source_id] for phase in result.phases} for result in results]
    counts = Counter(identity for mine in members for identity in mine)
    rows = _rows_of(results, groups, {identity for identity, count in counts.items() if count > 1})
    found = list(results)
    for before, number, after in zip(usable, usable[1:], usable[2:], strict=False):
        alone = {
            groups[phase.source_id]
            for phase in results[number].phases
            if counts[groups[phase.source_id]] == 1 and phase.weight_fraction < FEW
        }
        lacking = (members[before] & members[after]) - members[number]
        if not (alone or lacking) or not rows.size:
            continue
        again, _ = _analyse_frame(frames[number], analyse, rows=rows)
        residual = results[number].weighted_residual
        theirs = {groups.get(phase.source_id) for phase in again.phases}
        if (alone and again.weighted_residual <= residual * (1 + WORSE)) or (
            lacking & theirs and again.weighted_residual <= residual
        ):
            found[number] = again
    return found


def _rows_of(results: Sequence[FrameResult], groups: dict[str, str], identities: set[str]) -> np.ndarray:
    """Row of the most frequent entry of each identity, ascending."""
    counts: dict[str, Counter[int]] = {}
    for result in results:
        for phase in result.phases:
            if groups[phase.source_id] in identities:
                counts.setdefault(groups[phase.source_id], Counter())[phase.row] += 1
    return np.array(sorted(counter.most_common(1)[0][0] for counter in counts.values()), dtype=np.int64)


# ---- patterns


def patterns_to_image(frames: Sequence[Frame], *, columns: int = 4000) -> tuple[np.ndarray, np.ndarray, float]:
    """All patterns on common angles: those of the first wavelength, NaN where a frame was not measured.

    Args:
        frames: of the series.
        columns: largest number of angles.

    Returns:
        Angles [deg], shape (angles,); intensities, shape (frames, angles); the wavelength [Å], NaN where no frame
        states one.
    """
    read = [frame.pattern for frame in frames if frame.pattern is not None]
    wavelength = next((pattern.wavelength for pattern in read if pattern.wavelength is not None), math.nan)
    measured = [
        (number, *_points_at(frame.pattern, wavelength)) for number, frame in enumerate(frames) if frame.pattern
    ]
    measured = [(number, angles, intensity) for number, angles, intensity in measured if angles.size > 1]
    if not measured:
        return np.zeros(0), np.zeros((len(frames), 0)), wavelength
    first, last = min(angles[0] for _, angles, _ in measured), max(angles[-1] for _, angles, _ in measured)
    steps = [np.median(np.diff(angles)) for _, angles, _ in measured]
    step = max(float(np.median(steps)), float(last - first) / (columns - 1))
    common = first + step * np.arange(int((last - first) / step + 1e-6) + 1)
    image = np.full((len(frames), common.size), math.nan)
    for number, angles, intensity in measured:
        image[number] = np.interp(common, angles, intensity, left=math.nan, right=math.nan)
    return common, image, wavelength


def _points_at(pattern: Pattern, wavelength: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles and intensities of a pattern, converted to a wavelength where it states another."""
    if pattern.wavelength is None or abs(pattern.wavelength - wavelength) < 1e-6:  # noqa: PLR2004 - rounding
        return pattern.two_theta, pattern.intensity
    angles = change_wavelength(pattern.two_theta, measured=pattern.wavelength, target=wavelength)
    reached = np.isfinite(angles)
    return angles[reached], pattern.intensity[reached]
