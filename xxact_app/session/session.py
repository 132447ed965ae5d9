"""The settings of a session: plain values only, which can be saved and restored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import param

from xxact_app.session.sample_choices import SAMPLE_FIELDS, SampleChoices, differing_fields

SCREENS = ("answer", "patterns", "embeddings", "reconstruction", "training")
"""The screens, in the order of their tabs."""

FORMER_SCREENS = {"prediction": "answer"}
"""Names of screens in addresses and session files of version 0.1.0 → their names now."""


AXES = ("two_theta", "q", "d")
SCALES = ("linear", "root", "log")
STAGES = ("measured", "step", "gridded")
ARRANGEMENTS = ("overlay", "offset", "waterfall", "heatmap")
MAP_PARTS = ("fused", "pattern", "composition")
STACKED_FROM, HEATMAP_FROM = 3, 25
"""Number of patterns shown from which they are stacked, and drawn as a heat map, unless the user arranged them."""

USUAL_STEPS: list[dict[str, Any]] = [
    {"step": "convert_wavelength"}, {"step": "put_on_grid"}, {"step": "subtract_background", "method": "arpls"}
]  # fmt: skip
"""Steps as `ProcessingPipeline.to_dict` writes them; one with `"off": True` is disabled."""


class Session(param.Parameterized):
    """The settings of a session. Screens change them; the stores compute everything that depends on them."""

    samples = param.Dict(default={}, doc="Settings of each loaded pattern, by key, in order.")
    draft_formula = param.String(default="", doc="Formula typed before any pattern was loaded.")
    dismissed = param.List(default=[], item_type=str, doc="Keys of the dismissed messages.")
    chosen = param.String(default="", doc="Key of the selected pattern.")
    references = param.List(default=[], item_type=str, doc="Keys of the reference structures.")
    hidden_references = param.List(default=[], item_type=str, doc="Keys of the references that are not shown.")

    axis = param.Selector(default="two_theta", objects=list(AXES))
    scale = param.Selector(default="linear", objects=list(SCALES))
    stage = param.Selector(default="measured", objects=list(STAGES))
    arrangement = param.Selector(default="overlay", objects=list(ARRANGEMENTS))
    curve_offset = param.Number(default=1.0, bounds=(0.05, 3), doc="Offset of stacked curves, relative to the usual.")
    show_background = param.Boolean(default=True, doc="Draw the fitted background.")
    show_peaks = param.Boolean(default=False, doc="Find the peaks of the selected pattern.")
    least_peak = param.Number(default=1.0, bounds=(0.05, 50), doc="Height of the lowest peak [% of the highest].")
    show_windows = param.Boolean(default=True, doc="Draw the windows of the model.")

    steps = param.List(default=USUAL_STEPS, item_type=dict, doc="Processing steps, in order.")
    shown_step = param.Integer(default=0, bounds=(0, None), doc="Index of the step shown at the stage `step`.")
    override_coverage = param.Boolean(default=False, doc="Predict patterns below the minimum coverage.")

    model = param.String(default="shipped", doc="Key of the model for predictions.")
    known_materials = param.String(default="", doc="Key of the reference database; empty for the first.")
    compared = param.List(default=[], item_type=str, doc="Names of the compared runs.")
    reconstruction_model = param.String(default="", doc="Key of the model for reconstructions; empty for the first.")
    mask_ratio = param.Number(default=0.25, bounds=(0.05, 0.75), doc="Share of the windows to mask randomly.")

    map_models = param.List(default=["shipped"], item_type=str, doc="Keys of the models on the Embeddings screen.")
    map_materials = param.String(default="", doc="Key of the materials on the map; empty for the shipped sample.")
    map_projection = param.Selector(default="pca", objects=["pca", "t-sne"])
    map_part = param.Selector(default="fused", objects=list(MAP_PARTS))
    map_colour = param.String(default="crystal_system", doc="Target that the map is coloured by.")
    map_selected = param.List(default=[], item_type=int, doc="Indices of the selected materials on the map.")

    screen = param.Selector(default=SCREENS[0], objects=list(SCREENS), doc="The screen that is open.")
    dark = param.Boolean(default=False, doc="Dark theme.")
    editing = param.Boolean(default=False, doc="Whether a cell of a table is being edited in the browser.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        values = {name: getattr(self, name) for name in self.param if name != "name"}
        return {**values, "samples": {key: record.to_dict() for key, record in self.samples.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Session:
        """A session from all or some of the values of `to_dict`."""
        samples = {key: SampleChoices.from_dict(record) for key, record in values.get("samples", {}).items()}
        return cls(**{**values, "samples": samples})

    # ------------------------------------------------------------------------------------------------------- watchers
    def watch(self, callback: Callable[..., object], names: Sequence[str]) -> None:
        """Call a function when one of these settings changes, once for simultaneous changes.

        Args:
            callback: takes the events of the parameters.
            names: of parameters, of fields of `SampleChoices`, or `files` for which patterns there are.
        """
        of_samples = {"files", *SAMPLE_FIELDS} & set(names)

        def concerns(event: param.parameterized.Event) -> bool:
            return event.name != "samples" or bool(of_samples & differing_fields(event.old, event.new))

        def called(*events: param.parameterized.Event) -> None:
            if any(map(concerns, events)):
                callback(*events)

        parameters = [name for name in names if name not in of_samples]
        self.param.watch(called, [*parameters, "samples"] if of_samples else parameters)

    # -------------------------------------------------------------------------------------------------------- patterns
    @property
    def files(self) -> list[str]:
        """Keys of the loaded patterns, in order."""
        return list(self.samples)

    def sample(self, key: str) -> SampleChoices:
        """The settings of a pattern; the defaults for an unknown key."""
        return self.samples.get(key, SampleChoices())

    def change(self, keys: Iterable[str], **fields: Any) -> None:  # noqa: ANN401 - values of any field
        """Set fields of `SampleChoices` for some of the loaded patterns."""
        chosen = set(keys)
        changed = {key: replace(record, **fields) if key in chosen else record for key, record in self.samples.items()}
        if changed != self.samples:
            self.samples = changed

    def show_only(self, keys: Iterable[str]) -> None:
        """Show these patterns only."""
        shown = set(keys)
        changed = {key: replace(record, visible=key in shown) for key, record in self.samples.items()}
        if changed != self.samples:
            self.samples = changed

    def steps_of(self, key: str) -> list[dict[str, Any]]:
        """Processing steps of a pattern: its own, or those of all patterns."""
        own = self.sample(key).own_steps
        return self.steps if own is None else list(own)

    def set_steps(self, key: str, steps: Sequence[dict[str, Any]]) -> None:
        """Set the steps of a pattern that has its own, else those of all patterns."""
        if self.sample(key).own_steps is None:
            self.steps = list(steps)
        else:
            self.change([key], own_steps=tuple(steps))

    @property
    def formula(self) -> str:
        """Formula of the selected pattern as typed; the draft where none is selected."""
        return self.sample(self.chosen).formula if self.chosen else self.draft_formula

    def set_formula(self, text: str) -> None:
        """Set the formula of the selected pattern, or the draft for the first one."""
        if self.chosen:
            self.change([self.chosen], formula=text)
        else:
            self.draft_formula = text

    def add(self, keys: Sequence[str], *, known: Mapping[str, SampleChoices] | None = None) -> None:
        """Add patterns with their known settings, show them and select the first; from three on they are stacked."""
        if not keys:
            return
        before = sum(record.visible for record in self.samples.values())
        new = {key: (known or {}).get(key, SampleChoices()) for key in keys}
        after = before + sum(record.visible for record in new.values())
        if not self.chosen and not new[keys[0]].formula:
            new[keys[0]] = replace(new[keys[0]], formula=self.draft_formula)
        with param.parameterized.batch_call_watchers(self):
            self.draft_formula = ""
            self.arrangement = _arrangement(self.arrangement, before=before, after=after)
            self.samples = {**self.samples, **new}
            self.chosen = keys[0]

    def remove(self, keys: Iterable[str]) -> None:
        """Remove patterns and their settings."""
        removed = set(keys)
        left = {key: record for key, record in self.samples.items() if key not in removed}
        with param.parameterized.batch_call_watchers(self):
            if self.chosen not in left:
                self.chosen = next(iter(left), "")
            self.samples = left


def _arrangement(present: str, *, before: int, after: int) -> str:
    """The arrangement when the number of patterns shown grows; one that the user chose stays."""
    if before < HEATMAP_FROM <= after and present in {"overlay", "offset"}:
        return "heatmap"
    return "offset" if before < STACKED_FROM <= after and present == "overlay" else present
