"""Derived data of the Prediction screen: attention maps, and the predictions of all patterns."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from xxact_app.jobs.tasks import duration
from xxact_app.library.models import SHIPPED_KEY, ModelFolder, list_models
from xxact_app.library.workspace import Workspace, open_workspace
from xxact_app.samples.results import Answer, Missing
from xxact_app.samples.sample import Sample
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError
from xxact_core.evaluation.attention import WindowAttention, attend_windows

logger = logging.getLogger(__name__)

_LIBRARIES = ("xxact", "torch", "numpy")


@dataclass(frozen=True)
class BatchRow:
    """One pattern of the table; `answer` is None where it was not predicted with the current settings."""

    sample: Sample
    formula: str
    answer: Answer | Missing | None


class BatchRun:
    """Predictions of several patterns, one after another in a thread, with progress and a way to stop."""

    def __init__(self, keys: Sequence[str], ask: Callable[[str], object]) -> None:
        self.finished, self.error = False, ""
        self._keys, self._ask, self._done = tuple(keys), ask, 0
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def share(self) -> float:
        """Progress (0-1)."""
        return self._done / max(len(self._keys), 1)

    @property
    def text(self) -> str:
        """Progress with the time left, as a safe text."""
        if self.finished:
            return self.error or "Done."
        spent = time.monotonic() - self._began
        left = f", about {duration(spent / self._done * (len(self._keys) - self._done))} left" if self._done else ""
        return f"{self._done} of {len(self._keys)} patterns predicted{left}"

    def cancel(self) -> None:
        """Stop after the current pattern; finished predictions are kept."""
        self._stopped.set()

    def join(self, *, seconds: float) -> None:
        """Wait until it has ended, at most `seconds`."""
        self._thread.join(seconds)

    def _work(self) -> None:
        try:
            for key in self._keys:
                if self._stopped.is_set():
                    self.error = f"Stopped after {self._done} of {len(self._keys)} patterns."
                    break
                self._ask(key)
                self._done += 1
        except Exception:
            logger.exception("predicting all patterns failed")
            self.error = "The prediction failed because of an error in the app; see the server log."
        finally:
            self.finished = True


class PredictionStore:
    """Computes what the Prediction screen of a session shows."""

    def __init__(self, session: Session, store: Store, *, workspace: Callable[[], Workspace] = open_workspace) -> None:
        self.session, self.store = session, store
        self._workspace = workspace
        self._attention: tuple[tuple[object, ...], WindowAttention] | None = None
        self._answers: dict[str, tuple[tuple[object, ...], Answer | Missing]] = {}
        self._run: BatchRun | None = None

    def model(self) -> ModelFolder | None:
        """The model that predicts."""
        key = f"run {self.session.model}" if self.session.model else SHIPPED_KEY
        return next((model for model in list_models(self._workspace()) if model.key == key), None)

    def versions(self) -> str:
        """Versions of XxaCT and of its main libraries."""
        return ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)

    def attention(self, answer: Answer) -> WindowAttention | str:
        """The attention map of an answer, or the reason why there is none, a safe text."""
        question = self.store.question(answer.sample.key)
        if self._attention is None or self._attention[0] != question:
            try:
                known, gridded = self.store.known(answer.formula), self.store.gridded(answer.sample.key)
                attention = attend_windows(self.store.predictor().checkpoint, gridded, known)
            except InputError as error:
                return safe_message(error)
            self._attention = (question, attention)
        return self._attention[1]

    # ------------------------------------------------------------------------------------------------------- the batch
    def rows(self) -> list[BatchRow]:
        """All patterns in order, with their predictions so far."""
        samples = [self.store.samples[key] for key in self.session.files if key in self.store.samples]
        return [
            BatchRow(sample, self.session.formulas.get(sample.key, "").strip(), self._known_answer(sample.key))
            for sample in samples
        ]

    def ask(self, key: str) -> Answer | Missing:
        """Predict one pattern and keep the answer for the table."""
        question = self._question(key)
        answer = self.store.answer(key)
        self._answers[key] = (question, answer)
        return answer

    def start(self) -> None:
        """Start to predict every pattern that has no answer yet."""
        if self._run is None or self._run.finished:
            self._run = BatchRun([row.sample.key for row in self.rows() if row.answer is None], self.ask)

    def batch(self) -> BatchRun | None:
        """The batch that is running or has ended; None before the first."""
        return self._run

    def _known_answer(self, key: str) -> Answer | Missing | None:
        question, answer = self._answers.get(key, (None, None))
        return answer if question == self._question(key) else None

    def _question(self, key: str) -> tuple[object, ...]:
        return (*self.store.question(key), self.session.override_coverage)
