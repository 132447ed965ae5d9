"""Phases of a pattern: the reference databases, the search in the background, its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, Step, find_task, submit
from xxact_app.library.phase_search import PROCESS, SearchProcess
from xxact_app.library.workspace import Workspace, open_workspace, own_folders
from xxact_app.samples.element_choices import element_states
from xxact_app.samples.sample_cache import SampleCache
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.formatting import display_formula
from xxact_app.ui.safe_text import safe_text
from xxact_core.dataset.store import MANIFEST
from xxact_core.errors import InputError
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match.certainty import phase_probability
from xxact_core.search_match.element_states import ElementStates
from xxact_core.search_match.match import Match
from xxact_core.search_match.phase_analysis import PhaseAnalysis, Verdict, cell_to_text, value_with_uncertainty
from xxact_core.shipped import REFERENCE_TABLE, shipped_path
from xxact_core.structures.space_groups import space_group_name

_MOST_FOUND = 500
"""Results of searches that a session keeps ready for drawing."""

_WAIT = 0.1
"""Interval [s] at which a search among those of all patterns notices that they were stopped."""


@dataclass(frozen=True)
class ReferenceTable:
    """A reference database to search: a table of structures, or the folder of a dataset; `label` is safe to show."""

    key: str
    label: str
    path: Path


@dataclass(frozen=True, eq=False)
class PhaseRow:
    """A phase of the specimen; texts are safe to show."""

    formula: str
    name: str
    space_group: str
    """Symbol and number."""
    weight: str
    """Weight fraction with uncertainty [wt%]."""
    cell: str
    """Cell lengths [Å] and angles [deg] with uncertainties."""
    size: str
    """Crystallite size with uncertainty [nm]; `-` where it is unknown."""
    probability: float
    """Probability that the phase is present and is this one among those that fit, 0-1."""
    source_id: str
    """Id in the reference database, not escaped."""
    number: int | None = None
    """Number of the space group, 1-230."""
    plain_formula: str = ""
    """The formula as the search returned it, not escaped."""
    fraction: float = math.nan
    """Weight fraction, 0-1."""
    two_theta: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Angles of the reflections [deg at the measured wavelength], shape (reflections,)."""
    intensity: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Their intensities, 0-100, shape (reflections,)."""
    hkl: tuple[str, ...] = ()
    """Their Miller indices."""

    @property
    def label(self) -> str:
        """Formula with the name, or with the symbol of the space group."""
        return f"{self.formula} ({self.name or self.space_group.partition(' (')[0]})"


@dataclass(frozen=True, eq=False)
class FittedCurves:
    """The joint fit of the phases, arrays of shape (points,); angles at the measured wavelength."""

    two_theta: np.ndarray
    measured: np.ndarray
    background: np.ndarray
    phases: np.ndarray
    """Intensity of each phase, shape (phases, points)."""

    @property
    def calculated(self) -> np.ndarray:
        """Background and all phases."""
        total: np.ndarray = self.background + self.phases.sum(axis=0)
        return total


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The result of a search."""

    matches: tuple[Match, ...]
    """Single phases compared, best first, with formulas and ids that are safe to show."""
    unescaped: tuple[Match, ...]
    """The same with formulas and ids as the search returned them, for calculations."""
    candidates: int
    """Number of reference phases compared."""
    verdict: Verdict
    """`single`, `mixture` or `no match`."""
    no_match: float
    """Probability that the database lacks the phases of the specimen, 0-1."""
    phases: tuple[PhaseRow, ...] = ()
    """The phases of the specimen, largest weight fraction first."""
    unexplained: float = 1.0
    """Fraction of the intensity that no phase explains, 0-1."""
    unexplained_peaks: tuple[tuple[float, float], ...] = ()
    """Measured peaks that no phase explains, highest first: angle [deg] and height relative to the strongest, 0-100."""
    amorphous: float | None = None
    """Intensity of a broad hump relative to that of hump and peaks, 0-1; None where there is none."""
    residual: float = math.nan
    """R_wp of the fit, 0-1."""
    curves: FittedCurves | None = None
    analysis: PhaseAnalysis | None = None
    """The same as the search returned it, for files; None where it has no curves."""
    restricted: bool = False
    """Whether elements were given."""
    warnings: tuple[str, ...] = ()
    """Notes, safe to show."""

    @property
    def several(self) -> bool:
        """Whether the specimen is a mixture."""
        return self.verdict == "mixture"

    @property
    def sentence(self) -> str:
        """The phases in a sentence, safe to show."""
        if not self.phases:
            return "No reference phase explains the pattern."
        names = [phase.label for phase in self.phases]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        share = f"{100 * (1 - self.unexplained):.0f}\N{NO-BREAK SPACE}% of the intensity"
        return f"{listed} {'explains' if len(names) == 1 else 'explain'} {share}."


class PhasesStore:
    """Searches the phases of the patterns of one session."""

    def __init__(
        self,
        session: Session,
        store: Store,
        *,
        workspace: Callable[[], Workspace] = open_workspace,
        shipped: Path | None = None,
        process: SearchProcess = PROCESS,
    ) -> None:
        self.session, self.store = session, store
        self.workspace = workspace
        self._shipped = shipped_path(REFERENCE_TABLE) if shipped is None else shipped
        self._own = shipped is not None
        self._process = process
        self._found: SampleCache[SearchResult] = store.cache(_MOST_FOUND)
        self._submitted: list[BackgroundTask] = []
        self._all: BackgroundTask | None = None
        self._stopped: set[tuple[str, ...]] = set()

    # ------------------------------------------------------------------------------------------------------ databases
    def tables(self) -> list[ReferenceTable]:
        """All reference databases, that of the package first."""
        found = [ReferenceTable("", "Reference materials", self._shipped)] if self._shipped.is_file() else []
        folders = [folder for folder in own_folders(self.workspace().datasets) if (folder / MANIFEST).is_file()]
        return found + [
            ReferenceTable(f"data {folder.name}", f"Dataset {safe_text(folder.name, limit=60)}", folder)
            for folder in folders
        ]

    def table(self) -> ReferenceTable | None:
        """The selected reference database, else the first."""
        tables = self.tables()
        by_key = {table.key: table for table in tables}
        return by_key.get(self.session.known_materials, tables[0] if tables else None)

    # -------------------------------------------------------------------------------------------------------- searches
    def states(self, key: str) -> ElementStates:
        """What is known of the elements of a pattern."""
        return element_states(self.session, self.store, key)

    def pattern(self, key: str) -> Pattern:
        """The pattern as measured, with the corrections of its angles and within the selected range.

        Raises:
            InputError: its angles cannot be corrected, or its wavelength is unknown.
        """
        return self.store.stages.corrected(key)

    def start(self, key: str) -> None:
        """Start to search the phases of a pattern, or join a search that is running.

        Raises:
            InputError: as `pattern`.
        """
        if (table := self.table()) is not None:
            self._submitted.append(self._submit(key, table))

    def _submit(self, key: str, table: ReferenceTable) -> BackgroundTask:
        pattern, states = self.pattern(key), self.states(key)
        assert pattern.wavelength is not None, "a corrected pattern has a wavelength"
        asked = {"elements": states.must, "maybe": states.may, "one_of": states.one_of, "exclude": states.never}
        step = self._process.step(
            f"Searching {table.label}",
            pattern=(pattern.two_theta, pattern.intensity),
            wavelength=pattern.wavelength,
            states=asked,
            reference=None if table.path == self._shipped and not self._own else table.path,
        )
        task_key = self._key(key, table)
        self._stopped.discard(task_key)
        return submit(task_key, [step], lock=None)

    def start_all(self, keys: Sequence[str], *, before: Callable[[str], object]) -> None:
        """Start to search the phases of these patterns, one after another, where they are not known.

        before: called with the key of each pattern before its search.
        """
        if self._all is None or not self._all.active:
            asked = tuple(keys)
            step = Step("Identifying", lambda task: self._search_all(asked, before, task), unit="patterns")
            self._all = BackgroundTask([step])

    def task_of_all(self) -> BackgroundTask | None:
        """The searches that `start_all` started, running or ended; None before the first."""
        return self._all

    def _search_all(self, keys: Sequence[str], before: Callable[[str], object], task: BackgroundTask) -> None:
        for number, key in enumerate(keys):
            task.report(number, len(keys))
            if task.cancelled:
                return
            table = self.table()
            if table is None or key not in self.store.samples:
                continue
            before(key)
            with suppress(InputError, KeyError):  # such as an unknown wavelength, or a pattern that was removed
                self._search_for_all(key, table, task)
        task.report(len(keys), len(keys))

    def _search_for_all(self, key: str, table: ReferenceTable, task: BackgroundTask) -> None:
        """Search the phases of one of all patterns; again where the search was one that `withdraw` cancelled."""
        while self._found_in(key, table) is None and not task.cancelled:  # found ones are kept; the server forgets them
            search = self._submit(key, table)
            self._wait(search, task)
            if search.state != "cancelled" or self._key(key, table) in self._stopped:
                self._found_in(key, table)
                return

    def _wait(self, search: BackgroundTask, task: BackgroundTask) -> None:
        """Wait for a search; where the searches of all patterns are stopped, it is, too."""
        while search.active:
            if task.cancelled:
                search.cancel()
            search.join(seconds=_WAIT)

    def withdraw(self, *, keep: str) -> None:
        """Cancel the searches of this session that still wait for another, except that of the pattern `keep`."""
        kept = self.task(keep) if keep in self.store.samples else None
        for task in self._submitted:
            if task.active and task is not kept and not self._process.is_serving(task):
                task.cancel()
        self._submitted = [task for task in self._submitted if task.active]

    def question(self, key: str) -> tuple[str, ...]:
        """Everything that the phases of a pattern depend on; empty where there is no reference database."""
        table = self.table()
        return () if table is None else self._key(key, table)

    def stop(self, key: str) -> None:
        """Stop the search for a pattern; it is not started again by itself."""
        table, task = self.table(), self.task(key)
        if table is not None and task is not None:
            self._stopped.add(self._key(key, table))
            task.cancel()

    def may_start(self, key: str) -> bool:
        """Whether a search can start by itself: none is running, has failed, or was stopped."""
        table = self.table()
        if table is None:
            return False
        task_key = self._key(key, table)
        task = find_task(*task_key)
        return task_key not in self._stopped and (task is None or task.state == "cancelled")

    def task(self, key: str) -> BackgroundTask | None:
        """The search for a pattern, running or ended; None where none was started."""
        table = self.table()
        return None if table is None else find_task(*self._key(key, table))

    def found(self, key: str) -> SearchResult | None:
        """The result of the search for a pattern; None while there is none."""
        table = self.table()
        return None if table is None else self._found_in(key, table)

    def found_each(self, keys: Iterable[str]) -> dict[str, SearchResult | None]:
        """The results of the searches for several patterns, by key."""
        table = self.table()
        return {key: None if table is None else self._found_in(key, table) for key in keys}

    def _found_in(self, key: str, table: ReferenceTable) -> SearchResult | None:
        task_key = self._key(key, table)
        kept = self._found.get(key, task_key)
        task = find_task(*task_key)
        if kept is None and task is not None and "matches" in task.result:
            kept = parse_found(task.result)
            self._found.put(key, task_key, kept)
        return kept

    def chosen(self, key: str, found: SearchResult | None) -> Match | None:
        """The reference phase that the user selected for comparison; None where none is."""
        wanted = self.session.sample(key).phase
        if found is None or not wanted:
            return None
        return next((one for one in found.matches if wanted in {one.id, one.source_id}), None)

    def digest(self, key: str) -> str:
        """Digest of a corrected pattern, for file names; empty where it cannot be corrected."""
        return self.store.stages.corrected_digest(key)

    def _key(self, key: str, table: ReferenceTable) -> tuple[str, ...]:
        """Everything the result depends on: the pattern, the elements and the database."""
        changed = (table.path / MANIFEST if table.path.is_dir() else table.path).stat().st_mtime_ns
        states = self.states(key)
        asked = [",".join(sorted(part)) for part in (states.must, states.may, states.one_of, states.never)]
        return ("phases", self.digest(key), table.key, str(changed), *asked)


def parse_found(result: Mapping[str, Any]) -> SearchResult:
    """The result of a search by the process, with texts that are safe to show."""
    matches = tuple(Match.from_dict(one) for one in result["matches"])
    phases = tuple(_phase_row(one, result, matches) for one in result.get("phases", ()))
    curves = result.get("curves")
    analysis = None if curves is None else PhaseAnalysis.from_dict(result, curves=curves)
    amorphous = result.get("amorphous")
    return SearchResult(
        matches=tuple(_escape(one) for one in matches),
        unescaped=matches,
        candidates=result["candidates"],
        verdict=result["verdict"],
        no_match=float(result["no_match_probability"]),
        phases=phases,
        unexplained=float(result["unexplained_fraction"]),
        unexplained_peaks=tuple((one["two_theta"], one["height"]) for one in result.get("unexplained_peaks", ())),
        amorphous=None if amorphous is None else float(amorphous["fraction"]),
        residual=nan_if_none(result.get("weighted_residual")),
        curves=None if curves is None else FittedCurves(curves[0], curves[1], curves[2], curves[3:]),
        analysis=analysis,
        restricted=bool(result["elements"]),
        warnings=tuple(safe_text(text, limit=300) for text in result["warnings"]),
    )


def _phase_row(values: Mapping[str, Any], result: Mapping[str, Any], matches: tuple[Match, ...]) -> PhaseRow:
    cell, errors = (np.array([nan_if_none(one) for one in values[name]]) for name in ("cell", "u_cell"))
    weight, error = (100 * nan_if_none(values[name]) for name in ("weight_fraction", "u_weight_fraction"))
    return PhaseRow(
        formula=safe_text(display_formula(values["formula"]), limit=60),
        name="" if values["name"] is None else safe_text(values["name"], limit=60),
        space_group=space_group_name(str(values["space_group"] or "unknown")),
        weight=value_with_uncertainty(weight, error),
        cell=cell_to_text(cell, errors),
        size=value_with_uncertainty(nan_if_none(values["size"]), nan_if_none(values["u_size"])),
        probability=phase_probability(
            nan_if_none(values["probability"]),
            values["formula"],
            values["space_group"],
            matches=matches,
            verdict=result["verdict"],
            no_match=float(result["no_match_probability"]),
        ),
        source_id=str(values["source_id"]),
        number=values["space_group"],
        plain_formula=values["formula"],
        fraction=weight / 100,
        two_theta=np.array(values.get("two_theta", ()), dtype=np.float64),
        intensity=np.array(values.get("intensity", ()), dtype=np.float64),
        hkl=tuple(" ".join(map(str, hkl)) for hkl in values.get("hkl", ())),
    )


def nan_if_none(value: float | None) -> float:
    """A number of a JSON result, where None stands for one that is unknown."""
    return math.nan if value is None else float(value)


def _escape(match: Match) -> Match:
    """The match with texts that are safe to show."""
    name = None if match.name is None else safe_text(match.name, limit=60)
    formula = safe_text(display_formula(match.formula), limit=60)
    return replace(match, formula=formula, name=name, id=safe_text(match.id, limit=60))
