"""Widgets for patterns, predictions and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact_app.library.models import load_predictor, open_model
from xxact_app.plots.paper_figure import FIGURE_KINDS, FigureSettings, paper_figure
from xxact_app.samples.prediction_result import Answer
from xxact_app.samples.processing_steps import place_of, set_value, switch_step, value_of
from xxact_app.samples.store import Store
from xxact_app.screens.patterns import text
from xxact_app.screens.patterns import view as pattern
from xxact_app.screens.prediction import view as prediction
from xxact_app.screens.reconstruction import view as reconstruction
from xxact_app.screens.reconstruction.store import MaskedPattern, ReconstructionStore
from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import Session
from xxact_app.widgets.coerce_patterns import add_patterns, inputs_to_patterns
from xxact_app.widgets.display import NotebookWidget, SessionSetting
from xxact_core.errors import InputError, PatternError, shorten

if TYPE_CHECKING:
    from xxact_core.evaluation.reconstruction import Reconstruction
    from xxact_core.patterns.pattern import Pattern
    from xxact_core.prediction.prediction import Prediction
    from xxact_core.prediction.predictor import Predictor
    from xxact_core.search_match.peak_search import PeakList


class _StepSetting:
    """An attribute of a widget that reads and sets a setting of a processing step; `off` where the step is disabled."""

    def __init__(self, step: str, setting: str, *, off: float | str = 0.0) -> None:
        self.step, self.setting, self.off = step, setting, off

    def __get__(self, widget: _PatternWidget | None, owner: type) -> Any:  # noqa: ANN401 - a number or a name
        if widget is None:
            return self
        value = value_of(widget.session.steps, self.step, self.setting)
        return self.off if value is None else value

    def __set__(self, widget: _PatternWidget, value: float | str) -> None:
        steps = widget.session.steps
        place = place_of(steps, self.step)
        if value != self.off:
            widget.session.steps = set_value(steps, self.step, **{self.setting: value})
        elif place is not None:
            widget.session.steps = switch_step(steps, place, on=False)


class _PatternWidget(NotebookWidget):
    """Base of the widgets for patterns: patterns by name, formulas, and the selected pattern."""

    steps, dark = SessionSetting(), SessionSetting()
    zero_shift, broadening = _StepSetting("zero_shift", "shift"), _StepSetting("smooth", "sigma")
    smearing = broadening  # the name in version 0.1.0
    background = _StepSetting("subtract_background", "method", off="none")

    def __init__(
        self,
        inputs: tuple[object, ...],
        *,
        wavelength: float | str | None,
        formula: str | Mapping[str, str] = "",
        predictor: Predictor | None = None,
    ) -> None:
        self.patterns: dict[str, Pattern] = inputs_to_patterns(inputs, wavelength=wavelength)
        session = Session()
        self.store = Store(session, predictor=None if predictor is None else lambda: predictor)
        self._keys = add_patterns(self.store, self.patterns)
        formulas = formula if isinstance(formula, Mapping) else dict.fromkeys(self._keys, formula)
        known = {key: SampleChoices(formula=formulas.get(name, "")) for name, key in self._keys.items()}
        session.add(list(known), known=known)
        self.session = session

    def __repr__(self) -> str:
        """The widget and its patterns: `PatternView of 2 patterns: anatase.xy, rutile.raw`."""
        count = "1 pattern" if len(self._keys) == 1 else f"{len(self._keys)} patterns"
        return f"{type(self).__name__} of {count}: {shorten(', '.join(self._keys), limit=200)}"

    @property
    def chosen(self) -> str:
        """Name of the selected pattern."""
        return next((name for name, key in self._keys.items() if key == self.session.chosen), "")

    @chosen.setter
    def chosen(self, name: str) -> None:
        self.session.chosen = self._keys[name]

    @property
    def formula(self) -> str:
        """Formula of the selected pattern."""
        return self.session.formula

    @formula.setter
    def formula(self, text: str) -> None:
        self.session.set_formula(text)


class PatternView(_PatternWidget):
    """Patterns as measured, after processing steps, and as model input.

    `axis`, `scale`, `stage`, `arrangement`, `steps`, `background`, `broadening` [deg], `zero_shift` [deg],
    `offset`, `show_background`, `show_windows`, `show_peaks` and `shown` (names of the patterns shown) can be read and
    set; `peaks` has those of the selected pattern `chosen`.
    """

    axis, scale, stage, arrangement = SessionSetting(), SessionSetting(), SessionSetting(), SessionSetting()
    show_background, show_windows, show_peaks = SessionSetting(), SessionSetting(), SessionSetting()
    offset = SessionSetting("curve_offset")

    def __init__(self, *inputs: object, wavelength: float | str | None = None) -> None:
        """Show patterns.

        Args:
            inputs: paths, pairs of arrays (2θ [deg], intensity), xarray objects, patterns, or a mapping of names to
                these.
            wavelength: in Å or by name, in place of that of the inputs. The widget asks for a missing one.

        Raises:
            PatternError: an input is invalid; the message names it.
        """
        super().__init__(inputs, wavelength=wavelength)
        self.view = pattern.PatternsScreen(self.session, self.store)
        self.show_panel(self.session, self.view.panel)

    @property
    def shown(self) -> list[str]:
        """Names of the patterns shown."""
        return [name for name, key in self._keys.items() if self.session.sample(key).visible]

    @shown.setter
    def shown(self, names: list[str]) -> None:
        self.session.show_only([self._keys[name] for name in names])

    @property
    def peaks(self) -> PeakList:
        """Peaks of the selected pattern.

        Raises:
            PatternError: they cannot be found; the message says why.
        """
        found = self.view.peaks.peaks.peaks(self.session.chosen)
        if isinstance(found, str):
            msg = f"{self.chosen}: {found}"
            raise PatternError(msg, code="E_VALUES")
        return found

    def write_figure(self, path: str | Path, settings: FigureSettings | None = None) -> None:
        """Write the plot as a figure for a paper; the ending of the file is that of its format.

        Args:
            path: ends in `.png`, `.svg` or `.pdf`.
            settings: size, resolution and labels.

        Raises:
            InputError: the ending is another (E_FORMAT).
        """
        kind = next((one for one in FIGURE_KINDS if Path(path).suffix.lower() == f".{one}"), None)
        if kind is None:
            msg = f"{Path(path).name}: a figure ends in {', '.join(f'.{one}' for one in FIGURE_KINDS)}"
            raise InputError(msg, code="E_FORMAT")
        peaks = self.view.peaks.labels()
        content = text.to_content(self.view.drawn(), self.session, peaks=peaks)
        Path(path).write_bytes(paper_figure(content, settings or FigureSettings(), kind=kind))


class PredictionView(_PatternWidget):
    """The prediction for a pattern and its composition, as `prediction`.

    `chosen` (name of the selected pattern), `formula`, `background`, `broadening` [deg] and `zero_shift` [deg] can be
    read and set.
    """

    override_coverage = SessionSetting()

    def __init__(
        self,
        *inputs: object,
        formula: str | Mapping[str, str] = "",
        wavelength: float | str | None = None,
        model: str | Path | Predictor | None = None,
    ) -> None:
        """Predict patterns.

        Args:
            inputs: patterns, as for `PatternView`.
            formula: one composition for all patterns, or a mapping of names to compositions.
            wavelength: in Å or by name, in place of that of the inputs.
            model: run folder, folder of a checkpoint, or `Predictor`; the shipped model by default.

        Raises:
            PatternError: an input is invalid; the message names it.
            CheckpointError: the model does not exist or is damaged.
        """
        predictor = load_predictor(open_model(Path(model))) if isinstance(model, str | Path) else model
        super().__init__(inputs, wavelength=wavelength, formula=formula, predictor=predictor)
        self.view = prediction.PredictionScreen(self.session, self.store)
        self.show_panel(self.session, self.view.panel)

    @property
    def prediction(self) -> Prediction | None:
        """The prediction; None where an input is missing."""
        answer = self.store.answer()
        return answer.prediction if isinstance(answer, Answer) else None

    @property
    def missing(self) -> str:
        """What is missing for a prediction; empty where there is one."""
        answer = self.store.answer()
        return "" if isinstance(answer, Answer) else answer.text


class ReconstructionView(_PatternWidget):
    """Masked windows of a pattern and their reconstruction, as `reconstruction`.

    `masked` (indices of the masked windows of the selected pattern, 0-16), `mask_ratio`, `chosen` and `formula` can be
    read and set.
    """

    mask_ratio = SessionSetting()

    def __init__(
        self,
        *inputs: object,
        formula: str | Mapping[str, str] = "",
        wavelength: float | str | None = None,
        model: str | Path | None = None,
    ) -> None:
        """Reconstruct masked windows of patterns.

        Args:
            inputs: patterns, as for `PatternView`.
            formula: one formula for all patterns, or a mapping of names to formulas.
            wavelength: in Å or by name, in place of that of the inputs.
            model: run folder or folder of a checkpoint; by default the models of the app can be selected.

        Raises:
            PatternError: an input is invalid; the message names it.
            CheckpointError: the model does not exist or is damaged.
        """
        super().__init__(inputs, wavelength=wavelength, formula=formula)
        found = None if model is None else [open_model(Path(model))]
        self.reconstructions = ReconstructionStore(
            self.session, self.store, models=None if found is None else lambda: list(found)
        )
        self.view = reconstruction.ReconstructionScreen(self.session, self.store, self.reconstructions)
        self.show_panel(self.session, self.view.panel)

    @property
    def masked(self) -> list[int]:
        """Indices of the masked windows of the selected pattern."""
        return self.reconstructions.masked_windows(self.session.chosen)

    @masked.setter
    def masked(self, numbers: list[int]) -> None:
        self.session.change([self.session.chosen], masked=tuple(sorted(numbers)))

    @property
    def reconstruction(self) -> Reconstruction | None:
        """The reconstruction; None where no window is masked or an input is missing."""
        pattern = self.reconstructions.masked_pattern()
        return pattern.reconstruction if isinstance(pattern, MaskedPattern) else None
