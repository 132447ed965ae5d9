"""What follows from the user's choices: read patterns, grids, parsed formulas, predictions. Views only read it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import param

from xxact_app.escaping import safe_message
from xxact_app.predictors import load_predictor
from xxact_app.samples import Problem, Sample, list_examples, read_sample, without_name
from xxact_app.session import Session
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.errors import CheckpointError, InputError, WavelengthError
from xxact_core.patterns.background import baseline, estimate_background
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS, parse_wavelength, two_theta_to_d, two_theta_to_q
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.gridding import LEAST_COVERAGE, put_on_grid
from xxact_core.patterns.pattern import LEAST_WINDOW, GriddedPattern

if TYPE_CHECKING:
    from xxact_core.predict import Prediction, Predictor

logger = logging.getLogger(__name__)

HIDDEN = f"hidden from the model, because less than {LEAST_WINDOW:.0%} of the window was measured"
"""What is said of a window that the model is not shown."""

RADIATIONS = dict(WAVELENGTHS)
"""Named wavelengths [Å] that the app offers."""

Wanted = Literal["input", "wavelength", "coverage"]

WINDOW_EDGES = GRID.start + GRID.step * GRID.window_points * np.arange(GRID.windows + 1)
"""Edges of the windows that the model reads as tokens [deg 2θ at Cu Kα], shape (windows + 1,)."""

_MOST_RESULTS = 512


def to_wavelength(text: str) -> float:
    """Wavelength [Å] of a name or a number; `InputError` lists the choices."""
    return parse_wavelength(text)


@dataclass(frozen=True)
class Trace:
    """A pattern as one stage shows it: x on the chosen axis, the angle [deg], the spacing [Å], what was fitted."""

    x: np.ndarray
    two_theta: np.ndarray
    d: np.ndarray
    intensity: np.ndarray
    background: np.ndarray | None = None


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


def _spacing(two_theta: np.ndarray, wavelength: float) -> np.ndarray:
    """Lattice spacing [Å]; NaN at and below 0°, where a zero shift may put the first points."""
    return np.where(two_theta > 0, two_theta_to_d(np.maximum(two_theta, 1e-9), wavelength=wavelength), np.nan)


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
        self.read: dict[str, Sample] = {}
        self._new: set[str] = set()  # read, and not yet taken up by the session
        self._counter = 0
        session.param.watch(self._follow_files, "files")
        session.param.watch(self._forget_dismissed, "dismissed")

    # --------------------------------------------------------------------------------------------------------- reading
    def read_files(self, files: Iterable[tuple[str, bytes]], *, taken: Collection[str] | None = None) -> list[str]:
        """Read dropped files and return the keys of those that could be read; the others become problems.

        taken: names that they must not have; by default those of the samples that are there.
        """
        keys = []
        for file, content in files:
            self._counter += 1
            names = {sample.name for sample in self.samples.values()} if taken is None else taken
            try:
                sample = read_sample(file, content, number=self._counter, taken=names)
            except InputError as error:
                self.add_problem(str(error))
                continue
            self.read[sample.key] = sample
            self._new.add(sample.key)
            with param.edit_constant(self):
                self.samples = {**self.samples, sample.key: sample}
            keys.append(sample.key)
        return keys

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

    def keep_read(self, keys: Iterable[str]) -> None:
        """Forget all samples that were read but these, which are shown or can come back, and those just read."""
        self.read = {key: self.read[key] for key in dict.fromkeys([*keys, *self._new]) if key in self.read}

    def _follow_files(self, _event: object) -> None:
        self._new.difference_update(self.session.files)
        with param.edit_constant(self):
            self.samples = {key: self.read[key] for key in self.session.files if key in self.read}
        self._results.clear()

    def _forget_dismissed(self, _event: object) -> None:
        with param.edit_constant(self):
            self.problems = [problem for problem in self.problems if problem.key not in self.session.dismissed]

    # ------------------------------------------------------------------------------------------------------ processing
    def wavelength(self, key: str) -> float | None:
        """Wavelength [Å] of a pattern: the user's, else the file's, else None."""
        return self.session.wavelengths.get(key, self.samples[key].pattern.wavelength)

    def without_wavelength(self) -> list[str]:
        """Keys of the patterns whose wavelength nobody has said yet."""
        return [key for key in self.samples if self.wavelength(key) is None]

    def gridded(self, key: str) -> GriddedPattern:
        """What the model sees of a pattern; `InputError` says why not."""
        session = self.session
        settings = (self.wavelength(key), session.background, session.zero_shift, session.smearing)
        if settings[0] is None:
            msg = "The file does not say its wavelength, and none is assumed: please enter it."
            raise WavelengthError(msg, code="E_WAVELENGTH")

        def make() -> GriddedPattern:
            wavelength, background, zero_shift, smearing = settings
            return put_on_grid(
                self.samples[key].pattern, wavelength=wavelength, background=background, zero_shift=zero_shift,
                smearing=smearing, override_coverage=True,
            )  # fmt: skip

        return self._kept(("gridded", key, *settings), make)

    def hidden_windows(self, key: str) -> np.ndarray:
        """Which windows of a pattern are hidden from the model, because too little of them was measured, (windows,)."""
        return self.gridded(key).hidden_windows

    def trace(self, key: str) -> Trace | None:
        """The pattern at the chosen stage on the chosen axis, or None where its wavelength is needed and missing."""
        session = self.session
        try:
            return self._gridded_trace(key) if session.stage == "gridded" else self._measured_trace(key)
        except InputError:
            return None

    def _measured_trace(self, key: str) -> Trace | None:
        pattern, wavelength = self.samples[key].pattern, self.wavelength(key)
        if wavelength is None and self.session.axis != "two_theta":
            return None
        two_theta = pattern.two_theta + self.session.zero_shift
        method = self.session.background

        def fit() -> np.ndarray:
            return estimate_background(pattern, method=method)

        wanted = self.session.show_background and method != "none"
        return Trace(
            x=self.on_axis(two_theta, wavelength=wavelength),
            two_theta=two_theta,
            d=np.full_like(two_theta, np.nan) if wavelength is None else _spacing(two_theta, wavelength),
            intensity=pattern.intensity,
            background=self._kept(("background", key, method), fit) if wanted else None,
        )

    def _gridded_trace(self, key: str) -> Trace:
        gridded = self.gridded(key)
        intensity = np.where(gridded.coverage, gridded.intensity.astype(np.float64), np.nan)
        return Trace(
            x=self.on_axis(GRID.two_theta, wavelength=CU_K_ALPHA),
            two_theta=GRID.two_theta,
            d=_spacing(GRID.two_theta, CU_K_ALPHA),
            intensity=intensity,
        )

    def on_axis(self, two_theta: np.ndarray, *, wavelength: float | None) -> np.ndarray:
        """Angles [deg] on the session's axis; only 2θ does without a wavelength."""
        if self.session.axis == "two_theta" or wavelength is None:
            return np.asarray(two_theta, dtype=np.float64)
        if self.session.axis == "q":
            return two_theta_to_q(two_theta, wavelength=wavelength)
        return _spacing(two_theta, wavelength)

    def window_edges(self) -> np.ndarray:
        """Edges of the windows on the session's axis, shape (windows + 1,)."""
        return self.on_axis(WINDOW_EDGES, wavelength=CU_K_ALPHA)

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
            settings = (
                session.background, session.zero_shift, session.smearing, self.wavelength(sample.key), session.model,
            )  # fmt: skip
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
