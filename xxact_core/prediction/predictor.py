"""Pattern + formula → prediction, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.formula_format import format_formula
from xxact_core.compositions.partial import PartialComposition, parse_composition, possible_symbols
from xxact_core.compositions.sampling import sample_compositions
from xxact_core.errors import CheckpointError, FormulaError
from xxact_core.model.inference import class_probabilities, encode_with_compositions, entropy_bits
from xxact_core.model.inputs import pattern_to_input
from xxact_core.model.knn_retrieval import Neighbours
from xxact_core.objectives.targets import output_to_values
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import (
    CompositionCost,
    Estimate,
    Prediction,
    RankedLabel,
    doubt_warning,
    likely_labels,
    rank_classes,
    uncertainty_warning,
)
from xxact_core.prediction.reliability import (
    Domain,
    Trust,
    agreement_of,
    interval_half_widths,
    pattern_traits,
    set_thresholds,
)
from xxact_core.processing.pipeline import ProcessingPipeline
from xxact_core.processing.steps import ConvertWavelength
from xxact_core.quantities import CRYSTAL_SYSTEM, TARGETS

_HALF_WIDTH_90 = 1.645
"""Half-width of the 90 % interval of a normal distribution, in standard deviations."""


class Predictor:
    """A trained model that predicts; loading it takes about a second, a prediction some milliseconds."""

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device) -> None:
        if not checkpoint.predicts_targets:
            msg = "the model was only pretrained and predicts nothing; fine-tune it with the recipe fine-tune"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        self.checkpoint = checkpoint
        self.device = device
        stored = checkpoint.calibration.get("domain")
        self._domain = None if stored is None else Domain.from_dict(stored)
        trust = checkpoint.calibration.get("trust")
        self._trust = None if trust is None else Trust(**trust)

    @classmethod
    def load(cls, folder: Path | str | None = None, *, device: str = "cpu") -> Predictor:
        """Load the model of a checkpoint folder, by default the shipped one.

        Raises:
            CheckpointError: the folder holds no complete checkpoint, or one of a model that was only pretrained.
        """
        path = None if folder is None else Path(folder)
        return cls(load_checkpoint(path, device=device), device=torch.device(device))

    def predict(
        self,
        pattern: Pattern | GriddedPattern,
        composition: Composition | PartialComposition | str,
        *,
        wavelength: str | float | None = None,
        preparation: ProcessingPipeline | None = None,
        override_coverage: bool = False,
    ) -> Prediction:
        """Predict the properties of a material from its pattern and what is known of its composition.

        A measured pattern is put on the grid first: converted to Cu Kα, background subtracted, scaled to 100; windows
        that were not measured are masked. A partly known composition is sampled (`compositions.sampling`, with a fixed
        seed), the prediction averaged over the samples, and the resulting uncertainty stated. Without a composition the
        model predicts from the pattern alone; intervals and prediction sets, which were calibrated with compositions,
        are then omitted.

        Args:
            pattern: measured pattern, or one that is on the grid already.
            composition: a formula such as `LaB6`, another text that `parse_composition` reads, or its result.
            wavelength: of the measurement, in Å or by name (`CuKa`); overrides file and processing.
            preparation: the steps to the grid; the usual ones where none is given.
            override_coverage: predict even if less than 30 % of the range was measured.

        Raises:
            PatternError: the pattern cannot be used (too little coverage, nothing above background ...).
            WavelengthError: neither the file nor the call states the wavelength.
            FormulaError: the formula cannot be read, or is missing for a model that reads nothing else.
            CheckpointError: the outputs of the model are not finite.
        """
        formula, known = _named(composition)
        if isinstance(pattern, Pattern):
            preparation = preparation or ProcessingPipeline()
            if wavelength is not None:
                preparation = preparation.replace_step(ConvertWavelength(wavelength=wavelength))
            pattern = preparation.apply(pattern, override_coverage=override_coverage).gridded
        sampled = (known,) if isinstance(known, Composition) else sample_compositions(known)
        outputs, traits, neighbours = self._outputs(pattern, sampled)
        similarity = None if neighbours is None else neighbours.similarity.mean(dim=0, keepdim=True).cpu().numpy()
        samples = {name: self._values(name, output) for name, output in outputs.items() if name in self._statistics}
        values = {
            name: self._estimate(name, of_samples, similarity if sampled else None, calibrated=bool(sampled))
            for name, of_samples in samples.items()
        }
        logits = {name: output for name, output in outputs.items() if name not in self._statistics}
        probabilities = class_probabilities(logits, self._temperatures)
        ranked = {
            name: rank_classes(TARGETS[name], values.mean(dim=0).cpu().numpy())
            for name, values in probabilities.items()
        }
        cost = None if isinstance(known, Composition) else _composition_cost(known, sampled, samples, probabilities)
        symbols = possible_symbols(known)
        rules = {name: self._set_rule(name, similarity) for name in ranked} if sampled else {}
        sets = {
            name: likely_labels(ranked[name], rule[0], smallest_mass=rule[1]) for name, rule in rules.items() if rule
        }
        systems = ranked.get("crystal_system", ())
        return Prediction(
            formula=formula,
            coverage=pattern.covered_fraction,
            formation_energy_per_atom=values.get("formation_energy_per_atom"),
            band_gap=values.get("band_gap"),
            crystal_system=systems,
            space_group=ranked.get("space_group", ()),
            warnings=(
                *pattern.warnings,
                *self._warnings(symbols, systems, traits, cost),
                *(self._doubts(neighbours, probabilities) if _amounts_known(known) else ()),
            ),
            crystal_system_set=sets.get("crystal_system"),
            space_group_set=sets.get("space_group"),
            composition_cost=cost,
            set_rules={name: rule for name, rule in rules.items() if rule and rule[1]} or None,
        )

    @torch.inference_mode()
    def _outputs(
        self, pattern: GriddedPattern, compositions: Sequence[Composition]
    ) -> tuple[dict[str, Tensor], np.ndarray | None, Neighbours | None]:
        """Outputs of every head, one row per composition, or one row without any; and traits of the pattern.

        Last, what the nearest training materials are like; None without kNN retrieval.
        """
        model = self.checkpoint.model
        if not compositions and model.config.architecture == "crabnet":
            msg = "the model 'crabnet' reads the composition alone; expected a composition"
            raise FormulaError(msg, code="E_FORMULA")
        embedding, tokens = encode_with_compositions(model, pattern_to_input(pattern, compositions, device=self.device))
        outputs, neighbours = model.apply_heads_with_neighbours(embedding)
        if wrong := [name for name, output in outputs.items() if not bool(torch.isfinite(output).all())]:
            msg = f"the model gives NaN or infinity for {', '.join(wrong)}: its weights are damaged"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        return outputs, None if tokens is None else pattern_traits(tokens).cpu().numpy(), neighbours

    @property
    def _temperatures(self) -> dict[str, float]:
        return {name: fit["temperature"] for name, fit in self.checkpoint.calibration.items() if "temperature" in fit}

    @property
    def _statistics(self) -> dict[str, tuple[float, float]]:
        return dict(self.checkpoint.statistics)

    def _values(self, name: str, output: Tensor) -> np.ndarray:
        """Value of each sample in the unit of the target, shape (samples,)."""
        values: np.ndarray = output_to_values(name, output, self._statistics[name]).double().cpu().numpy()
        return values

    def _estimate(self, name: str, values: np.ndarray, similarity: np.ndarray | None, *, calibrated: bool) -> Estimate:
        """Mean of the samples; the errors of the model and the spread of the samples are added in quadrature.

        Args:
            name: of the target.
            values: of the samples, shape (samples,).
            similarity: of the nearest training material, shape (1,); None without kNN retrieval.
            calibrated: whether the model read a composition, as it did when its errors were measured.
        """
        value, floor = float(values.mean()), 0.0 if name == "band_gap" else -np.inf
        half_width = interval_half_widths(self.checkpoint.calibration, name, similarity)
        if half_width is None or not calibrated:
            return Estimate(value, TARGETS[name].unit, None, None)
        residual = float(np.ravel(half_width)[0])
        half = residual if len(values) == 1 else float(np.hypot(residual, _HALF_WIDTH_90 * values.std()))
        return Estimate(value, TARGETS[name].unit, max(value - half, floor), value + half)

    def _set_rule(self, name: str, similarity: np.ndarray | None) -> tuple[float, float] | None:
        """Threshold and smallest mass of the prediction set of a target; None without calibration."""
        found = set_thresholds(self.checkpoint.calibration, name, similarity)
        return None if found is None else (float(np.ravel(found.threshold)[0]), found.smallest_mass)

    def _warnings(
        self,
        symbols: tuple[str, ...],
        systems: tuple[RankedLabel, ...],
        traits: np.ndarray | None,
        cost: CompositionCost | None,
    ) -> list[str]:
        warnings = [] if cost is None else [str(cost)]
        if not symbols and not self.checkpoint.about.get("recipe", {}).get("drop_composition"):
            warnings.append("the model was not trained without compositions: the prediction may be meaningless")
        domain = self._domain
        if domain is not None and traits is not None and (distance := domain.distance(traits)[0]) > domain.limit:
            warnings.append(
                "the pattern is unlike the training patterns "
                f"(distance {distance:.0f}, limit {domain.limit:.0f}): the prediction may be meaningless"
            )
        seen = set(self.checkpoint.about.get("elements", SYMBOLS))
        unseen = [symbol for symbol in symbols if symbol not in seen]
        if unseen:
            warnings.append(f"no training material contains {', '.join(unseen)}: errors may be larger than stated")
        return [*warnings, *uncertainty_warning(systems)]

    def _doubts(self, neighbours: Neighbours | None, probabilities: Mapping[str, Tensor]) -> list[str]:
        """A warning where the crystal system of such materials is often wrong; otherwise empty."""
        systems = probabilities.get(CRYSTAL_SYSTEM.name)
        if self._trust is None or neighbours is None or systems is None:
            return []
        votes = neighbours.votes[CRYSTAL_SYSTEM.name].mean(dim=0, keepdim=True).cpu().numpy()
        agreement = agreement_of(votes, systems.mean(dim=0, keepdim=True).cpu().numpy())
        similarity = neighbours.similarity.mean(dim=0, keepdim=True).cpu().numpy()
        return doubt_warning(float(self._trust.risk(similarity, agreement)[0]))


def _amounts_known(known: Composition | PartialComposition) -> bool:
    """Whether amounts are known, if only roughly: random amounts resemble no material, whatever the specimen is."""
    return isinstance(known, Composition) or bool(known.amounts)


def _named(composition: Composition | PartialComposition | str) -> tuple[str, Composition | PartialComposition]:
    """Formula of a prediction, and its composition."""
    if isinstance(composition, str):
        return composition.strip(), parse_composition(composition)
    if isinstance(composition, Composition):
        return format_formula(composition), composition
    return str(composition), composition.exact or composition


def _composition_cost(
    known: PartialComposition,
    sampled: Sequence[Composition],
    values: Mapping[str, np.ndarray],
    probabilities: Mapping[str, Tensor],
) -> CompositionCost:
    systems = probabilities.get("crystal_system")
    uncertainty = None if systems is None else float(entropy_bits(systems.mean(dim=0, keepdim=True))[0])
    within = None if systems is None or not sampled else float(entropy_bits(systems).mean())
    spread = {name: float(of_samples.std()) for name, of_samples in values.items() if sampled}
    return CompositionCost(
        known=known.in_words,
        draws=len(sampled),
        crystal_system_bits=uncertainty,
        composition_bits=None if uncertainty is None or within is None else max(0.0, uncertainty - within),
        formation_energy_spread=spread.get("formation_energy_per_atom"),
        band_gap_spread=spread.get("band_gap"),
    )
