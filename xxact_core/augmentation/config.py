"""Augmentation settings: all instrument and sample effects, as stored in a training recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xxact_core.augmentation.effects import (
    Background,
    CountingNoise,
    CrystalliteSize,
    Doublet,
    Effect,
    Graininess,
    Impurity,
    InstrumentWidth,
    LimitedRange,
    Microstrain,
    OtherRadiation,
    PseudoVoigt,
    SampleDisplacement,
    Strain,
    Texture,
    ThermalMotion,
    ZeroPointError,
    check_number,
)
from xxact_core.errors import RecipeError
from xxact_core.setting_types import check_names, field_names
from xxact_core.stored_names import AUGMENTATION_SETTINGS, rename

EFFECTS: dict[str, type[Effect]] = {
    "strain": Strain,
    "other_radiation": OtherRadiation,
    "texture": Texture,
    "thermal_motion": ThermalMotion,
    "graininess": Graininess,
    "impurity": Impurity,
    "doublet": Doublet,
    "displacement": SampleDisplacement,
    "zero_shift": ZeroPointError,
    "instrument_width": InstrumentWidth,
    "crystallite_size": CrystalliteSize,
    "microstrain": Microstrain,
    "peak_shape": PseudoVoigt,
    "background": Background,
    "counting_noise": CountingNoise,
    "limited_range": LimitedRange,
}
"""Effects by the name of their setting, in the order in which they are sampled and applied."""


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Random instrument and sample effects on training patterns; an effect of None is switched off."""

    share: float = 0.4
    """Fraction of patterns that are augmented, 0-1; the others stay ideal."""
    strain: Strain | None = field(default_factory=Strain)
    """Strain of the lattice."""
    other_radiation: OtherRadiation | None = field(default_factory=OtherRadiation)
    """Measurement with another anode, converted to Cu Kα."""
    texture: Texture | None = field(default_factory=Texture)
    """Preferred orientation."""
    thermal_motion: ThermalMotion | None = field(default_factory=ThermalMotion)
    """Debye-Waller factor."""
    graininess: Graininess | None = field(default_factory=Graininess)
    """Intensity errors due to too few crystallites."""
    impurity: Impurity | None = field(default_factory=Impurity)
    """Reflections of a second phase."""
    doublet: Doublet | None = field(default_factory=Doublet)
    """Kα2 peaks."""
    displacement: SampleDisplacement | None = field(default_factory=SampleDisplacement)
    """Sample displacement."""
    zero_shift: ZeroPointError | None = field(default_factory=ZeroPointError)
    """Zero shift of the 2θ axis."""
    instrument_width: InstrumentWidth | None = field(default_factory=InstrumentWidth)
    """Instrumental broadening."""
    crystallite_size: CrystalliteSize | None = field(default_factory=CrystalliteSize)
    """Size broadening."""
    microstrain: Microstrain | None = field(default_factory=Microstrain)
    """Strain broadening."""
    peak_shape: PseudoVoigt | None = field(default_factory=PseudoVoigt)
    """Pseudo-Voigt peak shape."""
    background: Background | None = field(default_factory=Background)
    """Background, of which little remains after subtraction."""
    counting_noise: CountingNoise | None = field(default_factory=CountingNoise)
    """Poisson noise."""
    limited_range: LimitedRange | None = field(default_factory=LimitedRange)
    """Limited 2θ range."""

    def __post_init__(self) -> None:
        """Check all settings; `RecipeError` names the first invalid one."""
        check_number("AugmentationConfig", "share", self.share, limits=(0.0, 1.0))
        for name, effect in EFFECTS.items():
            value = getattr(self, name)
            if value is not None and type(value) is not effect:
                msg = f"AugmentationConfig: {name} is {value!r}; expected {effect.__name__} or None"
                raise RecipeError(msg, code="E_RECIPE")

    @classmethod
    def only(cls, *effects: Effect) -> AugmentationConfig:
        """Augment every pattern, with these effects alone."""
        names = {effect: name for name, effect in EFFECTS.items()}
        settings: dict[str, Any] = dict.fromkeys(EFFECTS) | {names[type(effect)]: effect for effect in effects}
        return cls(share=1.0, **settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML; an effect that is switched off is False, because TOML has no null."""
        effects = {name: getattr(self, name) for name in EFFECTS}
        return {
            "share": self.share,
            **{name: effect.to_dict() if effect is not None else False for name, effect in effects.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AugmentationConfig:
        """The inverse of `to_dict`; missing settings keep their defaults, False or None switches an effect off.

        Raises:
            RecipeError: a setting is unknown (the message lists the choices), given under two names, or invalid.
        """
        values = rename(values, AUGMENTATION_SETTINGS, owner="augmentation")
        check_names("augmentation", values, known=("share", *EFFECTS))
        settings: dict[str, Any] = {}
        for name, value in values.items():
            if name == "share":
                settings[name] = value
            elif value is None or value is False:
                settings[name] = None
            elif isinstance(value, Mapping):
                check_names(f"augmentation: {name}", value, known=field_names(EFFECTS[name]))
                settings[name] = EFFECTS[name](**value)
            else:
                msg = f"augmentation: {name} is {value!r}; expected a table of settings, or false to switch it off"
                raise RecipeError(msg, code="E_RECIPE")
        return cls(**settings)
