"""The form for wavelengths, with a warning while a file has none; no wavelength is ever assumed."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui

from xxact_app.samples.store import RADIATIONS, Store, to_wavelength
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import plain_markdown, safe_message
from xxact_app.ui.theme import ALERT_STYLE, TEXT_CSS
from xxact_core.errors import InputError

EVERY_MISSING = "every-missing"


class WavelengthForm:
    """Sets the wavelength of one file, or of all files without one; `panel` is the form.

    Args:
        session: the session.
        store: its patterns.
        titled: whether the form has a heading.
    """

    def __init__(self, session: Session, store: Store, *, titled: bool = True) -> None:
        self.session, self.store = session, store
        self._shown: str | None = None
        self.warning = pmui.Alert(
            severity="warning", object="", margin=(0, 0, 8, 0), sizing_mode="stretch_width", sx=ALERT_STYLE
        )
        self.target = pmui.Select(
            label="Wavelength of", options={}, sizing_mode="stretch_width", size="small", margin=(8, 0)
        )
        self.radiation = pmui.AutocompleteInput(
            label="Radiation or wavelength in Å", options=list(RADIATIONS), restrict=False, min_characters=0,
            case_sensitive=False, search_strategy="includes", placeholder="CuKa, CoKa, MoKa … or 1.5406",
            sizing_mode="stretch_width", size="small", margin=(8, 0),
        )  # fmt: skip
        self.apply = pmui.Button(
            label="Use this wavelength", variant="contained", size="small", margin=(4, 0, 0, 0), on_click=self._apply
        )
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Wavelength</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0), visible=titled),
            self.warning, self.target, self.radiation, self.apply, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        session.watch(self._update, ["files", "wavelength", "chosen"])
        self.target.param.watch(self._show_known, "value")
        self.radiation.param.watch(self._take, "value")
        self._update()

    def _update(self, *_events: object) -> None:
        missing = self.store.without_wavelength()
        names = {sample.name: sample.key for sample in self.store.samples.values()}
        options = {"all files without a wavelength": EVERY_MISSING, **names} if missing else names
        preferred = EVERY_MISSING if missing else self.session.chosen
        with pn.io.hold():
            value = preferred if preferred in options.values() else None
            self.target.param.update(options=options, value=value, disabled=not options)
            self.panel.visible = bool(options)
            self.warning.param.update(visible=bool(missing), object=self._warning_text(missing) if missing else "")
        self._show_known()

    def _warning_text(self, missing: list[str]) -> str:
        names = [self.store.samples[key].name for key in missing[:3]]
        more = f" and {len(missing) - len(names)} more" if len(missing) > len(names) else ""
        listed = plain_markdown(", ".join(names))
        return f"Wavelength missing: **{listed}**{more}. Enter the radiation that was used; none is assumed."

    def _show_known(self, _event: object = None) -> None:
        """Show the current wavelength of the selected file."""
        key = self.target.value
        known = self.store.wavelength(key) if key in self.store.samples else None
        origin = "entered" if self.session.sample(key or "").wavelength is not None else "from the file"
        self._shown = None if known is None else _name_of(known)
        self.radiation.param.update(
            value=self._shown,
            helper_text="" if known is None else f"Current: {known:.6g} Å ({origin})",
            error_state=False,
        )

    def _take(self, _event: object = None) -> None:
        """Apply what was chosen from the list, or entered with the Enter key."""
        if self.radiation.value and self.radiation.value != self._shown:
            self._apply()

    def _apply(self, _event: object = None) -> None:
        text = str(self.radiation.value_input or self.radiation.value or "")
        try:
            wavelength = to_wavelength(text)
        except InputError as error:
            self.radiation.param.update(helper_text=safe_message(error), error_state=True)
            return
        every = self.target.value == EVERY_MISSING
        keys = self.store.without_wavelength() if every else [self.target.value]
        self.session.change(keys, wavelength=wavelength)


def _name_of(wavelength: float) -> str:
    """The radiation of exactly this wavelength [Å], or the number."""
    return next((name for name, value in RADIATIONS.items() if value == wavelength), f"{wavelength:g}")
