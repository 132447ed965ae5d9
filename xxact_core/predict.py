"""Pattern + formula → prediction, in one call."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.formula import composition_to_formula, parse_formula
from xxact_core.errors import CheckpointError
from xxact_core.model.answers import class_probabilities
from xxact_core.objectives.targets import from_z_scores
from xxact_core.patterns.gridding import put_on_grid
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.quantities import SURE, TARGETS
from xxact_core.reliability import Domain, class_sets, pattern_traits


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


@dataclass(frozen=True)
class Prediction:
    """What a material is taken to be; ranked labels come best first, warnings say what was done and what to mind.

    formula: as it was asked, or in Hill order where a `Composition` was given. coverage: share of the 5-90° grid that
    was measured (0-1). formation_energy_per_atom [eV/atom] and band_gap [eV] are
    None where the model was not trained for them; likewise the ranked labels are empty. crystal_system_set and
    space_group_set: the labels, best first, among which the true one is for nine of ten materials (on simulated
    validation patterns); None where the checkpoint was made without.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; sets of labels only where they are known."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if value is not None or not name.endswith("_set")}


class Predictor:
    """A trained model, ready to be asked; loading takes about a second, a prediction some milliseconds."""

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device) -> None:
        if not checkpoint.answers:
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
        composition: Composition | str,
        *,
        wavelength: str | float | None = None,
        override_coverage: bool = False,
    ) -> Prediction:
        """What the material is, from a pattern and its formula.

        A measured pattern is put on the grid first: converted to Cu Kα, background subtracted, scaled to 100; windows
        that were not measured are hidden from the model.

        Args:
            pattern: as measured, or already on the grid.
            composition: a formula such as `LaB6`, or a `Composition`.
            wavelength: of the measurement, in Å or by name (`CuKa`); wins over what the file says.
            override_coverage: predict even where under 30 % of the range was measured.

        Raises:
            PatternError: the pattern cannot be used (too little coverage, nothing above background ...).
            WavelengthError: neither the file nor the call says the wavelength.
            FormulaError: the formula cannot be read.
        """
        if isinstance(composition, str):
            formula, composition = composition.strip(), parse_formula(composition)
        else:
            formula = composition_to_formula(composition)
        if isinstance(pattern, Pattern):
            pattern = put_on_grid(pattern, wavelength=wavelength, override_coverage=override_coverage)
        outputs, traits = self._outputs(pattern, composition)
        values = {name: self._estimate(name, output) for name, output in outputs.items() if name in self._statistics}
        logits = {name: output for name, output in outputs.items() if name not in self._statistics}
        probabilities = class_probabilities(logits, self._temperatures)
        ranked = {name: _ranking(name, values[0].cpu().numpy()) for name, values in probabilities.items()}
        sets = {name: self._set(name, labels) for name, labels in ranked.items()}
        systems = ranked.get("crystal_system", ())
        return Prediction(
            formula=formula,
            coverage=pattern.covered_fraction,
            formation_energy_per_atom=values.get("formation_energy_per_atom"),
            band_gap=values.get("band_gap"),
            crystal_system=systems,
            space_group=ranked.get("space_group", ()),
            warnings=(*pattern.warnings, *self._remarks(composition, systems, traits)),
            crystal_system_set=sets.get("crystal_system"),
            space_group_set=sets.get("space_group"),
        )

    @torch.inference_mode()
    def _outputs(
        self, pattern: GriddedPattern, composition: Composition
    ) -> tuple[dict[str, torch.Tensor], np.ndarray | None]:
        def row(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device).unsqueeze(0)

        model = self.checkpoint.model
        embedding, tokens = model.observe(
            row(pattern.intensity, torch.float32),
            row(pattern.hidden_windows, torch.bool),
            row(composition.atomic_numbers, torch.long),
            row(composition.fractions, torch.float32),
        )
        return model.heads(embedding), None if tokens is None else pattern_traits(tokens).cpu().numpy()

    @property
    def _temperatures(self) -> dict[str, float]:
        return {name: fit["temperature"] for name, fit in self.checkpoint.calibration.items() if "temperature" in fit}

    @property
    def _statistics(self) -> dict[str, tuple[float, float]]:
        return dict(self.checkpoint.statistics)

    def _estimate(self, name: str, output: torch.Tensor) -> Estimate:
        value = float(from_z_scores(output, self._statistics[name])[0])
        floor = 0.0 if name == "band_gap" else -np.inf
        value = max(value, floor)
        residual = self.checkpoint.calibration.get(name, {}).get("residual_90")
        if residual is None:
            return Estimate(value, TARGETS[name].unit, None, None)
        return Estimate(value, TARGETS[name].unit, max(value - residual, floor), value + residual)

    def _set(self, name: str, ranked: tuple[RankedLabel, ...]) -> tuple[str, ...] | None:
        threshold = self.checkpoint.calibration.get(name, {}).get("set_threshold_90")
        if threshold is None:
            return None
        (in_set,) = class_sets(np.array([[entry.probability for entry in ranked]]), threshold)
        return tuple(entry.label for entry, held in zip(ranked, in_set, strict=True) if held)

    def _remarks(
        self, composition: Composition, systems: tuple[RankedLabel, ...], traits: np.ndarray | None
    ) -> list[str]:
        remarks = []
        domain = self._domain
        if domain is not None and traits is not None and (distance := domain.distance(traits)[0]) > domain.limit:
            remarks.append(
                "the pattern is unlike those that the model learned from "
                f"(distance {distance:.0f}, usual up to {domain.limit:.0f}): the answer may mean nothing"
            )
        seen = set(self.checkpoint.about.get("elements", SYMBOLS))
        unseen = [symbol for symbol in composition.symbols if symbol not in seen]
        if unseen:
            remarks.append(f"no training material contains {', '.join(unseen)}: expect larger errors than stated")
        if systems and systems[0].probability < SURE:
            remarks.append(
                f"not sure of the crystal system: the most probable one has only {systems[0].probability:.0%}"
            )
        return remarks


def _ranking(name: str, probabilities: np.ndarray) -> tuple[RankedLabel, ...]:
    order = np.argsort(-probabilities)
    return tuple(RankedLabel(TARGETS[name].classes[index], float(probabilities[index])) for index in order)
