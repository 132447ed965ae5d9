"""Phases of the patterns shown as a series, found by `xxact series` in the background."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, command_step, find_task, submit
from xxact_app.library.workspace import Workspace, open_workspace, private_folder
from xxact_app.plots.export import columns_to_csv
from xxact_app.samples.sample import free_name
from xxact_app.samples.store import Store
from xxact_app.ui.safe_text import safe_text
from xxact_core.search_match.database import check_elements
from xxact_core.search_match.phase_analysis import value_with_uncertainty
from xxact_core.series.frames import NO_PATTERNS
from xxact_core.series.outputs import JSON

FEWEST = 3
"""Number of patterns from which they can be a series."""

_KEPT_SECONDS = 30 * 86400.0
_UNSAFE = re.compile(r"[^\w.+()=°-]+")
_SAME_LENGTH = 1e-6


@dataclass(frozen=True)
class SeriesQuestion:
    """What is searched: patterns of a session and the elements that they may contain."""

    keys: tuple[str, ...]
    elements: tuple[str, ...]
    """Empty for all reference phases."""


@dataclass(frozen=True)
class PhaseOfSeries:
    """A phase of a series; arrays of shape (frames,) or (frames, 3), NaN where the phase is absent."""

    label: str
    """Safe to show."""
    fraction: np.ndarray
    """Weight fraction [%]."""
    u_fraction: np.ndarray
    lengths: np.ndarray
    """Cell lengths [Å]."""
    u_lengths: np.ndarray


@dataclass(frozen=True)
class SeriesResult:
    """The phases over a series; all texts are safe to show."""

    quantity: str
    """Quantity with unit that the series runs over."""
    values: np.ndarray
    """Value of each frame, shape (frames,); its number where values are unknown or repeat."""
    files: tuple[str, ...]
    phases: tuple[PhaseOfSeries, ...]
    changes: tuple[str, ...]
    """Where phases appear and vanish."""
    notes: tuple[str, ...]
    folder: Path
    """Folder with the tables and figures of the command."""


class SeriesStore:
    """Searches series of one session."""

    def __init__(self, store: Store, *, workspace: Callable[[], Workspace] = open_workspace) -> None:
        self.store, self.session = store, store.session
        self.workspace = workspace

    def question(self, text: str) -> SeriesQuestion:
        """The patterns shown and the elements in a text such as `Ca, C, O`; `InputError` names a wrong element."""
        elements = tuple(part for part in re.split(r"[\s,;–-]+", text) if part)
        if elements:
            check_elements(elements)
        shown = [key for key, record in self.session.samples.items() if record.visible and key in self.store.samples]
        return SeriesQuestion(tuple(shown), elements)

    def without_wavelength(self, question: SeriesQuestion) -> list[str]:
        """Names of the patterns that cannot be searched before their wavelength is entered."""
        return [self.store.samples[key].name for key in question.keys if self.store.wavelength(key) is None]

    def start(self, question: SeriesQuestion) -> None:
        """Start to search the patterns, or join a search that is running."""
        folder = self._folder(question)
        for old in folder.parent.glob("*"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        private_folder(folder.parent)
        self._write_patterns(question, folder / "patterns")
        elements = ["--elements", ",".join(question.elements)] if question.elements else []
        drawn = [part for kind in ("svg", "pdf") for part in ("--plot", str(folder / f"series.{kind}"))]
        arguments = [
            "series", str(folder / "patterns"), *elements, "--output", str(folder), *drawn, "--json", "--progress"
        ]  # fmt: skip
        step = command_step("Finding the phases of the series", lambda: arguments)
        submit(("series", folder.name), [step], lock=folder.parent / "series.lock")

    def task(self, question: SeriesQuestion) -> BackgroundTask | None:
        """The search, running or ended; None where none was started."""
        return find_task("series", self._folder(question).name)

    def result(self, question: SeriesQuestion) -> SeriesResult | None:
        """The result of the search, of this or an earlier visit; None while there is none."""
        path, task = self._folder(question) / JSON, self.task(question)
        if (task is not None and task.active) or not path.is_file():
            return None
        return parse_series(json.loads(path.read_text(encoding="utf-8")), folder=path.parent)

    def _folder(self, question: SeriesQuestion) -> Path:
        digest = hashlib.sha256(json.dumps([self._described(question), question.elements]).encode())
        return self.workspace().root / "series" / digest.hexdigest()[:24]

    def _described(self, question: SeriesQuestion) -> list[tuple[object, ...]]:
        samples = [(key, self.store.samples[key]) for key in question.keys]
        return [
            (
                one.name,
                hashlib.sha256(one.pattern.two_theta.tobytes() + one.pattern.intensity.tobytes()).hexdigest(),
                self.store.wavelength(key),
                one.scan,
            )
            for key, one in samples
        ]

    def _write_patterns(self, question: SeriesQuestion, folder: Path) -> None:
        """Write the files as they were dropped, and as tables where a wavelength was entered or a scan was chosen."""
        private_folder(folder)
        taken: set[str] = set()
        for key in question.keys:
            sample, record = self.store.samples[key], self.session.sample(key)
            plain = record.wavelength is None and record.scan == 0 and sample.scans == 1 and sample.content
            name = _UNSAFE.sub("_", sample.name).lstrip(".") or "pattern"
            if not plain and Path(name).suffix.lower() in NO_PATTERNS:
                name += ".csv"  # tables keep other names: the reader tells formats by the content
            name = free_name(name, taken).replace(" ", "_")
            taken.add(name)
            pattern, wavelength = sample.pattern, self.store.wavelength(key)
            columns = {"two_theta": pattern.two_theta, "intensity": pattern.intensity}
            if wavelength is not None:
                columns["wavelength"] = np.full(pattern.two_theta.size, wavelength)
            written = folder / name
            written.touch(mode=0o600)
            written.write_bytes(sample.content if plain else columns_to_csv(columns))


def parse_series(values: dict[str, Any], *, folder: Path) -> SeriesResult:
    """The JSON output of `xxact series`, with texts that are safe to show."""
    frames, count = values["frames"], len(values["frames"])
    numbers = np.array([np.nan if frame["value"] is None else frame["value"] for frame in frames], dtype=np.float64)
    ordered = bool(np.isfinite(numbers).all() and (np.diff(numbers) > 0).all())
    unit = f" [{values['unit']}]" if values["unit"] else ""
    phases = []
    for index, phase in enumerate(values["phases"]):
        table = np.full((3, count, 3), np.nan)
        found = [(place, one) for place, frame in enumerate(frames) for one in frame["phases"] if one["phase"] == index]
        for place, one in found:
            table[0, place, 0] = 100 * _number(one["weight_fraction"])
            table[0, place, 1] = 100 * _number(one["u_weight_fraction"])
            table[1, place] = [_number(length) for length in one["cell"][:3]]
            table[2, place] = [_number(length) for length in one["u_cell"][:3]]
        label = safe_text(phase["label"], limit=60)
        phases.append(PhaseOfSeries(label, table[0, :, 0], table[0, :, 1], table[1], table[2]))
    return SeriesResult(
        quantity=safe_text(f"{values['by'].capitalize()}{unit}", limit=60) if ordered else "Number of the pattern",
        values=numbers if ordered else np.arange(1.0, count + 1),
        files=tuple(safe_text(frame["file"], limit=60) for frame in frames), phases=tuple(phases),
        changes=tuple(safe_text(text, limit=200) for text in values["changes"]),
        notes=tuple(safe_text(text, limit=300) for text in values["notes"]), folder=folder,
    )  # fmt: skip


def independent_lengths(phase: PhaseOfSeries) -> list[int]:
    """Indices of the cell lengths of a phase that differ from those before them."""
    known = phase.lengths[np.isfinite(phase.lengths).all(axis=1)]
    return [
        axis
        for axis in range(3)
        if known.size
        and not any(np.allclose(known[:, axis], known[:, other], rtol=_SAME_LENGTH) for other in range(axis))
    ]


def with_error(value: float, error: float) -> str:
    """A number with its uncertainty; empty where it is unknown."""
    return value_with_uncertainty(value, error) if np.isfinite(value) else ""


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
