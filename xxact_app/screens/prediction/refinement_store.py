"""Rietveld refinement of the phases that a search has found, in a separate process, and its result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, command_step, find_task, submit
from xxact_app.library.workspace import private_folder
from xxact_app.samples.store import Store
from xxact_app.screens.prediction.phases_store import PhasesStore, SearchResult, nan_if_none
from xxact_app.ui.formatting import display_formula
from xxact_app.ui.safe_text import safe_text
from xxact_core.refinement.output_files import write_xye
from xxact_core.refinement.refine import intensity_to_sigma
from xxact_core.search_match.phase_analysis import cell_to_text, value_with_uncertainty

_KEPT_SECONDS = 3600.0
"""Age [s] at which patterns written for a refinement are deleted; a refinement reads its pattern at once."""


@dataclass(frozen=True)
class RefinedRow:
    """A refined phase, as texts that are safe to show."""

    formula: str
    name: str
    weight: str
    """Weight fraction with uncertainty [wt%]."""
    cell: str
    """Cell lengths [Å] and angles [deg] with uncertainties."""


@dataclass(frozen=True)
class RefinedPhases:
    """The result of a refinement, as texts that are safe to show."""

    rows: tuple[RefinedRow, ...]
    """One for each phase."""
    agreement: str
    """How well the calculated pattern agrees."""
    notes: tuple[str, ...]
    """What to check before the values are used."""


class RefinementStore:
    """Refines the phases of one session."""

    def __init__(self, store: Store, search: PhasesStore, *, installed: bool | None = None) -> None:
        self.store, self.search = store, search
        self.installed = find_spec("rietx") is not None if installed is None else installed
        """Whether the library of the extra `refine` is installed."""

    def can_refine(self, key: str, found: SearchResult | None) -> bool:
        """Whether there are phases of a table with atoms, and a wavelength."""
        if found is None or not found.phases or key not in self.store.samples:
            return False
        table = self.search.table()
        return bool(self.search.digest(key)) and table is not None and not table.path.is_dir()

    def start(self, key: str, found: SearchResult) -> None:
        """Start to refine the phases found, or join a refinement that is running."""
        table = self.search.table()
        if table is None or not self.can_refine(key, found):
            return
        pattern = self.search.pattern(key)
        assert pattern.wavelength is not None, "a corrected pattern has a wavelength"
        folder = self.search.workspace().root / "known"
        path = folder / "refined" / f"{self.search.digest(key)}.xye"
        private_folder(path.parent)
        for old in path.parent.glob("*.xye"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink(missing_ok=True)
        path.touch(mode=0o600)
        write_xye(path, pattern.two_theta, pattern.intensity, intensity_to_sigma(pattern.intensity))
        arguments = self._arguments(path, found, wavelength=pattern.wavelength, reference=table.path)
        step = command_step("Refining the phases", lambda: arguments)
        submit(self._key(key, found), [step], lock=folder / "refining.lock")

    def task(self, key: str, found: SearchResult | None) -> BackgroundTask | None:
        """The refinement of these phases, running or ended; None where none was started."""
        if found is None or key not in self.store.samples:
            return None
        return find_task(*self._key(key, found))

    def refined(self, key: str, found: SearchResult | None) -> RefinedPhases | None:
        """The result of the refinement; None while there is none."""
        task = self.task(key, found)
        return None if task is None or task.active or "r_wp" not in task.result else parse_refinement(task.result)

    @staticmethod
    def _arguments(path: Path, found: SearchResult, *, wavelength: float, reference: Path) -> list[str]:
        phases = [part for phase in found.phases for part in ("--phase", phase.source_id)]
        options = ["--wavelength", f"{wavelength:.8g}", "--reference", str(reference), "--json", "--progress"]
        return ["refine", str(path), *phases, *options]

    def _key(self, key: str, found: SearchResult) -> tuple[str, ...]:
        """Everything the result depends on: the pattern with its wavelength, and the phases."""
        return ("refined", self.search.digest(key), *(phase.source_id for phase in found.phases))


def parse_refinement(result: Mapping[str, Any]) -> RefinedPhases:
    """The JSON output of `xxact refine`, with texts that are safe to show."""
    return RefinedPhases(
        rows=tuple(_to_row(one) for one in result["phases"]),
        agreement=f"R_wp {100 * result['r_wp']:.1f} %, expected {100 * result['r_exp']:.1f} %",
        notes=tuple(safe_text(note, limit=300) for note in result["warnings"]),
    )


def _to_row(phase: Mapping[str, Any]) -> RefinedRow:
    weight, error = (100 * nan_if_none(phase[name]) for name in ("weight_fraction", "u_weight_fraction"))
    cell, errors = (np.array([nan_if_none(one) for one in phase[name]]) for name in ("cell", "u_cell"))
    return RefinedRow(
        formula=safe_text(display_formula(phase["formula"]), limit=60),
        name=safe_text(phase["name"], limit=60),
        weight=value_with_uncertainty(weight, error),
        cell=cell_to_text(cell, errors),
    )
