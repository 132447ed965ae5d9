"""Widgets of patterns: as measured, what a model says of them, and what it expects in masked windows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact_app.library.models import find_model
from xxact_app.library.predictors import open_predictor
from xxact_app.samples.processing_steps import place_of, set_value, switch_step, value_of
from xxact_app.samples.store import Answer, Store
from xxact_app.screens.patterns import view as pattern
from xxact_app.screens.prediction import view as prediction
from xxact_app.screens.reconstruction import view as reconstruction
from xxact_app.screens.reconstruction.store import MaskedPattern, ReconstructionStore
from xxact_app.session.session import Session
from xxact_app.widgets.coerce_patterns import give_patterns, given_to_patterns
from xxact_app.widgets.display import Choice, NotebookWidget

if TYPE_CHECKING:
    from xxact_core.evaluation.reconstruction import Reconstruction
    from xxact_core.patterns.pattern import Pattern
    from xxact_core.prediction.predictor import Prediction, Predictor


class _Setting:
    """An attribute of a widget that is a setting of a step of the preparation; `off` where the step is not done."""

    def __init__(self, step: str, setting: str, *, off: float | str = 0.0) -> None:
        self.step, self.setting, self.off = step, setting, off

    def __get__(self, widget: _OfPatterns | None, owner: type) -> Any:  # noqa: ANN401 - a number or a name
        if widget is None:
            return self
        value = value_of(widget.session.steps, self.step, self.setting)
        return self.off if value is None else value

    def __set__(self, widget: _OfPatterns, value: float | str) -> None:
        steps = widget.session.steps
        place = place_of(steps, self.step)
        if value != self.off:
            widget.session.steps = set_value(steps, self.step, **{self.setting: value})
        elif place is not None:
            widget.session.steps = switch_step(steps, place, on=False)


class _OfPatterns(NotebookWidget):
    """What the widgets of patterns share: the patterns by name, their formulas, and which of them is chosen."""

    steps, dark = Choice(), Choice()
    zero_shift, smearing = _Setting("zero_shift", "shift"), _Setting("smooth", "sigma")
    background = _Setting("subtract_background", "method", off="none")

    def __init__(
        self,
        given: tuple[object, ...],
        *,
        wavelength: float | str | None,
        formula: str | Mapping[str, str] = "",
        predictor: Predictor | None = None,
    ) -> None:
        self.patterns: dict[str, Pattern] = given_to_patterns(given, wavelength=wavelength)
        session = Session()
        self.store = Store(session, predictor=None if predictor is None else lambda: predictor)
        self._keys = give_patterns(self.store, self.patterns)
        formulas = formula if isinstance(formula, Mapping) else dict.fromkeys(self._keys, formula)
        session.add(list(self._keys.values()), formulas={self._keys[name]: text for name, text in formulas.items()})
        self.session = session

    @property
    def chosen(self) -> str:
        """Name of the pattern that is asked about."""
        return next((name for name, key in self._keys.items() if key == self.session.chosen), "")

    @chosen.setter
    def chosen(self, name: str) -> None:
        self.session.chosen = self._keys[name]

    @property
    def formula(self) -> str:
        """Formula of the chosen pattern."""
        return self.session.formula

    @formula.setter
    def formula(self, text: str) -> None:
        self.session.set_formula(text)


class PatternView(_OfPatterns):
    """Patterns as measured and as the model sees them.

    `axis`, `scale`, `stage`, `arrangement`, `steps`, `background`, `smearing` [deg], `zero_shift` [deg],
    `show_background`, `show_windows` and `shown` (names of the patterns drawn) are what the user chose, and may be set.
    """

    axis, scale, stage, arrangement = Choice(), Choice(), Choice(), Choice()
    show_background, show_windows = Choice(), Choice()

    def __init__(self, *given: object, wavelength: float | str | None = None) -> None:
        """Take paths, pairs of arrays (2θ [deg], intensity), xarray objects, patterns, or a mapping of names to them.

        wavelength: in Å or by name; goes before what they say. Where nobody says it, the widget asks.

        Raises:
            PatternError: names what cannot be used, and what was expected.
        """
        super().__init__(given, wavelength=wavelength)
        self.view = pattern.PatternsScreen(self.session, self.store)
        self.show_panel(self.session, self.view.panel)

    @property
    def shown(self) -> list[str]:
        """Names of the patterns that are drawn."""
        return [name for name, key in self._keys.items() if key not in self.session.hidden]

    @shown.setter
    def shown(self, names: list[str]) -> None:
        drawn = {self._keys[name] for name in names}
        self.session.hidden = [key for key in self._keys.values() if key not in drawn]


class PredictionView(_OfPatterns):
    """What a pattern and a formula say of the material; `prediction` is the answer that is shown.

    `chosen` (name of the pattern), `formula`, `background`, `smearing` [deg] and `zero_shift` [deg] may be set.
    """

    override_coverage = Choice()

    def __init__(
        self,
        *given: object,
        formula: str | Mapping[str, str] = "",
        wavelength: float | str | None = None,
        model: str | Path | Predictor | None = None,
    ) -> None:
        """Take patterns as `PatternView` does; formula: of all of them, or by name.

        model: a finished run, the folder of its model, or a `Predictor`; the one that ships where none is given.

        Raises:
            PatternError: names what cannot be used, and what was expected.
            CheckpointError: there is no such model, or it is damaged.
        """
        predictor = open_predictor(find_model(Path(model)).folder) if isinstance(model, str | Path) else model
        super().__init__(given, wavelength=wavelength, formula=formula, predictor=predictor)
        self.view = prediction.PredictionScreen(self.session, self.store)
        self.show_panel(self.session, self.view.panel)

    @property
    def prediction(self) -> Prediction | None:
        """The answer; None where something is missing for one."""
        answer = self.store.answer()
        return answer.prediction if isinstance(answer, Answer) else None

    @property
    def missing(self) -> str:
        """What is missing for an answer, in words."""
        answer = self.store.answer()
        return "" if isinstance(answer, Answer) else answer.text


class ReconstructionView(_OfPatterns):
    """Windows that are hidden from a model, and what it expects there: `reconstruction`.

    `masked` (numbers of the windows of the chosen pattern, 0-16), `mask_ratio`, `chosen` and `formula` may be set.
    """

    mask_ratio = Choice()

    def __init__(
        self,
        *given: object,
        formula: str | Mapping[str, str] = "",
        wavelength: float | str | None = None,
        model: str | Path | None = None,
    ) -> None:
        """Take patterns as `PatternView` does; model: a finished run or a model's folder, else those of the app.

        Raises:
            PatternError: names what cannot be used, and what was expected.
            CheckpointError: there is no such model, or it is damaged.
        """
        super().__init__(given, wavelength=wavelength, formula=formula)
        found = None if model is None else [find_model(Path(model))]
        self.reconstructions = ReconstructionStore(
            self.session, self.store, models=None if found is None else lambda: list(found)
        )
        self.view = reconstruction.ReconstructionScreen(self.session, self.store, self.reconstructions)
        self.show_panel(self.session, self.view.panel)

    @property
    def masked(self) -> list[int]:
        """Numbers of the windows of the chosen pattern that are hidden from the model."""
        return list(self.session.masked.get(self.session.chosen, []))

    @masked.setter
    def masked(self, numbers: list[int]) -> None:
        self.session.masked = {**self.session.masked, self.session.chosen: sorted(numbers)}

    @property
    def reconstruction(self) -> Reconstruction | None:
        """What the model expects; None where nothing is hidden from it, or something is missing."""
        pattern = self.reconstructions.masked_pattern()
        return pattern.reconstruction if isinstance(pattern, MaskedPattern) else None
