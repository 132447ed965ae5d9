"""The known materials nearest to a pattern: which ones there are to compare with, the comparison, what it found."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.jobs.tasks import Making, Step, begin, making_of
from xxact_app.library.workspace import Workspace, open_workspace, own_folders
from xxact_app.samples.results import Answer
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_text
from xxact_core.compositions.partial import possible_symbols
from xxact_core.dataset.store import MANIFEST
from xxact_core.patterns.gridded_files import write_gridded
from xxact_core.search_match.combine import weigh_known
from xxact_core.search_match.identify import Neighbour
from xxact_core.shipped import TABLE, shipped_path

_KEPT_SECONDS = 3600.0
"""Patterns that were handed to a comparison are deleted after so long; it reads them in its first second."""


@dataclass(frozen=True)
class KnownTable:
    """Known materials to compare with: `label` is safe to show; a table of structures, or a data set folder."""

    key: str
    label: str
    path: Path


@dataclass(frozen=True)
class Found:
    """The nearest known materials, best first; formulas and ids are safe to show.

    sentence: whether one of them is enough, in safe words; several: whether more than one phase is likely. told: the
    neighbours with formulas and ids as they were told, to compute with.
    """

    neighbours: tuple[Neighbour, ...]
    told: tuple[Neighbour, ...]
    candidates: int
    sentence: str
    several: bool


class KnownStore:
    """Asked by the screen; comparing is done beside the server."""

    def __init__(
        self,
        session: Session,
        store: Store,
        *,
        workspace: Callable[[], Workspace] = open_workspace,
        shipped: Path | None = None,
    ) -> None:
        self.session, self.store = session, store
        self._workspace = workspace
        self._shipped = shipped_path(TABLE) if shipped is None else shipped
        self._read: dict[int, Found] = {}

    def tables(self) -> list[KnownTable]:
        """What can be compared with, the table of a checkout first."""
        found = [KnownTable("", "Materials Project", self._shipped)] if self._shipped.is_file() else []
        folders = [folder for folder in own_folders(self._workspace().datasets) if (folder / MANIFEST).is_file()]
        return found + [
            KnownTable(f"data {folder.name}", f"Data set {safe_text(folder.name, limit=60)}", folder)
            for folder in folders
        ]

    def table(self) -> KnownTable | None:
        """The chosen one, else the first."""
        tables = self.tables()
        by_key = {table.key: table for table in tables}
        return by_key.get(self.session.known_materials, tables[0] if tables else None)

    def elements(self, answer: Answer) -> tuple[str, ...]:
        """All elements that the typed composition allows; none where nothing is known of it."""
        return possible_symbols(self.store.known(answer.formula))

    def start(self, answer: Answer) -> None:
        """Begin to compare the pattern of an answer, or join who began it."""
        table = self.table()
        if table is None:
            return
        folder = self._workspace().root / "known"
        path = folder / "patterns" / f"{self._digest(answer)}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob("*.npz"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink(missing_ok=True)
        write_gridded(path, self.store.gridded(answer.sample.key))
        elements = self.elements(answer)
        arguments = [
            "identify", str(path), "--prepared", "--table", str(table.path), "--cache", str(folder), "--json",
            "--whole", "--progress",
        ]  # fmt: skip
        arguments += ["--elements", ",".join(elements)] if elements else []
        step = Step(f"Comparing with {table.label}", lambda: tuple(arguments), is_done=lambda: False)
        begin(self._key(answer, table), [step], lock=folder / "making.lock")

    def making(self, answer: Answer) -> Making | None:
        """The comparison of an answer's pattern that is under way, or was."""
        table = self.table()
        return None if table is None else making_of(*self._key(answer, table))

    def found(self, answer: Answer) -> Found | None:
        """The nearest known materials, once they are found."""
        making = self.making(answer)
        if making is None or not making.finished or "neighbours" not in making.result:
            return None
        if id(making) not in self._read:
            self._read = {id(making): read_found(making.result)}
        return self._read[id(making)]

    def chosen(self, answer: Answer, found: Found | None) -> Neighbour | None:
        """The material whose lines are drawn: the one that was chosen, else the nearest."""
        if found is None or not found.neighbours:
            return None
        wanted = self.session.neighbours.get(answer.sample.key)
        return next((one for one in found.neighbours if one.id == wanted), found.neighbours[0])

    def both_in_words(self, answer: Answer, found: Found) -> str:
        """The crystal system that model and known materials agree on, in safe words; "" where one of them is silent."""
        alone = answer.prediction.crystal_system
        if not (self.elements(answer) and alone and found.told):
            return ""
        first = weigh_known(answer.prediction, found.told).crystal_system[0]
        before = next(entry.probability for entry in alone if entry.label == first.label)
        return f"With the known materials: {first.label} {first.probability:.0%} (the model alone: {before:.0%})."

    def _digest(self, answer: Answer) -> str:
        gridded = self.store.gridded(answer.sample.key)
        return hashlib.sha256(gridded.intensity.tobytes() + gridded.coverage.tobytes()).hexdigest()[:24]

    def _key(self, answer: Answer, table: KnownTable) -> tuple[str, ...]:
        """What the result depends on: the pattern, the elements and the materials."""
        changed = (table.path / MANIFEST if table.path.is_dir() else table.path).stat().st_mtime_ns
        asked = sorted(self.elements(answer)) or ["?"]
        return ("known", self._digest(answer), table.key, str(changed), *asked)


def read_found(told: dict[str, Any]) -> Found:
    """What `xxact identify` told, its texts made safe."""
    neighbours = tuple(
        Neighbour(
            formula=one["formula"],
            space_group=one["space_group"],
            id=one["id"],
            score=one["score"],
            shift=one["shift"],
            scale=one["scale"],
            two_theta=np.array(one["two_theta"], dtype=np.float64),
            intensity=np.array(one["intensity"], dtype=np.float64),
        )
        for one in told["neighbours"]
    )
    mixture = told["mixture"] or {"sentence": "", "likely": False}
    return Found(
        neighbours=tuple(
            replace(one, formula=safe_text(one.formula, limit=60), id=safe_text(one.id, limit=60)) for one in neighbours
        ),
        told=neighbours,
        candidates=told["candidates"],
        sentence=safe_text(mixture["sentence"], limit=400),
        several=bool(mixture["likely"]),
    )
