"""The composition of the selected pattern: as text, and as states of elements in a periodic table."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui

from xxact_app.samples.element_choices import element_states, set_element
from xxact_app.samples.store import Store
from xxact_app.screens.prediction import text as words
from xxact_app.session.session import Session
from xxact_app.ui.periodic_table import STATES, PeriodicTable
from xxact_app.ui.theme import TEXT_CSS
from xxact_core.errors import InputError

_WIDE = {"sizing_mode": "stretch_width", "margin": 0}


class ElementsForm:
    """What is known of the composition; `panel` is the form."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.formula = pmui.TextInput(
            label="Composition", placeholder="LaB6 · Ti,O · Fe 40±2 O 60±3 · empty", size="small", **_WIDE
        )
        self.open = pmui.Button(
            label="Elements", icon="apps", variant="outlined", size="small", margin=0, height=40, on_click=self._toggle,
            description="Periodic table of the elements that must, may or cannot be present",
        )  # fmt: skip
        self.parsed = pn.pane.HTML("", stylesheets=[TEXT_CSS], **_WIDE)
        self.guess = pn.pane.HTML("", stylesheets=[TEXT_CSS], margin=(4, 0, 0, 0))
        small = {"size": "small", "margin": 0, "sx": {"padding": "0 6px", "minWidth": 0}}
        self.accept = pmui.Button(label="Use them", variant="outlined", on_click=self._accept, **small)
        self.clear = pmui.Button(label="Clear", variant="text", on_click=self._clear, **small)
        self.guessed = pn.FlexBox(
            self.guess, self.accept, self.clear, gap="2px 6px", align_items="center", margin=(6, 0)
        )
        self.table = PeriodicTable(on_change=self._set, visible=False, **_WIDE)
        self.help = pn.pane.HTML(words.HELP, stylesheets=[TEXT_CSS], visible=False, **_WIDE)
        self.panel = pn.Column(
            pn.Row(self.formula, pn.Spacer(width=8), self.open, **_WIDE), self.guessed, self.parsed, self.table,
            self.help, sizing_mode="stretch_width", margin=(8, 0, 0, 0),
        )  # fmt: skip
        self.formula.param.watch(self._commit, ["value", "enter_pressed"])
        self.formula.param.watch(self._type, "value_input")
        session.watch(self.show, ["files", "chosen", "formula", "draft_formula", "may", "one_of", "never", "use_guess"])
        self.show()

    # ----------------------------------------------------------------------------------------------- what the user does
    def _commit(self, _event: object = None) -> None:
        """Store the composition as typed, even before the field loses focus."""
        self.session.set_formula((self.formula.value_input or self.formula.value or "").strip())

    def _type(self, _event: object = None) -> None:
        """Show the parsed composition while the user types; before any file is loaded, store it for the first one."""
        if not self.session.chosen:
            self._commit()
        self._show_parsed()

    def _toggle(self, _event: object = None) -> None:
        self.table.visible = self.help.visible = not self.table.visible

    def _set(self, symbol: str, state: str) -> None:
        if self.session.chosen in self.store.samples:
            set_element(self.session, self.store, self.session.chosen, symbol, state)

    def _accept(self, _event: object = None) -> None:
        chosen = self.session.chosen
        if chosen in self.store.samples:
            self.session.change([chosen], formula=self.store.formula(chosen), may=(), one_of=())

    def _clear(self, _event: object = None) -> None:
        if self.session.chosen:
            self.session.change([self.session.chosen], use_guess=False)

    # ----------------------------------------------------------------------------------------------- what the user sees
    def show(self, *_events: object) -> None:
        """Show what is known of the selected pattern."""
        chosen = self.session.chosen if self.session.chosen in self.store.samples else ""
        guessed = bool(chosen) and self.store.guessed(chosen)
        with pn.io.hold():
            if self.session.formula != (self.formula.value_input or "").strip():
                self.formula.param.update(value=self.session.formula, value_input=self.session.formula)
            self.guessed.visible = guessed
            self.open.disabled = not chosen
            if guessed:
                self.guess.object = words.guess_line(self.store.guess(chosen))
            if chosen:
                states = element_states(self.session, self.store, chosen)
                self.table.param.update(
                    states={symbol: name for name in STATES for symbol in getattr(states, name)},
                    guessed=list(states.must) if guessed else [],
                )
            self._show_parsed()

    def _show_parsed(self) -> None:
        """Show the parsed composition, or the error in it."""
        text = (self.formula.value_input or "").strip()
        chosen = self.session.chosen if self.session.chosen in self.store.samples else ""
        try:
            states = element_states(self.session, self.store, chosen) if chosen else None
            line, wrong = words.composition_line(self.store.known(text), states), False
        except InputError as error:
            line, wrong = words.error_line(error), True
        self.parsed.object = line  # empty rather than hidden: Panel fails where a pane not drawn yet turns visible
        self.formula.error_state = wrong
