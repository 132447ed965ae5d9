"""Search for reference phases that match a pattern: the databases, the search in the background, its result."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, command_step, find_task, submit
from xxact_app.library.workspace import Workspace, open_workspace, own_folders
from xxact_app.samples.prediction_result import Answer
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.formatting import display_formula, percent
from xxact_app.ui.safe_text import safe_text
from xxact_core.compositions.partial import maybe_symbols, possible_symbols
from xxact_core.dataset.store import MANIFEST
from xxact_core.patterns.gridded_files import write_gridded
from xxact_core.search_match.combine import combine_with_matches
from xxact_core.search_match.match import Match
from xxact_core.search_match.phase_analysis import cell_to_text, value_with_uncertainty
from xxact_core.shipped import REFERENCE_TABLE, shipped_path
from xxact_core.structures.space_groups import space_group_name

_KEPT_SECONDS = 3600.0
"""Age [s] at which patterns written for a search are deleted; a search reads its pattern at once."""


@dataclass(frozen=True)
class ReferenceTable:
    """A reference database to search: a table of structures, or the folder of a dataset; `label` is safe to show."""

    key: str
    label: str
    path: Path


@dataclass(frozen=True)
class PhaseRow:
    """A phase of the specimen, as texts that are safe to show."""

    formula: str
    name: str
    space_group: str
    weight: str
    """Weight fraction with uncertainty [wt%]."""
    cell: str
    """Cell lengths [Å] and angles [deg] with uncertainties."""
    size: str
    """Crystallite size with uncertainty [nm]."""
    probability: float
    """Probability that the phase is present, 0-1."""
    source_id: str
    """Id in the reference database, not escaped."""


@dataclass(frozen=True)
class Matches:
    """The result of a search for reference phases."""

    matches: tuple[Match, ...]
    """Best matches first, with formulas and ids that are safe to show."""
    unescaped: tuple[Match, ...]
    """The same with formulas and ids as the search returned them, for calculations."""
    candidates: int
    """Number of reference phases compared."""
    sentence: str
    """Whether one phase explains the pattern, as a safe text."""
    several: bool
    """Whether a mixture is likely."""
    phases: tuple[PhaseRow, ...] = ()
    """The phases of the specimen, largest weight fraction first."""
    unexplained: float = 1.0
    """Fraction of the intensity that no phase explains, 0-1."""


class MatchesStore:
    """Searches reference phases for one session, in separate processes."""

    def __init__(
        self,
        session: Session,
        store: Store,
        *,
        workspace: Callable[[], Workspace] = open_workspace,
        shipped: Path | None = None,
    ) -> None:
        self.session, self.store = session, store
        self.workspace = workspace
        self._shipped = shipped_path(REFERENCE_TABLE) if shipped is None else shipped
        self._parsed: tuple[BackgroundTask, Matches] | None = None

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

    def elements(self, answer: Answer) -> tuple[str, ...]:
        """All elements that the composition allows; empty where no composition is given."""
        return possible_symbols(self.store.known(answer.formula))

    def start(self, answer: Answer) -> None:
        """Start to search for the pattern of an answer, or join a search that is running."""
        table = self.table()
        if table is None:
            return
        folder = self.workspace().root / "known"
        path = folder / "patterns" / f"{self.digest(answer)}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob("*.npz"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink(missing_ok=True)
        write_gridded(path, self.store.gridded(answer.sample.key))
        known = self.store.known(answer.formula)
        arguments = [
            "identify", str(path), "--gridded", "--reference", str(table.path), "--json", "--full", "--progress",
        ]  # fmt: skip
        arguments += ["--elements", ",".join(known.symbols)] if known.symbols else []
        arguments += ["--maybe", ",".join(possible)] if (possible := maybe_symbols(known)) else []
        step = command_step(f"Searching {table.label}", lambda: arguments)
        submit(self._key(answer, table), [step], lock=folder / "making.lock")

    def task(self, answer: Answer) -> BackgroundTask | None:
        """The search for the pattern of an answer, running or ended; None where none was started."""
        table = self.table()
        return None if table is None else find_task(*self._key(answer, table))

    def matches(self, answer: Answer) -> Matches | None:
        """The result of the search for an answer; None while there is none."""
        task = self.task(answer)
        if task is None or task.active or "neighbours" not in task.result:
            return None
        if self._parsed is None or self._parsed[0] is not task:
            self._parsed = (task, parse_matches(task.result))
        return self._parsed[1]

    def chosen(self, answer: Answer, matches: Matches | None) -> Match | None:
        """The reference phase whose reflections are drawn: the selected one, else the best match."""
        if matches is None or not matches.matches:
            return None
        wanted = self.session.sample(answer.sample.key).phase
        return next((one for one in matches.matches if wanted in {one.id, one.source_id}), matches.matches[0])

    def combined_text(self, answer: Answer, matches: Matches) -> str:
        """The crystal system from model and reference phases combined, a safe text; empty where one has no answer."""
        alone = answer.prediction.crystal_system
        if not (self.elements(answer) and alone and matches.unescaped):
            return ""
        first = combine_with_matches(answer.prediction, matches.unescaped).crystal_system[0]
        before = next(entry.probability for entry in alone if entry.label == first.label)
        return (
            f"Combined with the reference phases: {first.label} {percent(first.probability)} "
            f"(model alone: {percent(before)})."
        )

    def digest(self, answer: Answer) -> str:
        """Digest of the pattern of an answer, for file names."""
        gridded = self.store.gridded(answer.sample.key)
        return hashlib.sha256(gridded.intensity.tobytes() + gridded.coverage.tobytes()).hexdigest()[:24]

    def _key(self, answer: Answer, table: ReferenceTable) -> tuple[str, ...]:
        """Everything the result depends on: the pattern, the elements and the database."""
        changed = (table.path / MANIFEST if table.path.is_dir() else table.path).stat().st_mtime_ns
        asked = sorted(self.elements(answer)) or ["?"]
        return ("known", self.digest(answer), table.key, str(changed), *asked)


def parse_matches(result: dict[str, Any]) -> Matches:
    """The JSON output of `xxact identify`, with texts that are safe to show."""
    found = tuple(Match.from_dict(one) for one in result["neighbours"])
    mixture = result["mixture"] or {"sentence": "", "likely": False}
    return Matches(
        matches=tuple(_escape(one) for one in found),
        unescaped=found,
        candidates=result["candidates"],
        sentence=safe_text(mixture["sentence"], limit=400),
        several=bool(mixture["likely"]),
        phases=tuple(_phase_row(one) for one in result.get("phases", ())),
        unexplained=float(result.get("unexplained_fraction", 1.0)),
    )


def _phase_row(values: dict[str, Any]) -> PhaseRow:
    cell, errors = (np.array([nan_if_none(one) for one in values[name]]) for name in ("cell", "u_cell"))
    weight, error = (100 * nan_if_none(values[name]) for name in ("weight_fraction", "u_weight_fraction"))
    return PhaseRow(
        formula=safe_text(display_formula(values["formula"]), limit=60),
        name="" if values["name"] is None else safe_text(values["name"], limit=60),
        space_group=space_group_name(str(values["space_group"] or "unknown")),
        weight=value_with_uncertainty(weight, error),
        cell=cell_to_text(cell, errors),
        size=value_with_uncertainty(nan_if_none(values["size"]), nan_if_none(values["u_size"])),
        probability=float(values["probability"]),
        source_id=str(values["source_id"]),
    )


def nan_if_none(value: float | None) -> float:
    """A number of a JSON result, where None stands for one that is unknown."""
    return math.nan if value is None else float(value)


def _escape(match: Match) -> Match:
    """The match with texts that are safe to show."""
    name = None if match.name is None else safe_text(match.name, limit=60)
    formula = safe_text(display_formula(match.formula), limit=60)
    return replace(match, formula=formula, name=name, id=safe_text(match.id, limit=60))
