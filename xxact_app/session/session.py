"""What the user chose: parameters only, all of them plain values, so that a session can be saved and restored."""

from __future__ import annotations

from typing import Any

import param

SCREENS = ("patterns", "reconstruction", "prediction", "training", "embeddings")
"""The screens, in the order of their tabs."""

AXES = ("two_theta", "q", "d")
SCALES = ("linear", "root", "log")
STAGES = ("measured", "step", "gridded")
ARRANGEMENTS = ("overlay", "offset", "waterfall")
MAP_PARTS = ("fused", "pattern", "composition")
MOST_DRAWN_AT_FIRST = 5
"""Patterns drawn without being asked; the others are one tick away."""
USUAL_STEPS: list[dict[str, Any]] = [
    {"step": "convert_wavelength"}, {"step": "put_on_grid"}, {"step": "subtract_background", "method": "arpls"}
]  # fmt: skip
"""Steps as `ProcessingPipeline.to_dict` writes them; one with `"off": True` is kept and not done."""


class Session(param.Parameterized):
    """The user's choices. Views write here; everything that follows from them is asked of the store."""

    files = param.List(default=[], item_type=str, doc="Keys of the loaded patterns, in order.")
    hidden = param.List(default=[], item_type=str, doc="Keys of the patterns that are not drawn.")
    dismissed = param.List(default=[], item_type=str, doc="Keys of the problems that were read and put away.")
    chosen = param.String(default="", doc="Key of the pattern that is predicted and whose windows are shown.")
    wavelengths = param.Dict(default={}, doc="Wavelength [Å] that the user gave, by key.")
    formulas = param.Dict(default={}, doc="Formula that the user gave, by key; the empty key before any file.")

    scans = param.Dict(default={}, doc="Scan that is read of a file of several, a number from 0 or `sum`, by key.")
    references = param.List(default=[], item_type=str, doc="Keys of the structures whose lines are drawn below.")
    hidden_references = param.List(default=[], item_type=str, doc="Keys of those that are not drawn.")

    axis = param.Selector(default="two_theta", objects=list(AXES))
    scale = param.Selector(default="linear", objects=list(SCALES))
    stage = param.Selector(default="measured", objects=list(STAGES))
    arrangement = param.Selector(default="overlay", objects=list(ARRANGEMENTS))
    show_background = param.Boolean(default=True, doc="Draw the fitted background over measured patterns.")
    show_windows = param.Boolean(default=True, doc="Draw the windows that the model reads as tokens.")

    steps = param.List(default=USUAL_STEPS, item_type=dict, doc="What is done to every pattern, in order.")
    shown_step = param.Integer(default=0, bounds=(0, None), doc="Place of the step that the stage `step` shows.")
    override_coverage = param.Boolean(default=False, doc="Predict even where too little of the range was measured.")

    model = param.String(default="", doc="Run of the workspace whose model predicts; empty for the one that ships.")
    known_materials = param.String(default="", doc="Key of the known materials compared; empty for the first.")
    neighbours = param.Dict(default={}, doc="Id of the known material whose lines are drawn, by key of the pattern.")
    compared = param.List(default=[], item_type=str, doc="Names of the runs whose curves are drawn.")
    reconstruction_model = param.String(default="", doc="Key of the model that reconstructs; empty for the first fit.")
    masked = param.Dict(default={}, doc="Numbers of the windows that are masked (0-16), by key of the pattern.")
    mask_ratio = param.Number(default=0.25, bounds=(0.05, 0.75), doc="Share of the windows to mask when drawn.")

    map_models = param.List(default=["shipped"], item_type=str, doc="Keys of the models whose maps are shown.")
    map_materials = param.String(default="", doc="Key of the materials on the map; empty for the shipped sample.")
    map_part = param.Selector(default="fused", objects=list(MAP_PARTS))
    map_colour = param.String(default="crystal_system", doc="Target that colours the map.")
    map_selected = param.List(default=[], item_type=int, doc="Numbers of the chosen materials on the map.")

    screen = param.Selector(default=SCREENS[0], objects=list(SCREENS), doc="The screen that is open.")
    dark = param.Boolean(default=False, doc="Dark theme.")

    def to_json(self) -> str:
        """The choices as JSON text."""
        return self.param.serialize_parameters(subset=self._choices())

    @classmethod
    def from_json(cls, text: str) -> Session:
        """A session with the choices of `to_json`."""
        return cls(**cls.param.deserialize_parameters(text))

    def _choices(self) -> list[str]:
        return [name for name in self.param if name != "name"]

    @property
    def formula(self) -> str:
        """Formula of the chosen pattern, as the user typed it."""
        return self.formulas.get(self.chosen, "")

    def set_formula(self, text: str) -> None:
        """Keep the formula of the chosen pattern."""
        if self.formula != text:
            self.formulas = {**self.formulas, self.chosen: text}

    def set_wavelength(self, keys: list[str], wavelength: float) -> None:
        """Keep the wavelength [Å] of some patterns."""
        self.wavelengths = {**self.wavelengths, **dict.fromkeys(keys, wavelength)}

    def add(
        self,
        keys: list[str],
        *,
        formulas: dict[str, str] | None = None,
        wavelengths: dict[str, float] | None = None,
    ) -> None:
        """Take up newly read patterns and what is known of them; choose the first of them, and draw the first few."""
        if not keys:
            return
        room = max(0, MOST_DRAWN_AT_FIRST - (len(self.files) - len(self.hidden)))
        known = {**self.formulas, **(formulas or {})}
        if not self.chosen and "" in known:
            known.setdefault(keys[0], known[""])
        with param.parameterized.batch_call_watchers(self):
            self.formulas = known
            self.wavelengths = {**self.wavelengths, **(wavelengths or {})}
            self.hidden = [*self.hidden, *keys[room:]]
            self.files = [*self.files, *keys]
            self.chosen = keys[0]

    def remove(self, keys: list[str]) -> None:
        """Forget some patterns and what was chosen for them."""
        left = [key for key in self.files if key not in keys]
        with param.parameterized.batch_call_watchers(self):
            if self.chosen not in left:
                self.chosen = left[0] if left else ""
            self.hidden = [key for key in self.hidden if key in left]
            self.wavelengths = {key: value for key, value in self.wavelengths.items() if key in left}
            self.formulas = {key: value for key, value in self.formulas.items() if key in left}
            self.scans = {key: value for key, value in self.scans.items() if key in left}
            self.masked = {key: value for key, value in self.masked.items() if key in left}
            self.files = left
