"""Augmentation settings: all instrument and sample effects, as stored in a training recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xxact_core.augmentation.effects import (
    AxialDivergence,
    Background,
    CalculatedCell,
    CountingNoise,
    CrystalliteSize,
    DetectorBins,
    Doublet,
    Effect,
    FilterEdge,
    FilterLines,
    Graininess,
    Impurity,
    InstrumentWidth,
    KAlpha2Ratio,
    LimitedRange,
    Microstrain,
    OtherRadiation,
    ProcessedBins,
    ProcessedSmoothing,
    PseudoVoigt,
    SampleDisplacement,
    ScanStep,
    Smoothing,
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
    "calculated_cell": CalculatedCell,
    "axial_divergence": AxialDivergence,
    "k_alpha2": KAlpha2Ratio,
    "filter_lines": FilterLines,
    "filter_edge": FilterEdge,
    "scan_step": ScanStep,
    "detector_bins": DetectorBins,
    "smoothing": Smoothing,
    "processed_smoothing": ProcessedSmoothing,
    "processed_bins": ProcessedBins,
}
"""Effects by the name of their setting, in the order in which they are sampled; new ones at the end, so that stored
configurations without them give the same patterns as before."""

_EFFECTS_0_1_0 = tuple(EFFECTS)[: tuple(EFFECTS).index("calculated_cell")]
"""Effects of version 0.1.0. A configuration that names all of them and no other was stored by it."""


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

    calculated_cell: CalculatedCell | None = field(default_factory=CalculatedCell)
    """Calculated cells scaled to measured ones."""
    axial_divergence: AxialDivergence | None = field(default_factory=AxialDivergence)
    """Asymmetric peaks at low angles."""
    k_alpha2: KAlpha2Ratio | None = field(default_factory=KAlpha2Ratio)
    """Kα2 peaks of another intensity."""
    filter_lines: FilterLines | None = field(default_factory=FilterLines)
    """Residual Kβ and W Lα."""
    filter_edge: FilterEdge | None = field(default_factory=FilterEdge)
    """Absorption edge of the Kβ filter."""
    scan_step: ScanStep | None = field(default_factory=ScanStep)
    """Steps of the scan."""
    detector_bins: DetectorBins | None = field(default_factory=DetectorBins)
    """Detector bins as wide as the step."""
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    """Smoothing by the software of an instrument."""
    processed_smoothing: ProcessedSmoothing | None = field(default_factory=ProcessedSmoothing)
    """Smoothing of a processed pattern."""
    processed_bins: ProcessedBins | None = field(default_factory=ProcessedBins)
    """Binning of a processed pattern."""

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

        What version 0.1.0 stored names all of its effects; those that it did not have are off then.

        Raises:
            RecipeError: a setting is unknown (the message lists the choices), given under two names, or invalid.
        """
        values = rename(values, AUGMENTATION_SETTINGS, owner="augmentation")
        check_names("augmentation", values, known=("share", *EFFECTS))
        settings: dict[str, Any] = {}
        if set(_EFFECTS_0_1_0) <= set(values) <= {"share", *_EFFECTS_0_1_0}:
            settings = {name: None for name in EFFECTS if name not in _EFFECTS_0_1_0}
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
