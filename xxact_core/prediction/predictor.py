"""Pattern + formula → prediction, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.draws import draw_compositions
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.formula_format import format_formula
from xxact_core.compositions.partial import PartialComposition, possible_symbols
from xxact_core.compositions.partial_text import parse_composition
from xxact_core.errors import CheckpointError, FormulaError
from xxact_core.model.inference import class_probabilities, encode_with_compositions, entropy_bits
from xxact_core.model.inputs import pattern_to_input
from xxact_core.objectives.targets import from_z_scores
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import (
    CompositionCost,
    Estimate,
    Prediction,
    RankedLabel,
    doubt_in_words,
    likely_labels,
    rank_classes,
)
from xxact_core.prediction.reliability import Domain, pattern_traits
from xxact_core.processing.pipeline import ProcessingPipeline
from xxact_core.processing.steps import ConvertWavelength
from xxact_core.quantities import TARGETS

_NINE_OF_TEN = 1.645
"""Half-width in standard deviations of the interval that holds nine of ten normal numbers."""


class Predictor:
    """A trained model, ready to be asked; loading takes about a second, a prediction some milliseconds."""

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device) -> None:
        if not checkpoint.predicts_targets:
            msg = "the model was pretrained only and knows no answers; train it on with the recipe fine-tune"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        self.checkpoint = checkpoint
        self.device = device
        stored = checkpoint.calibration.get("domain")
        self._domain = None if stored is None else Domain.from_dict(stored)

    @classmethod
    def load(cls, folder: Path | str | None = None, *, device: str = "cpu") -> Predictor:
        """The model of a checkpoint folder, or the one that ships.

        Raises:
            CheckpointError: the folder holds no whole checkpoint, or one that was pretrained only.
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
        """What the material is, from a pattern and what is known of its composition.

        A measured pattern is put on the grid first: converted to Cu Kα, background subtracted, scaled to 100; windows
        that were not measured are hidden from the model. Where the composition is known in part, the answer is the mean
        over compositions drawn from what is known (`compositions.draws`), always the same ones, and says what that
        cost; where nothing is known of it, the model answers without, and no intervals and sets are given, because they
        were fitted with compositions.

        Args:
            pattern: as measured, or already on the grid.
            composition: a formula such as `LaB6`, or what else `parse_composition` reads, or its value.
            wavelength: of the measurement, in Å or by name (`CuKa`); wins over what file and preparation say.
            preparation: the steps to the grid; the usual ones where none is given.
            override_coverage: predict even where under 30 % of the range was measured.

        Raises:
            PatternError: the pattern cannot be used (too little coverage, nothing above background ...).
            WavelengthError: neither the file nor the call says the wavelength.
            FormulaError: the formula cannot be read, or there is none and the model looks at nothing else.
        """
        formula, known = _named(composition)
        if isinstance(pattern, Pattern):
            preparation = preparation or ProcessingPipeline()
            if wavelength is not None:
                preparation = preparation.replace_step(ConvertWavelength(wavelength=wavelength))
            pattern = preparation.apply(pattern, override_coverage=override_coverage).gridded
        drawn = (known,) if isinstance(known, Composition) else draw_compositions(known)
        outputs, traits = self._outputs(pattern, drawn)
        draws = {name: self._values(name, output) for name, output in outputs.items() if name in self._statistics}
        values = {name: self._estimate(name, of_draws, fitted=bool(drawn)) for name, of_draws in draws.items()}
        logits = {name: output for name, output in outputs.items() if name not in self._statistics}
        probabilities = class_probabilities(logits, self._temperatures)
        ranked = {
            name: rank_classes(TARGETS[name], values.mean(dim=0).cpu().numpy())
            for name, values in probabilities.items()
        }
        cost = None if isinstance(known, Composition) else _cost(known, drawn, draws, probabilities)
        symbols = possible_symbols(known)
        sets = {name: self._set(name, labels) for name, labels in ranked.items()} if drawn else {}
        systems = ranked.get("crystal_system", ())
        return Prediction(
            formula=formula,
            coverage=pattern.covered_fraction,
            formation_energy_per_atom=values.get("formation_energy_per_atom"),
            band_gap=values.get("band_gap"),
            crystal_system=systems,
            space_group=ranked.get("space_group", ()),
            warnings=(*pattern.warnings, *self._remarks(symbols, systems, traits, cost)),
            crystal_system_set=sets.get("crystal_system"),
            space_group_set=sets.get("space_group"),
            composition_cost=cost,
        )

    @torch.inference_mode()
    def _outputs(
        self, pattern: GriddedPattern, compositions: Sequence[Composition]
    ) -> tuple[dict[str, Tensor], np.ndarray | None]:
        """Outputs of every head, a row for each composition, or one row without any; and traits of the pattern."""
        model = self.checkpoint.model
        if not compositions and model.config.architecture == "crabnet":
            msg = "a model of the kind 'crabnet' looks at the composition alone; expected a composition"
            raise FormulaError(msg, code="E_FORMULA")
        embedding, tokens = encode_with_compositions(model, pattern_to_input(pattern, compositions, device=self.device))
        return model.apply_heads(embedding), None if tokens is None else pattern_traits(tokens).cpu().numpy()

    @property
    def _temperatures(self) -> dict[str, float]:
        return {name: fit["temperature"] for name, fit in self.checkpoint.calibration.items() if "temperature" in fit}

    @property
    def _statistics(self) -> dict[str, tuple[float, float]]:
        return dict(self.checkpoint.statistics)

    def _values(self, name: str, output: Tensor) -> np.ndarray:
        """A value for each draw, in the target's unit, shape (draws,); no band gap is below 0."""
        values = from_z_scores(output, self._statistics[name]).double().cpu().numpy()
        return np.maximum(values, 0.0) if name == "band_gap" else values

    def _estimate(self, name: str, values: np.ndarray, *, fitted: bool) -> Estimate:
        """Mean of the draws; errors of the model and the spread of the draws add up as independent ones do.

        fitted: whether the model was shown a composition, as it was when its errors were measured.
        """
        value, floor = float(values.mean()), 0.0 if name == "band_gap" else -np.inf
        residual = self.checkpoint.calibration.get(name, {}).get("residual_90")
        if residual is None or not fitted:
            return Estimate(value, TARGETS[name].unit, None, None)
        half = residual if len(values) == 1 else float(np.hypot(residual, _NINE_OF_TEN * values.std()))
        return Estimate(value, TARGETS[name].unit, max(value - half, floor), value + half)

    def _set(self, name: str, ranked: tuple[RankedLabel, ...]) -> tuple[str, ...] | None:
        threshold = self.checkpoint.calibration.get(name, {}).get("set_threshold_90")
        return None if threshold is None else likely_labels(ranked, threshold)

    def _remarks(
        self,
        symbols: tuple[str, ...],
        systems: tuple[RankedLabel, ...],
        traits: np.ndarray | None,
        cost: CompositionCost | None,
    ) -> list[str]:
        remarks = [] if cost is None else [str(cost)]
        if not symbols and not self.checkpoint.about.get("recipe", {}).get("drop_composition"):
            remarks.append("the model has not learned to do without a composition: the answer may mean nothing")
        domain = self._domain
        if domain is not None and traits is not None and (distance := domain.distance(traits)[0]) > domain.limit:
            remarks.append(
                "the pattern is unlike those that the model learned from "
                f"(distance {distance:.0f}, usual up to {domain.limit:.0f}): the answer may mean nothing"
            )
        seen = set(self.checkpoint.about.get("elements", SYMBOLS))
        unseen = [symbol for symbol in symbols if symbol not in seen]
        if unseen:
            remarks.append(f"no training material contains {', '.join(unseen)}: expect larger errors than stated")
        return [*remarks, *doubt_in_words(systems)]


def _named(composition: Composition | PartialComposition | str) -> tuple[str, Composition | PartialComposition]:
    """What a prediction calls the composition, and what is known of it."""
    if isinstance(composition, str):
        return composition.strip(), parse_composition(composition)
    if isinstance(composition, Composition):
        return format_formula(composition), composition
    return str(composition), composition.exact or composition


def _cost(
    known: PartialComposition,
    drawn: Sequence[Composition],
    values: Mapping[str, np.ndarray],
    probabilities: Mapping[str, Tensor],
) -> CompositionCost:
    systems = probabilities.get("crystal_system")
    doubt = None if systems is None else float(entropy_bits(systems.mean(dim=0, keepdim=True))[0])
    within = None if systems is None or not drawn else float(entropy_bits(systems).mean())
    spread = {name: float(of_draws.std()) for name, of_draws in values.items() if drawn}
    return CompositionCost(
        known=known.in_words,
        draws=len(drawn),
        crystal_system_bits=doubt,
        composition_bits=None if doubt is None or within is None else max(0.0, doubt - within),
        formation_energy_spread=spread.get("formation_energy_per_atom"),
        band_gap_spread=spread.get("band_gap"),
    )
