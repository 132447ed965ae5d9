"""Derived data of the Reconstruction screen: masked windows, their reconstruction, and errors on the test split."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, find_task
from xxact_app.library.materials import Materials, errors_key, list_materials, make_errors
from xxact_app.library.models import ModelFolder, keys_by_text, list_models, load_model
from xxact_app.library.workspace import Workspace, open_workspace
from xxact_app.samples.sample import Sample, without_name
from xxact_app.samples.sample_cache import SampleCache
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError
from xxact_core.evaluation.reconstruction import Reconstruction, draw_windows, reconstruct_pattern
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern

TRAIN = (
    "xxact train DATASET RUN --recipe pretrain-mxm --set preset=compact --set epochs=4 --set batch_size=128 "
    "--set lr_peak=8e-4"
)
"""A command that trains a reconstruction model on a laptop."""

_EXAMPLES = 5
"""Windows that are reconstructed to choose an example. Ours."""

_MAX_KEPT = 64
"""Reconstructions that are kept."""


@dataclass(frozen=True)
class MaskedPattern:
    """A pattern, its masked windows and their reconstruction."""

    sample: Sample
    formula: str
    pattern: GriddedPattern
    """Model input without masked windows."""
    masked: np.ndarray
    """Windows masked by the user, shape (windows,)."""
    example: bool
    """Whether the window was masked as an example, and not by the user."""
    model: ModelFolder | None
    reconstruction: Reconstruction | None
    """None where nothing is masked, or where the model or the formula does not allow it."""
    remark: str
    """Why there is no reconstruction, or a warning about it; may be empty."""


@dataclass(frozen=True)
class SplitErrors:
    """Reconstruction errors on the test split, root mean square in % of the maximum; arrays of shape (windows,)."""

    materials: int
    """Number of materials."""
    patterns: np.ndarray
    """Number of patterns in which a window was masked."""
    error: np.ndarray
    """Error of the reconstruction, NaN where a window was never masked."""
    empty: np.ndarray
    """Error of an empty window, for comparison."""
    total_error: float
    """`error` over all masked windows."""
    total_empty: float
    """`empty` over all masked windows."""


class ReconstructionStore:
    """Computes what the Reconstruction screen of a session shows."""

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
        self._reconstructions: SampleCache[Reconstruction] = store.cache(_MAX_KEPT)

    def models(self) -> list[ModelFolder]:
        """All models, those trained for reconstruction first."""
        return sorted(self._models(), key=lambda model: not model.reconstructs)

    def model(self) -> ModelFolder | None:
        """The selected model, else the first."""
        models = self.models()
        by_key = {model.key: model for model in models}
        key = self.session.reconstruction_model
        return by_key.get(keys_by_text(models).get(key, key), models[0] if models else None)

    # ------------------------------------------------------------------------------------------------------ one pattern
    def masked_windows(self, key: str) -> list[int]:
        """Indices of the masked windows: those that were chosen, else an example."""
        chosen = self.session.sample(key).masked
        return self._example(key) if chosen is None else list(chosen)

    def _example(self, key: str) -> list[int]:
        """Of the windows with the highest peaks that which the model reconstructs best; none without a peak.

        Without a model or a formula it is that beside the strongest.
        """
        pattern, formula = self.store.gridded(key), self.session.sample(key).formula.strip()
        windows, model = highest_windows(pattern), self.model()
        if not windows or model is None or self._remark(model, formula):
            return windows[1:2]
        errors = []
        for window in windows:
            masked = np.zeros(GRID.windows, dtype=bool)
            masked[window] = True
            try:
                found = self._reconstruct(model, key, pattern, formula, masked)
            except InputError:
                return windows[1:2]
            errors.append(found.error[window] / found.empty[window])
        return [windows[int(np.nanargmin(errors))]]

    def random_windows(self, key: str, *, seed: int) -> list[int]:
        """A random choice of measured windows to mask, with the mask ratio of the session."""
        windows = draw_windows(~self.store.hidden_windows(key), ratio=self.session.mask_ratio, seed=seed)
        return np.flatnonzero(windows).tolist()

    def masked_pattern(self) -> MaskedPattern | str:
        """The selected pattern with its reconstruction, or the reason why there is none, a safe text."""
        session = self.session
        sample, formula = self.store.samples.get(session.chosen), session.formula.strip()
        if sample is None:
            return "Load a diffractogram or the example data first."
        try:
            pattern = self.store.gridded(sample.key)
            masked = np.zeros(GRID.windows, dtype=bool)
            masked[self.masked_windows(sample.key)] = True
            masked &= ~pattern.hidden_windows
            model = self.model()
            remark, reconstruction = self._remark(model, formula), None
            if model is not None and not remark and (masked.any() or pattern.hidden_windows.any()):
                reconstruction = self._reconstruct(model, sample.key, pattern, formula, masked)
                remark = _remark_on(reconstruction)
        except InputError as error:
            return safe_message(without_name(error, sample.name))
        example = session.sample(sample.key).masked is None and masked.any() and reconstruction is not None
        return MaskedPattern(sample, formula, pattern, masked, bool(example), model, reconstruction, remark)

    def _remark(self, model: ModelFolder | None, formula: str) -> str:
        if model is None:
            return "No model is available."
        if not model.reconstructs:
            return (
                f"{model.label} has no trained reconstruction: it was trained without masked windows. Choose a model "
                "trained with the objective mxm."
            )
        return "" if formula else "Formula missing: the reconstruction uses the pattern and the formula."

    def _reconstruct(
        self, model: ModelFolder, key: str, pattern: GriddedPattern, formula: str, masked: np.ndarray
    ) -> Reconstruction:
        question = (model.digest, pattern.intensity.tobytes(), pattern.coverage.tobytes(), formula, masked.tobytes())
        composition = self.store.composition(formula)
        return self._reconstructions.get_or_compute(
            key, question, lambda: reconstruct_pattern(load_model(model), pattern, composition, masked=masked)
        )

    # ------------------------------------------------------------------------------------------------------ test split
    def make_errors(self) -> None:
        """Start to evaluate the model on the test split of the sample of reference materials."""
        model, materials = self.model(), self._sample()
        if model is not None and materials is not None and model.reconstructs:
            make_errors(self._workspace(), model, materials, ratio=self.session.mask_ratio)

    def task(self) -> BackgroundTask | None:
        """The evaluation of the current model and mask ratio, running or ended; None where none was started."""
        model, materials = self.model(), self._sample()
        if model is None or materials is None:
            return None
        return find_task(*errors_key(model, materials, ratio=self.session.mask_ratio))

    def test_errors(self) -> SplitErrors | None:
        """The errors on the test split; None while there are none."""
        task = self.task()
        if task is None or task.active or "total_error" not in task.result:
            return None
        result = task.result
        error, empty = (
            np.array([math.nan if value is None else value for value in result[name]]) for name in ("error", "empty")
        )
        patterns = np.array(result["patterns"])
        return SplitErrors(result["materials"], patterns, error, empty, result["total_error"], result["total_empty"])

    def _sample(self) -> Materials | None:
        model = self.model()
        choices = [] if model is None else list_materials(self._workspace(), model)
        return next((choice for choice in choices if choice.dataset is not None), None)


def highest_windows(pattern: GriddedPattern) -> list[int]:
    """The measured windows with the highest peaks, the highest first; fewer where there are no more peaks."""
    heights = pattern.intensity.reshape(GRID.windows, -1).max(axis=1)
    heights = np.where(pattern.hidden_windows, 0.0, heights)
    return [number for number in np.argsort(-heights, kind="stable").tolist()[:_EXAMPLES] if heights[number] > 0]


def _remark_on(reconstruction: Reconstruction) -> str:
    hidden = reconstruction.masked | reconstruction.unmeasured
    if not reconstruction.expected.reshape(GRID.windows, -1)[hidden].any():
        return "The reconstruction of these windows is empty. If it always is, the training has failed."
    return ""
