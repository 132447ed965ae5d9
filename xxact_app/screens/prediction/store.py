"""Derived data of the Answer screen: attention maps, and the predictions of all patterns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from xxact_app.jobs.tasks import BackgroundTask, call_step
from xxact_app.library.models import ModelFolder, find_model
from xxact_app.library.workspace import Workspace, open_workspace
from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.samples.sample import Sample
from xxact_app.samples.sample_cache import SampleCache
from xxact_app.samples.store import Store
from xxact_app.screens.prediction.conclusion import Conclusion
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError
from xxact_core.evaluation.attention import WindowAttention, window_attention

_LIBRARIES = ("xxact", "torch", "numpy")

_MAX_ANSWERS = 2000
"""Rows of the table of all patterns that are kept."""

_MAX_ATTENTION = 200
"""Attention maps that are kept, so that a pattern shown again is not encoded again."""


@dataclass(frozen=True)
class BatchRow:
    """One pattern of the table."""

    sample: Sample
    formula: str
    answer: Answer | Missing | None
    """The prediction of the model alone; None where it was not predicted with the current settings."""
    conclusion: Conclusion | None = None
    """The answer from prediction and phases; None where there is no prediction or no phases were searched."""

    @property
    def shown(self) -> Answer | None:
        """The prediction in agreement with the phases; None for a mixture."""
        one = self.answer if self.conclusion is None else self.conclusion.answer
        return one if isinstance(one, Answer) else None


class PredictionStore:
    """Computes what the Answer screen of a session shows."""

    def __init__(self, session: Session, store: Store, *, workspace: Callable[[], Workspace] = open_workspace) -> None:
        self.session, self.store = session, store
        self._workspace = workspace
        self._attention: SampleCache[WindowAttention] = store.cache(_MAX_ATTENTION)
        self._answers: SampleCache[Answer | Missing] = store.cache(_MAX_ANSWERS)
        self._run: BackgroundTask | None = None

    def model(self) -> ModelFolder | None:
        """The model that predicts."""
        try:
            return find_model(self.session.model, workspace=self._workspace)
        except InputError:
            return None

    def versions(self) -> str:
        """Versions of XxaCT and of its main libraries."""
        return ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)

    def attention(self, answer: Answer) -> WindowAttention | str:
        """The attention map of an answer, or the reason why there is none, a safe text."""
        key = answer.sample.key

        def compute() -> WindowAttention:
            known, gridded = self.store.known(answer.formula), self.store.gridded(key)
            return window_attention(self.store.predictor().checkpoint, gridded, known)

        try:
            return self._attention.get_or_compute(key, self.store.question(key), compute)
        except InputError as error:
            return safe_message(error)

    # ------------------------------------------------------------------------------------------------------- the batch
    def rows(self) -> list[BatchRow]:
        """All patterns in order, with their predictions so far."""
        samples = [self.store.samples[key] for key in self.session.files if key in self.store.samples]
        return [
            BatchRow(sample, self.session.sample(sample.key).formula.strip(), self._known_answer(sample.key))
            for sample in samples
        ]

    def ask(self, key: str) -> Answer | Missing:
        """Predict one pattern and keep the answer for the table."""
        question = self._question(key)
        answer = self.store.answer(key)
        self._answers.put(key, question, answer)
        return answer

    def start(self) -> None:
        """Start to predict every pattern that has no answer yet."""
        if self._run is None or not self._run.active:
            keys = [row.sample.key for row in self.rows() if row.answer is None]
            self._run = BackgroundTask([call_step("Predicting", self.ask, keys, unit="patterns")])

    def batch(self) -> BackgroundTask | None:
        """The batch that is running or has ended; None before the first."""
        return self._run

    def is_known(self, key: str) -> bool:
        """Whether the answer for a pattern is known already."""
        return self._known_answer(key) is not None

    def _known_answer(self, key: str) -> Answer | Missing | None:
        return self._answers.get(key, self._question(key))

    def _question(self, key: str) -> tuple[object, ...]:
        return (*self.store.question(key), self.session.override_coverage)
