"""The form for a new training: recipe, changes to it, estimated time and memory, and start."""

from __future__ import annotations

import html
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import panel as pn
import panel_material_ui as pmui

from xxact_app.screens.training import text as words
from xxact_app.screens.training.choices import TrainingChoice, fit_recipe, recipe_labels
from xxact_app.screens.training.estimates import Estimate
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import plain_markdown, safe_message
from xxact_app.ui.theme import ALERT_STYLE, TEXT_CSS
from xxact_core.errors import InputError
from xxact_core.quantities import TARGETS
from xxact_core.training.recipes import recipe_by_name

_FIELD = {"sizing_mode": "stretch_width", "size": "small", "margin": (8, 0)}
_FROM_A_RUN = frozenset({"fine-tune", "transfer-band-gap"})


@cache
def _calculator() -> ThreadPoolExecutor:
    """The thread that estimates, one at a time for all sessions, so that no page blocks."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="estimates")


class TrainingForm:
    """Sets up a training; `panel` is the form. `started` is called with the key of a started job."""

    def __init__(
        self, session: Session, store: TrainingStore, *, dataset: Callable[[], str], started: Callable[[str], None]
    ) -> None:
        self.session, self.store, self._dataset, self._started = session, store, dataset, started
        self._asked: Future[Estimate] | None = None
        self._shown: TrainingChoice | None = None
        self._filled: dict[str, object] = {}
        self._compare = True
        self._filled_for: tuple[str, str] | None = None
        self.recipe = pmui.Select(label="Recipe", options=recipe_labels(), value="compact", **_FIELD)
        self.start_from = pmui.Select(label="Run to continue", options={"": ""}, value="", visible=False, **_FIELD)
        self.targets = pmui.MultiChoice(
            label="Targets (default: those of the recipe)", options={q.label: q.name for q in TARGETS.values()},
            value=[], sizing_mode="stretch_width", margin=(8, 0),
        )  # fmt: skip
        self.fitted = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
        self.epochs = pmui.TextInput(label="Epochs", placeholder="from the recipe", **_FIELD)
        self.batch_size = pmui.TextInput(label="Batch size", placeholder="from the recipe", **_FIELD)
        self.micro_batch = pmui.TextInput(label="Materials per forward pass", placeholder="the whole batch", **_FIELD)
        self.settings = pmui.TextAreaInput(
            label="Further settings, one NAME=VALUE per line",
            placeholder="seed=1\nvalidate_every=100",
            rows=2,
            **_FIELD,
        )
        self.name = pmui.TextInput(label="Name of the run", value=store.free_name("compact", kind="train"), **_FIELD)
        self.estimate = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(8, 0))
        self.fit_memory = pmui.Button(
            label="Fit into memory", variant="outlined", size="small", margin=(0, 8, 8, 0), visible=False,
            on_click=self._fit_memory,
        )  # fmt: skip
        self.start = pmui.Button(
            label="Start training", icon="play_arrow", variant="contained", size="small", margin=(0, 0, 8, 0),
            on_click=self._start, disabled=True,
        )  # fmt: skip
        self.message = pmui.Alert(
            severity="error", object="", visible=False, sizing_mode="stretch_width", sx=ALERT_STYLE, margin=(8, 0)
        )
        self.panel = pn.Column(
            pn.pane.HTML("<h2>New training</h2>", stylesheets=[TEXT_CSS], margin=(16, 0, 0, 0)),
            self.recipe, self.start_from, self.fitted, self.targets,
            pn.Row(self.epochs, pn.Spacer(width=12), self.batch_size, margin=0),
            self.micro_batch, self.settings, self.name, self.estimate, self.message,
            pn.FlexBox(self.start, self.fit_memory),
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.recipe.param.watch(self._choose_recipe, "value")

    def poll(self) -> None:
        """Fit the form to recipe and dataset, request an estimate where settings have changed, show a finished one."""
        self._fill()
        choice = self._choice()
        if choice is None or not choice.dataset:
            self.estimate.object = "" if choice is None else "<p class='muted'>Select or build a dataset first.</p>"
            self.start.disabled, self._shown = True, None
            return
        if choice != self._shown:
            self._shown = choice
            self.estimate.object = "<p class='muted'>Estimating …</p>"
            self.start.disabled = True
            self.fit_memory.visible = False
            self._asked = _calculator().submit(self.store.estimate, choice)
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            self._show(asked)

    def offer_runs(self) -> None:
        """Update the list of runs that can be continued."""
        options = {"": "", **self.store.run_models()}
        if options != self.start_from.options:
            self.start_from.options = options

    def _show(self, asked: Future[Estimate]) -> None:
        try:
            estimate = asked.result()
        except InputError as error:
            self.estimate.object = f"<p class='wrong'>{html.escape(safe_message(error))}</p>"
            return
        self.estimate.object = words.estimate_text(estimate)
        self.start.disabled = not estimate.fits
        self.fit_memory.visible = estimate.fitting_micro_batch is not None
        self._fitting_micro_batch = estimate.fitting_micro_batch

    def _choose_recipe(self, _event: object = None) -> None:
        with pn.io.hold():
            self.start_from.visible = self.recipe.value in _FROM_A_RUN
            self.start_from.value = self.start_from.value if self.start_from.visible else ""
            self.name.value = self.store.free_name(self.recipe.value, kind="train")

    def _fill(self) -> None:
        """Fill the fields that the user has not changed with what the recipe has and the dataset allows."""
        dataset = self._dataset()
        if (self.recipe.value, dataset) == self._filled_for:
            return
        self._filled_for = (self.recipe.value, dataset)
        recipe = recipe_by_name(self.recipe.value)
        try:
            facts = self.store.facts(dataset) if dataset else None
        except InputError:
            facts = None  # the form of the dataset says why
        fitted = fit_recipe(recipe, facts)
        values: dict[str, object] = {
            "epochs": f"{recipe.epochs:g}", "batch_size": str(fitted.batch_size), "targets": list(fitted.targets),
        }  # fmt: skip
        with pn.io.hold():
            if facts is not None:
                offered = {q.label: q.name for q in TARGETS.values() if facts.labelled.get(q.name)}
                self.targets.param.update(
                    options=offered, value=[name for name in self.targets.value if name in offered.values()]
                )
            for name, value in values.items():
                field = getattr(self, name)
                if not field.value or field.value == self._filled.get(name):
                    field.value = value
            self.fitted.object = "".join(f"<p class='muted'>{html.escape(note)}</p>" for note in fitted.notes)
        self._filled, self._compare = values, fitted.compare_polymorphs

    def _choice(self) -> TrainingChoice | None:
        """The settings in the form; None where a number is invalid, which its field shows."""
        epochs = _number(self.epochs, float)
        batch, micro = _number(self.batch_size, int), _number(self.micro_batch, int)
        if any(field.error_state for field in (self.epochs, self.batch_size, self.micro_batch)):
            return None
        return TrainingChoice(
            dataset=self._dataset(),
            recipe=self.recipe.value,
            targets=tuple(self.targets.value),
            epochs=epochs,
            batch_size=None if batch is None else int(batch),
            micro_batch_size=None if micro is None else int(micro),
            start_from=self.start_from.value or "",
            compare_polymorphs=self._compare,
            settings=self.settings.value or "",
        )

    def _fit_memory(self, _event: object = None) -> None:
        self.micro_batch.value = str(self._fitting_micro_batch)

    def _start(self, _event: object = None) -> None:
        choice = self._choice()
        if choice is None:
            return
        try:
            job = self.store.start_training(choice, name=self.name.value_input or self.name.value)
        except InputError as error:
            self._say(str(error), severity="error")
            return
        with pn.io.hold():
            self._say(f"{job.name} started: see the list of datasets and trainings.", severity="success")
            self.name.value = self.store.free_name(job.name, kind="train")
        self._started(job.key)

    def _say(self, text: str, *, severity: str) -> None:
        self.message.param.update(object=plain_markdown(safe_message(text)), severity=severity, visible=True)


def _number(field: pmui.TextInput, kind: Callable[[str], float]) -> float | None:
    """The number in a field; None where it is empty, or invalid, which the field then shows."""
    text = (field.value or "").strip()
    try:
        value = kind(text) if text else None
    except ValueError:
        value, wrong = None, True
    else:
        wrong = value is not None and not value > 0
    if field.error_state != wrong:
        whole = "a whole number above 0" if kind is int else "a number above 0"
        field.param.update(error_state=wrong, helper_text=f"Enter {whole}, or leave empty" if wrong else "")
    return value
