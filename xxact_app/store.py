"""What follows from the user's choices: read patterns, grids, parsed formulas, predictions. Views only read it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import param

from xxact_app.escaping import safe_message
from xxact_app.pattern_stages import WINDOW_EDGES, PatternStages, Trace
from xxact_app.predictors import load_predictor
from xxact_app.references import Reference, ReferenceTrace, is_structure, lines_to_trace, read_reference
from xxact_app.samples import Problem, Sample, list_examples, read_sample, read_scan, without_name
from xxact_app.session import Session
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.errors import CheckpointError, InputError, WavelengthError
from xxact_core.patterns.background import baseline
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS, parse_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.gridding import LEAST_COVERAGE
from xxact_core.patterns.pattern import LEAST_WINDOW, GriddedPattern

if TYPE_CHECKING:
    from xxact_core.predict import Prediction, Predictor

logger = logging.getLogger(__name__)

HIDDEN = f"hidden from the model, because less than {LEAST_WINDOW:.0%} of the window was measured"
"""What is said of a window that the model is not shown."""

RADIATIONS = dict(WAVELENGTHS)
"""Named wavelengths [Å] that the app offers."""

Wanted = Literal["input", "wavelength", "coverage"]

_MOST_RESULTS = 512


def to_wavelength(text: str) -> float:
    """Wavelength [Å] of a name or a number; `InputError` lists the choices."""
    return parse_wavelength(text)


@dataclass(frozen=True)
class Answer:
    """A prediction, and what it was asked of."""

    sample: Sample
    formula: str
    prediction: Prediction


@dataclass(frozen=True)
class Missing:
    """In words that are safe to show: what a prediction still needs."""

    text: str
    what: Wanted = "input"


def warm_up() -> None:
    """Load what the first file and the first prediction need, before they are there; they will tell what is wrong."""
    try:
        baseline(GRID.two_theta, method="arpls")
        load_predictor()
    except InputError as error:
        logger.warning("the model cannot be loaded: %s", error)


class Store(param.Parameterized):
    """Everything computed for one session."""

    samples = param.Dict(default={}, constant=True, doc="Sample by key, in the order of the session.")
    problems = param.List(default=[], item_type=Problem, constant=True)

    def __init__(self, session: Session, *, predictor: Callable[[], Predictor] | None = None) -> None:
        super().__init__()
        self.session = session
        self._predictor = predictor or (lambda: load_predictor(session.model))
        self._results: dict[tuple[object, ...], object] = {}
        self._references: dict[str, Reference] = {}
        self._counter = 0
        self.stages = PatternStages(session, lambda: self.samples)
        session.param.watch(self._forget_removed, "files")
        session.param.watch(self._read_scans, "scans")
        session.param.watch(self._forget_dismissed, "dismissed")

    # --------------------------------------------------------------------------------------------------------- reading
    def read_files(self, files: Iterable[tuple[str, bytes]]) -> list[str]:
        """Read dropped files and return the keys of the patterns in them; CIFs of structures become references.

        Those that cannot be read become problems.
        """
        keys = []
        for file, content in files:
            self._counter += 1
            taken = {sample.name for sample in self.samples.values()}
            try:
                if is_structure(content):
                    self._take_reference(file, content)
                    continue
                sample = read_sample(file, content, number=self._counter, taken=taken)
            except InputError as error:
                self.add_problem(str(error))
                continue
            with param.edit_constant(self):
                self.samples = {**self.samples, sample.key: sample}
            keys.append(sample.key)
        return keys

    @property
    def references(self) -> dict[str, Reference]:
        """The structures that are drawn as lines, by key, in the order of the session."""
        return {key: self._references[key] for key in self.session.references if key in self._references}

    def reference_trace(self, key: str, *, wavelength: float) -> ReferenceTrace:
        """Lines of a reference at a wavelength [Å], on the session's axis."""
        return lines_to_trace(self._references[key].lines, wavelength=wavelength, to_axis=self.stages.on_axis)

    def _take_reference(self, file: str, content: bytes) -> None:
        reference = read_reference(file, content, taken={other.name for other in self.references.values()})
        if reference.key not in self.session.references:
            self._references[reference.key] = reference
            self.session.references = [*self.session.references, reference.key]

    def read_examples(self) -> tuple[list[str], dict[str, str], dict[str, float]]:
        """Read the example files that come with the app: keys, and formulas and wavelengths [Å] where known."""
        try:
            examples = list_examples()
        except InputError as error:
            self.add_problem(str(error))
            return [], {}, {}
        present = {sample.file for sample in self.samples.values()}
        keys: list[str] = []
        formulas: dict[str, str] = {}
        wavelengths: dict[str, float] = {}
        for example in examples:
            if example.path.name not in present:
                read = self.read_files([(example.path.name, example.path.read_bytes())])
                keys += read
                formulas |= {key: example.formula for key in read if example.formula}
                stated = [key for key in read if self.wavelength(key) is not None]
                if example.wavelength and not stated:
                    wavelengths |= dict.fromkeys(read, to_wavelength(example.wavelength))
        return keys, formulas, wavelengths

    def first_predictable(self, keys: Iterable[str]) -> str:
        """The first of these patterns of which enough was measured for a prediction, or no key."""
        for key in keys:
            try:
                if self.gridded(key).extent >= LEAST_COVERAGE:
                    return key
            except InputError:
                continue
        return ""

    def add_problem(self, text: str) -> None:
        """Put a problem on the list that the user sees."""
        self._counter += 1
        with param.edit_constant(self):
            self.problems = [*self.problems, Problem(f"problem-{self._counter}", safe_message(text))]

    def _forget_removed(self, _event: object) -> None:
        with param.edit_constant(self):
            self.samples = {key: self.samples[key] for key in self.session.files if key in self.samples}
        self._results.clear()
        self.stages.forget()
        self._read_scans()

    def _forget_dismissed(self, _event: object) -> None:
        with param.edit_constant(self):
            self.problems = [problem for problem in self.problems if problem.key not in self.session.dismissed]

    # ------------------------------------------------------------------------------------------------------ processing
    def wavelength(self, key: str) -> float | None:
        """Wavelength [Å] of a pattern: the user's, else the file's, else None."""
        return self.stages.wavelength(key)

    def without_wavelength(self) -> list[str]:
        """Keys of the patterns whose wavelength nobody has said yet."""
        return [key for key in self.samples if self.wavelength(key) is None]

    def gridded(self, key: str) -> GriddedPattern:
        """What the model sees of a pattern; `InputError` says why not."""
        return self.stages.gridded(key)

    def hidden_windows(self, key: str) -> np.ndarray:
        """Which windows of a pattern are hidden from the model, because too little of them was measured, (windows,)."""
        return self.gridded(key).hidden_windows

    def trace(self, key: str) -> Trace | str:
        """The pattern at the chosen stage on the chosen axis, or in safe words why it cannot be drawn."""
        return self.stages.trace(key)

    def program(self, key: str) -> str:
        """Python that reads a pattern's file and prepares it as here, giving `gridded`."""
        scan = self.session.scans.get(key, 0)
        return self.stages.preparation(key).to_python(self.samples[key].file, scan=scan)

    def window_edges(self) -> np.ndarray:
        """Edges of the windows on the session's axis, shape (windows + 1,)."""
        return self.stages.on_axis(WINDOW_EDGES, wavelength=CU_K_ALPHA)

    def _read_scans(self, _event: object = None) -> None:
        """Read the scans that the session asks for and that are not there; one that cannot be read changes nothing."""
        session, samples = self.session, dict(self.samples)
        wanted = {key: session.scans.get(key, 0) for key in session.files if key in samples}
        changed = {key: scan for key, scan in wanted.items() if samples[key].scan != scan}
        for key, scan in changed.items():
            try:
                samples[key] = read_scan(samples[key], scan=scan)
            except InputError as error:
                self.add_problem(str(error))
                with param.parameterized.discard_events(session):
                    session.scans = {**session.scans, key: samples[key].scan}
        if changed:
            with param.edit_constant(self):
                self.samples = samples
            self._results.clear()
            self.stages.forget()

    # ------------------------------------------------------------------------------------------------------ prediction
    def composition(self, formula: str) -> Composition:
        """The parsed formula; `FormulaError` says what is wrong with it."""
        return parse_formula(formula)

    def answer(self) -> Answer | Missing:
        """The prediction for the chosen pattern and its formula, or what is missing for one."""
        session = self.session
        sample, formula = self.samples.get(session.chosen), session.formula.strip()
        if sample is None:
            return Missing("Drop a diffractogram first, or load the example data.")
        if not formula:
            return Missing("Type the formula of the sample to get a prediction.")
        try:
            composition, gridded = self.composition(formula), self.gridded(sample.key)
            if gridded.extent < LEAST_COVERAGE and not session.override_coverage:
                share = f"{gridded.extent:.0%} of 5-90° 2θ (Cu Kα)"
                words = f"Only {share} lies in the scan, less than the {LEAST_COVERAGE:.0%} that a prediction needs."
                return Missing(words, "coverage")
            settings = (self.stages.preparation(sample.key), session.model)
            prediction = self._kept(
                ("prediction", sample.key, formula, *settings), lambda: self._predictor().predict(gridded, composition)
            )
        except InputError as error:
            start = "The model cannot be loaded. " if isinstance(error, CheckpointError) else ""
            what: Wanted = "wavelength" if isinstance(error, WavelengthError) else "input"
            return Missing(safe_message(start + without_name(error, sample.name)), what)
        return Answer(sample, formula, prediction)

    def _kept(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever `make` makes
        if key not in self._results:
            if len(self._results) >= _MOST_RESULTS:
                self._results.clear()
            self._results[key] = make()
        return self._results[key]
