"""Prediction and phases of a pattern → one answer in which nothing contradicts anything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.screens.prediction.phases_store import SearchResult
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.search_match.certainty import Certainty, Condition, agree_with_phases, is_in_domain, judge_phases
from xxact_core.search_match.combine import combine_with_matches

if TYPE_CHECKING:
    from xxact_core.prediction.prediction import Prediction

Level = Certainty | Literal["prediction only"]
"""How sure the answer is; `prediction only` where no phases were searched yet."""


@dataclass(frozen=True, eq=False)
class Conclusion:
    """The answer for a pattern."""

    level: Level
    conditions: tuple[Condition, ...] = ()
    """What the level rests on."""
    found: SearchResult | None = None
    """The phases; None where they were not searched yet."""
    answer: Answer | Missing | None = None
    """The prediction in agreement with the phases; None for a mixture, to which no single prediction applies."""
    alone: Answer | Missing | None = None
    """The prediction of the model alone."""
    of_phase: bool = False
    """Whether the prediction is for the formula of the phase found, as no complete composition is given."""

    @property
    def mixture(self) -> bool:
        """Whether the specimen is a mixture."""
        return self.found is not None and self.found.several


def conclude(
    alone: Answer | Missing,
    found: SearchResult | None,
    *,
    predict_for: Callable[[str], Answer | Missing],
    complete: bool,
) -> Conclusion:
    """The answer from the prediction and, where they were searched, the phases.

    Args:
        alone: the prediction of the model for what is known of the composition, or what is missing for one.
        found: the phases.
        predict_for: predicts for another formula.
        complete: whether the amounts of all elements are given.
    """
    if found is None:
        return Conclusion("prediction only", answer=alone, alone=alone)
    prediction = alone.prediction if isinstance(alone, Answer) else None
    of_formula = None
    if prediction is not None and found.phases and not found.several and not complete:
        of_formula = predict_for(found.phases[0].plain_formula)
    predictions = [one.prediction for one in (alone, of_formula) if isinstance(one, Answer)]
    level, conditions = judge_phases(
        found.verdict,
        [phase.probability for phase in found.phases],
        found.unexplained,
        restricted=found.restricted,
        in_domain=all(map(is_in_domain, predictions)) if predictions else None,
        agreeing=_agree(found, prediction),
    )
    if found.several:
        return Conclusion(level, conditions, found, None, alone)
    of_phase = level == "likely" and of_formula is not None
    base = of_formula if of_phase else alone
    if not isinstance(base, Answer):
        return Conclusion(level, conditions, found, base, alone)
    if level == "no match":
        combined = combine_with_matches(base.prediction, found.unescaped)
    else:
        phase = found.phases[0]
        combined = agree_with_phases(
            base.prediction, found.unescaped, space_group=phase.number, probability=phase.probability
        )
    return Conclusion(level, conditions, found, replace(base, prediction=combined), alone, of_phase)


def _agree(found: SearchResult, prediction: Prediction | None) -> bool | None:
    """Whether the crystal system of a single phase is the first one of model and matches combined; None if unknown."""
    if found.several or not found.phases or prediction is None or not prediction.crystal_system:
        return None
    number = found.phases[0].number
    if number is None:
        return None
    combined = combine_with_matches(prediction, found.unescaped)
    return combined.crystal_system[0].label == space_group_to_crystal_system(number)
