"""All that laboratories add to ideal patterns, as one value that a training recipe saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from xxact_core.augmentation.effects import (
    Background,
    CountingNoise,
    CrystalliteSize,
    Displacement,
    Doublet,
    Effect,
    Graininess,
    Impurity,
    InstrumentWidth,
    LimitedRange,
    LineForm,
    Microstrain,
    OtherRadiation,
    Strain,
    Texture,
    ThermalMotion,
    ZeroShift,
    check_number,
)
from xxact_core.errors import RecipeError

EFFECTS: dict[str, type[Effect]] = {
    "strain": Strain,
    "other_radiation": OtherRadiation,
    "texture": Texture,
    "thermal_motion": ThermalMotion,
    "graininess": Graininess,
    "impurity": Impurity,
    "doublet": Doublet,
    "displacement": Displacement,
    "zero_shift": ZeroShift,
    "instrument_width": InstrumentWidth,
    "crystallite_size": CrystalliteSize,
    "microstrain": Microstrain,
    "line_form": LineForm,
    "background": Background,
    "counting_noise": CountingNoise,
    "limited_range": LimitedRange,
}
"""Effects by the name of their setting, in the order in which nature and laboratory bring them about."""


@dataclass(frozen=True, kw_only=True)
class Distortions:
    """The effects of laboratories; None is an effect that does not occur. `share` of the patterns are distorted at all.

    The others stay ideal, so that a model trained with distortions knows calculated patterns, too.
    """

    share: float = 0.4
    strain: Strain | None = field(default_factory=Strain)
    other_radiation: OtherRadiation | None = field(default_factory=OtherRadiation)
    texture: Texture | None = field(default_factory=Texture)
    thermal_motion: ThermalMotion | None = field(default_factory=ThermalMotion)
    graininess: Graininess | None = field(default_factory=Graininess)
    impurity: Impurity | None = field(default_factory=Impurity)
    doublet: Doublet | None = field(default_factory=Doublet)
    displacement: Displacement | None = field(default_factory=Displacement)
    zero_shift: ZeroShift | None = field(default_factory=ZeroShift)
    instrument_width: InstrumentWidth | None = field(default_factory=InstrumentWidth)
    crystallite_size: CrystalliteSize | None = field(default_factory=CrystalliteSize)
    microstrain: Microstrain | None = field(default_factory=Microstrain)
    line_form: LineForm | None = field(default_factory=LineForm)
    background: Background | None = field(default_factory=Background)
    counting_noise: CountingNoise | None = field(default_factory=CountingNoise)
    limited_range: LimitedRange | None = field(default_factory=LimitedRange)

    def __post_init__(self) -> None:
        """Check the share and that each effect is what its name says; `RecipeError` names the setting."""
        check_number("Distortions", "share", self.share, limits=(0.0, 1.0))
        for name, effect in EFFECTS.items():
            value = getattr(self, name)
            if value is not None and type(value) is not effect:
                msg = f"Distortions: {name} is {value!r}; expected {effect.__name__} or None"
                raise RecipeError(msg, code="E_RECIPE")

    @classmethod
    def only(cls, *effects: Effect) -> Distortions:
        """Every pattern distorted, by these effects and no other."""
        names = {effect: name for name, effect in EFFECTS.items()}
        chosen: dict[str, Any] = dict.fromkeys(EFFECTS) | {names[type(effect)]: effect for effect in effects}
        return cls(share=1.0, **chosen)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML; an effect that does not occur is False, because TOML has no null."""
        effects = {name: getattr(self, name) for name in EFFECTS}
        return {
            "share": self.share,
            **{name: effect.to_dict() if effect is not None else False for name, effect in effects.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Distortions:
        """The inverse of `to_dict`; what is not said keeps its default, False or None switches an effect off.

        Raises:
            RecipeError: a key is unknown (the message lists the choices) or a value impossible.
        """
        _refuse_unknown("distortions", values, known=("share", *EFFECTS))
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            if name == "share":
                chosen[name] = value
            elif value is None or value is False:
                chosen[name] = None
            elif isinstance(value, Mapping):
                _refuse_unknown(name, value, known=tuple(item.name for item in fields(EFFECTS[name])))
                chosen[name] = EFFECTS[name](**value)
            else:
                msg = f"distortions: {name} is {value!r}; expected its settings, or false to switch it off"
                raise RecipeError(msg, code="E_RECIPE")
        return cls(**chosen)


def _refuse_unknown(owner: str, values: Mapping[str, Any], *, known: tuple[str, ...]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        msg = f"{owner} has no setting {unknown}; it has {sorted(known)}"
        raise RecipeError(msg, code="E_RECIPE")
