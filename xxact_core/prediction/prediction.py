"""A prediction: what a material is taken to be, as values, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.quantities import SURE, Quantity

SHOWN_OF_A_SET = 8

_LEFT_OUT = {"crystal_system_set", "space_group_set", "composition_cost"}
"""What a dictionary of a prediction does without where it is None."""


@dataclass(frozen=True)
class Estimate:
    """A value with its unit and the interval that holds nine of ten (on simulated validation patterns)."""

    value: float
    unit: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RankedLabel:
    """A class and its calibrated probability (0-1)."""

    label: str
    probability: float


def rank_classes(target: Quantity, probabilities: np.ndarray) -> tuple[RankedLabel, ...]:
    """The classes of a target by their probability, shape (classes,), best first."""
    order = np.argsort(-probabilities)
    return tuple(RankedLabel(target.classes[index], float(probabilities[index])) for index in order)


def ranked_to_probabilities(ranked: tuple[RankedLabel, ...], target: Quantity) -> np.ndarray:
    """The inverse of `rank_classes`, shape (classes,); a class that is not ranked has 0."""
    probability = {entry.label: entry.probability for entry in ranked}
    return np.array([probability.get(label, 0.0) for label in target.classes])


def likely_labels(ranked: tuple[RankedLabel, ...], threshold: float) -> tuple[str, ...]:
    """The labels from a probability on, and always the first: what `reliability.class_sets` does for many materials."""
    return tuple(entry.label for place, entry in enumerate(ranked) if place == 0 or entry.probability >= threshold)


def doubt_in_words(systems: tuple[RankedLabel, ...]) -> list[str]:
    """What to say where no crystal system has half of the probability; nothing else."""
    if not systems or systems[0].probability >= SURE:
        return []
    return [f"not sure of the crystal system: the most probable one has only {systems[0].probability:.0%}"]


@dataclass(frozen=True)
class CompositionCost:
    """What it cost that a composition was known in part, where an answer is the mean over compositions drawn from it.

    known: in words. draws: number of compositions. crystal_system_bits: doubt about the crystal system, the entropy of
    its probabilities [bit]. composition_bits: the part of it that knowing the composition would take away in the mean:
    entropy of the mean probabilities less the mean entropy of those of each draw [bit]. formation_energy_spread
    [eV/atom], band_gap_spread [eV]: standard deviation over the draws, by which the intervals are wider. None where no
    composition was drawn, because nothing was known, or the model does not answer that target.
    """

    known: str
    draws: int
    crystal_system_bits: float | None
    composition_bits: float | None
    formation_energy_spread: float | None
    band_gap_spread: float | None

    def __str__(self) -> str:
        """A sentence for people."""
        if self.crystal_system_bits is None:
            return f"composition known in part ({self.known}): the mean over {self.draws} compositions that it may be"
        doubt = f"{self.crystal_system_bits:.1f} bit of doubt about the crystal system"
        if self.composition_bits is None:
            return f"no composition: answered from the pattern alone, with {doubt}"
        return (
            f"composition known in part ({self.known}): the mean over {self.draws} compositions that it may be; of "
            f"{doubt}, {self.composition_bits:.1f} come from that"
        )


@dataclass(frozen=True)
class Prediction:
    """What a material is taken to be; ranked labels come best first, warnings say what was done and what to mind.

    formula: as it was asked, or in Hill order where a `Composition` was given. coverage: share of the 5-90° grid that
    was measured (0-1). formation_energy_per_atom [eV/atom] and band_gap [eV] are
    None where the model was not trained for them; likewise the ranked labels are empty. crystal_system_set and
    space_group_set: the labels, best first, among which the true one is for nine of ten materials (on simulated
    validation patterns); None where the checkpoint was made without. composition_cost: None where the composition was
    known exactly.
    """

    formula: str
    coverage: float
    formation_energy_per_atom: Estimate | None
    band_gap: Estimate | None
    crystal_system: tuple[RankedLabel, ...]
    space_group: tuple[RankedLabel, ...]
    warnings: tuple[str, ...] = ()
    crystal_system_set: tuple[str, ...] | None = None
    space_group_set: tuple[str, ...] | None = None
    composition_cost: CompositionCost | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; sets of labels, and the cost of the composition, only where there are any."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if value is not None or name not in _LEFT_OUT}


def answer_to_text(answer: Mapping[str, Any]) -> str:
    """Lines for people from `Prediction.to_dict()` with the name of its `file`, or with an `error` in its place."""
    if "error" in answer:
        return f"{answer['file']}: {answer['error'].removeprefix(Path(answer['file']).name + ': ')}"
    lines = [f"{answer['file']}  ({answer['formula']}, {answer['coverage']:.0%} of 5-90° measured)"]
    for name, label in (("formation_energy_per_atom", "formation energy"), ("band_gap", "band gap")):
        if (value := answer[name]) is not None:
            interval = "" if value["low"] is None else f"  ({value['low']:.2f} to {value['high']:.2f})"
            lines.append(f"  {label:18s}{value['value']:.2f} {value['unit']}{interval}")
    for name, label in (("crystal_system", "crystal system"), ("space_group", "space group")):
        if not answer[name]:  # the model was not trained for it
            continue
        ranked = ", ".join(f"{entry['label']} {entry['probability']:.0%}" for entry in answer[name][:3])
        lines.append(f"  {label:18s}{ranked}")
        if (names := answer.get(f"{name}_set")) is not None:
            shown = ", ".join(names[:SHOWN_OF_A_SET]) + (" ..." if len(names) > SHOWN_OF_A_SET else "")
            lines.append(f"  {'':18s}9 of 10 times among {len(names)}: {shown}")
    lines += [f"  note: {warning}" for warning in answer["warnings"]]
    return "\n".join(lines)
