"""What follows from the choices on the Reconstruction screen: what a model expects in the masked windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xxact_app.jobs.tasks import Making, making_of
from xxact_app.library.materials import Materials, errors_key, list_materials, make_errors
from xxact_app.library.models import ModelFolder, list_models, load_model
from xxact_app.library.workspace import Workspace, open_workspace
from xxact_app.samples.sample import Sample, without_name
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError
from xxact_core.evaluation.reconstruction import Reconstruction, draw_windows, reconstruct_pattern
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern

TRAIN = (
    "xxact train DATASET RUN --recipe pretrain-mxm --set preset=compact --set epochs=4 --set batch_size=128 "
    "--set peak_rate=8e-4"
)
"""A command that trains a model that reconstructs, on a laptop; its run is offered here once it has ended."""


@dataclass(frozen=True)
class Shown:
    """A pattern as the model would see it without any mask, and what it expects of the masked windows.

    reconstruction is None where the model has not learned it; `remark` then says so, in words, or what else to mind.
    """

    sample: Sample
    formula: str
    pattern: GriddedPattern
    masked: np.ndarray
    model: ModelFolder | None
    reconstruction: Reconstruction | None
    remark: str


@dataclass(frozen=True)
class OverSet:
    """Errors over many patterns; [% of the strongest line], shape (windows,), NaN where no pattern has it masked."""

    materials: int
    patterns: np.ndarray
    error: np.ndarray
    empty: np.ndarray
    total_error: float
    total_empty: float


class ReconstructionStore:
    """Asked by the screen; computes what a session's choices lead to."""

    def __init__(
        self,
        session: Session,
        store: Store,
        *,
        workspace: Callable[[], Workspace] = open_workspace,
        models: Callable[[], list[ModelFolder]] | None = None,
    ) -> None:
        self.session, self.store = session, store
        self._workspace = workspace
        self._models = models or (lambda: list_models(workspace()))
        self._kept: dict[tuple[object, ...], Reconstruction] = {}

    def models(self) -> list[ModelFolder]:
        """All models, those that learned to reconstruct first."""
        return sorted(self._models(), key=lambda model: not model.reconstructs)

    def model(self) -> ModelFolder | None:
        """The chosen model, else the first."""
        models = self.models()
        by_key = {model.key: model for model in models}
        return by_key.get(self.session.reconstruction_model, models[0] if models else None)

    # ------------------------------------------------------------------------------------------------------ one pattern
    def drawn_windows(self, key: str, *, seed: int) -> list[int]:
        """Windows of a pattern to mask, drawn at the session's ratio among those that were measured."""
        drawn = draw_windows(~self.store.hidden_windows(key), ratio=self.session.mask_ratio, seed=seed)
        return np.flatnonzero(drawn).tolist()

    def shown(self) -> Shown | str:
        """The chosen pattern and its reconstruction, or in words what is missing for one."""
        session = self.session
        sample, formula = self.store.samples.get(session.chosen), session.formula.strip()
        if sample is None:
            return "Drop a diffractogram first, or load the example data."
        try:
            pattern = self.store.gridded(sample.key)
            masked = np.zeros(GRID.windows, dtype=bool)
            masked[session.masked.get(sample.key, [])] = True
            masked &= ~pattern.hidden_windows
            model = self.model()
            remark, reconstruction = self._remark(model, formula), None
            if model is not None and not remark and (masked.any() or pattern.hidden_windows.any()):
                reconstruction = self._reconstruct(model, pattern, formula, masked)
                remark = _remark_on(reconstruction)
        except InputError as error:
            return safe_message(without_name(error, sample.name))
        return Shown(sample, formula, pattern, masked, model, reconstruction, remark)

    def _remark(self, model: ModelFolder | None, formula: str) -> str:
        if model is None:
            return "There is no model."
        if not model.reconstructs:
            return (
                f"{model.label} was trained without masked windows: it has not learned what stands in them, and "
                "nothing that it says of them would mean anything. Choose a run that was pretrained with pretrain-mxm."
            )
        return "" if formula else "Type the formula of the sample: the model reads it beside the pattern."

    def _reconstruct(
        self, model: ModelFolder, pattern: GriddedPattern, formula: str, masked: np.ndarray
    ) -> Reconstruction:
        key = (model.digest, pattern.intensity.tobytes(), pattern.coverage.tobytes(), formula, masked.tobytes())
        if key not in self._kept:
            if len(self._kept) >= 64:  # noqa: PLR2004 - more than anybody goes back to
                self._kept.clear()
            composition = self.store.composition(formula)
            self._kept[key] = reconstruct_pattern(load_model(model), pattern, composition, masked=masked)
        return self._kept[key]

    # ------------------------------------------------------------------------------------------------------- over a set
    def make_errors(self) -> None:
        """Begin to take the error over the test split of the sample that ships."""
        model, materials = self.model(), self._sample()
        if model is not None and materials is not None and model.reconstructs:
            make_errors(self._workspace(), model, materials, ratio=self.session.mask_ratio)

    def making(self) -> Making | None:
        """What is under way, or was, for the present model and ratio."""
        model, materials = self.model(), self._sample()
        if model is None or materials is None:
            return None
        return making_of(*errors_key(model, materials, ratio=self.session.mask_ratio))

    def over_set(self) -> OverSet | None:
        """The errors over the set, once they are made."""
        making = self.making()
        if making is None or not making.finished or "total_error" not in making.result:
            return None
        told = making.result
        error, empty = (
            np.array([math.nan if value is None else value for value in told[name]]) for name in ("error", "empty")
        )
        patterns = np.array(told["patterns"])
        return OverSet(told["materials"], patterns, error, empty, told["total_error"], told["total_empty"])

    def _sample(self) -> Materials | None:
        model = self.model()
        choices = [] if model is None else list_materials(self._workspace(), model)
        return next((choice for choice in choices if choice.dataset is not None), None)


def _remark_on(reconstruction: Reconstruction) -> str:
    hidden = reconstruction.masked | reconstruction.unmeasured
    if not reconstruction.expected.reshape(GRID.windows, -1)[hidden].any():
        return "The model expects nothing at all in these windows. Where it always does so, its training failed."
    return ""
