"""How sure an identification is, in words, and the prediction of a material in agreement with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xxact_core.prediction.prediction import UNLIKE, Prediction, RankedLabel, rank_classes
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP
from xxact_core.search_match.combine import combine_with_matches, sum_by_system, with_ranked_classes
from xxact_core.search_match.match import Match
from xxact_core.search_match.phase_analysis import Verdict

Certainty = Literal["likely", "uncertain", "no match"]
"""How sure the phases are."""

LIKELY, LIKELY_OF_ALL = 0.7, 0.8
"""Probability of the least probable phase from which an identification is likely, with elements given and without."""

MOST_UNEXPLAINED = 0.2
"""Fraction of the intensity without a phase up to which an identification is likely.

Source of all three: ours. On measured patterns for development the phases of likely identifications are right in at
least 90 % of the cases, with elements given and without (docs/explanation/calibration.md). Mixtures found without
elements are right less often than that at any threshold, and so never likely.
"""


_UNLIKE_PATTERNS = "unlike the training patterns"
"""Part of the warning of a prediction for a pattern out of the domain of its model."""


@dataclass(frozen=True)
class Condition:
    """One condition for a likely identification."""

    text: str
    """What is the case, as a sentence without a full stop."""
    met: bool


def judge_phases(
    verdict: Verdict,
    probabilities: Sequence[float],
    unexplained: float,
    *,
    restricted: bool,
    in_domain: bool | None = None,
    agreeing: bool | None = None,
) -> tuple[Certainty, tuple[Condition, ...]]:
    """How sure the phases of an identification are, and the conditions for that.

    Args:
        verdict: of the identification.
        probabilities: of the phases, 0-1; see `phase_probability`.
        unexplained: fraction of the intensity that no phase explains, 0-1.
        restricted: whether the elements of the specimen were given.
        in_domain: whether the material and its pattern are like those of the training; None without a prediction.
        agreeing: whether the model and the reference phases agree on the crystal system; None without a prediction.
    """
    if verdict == "no match" or not probabilities:
        left = f"{100 * unexplained:.0f} % of the intensity is explained by no reference phase"
        return "no match", (Condition(left, met=False),)
    least = LIKELY if restricted else LIKELY_OF_ALL
    weakest = min(probabilities)
    subject = "the phase" if len(probabilities) == 1 else "the least probable phase"
    conditions = [
        Condition(f"{subject} has a probability of {100 * min(weakest, 0.99):.0f} % (needed: {100 * least:.0f} %)",
                  met=weakest >= least),
        Condition(f"{_percent(unexplained)} of the intensity is unexplained (at most {100 * MOST_UNEXPLAINED:.0f} %)",
                  met=unexplained <= MOST_UNEXPLAINED),
    ]  # fmt: skip
    if len(probabilities) > 1 and not restricted:
        conditions.append(Condition("a mixture was found without any elements given", met=False))
    if in_domain is not None:
        text = "the material is like those that the model was trained on" if in_domain else (
            "the material or its pattern is unlike those that the model was trained on"
        )  # fmt: skip
        conditions.append(Condition(text, met=in_domain))
    if agreeing is not None:
        text = "the model and the reference materials agree on the crystal system" if agreeing else (
            "the model and the reference materials disagree on the crystal system"
        )  # fmt: skip
        conditions.append(Condition(text, met=agreeing))
    return "likely" if all(condition.met for condition in conditions) else "uncertain", tuple(conditions)


def _percent(fraction: float) -> str:
    return "< 1 %" if 0 < fraction < 0.01 else f"{100 * fraction:.0f} %"  # noqa: PLR2004 - one percent


def is_in_domain(prediction: Prediction) -> bool:
    """Whether the pattern and the material are like those that the model was trained on."""
    return not any(words in warning for warning in prediction.warnings for words in (_UNLIKE_PATTERNS, UNLIKE))


def phase_probability(
    present: float,
    formula: str,
    space_group: int | None,
    *,
    matches: Sequence[Match],
    verdict: Verdict,
    no_match: float,
) -> float:
    """Probability that a phase is present and is this one, 0-1.

    In a mixture it is the probability that the phase is present. A single phase competes with the other phases that
    would explain the pattern alone and with those that the database lacks, so that the probabilities of the matches
    count, too.

    Args:
        present: probability that the phase is present, of the analysis.
        formula: of the phase.
        space_group: of the phase.
        matches: single phases compared.
        verdict: of the identification.
        no_match: probability that the database lacks the phase.
    """
    if verdict == "mixture":
        return present
    same = [match for match in matches if (match.formula, match.space_group) == (formula, space_group)]
    right = sum(match.probability or 0.0 for match in same)
    return min(present, right) if same else min(present, 1 - no_match) / 2


def agree_with_phases(
    prediction: Prediction, matches: Sequence[Match], *, space_group: int | None, probability: float
) -> Prediction:
    """The prediction combined with the matches of a specimen of one phase, in agreement with the phase that is named.

    Where the combined prediction has another first space group, it is P(g) = c δ(g, phase) + (1 - c) P'(g), with the
    probability c of the phase and the combined prediction P'. Prediction sets follow, see `with_ranked_classes`.

    Args:
        prediction: of the model.
        matches: single phases compared, best first.
        space_group: of the phase that is named; None where it is unknown.
        probability: of that phase, 0-1.
    """
    combined = combine_with_matches(prediction, matches)
    groups = combined.space_group
    if space_group is None or not groups or groups[0].label == str(space_group):
        return combined
    by_label = {entry.label: entry.probability for entry in groups}
    values = (1 - probability) * np.array([by_label.get(label, 0.0) for label in SPACE_GROUP.classes])
    values[space_group - 1] += probability
    ranked_groups = rank_classes(SPACE_GROUP, values)
    systems = rank_classes(CRYSTAL_SYSTEM, sum_by_system(values)) if combined.crystal_system else ()
    return with_ranked_classes(combined, systems=systems, groups=ranked_groups)


def credible_set(ranked: Sequence[RankedLabel], labels: Sequence[str] | None, *, level: float = 0.9) -> tuple[str, ...]:
    """The most probable classes that together have at least a probability of `level`, with those of a prediction set.

    So that a set never has less than its name says beside the probabilities that are shown, and one class where its
    probability alone is that of the set.
    """
    if ranked and ranked[0].probability >= level:
        return (ranked[0].label,)
    chosen: list[str] = []
    total = 0.0
    for entry in ranked:
        if total >= level and entry.label not in (labels or ()):
            continue
        chosen.append(entry.label)
        total += entry.probability
    return tuple(chosen)
