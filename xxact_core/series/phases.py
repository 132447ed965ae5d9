"""Frames of a series → phases with their fractions and cells over the series, and where they appear and vanish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

from xxact_core.errors import InputError
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match.phase_analysis import PhaseAnalysis
from xxact_core.series.frames import Frame, Frames
from xxact_core.series.phase_series import FramePhase, FrameResult, PhaseSeries, SeriesPhase

if TYPE_CHECKING:
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
