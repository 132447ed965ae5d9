"""Data derived from the settings: loaded patterns, model inputs, parsed compositions and predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import param

from xxact_app.library.models import SHIPPED, find_model, load_predictor
from xxact_app.samples.prediction_result import Answer, Missing, Wanted
from xxact_app.samples.processing import WINDOW_EDGES, PatternStages, Trace
from xxact_app.samples.reference_structure import (
    Reference,
    ReferenceTrace,
    content_to_key,
    is_structure,
    lines_to_trace,
    read_reference,
)
from xxact_app.samples.sample import (
    Problem,
    Sample,
    list_examples,
    read_sample,
    read_scan,
    without_formats,
    without_name,
)
from xxact_app.samples.sample_cache import SampleCache
from xxact_app.samples.scans import split_scans
from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import Session
from xxact_app.ui.formatting import percent
from xxact_app.ui.safe_text import safe_message, safe_text
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.guessing import guess_elements
from xxact_core.compositions.partial import NOTHING_KNOWN, PartialComposition, parse_composition, possible_symbols
from xxact_core.errors import CheckpointError, FormulaError, InputError, WavelengthError
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS, parse_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import LEAST_WINDOW, GriddedPattern
from xxact_core.processing.background import baseline
from xxact_core.processing.pipeline import MIN_COVERAGE

if TYPE_CHECKING:
    from xxact_core.prediction.prediction import Prediction
    from xxact_core.prediction.predictor import Predictor

logger = logging.getLogger(__name__)

HIDDEN = f"masked for the model because less than {percent(LEAST_WINDOW)} of the window was measured"
"""Why a window is masked although the user did not mask it."""

RADIATIONS = dict(WAVELENGTHS)
"""Named radiations → wavelength [Å]."""


_MOST_RESULTS = 512

LARGEST_SESSION = 512 * 2**20
MOST_SAMPLES = 2000
"""Limits of one session: total size of its files [bytes], and number of its patterns and references."""


def to_wavelength(text: str) -> float:
    """Wavelength [Å] from the name of a radiation or a number; raises `InputError` with the known names."""
    return parse_wavelength(text)


def warm_up() -> None:
    """Load the libraries and the model needed for the first file and prediction in advance."""
    try:
        baseline(GRID.two_theta, method="arpls")
        load_predictor(find_model(SHIPPED))
    except InputError as error:
        logger.warning("the model cannot be loaded: %s", error)


class Store(param.Parameterized):
    """The data computed for one session."""

    samples = param.Dict(default={}, constant=True, doc="Sample by key, in the order of the session.")
    problems = param.List(default=[], item_type=Problem, constant=True)

    def __init__(self, session: Session, *, predictor: Callable[[], Predictor] | None = None) -> None:
        super().__init__()
        self.session = session
        self._predictor = predictor or (lambda: load_predictor(find_model(session.model)))
        self._predictions: SampleCache[Prediction] = SampleCache(_MOST_RESULTS)
        self._caches: list[SampleCache[Any]] = [self._predictions]
        self._references: dict[str, Reference] = {}
        self.read: dict[str, Sample] = {}
        self._new: set[str] = set()  # read, not yet in the session
        self._counter = 0
        self.stages = PatternStages(session, lambda: self.samples)
        session.watch(self._follow_files, ["files"])
        session.watch(self._read_scans, ["scan"])
        session.param.watch(self._forget_dismissed, "dismissed")

    # --------------------------------------------------------------------------------------------------------- reading
    def read_files(self, files: Iterable[tuple[str, bytes]], *, taken: Collection[str] | None = None) -> list[str]:
        """Read uploaded files and return the keys of their patterns; CIFs of structures become references.

        Those that cannot be read become problems. taken: names that patterns must not have; by default those of the
        samples that are there.
        """
        keys = []
        for file, content in files:
            self._counter += 1
            if full := self._why_full(len(content)):
                self.add_problem(f"{file}: not read; {full}")
                continue
            names = {sample.name for sample in self.samples.values()} if taken is None else taken
            try:
                if is_structure(content):
                    self._take_reference(file, content)
                    continue
                sample = read_sample(file, content, number=self._counter, taken=names)
            except InputError as error:
                self.add_problem(without_formats(str(error)))
                continue
            self.take(sample)
            keys.append(sample.key)
        return keys

    def _why_full(self, size: int) -> str:
        """Why a file of this size would exceed the limits of a session; empty where it would not."""
        held = [*self.samples.values(), *self._references.values()]
        if len(held) >= MOST_SAMPLES:
            return f"a session holds at most {MOST_SAMPLES} patterns and references: remove some"
        if size + sum(len(one.content) for one in held) > LARGEST_SESSION:
            return f"the files of a session may have {LARGEST_SESSION // 2**20} MB in total: remove some"
        return ""

    def take(self, sample: Sample) -> None:
        """Store a loaded pattern, which the session may then add."""
        self.read[sample.key] = sample
        self._new.add(sample.key)
        with param.edit_constant(self):
            self.samples = {**self.samples, sample.key: sample}

    def split_scans(self, key: str) -> None:
        """Put every scan of a file into the session as a pattern of its own, in place of the pattern of the file."""
        sample = self.samples[key]
        if full := self._why_full(sample.scans * len(sample.content)):
            self.add_problem(f"{sample.name}: not split; {full}")
            return
        first = self._counter + 1
        self._counter += sample.scans
        names = {other.name for other in self.samples.values() if other.key != key}
        try:
            parts = split_scans(sample, first_number=first, taken=names)
        except InputError as error:
            self.add_problem(without_formats(str(error)))
            return
        for part in parts:
            self.take(part)
        record = self.session.sample(key)
        with param.parameterized.batch_call_watchers(self.session):  # one action to undo
            self.session.add([part.key for part in parts], known={
                part.key: replace(record, scan=part.scan, label=part.name, visible=True) for part in parts
            })  # fmt: skip
            self.session.remove([key])

    @property
    def references(self) -> dict[str, Reference]:
        """The reference structures by key, in the order of the session."""
        return {key: self._references[key] for key in self.session.references if key in self._references}

    def reference_trace(self, key: str, *, wavelength: float) -> ReferenceTrace:
        """Reflections of a reference at a wavelength [Å], on the selected axis."""
        return lines_to_trace(self._references[key].lines, wavelength=wavelength, to_axis=self.stages.on_axis)

    def _take_reference(self, file: str, content: bytes) -> None:
        """Store all structures of a CIF as references, and show what was assumed when they were read."""
        index, count = 0, 1
        while index < count:
            key = content_to_key(content) + (f"-{index}" if index else "")
            if key not in self._references:
                taken = {other.name for other in self.references.values()}
                try:
                    self._references[key] = read_reference(file, content, taken=taken, index=index)
                except InputError as error:
                    self.add_problem(str(error))
                    index += 1
                    continue
                if notes := self._references[key].lines.notes:
                    self.add_problem(f"{self._references[key].name}: {'; '.join(notes)}")
            count = len(self._references[key].lines.blocks)
            if key not in self.session.references:
                self.session.references = [*self.session.references, key]
            index += 1

    def read_examples(self) -> dict[str, SampleChoices]:
        """Read the example data; returns the known settings of each file by key."""
        try:
            examples = list_examples()
        except InputError as error:
            self.add_problem(str(error))
            return {}
        present = {sample.file for sample in self.samples.values()}
        known: dict[str, SampleChoices] = {}
        for example in examples:
            if example.path.name not in present:
                for key in self.read_files([(example.path.name, example.path.read_bytes())]):
                    entered = example.wavelength if self.wavelength(key) is None else ""
                    wavelength = to_wavelength(entered) if entered else None
                    known[key] = SampleChoices(formula=example.formula, wavelength=wavelength)
        return known

    def first_predictable(self, keys: Iterable[str]) -> str:
        """The first of these patterns with sufficient coverage for a prediction, or an empty key."""
        for key in keys:
            try:
                if self.gridded(key).extent >= MIN_COVERAGE:
                    return key
            except InputError:
                continue
        return ""

    def add_problem(self, text: str) -> None:
        """Show an error message."""
        self._counter += 1
        with param.edit_constant(self):
            self.problems = [*self.problems, Problem(f"problem-{self._counter}", safe_message(text))]

    def keep_read(self, keys: Iterable[str]) -> None:
        """Drop all loaded samples except these and those just read."""
        self.read = {key: self.read[key] for key in dict.fromkeys([*keys, *self._new]) if key in self.read}

    def _follow_files(self, _event: object) -> None:
        self._new.difference_update(self.session.files)
        with param.edit_constant(self):
            self.samples = {key: self.read[key] for key in self.session.files if key in self.read}
        for cache in self._caches:
            cache.keep(self.samples)
        self.stages.keep(self.samples)
        self._read_scans()

    def cache(self, maximum: int) -> SampleCache[Any]:
        """A cache for values of patterns, which are dropped with the pattern."""
        self._caches.append(SampleCache(maximum))
        return self._caches[-1]

    def _forget_dismissed(self, _event: object) -> None:
        with param.edit_constant(self):
            self.problems = [problem for problem in self.problems if problem.key not in self.session.dismissed]

    # ------------------------------------------------------------------------------------------------------ processing
    def wavelength(self, key: str) -> float | None:
        """Wavelength [Å] of a pattern: the entered one, else that of the file, else None."""
        return self.stages.wavelength(key)

    def without_wavelength(self) -> list[str]:
        """Keys of the patterns without a wavelength."""
        return [key for key in self.samples if self.wavelength(key) is None]

    def gridded(self, key: str) -> GriddedPattern:
        """The model input of a pattern; raises `InputError` where it cannot be computed."""
        return self.stages.gridded(key)

    def hidden_windows(self, key: str) -> np.ndarray:
        """Windows of a pattern masked because too little of them was measured, shape (windows,)."""
        return self.gridded(key).hidden_windows

    def trace(self, key: str, *, background: bool = True) -> Trace | str:
        """The pattern at the selected stage and axis, or the reason why it cannot be drawn, a safe text.

        background: whether to fit the background where the session shows it.
        """
        return self.stages.trace(key, background=background)

    def program(self, key: str) -> str:
        """Python code that reads the file of a pattern and processes it to `gridded`."""
        scan = self.session.sample(key).scan
        return self.stages.preparation(key).to_python(self.samples[key].file, scan=scan)

    def window_edges(self) -> np.ndarray:
        """Edges of the windows on the selected axis, shape (windows + 1,)."""
        return self.stages.on_axis(WINDOW_EDGES, wavelength=CU_K_ALPHA)

    def _read_scans(self, _event: object = None) -> None:
        """Read newly selected scans, and name those of split files; a selection that cannot be read is reverted."""
        session, samples = self.session, dict(self.samples)
        wanted = {key: record.scan for key, record in session.samples.items() if key in samples}
        for key, record in session.samples.items():
            if key in samples and record.label and samples[key].name != (name := safe_text(record.label)):
                samples[key] = replace(samples[key], name=name)
        named = {key: sample for key, sample in samples.items() if sample is not self.samples[key]}
        changed = {key: scan for key, scan in wanted.items() if samples[key].scan != scan}
        for key, scan in changed.items():
            try:
                samples[key] = read_scan(samples[key], scan=scan)
            except InputError as error:
                self.add_problem(str(error))
                with param.parameterized.discard_events(session):
                    session.change([key], scan=samples[key].scan)
        if changed or named:
            self.read |= {key: samples[key] for key in (*changed, *named)}
            with param.edit_constant(self):
                self.samples = samples
            for key in changed:
                self.stages.forget(key)
                for cache in self._caches:
                    cache.forget(key)

    # ------------------------------------------------------------------------------------------------------ prediction
    def guess(self, key: str) -> tuple[str, ...]:
        """Elements that the names of a file and of its sample suggest; empty where they suggest none."""
        sample = self.samples[key]
        return guess_elements(sample.file, sample.pattern.metadata.get("sample", ""))

    def guessed(self, key: str) -> bool:
        """Whether the composition of a pattern is guessed."""
        chosen = self.session.sample(key)
        return chosen.use_guess and not chosen.formula.strip() and bool(self.guess(key))

    def formula(self, key: str) -> str:
        """What is known of the composition of a pattern: as typed, else as guessed, with the elements it may contain.

        Elements that the user excluded are left out of a guess.
        """
        chosen = self.session.sample(key)
        typed = chosen.formula.strip()
        if not typed and self.guessed(key):
            typed = ",".join(symbol for symbol in self.guess(key) if symbol not in chosen.never)
        besides = dict.fromkeys([*chosen.may, *chosen.one_of])
        if not typed or not besides:
            return typed
        try:
            known = possible_symbols(self.known(typed))
        except FormulaError:
            return typed  # shown as it is, with the error
        return " ".join([typed, *(f"?{symbol}" for symbol in besides if symbol not in known)])

    def composition(self, formula: str) -> Composition:
        """The parsed formula; raises `FormulaError` where it is invalid or incomplete."""
        known = self.known(formula)
        if isinstance(known, PartialComposition):
            msg = f"a complete formula is needed here, but the composition is known only in part ({known.in_words})"
            raise FormulaError(msg, code="E_FORMULA")
        return known

    def known(self, formula: str) -> Composition | PartialComposition:
        """The parsed composition, which may be partial or empty; raises `FormulaError` where it is invalid."""
        return parse_composition(formula or NOTHING_KNOWN)

    def predictor(self) -> Predictor:
        """The selected model; raises `CheckpointError` where it cannot be loaded."""
        return self._predictor()

    def question(self, key: str) -> tuple[object, ...]:
        """Everything that the answer for a pattern depends on."""
        chosen = self.session.sample(key)
        return self.formula(key), self.stages.preparation(key), chosen.scan, self.session.model

    def answer(self, key: str | None = None, *, formula: str | None = None) -> Answer | Missing:
        """The prediction of a pattern, by default the selected one, or what is missing for it.

        formula: in place of what is known of the composition.
        """
        session = self.session
        key = session.chosen if key is None else key
        sample = self.samples.get(key)
        if sample is None:
            return Missing("Load a diffractogram or the example data first.")
        formula = self.formula(key) if formula is None else formula
        try:
            composition, gridded = self.known(formula), self.gridded(sample.key)
            if gridded.extent < MIN_COVERAGE and not session.override_coverage:
                text = f"The scan covers only {percent(gridded.extent)} of 5–90° 2θ (Cu Kα); "
                text += f"a prediction needs at least {percent(MIN_COVERAGE)}."
                return Missing(text, "coverage")
            prediction = self._predictions.get_or_compute(
                key, (formula, *self.question(key)), lambda: self._predictor().predict(gridded, composition)
            )
        except InputError as error:
            start = "The model cannot be loaded. " if isinstance(error, CheckpointError) else ""
            what: Wanted = "wavelength" if isinstance(error, WavelengthError) else "input"
            return Missing(safe_message(start + without_name(error, sample.pattern.name)), what)
        return Answer(sample, formula, prediction)
