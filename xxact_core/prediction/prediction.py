"""A prediction, as values, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.quantities import SURE, Quantity
from xxact_core.structures.space_groups import space_group_name

SHOWN_OF_A_SET = 8
"""Labels of a prediction set that are printed."""

_INTERNAL = "set_rules"
"""Field that `Prediction.to_dict` always omits."""

_OPTIONAL = {"crystal_system_set", "space_group_set", "composition_cost"}
"""Fields that `Prediction.to_dict` omits where they are None."""


@dataclass(frozen=True)
class Estimate:
    """A predicted value with its 90 % interval, calibrated on simulated validation patterns."""

    value: float
    """Predicted value."""
    unit: str
    """Unit of value and interval."""
    low: float | None
    """Lower end of the interval; None where there is none."""
    high: float | None
    """Upper end of the interval; None where there is none."""


@dataclass(frozen=True)
class RankedLabel:
    """A class with its probability."""

    label: str
    """Name of the class."""
    probability: float
    """Calibrated probability, 0-1."""


def rank_classes(target: Quantity, probabilities: np.ndarray) -> tuple[RankedLabel, ...]:
    """Classes of a target with their probabilities, given as shape (classes,); most probable first."""
    order = np.argsort(-probabilities)
    return tuple(RankedLabel(target.classes[index], float(probabilities[index])) for index in order)


def ranked_to_probabilities(ranked: tuple[RankedLabel, ...], target: Quantity) -> np.ndarray:
    """The inverse of `rank_classes`, shape (classes,); 0 for a class that is not ranked."""
    probability = {entry.label: entry.probability for entry in ranked}
    return np.array([probability.get(label, 0.0) for label in target.classes])


def likely_labels(ranked: tuple[RankedLabel, ...], threshold: float, *, smallest_mass: float = 0.0) -> tuple[str, ...]:
    """Labels with at least this probability, always the first, and further ones up to the mass.

    See `reliability.class_sets`, which does the same with arrays.
    """
    likely: list[str] = []
    mass = 0.0
    for entry in ranked:
        if likely and entry.probability < threshold and mass >= smallest_mass:
            break
        likely.append(entry.label)
        mass += entry.probability
    return tuple(likely)


def uncertainty_warning(systems: tuple[RankedLabel, ...]) -> list[str]:
    """A warning where no crystal system has a probability of one half; otherwise empty."""
    if not systems or systems[0].probability >= SURE:
        return []
    return [f"the crystal system is uncertain: the most probable one has only {systems[0].probability:.0%}"]


DOUBTFUL = 0.4
"""Probability that the crystal system is wrong from which a prediction is flagged. Ours: chosen on augmented validation
patterns, checked on measured ones."""

UNLIKE = "unlike the training materials"
"""Words of `doubt_warning`, by which it is recognised."""


def doubt_warning(risk: float) -> list[str]:
    """A warning where the crystal system is wrong with at least `DOUBTFUL` probability; otherwise empty."""
    if risk < DOUBTFUL:
        return []
    return [f"the material is {UNLIKE}: the crystal system is wrong for {risk:.0%} of such materials"]


@dataclass(frozen=True)
class CompositionCost:
    """Uncertainty due to a partly known composition, over which a prediction is averaged.

    Values are None where no composition was sampled, because none is known, or the model does not predict the target.
    """

    known: str
    """Description of what is known of the composition."""
    draws: int
    """Number of sampled compositions."""
    crystal_system_bits: float | None
    """Entropy of the probabilities of the crystal systems [bit]."""
    composition_bits: float | None
    """Mutual information of crystal system and composition: the entropy of the mean probabilities less the mean entropy
    of those of each sample [bit]."""
    formation_energy_spread: float | None
    """Standard deviation over the samples, which widens the interval [eV/atom]."""
    band_gap_spread: float | None
    """Standard deviation over the samples, which widens the interval [eV]."""

    def __str__(self) -> str:
        """Description in one sentence."""
        if self.crystal_system_bits is None:
            return f"composition partly known ({self.known}): averaged over {self.draws} sampled compositions"
        entropy = f"{self.crystal_system_bits:.1f} bit of uncertainty about the crystal system"
        if self.composition_bits is None:
            return f"no composition: predicted from the pattern alone, with {entropy}"
        return (
            f"composition partly known ({self.known}): averaged over {self.draws} sampled compositions; {entropy}, of "
            f"which {self.composition_bits:.1f} due to the composition"
        )


@dataclass(frozen=True)
class Prediction:
    """Predicted properties of a material."""

    formula: str
    """The composition as given, or its formula where a `Composition` was given."""
    coverage: float
    """Fraction of the 5-90° grid that was measured, 0-1."""
    formation_energy_per_atom: Estimate | None
    """Formation energy [eV/atom]; None where the model was not trained for it."""
    band_gap: Estimate | None
    """Band gap [eV]; None where the model was not trained for it."""
    crystal_system: tuple[RankedLabel, ...]
    """Crystal systems, most probable first; empty where the model was not trained for them."""
    space_group: tuple[RankedLabel, ...]
    """Space groups by number, most probable first; empty where the model was not trained for them."""
    warnings: tuple[str, ...] = ()
    """Warnings of reading and processing the pattern, and of the prediction."""
    crystal_system_set: tuple[str, ...] | None = None
    """90 % prediction set, calibrated on simulated validation patterns; None without calibration."""
    space_group_set: tuple[str, ...] | None = None
    """90 % prediction set, calibrated on simulated validation patterns; None without calibration."""
    composition_cost: CompositionCost | None = None
    """Uncertainty due to the composition; None where it is known exactly."""

    set_rules: Mapping[str, tuple[float, float]] | None = None
    """Of each class target the threshold (0-1) and the smallest mass (0-1) of its 90 % prediction set, see
    `likely_labels`; None without calibration by similarity."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; prediction sets and uncertainty due to the composition only where there are any."""
        plain = {name: value for name, value in asdict(self).items() if name != _INTERNAL}
        return {name: value for name, value in plain.items() if value is not None or name not in _OPTIONAL}


def answer_to_text(answer: Mapping[str, Any]) -> str:
    """Readable text of `Prediction.to_dict()` with its `file`, or of a `file` with its `error`."""
    if "error" in answer:
        return f"{answer['file']}: {answer['error'].removeprefix(Path(answer['file']).name + ': ')}"
    lines = [f"{answer['file']}  ({answer['formula']}, {answer['coverage']:.0%} of 5-90° 2θ measured)"]
    for name, label in (("formation_energy_per_atom", "formation energy"), ("band_gap", "band gap")):
        if (value := answer[name]) is not None:
            lines.append(f"  {label:18s}{_signed(value['value'])} {value['unit']}")
            if value["low"] is not None:
                low, high = _signed(value["low"]), _signed(value["high"])
                lines.append(f"  {'':18s}90 % interval: {low} to {high} {value['unit']}")
    for name, label in (("crystal_system", "crystal system"), ("space_group", "space group")):
        if not answer[name]:
            continue
        shown_label = space_group_name if name == "space_group" else str
        ranked = ", ".join(f"{shown_label(entry['label'])} {entry['probability']:.0%}" for entry in answer[name][:3])
        lines.append(f"  {label:18s}{ranked}")
        if (names := answer.get(f"{name}_set")) is not None:
            shown = ", ".join(map(shown_label, names[:SHOWN_OF_A_SET])) + (
                f" … ({len(names)} in all)" if len(names) > SHOWN_OF_A_SET else ""
            )
            lines.append(f"  {'':18s}90 % prediction set: {shown}")
    lines += [f"  note: {warning}" for warning in answer["warnings"]]
    return "\n".join(lines)


def _signed(value: float) -> str:
    """Two decimals, with a minus sign."""
    return f"{value:.2f}".replace("-", "−")
