"""What is known of the elements selects phases: must, may, one of, never."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.errors import FormulaError
from xxact_core.search_match.database import elements_to_bits, rows_of_elements
from xxact_core.search_match.element_states import ElementStates, parse_element_states

PHASES = ["Ti", "Ti O", "Ti O H", "Fe O", "U O", "Ti F"]


@dataclass(frozen=True)
class Elements:
    """What the selection needs of a database."""

    numbers: np.ndarray
    start: np.ndarray

    @property
    def element_bits(self) -> np.ndarray:
        return elements_to_bits(self.numbers, self.start)

    def rows_within(self, elements: tuple[str, ...]) -> np.ndarray:
        return rows_of_elements(self.numbers, self.start, elements)


@pytest.fixture
def references() -> Elements:
    numbers = [[ATOMIC_NUMBERS[symbol] for symbol in phase.split()] for phase in PHASES]
    start = np.cumsum([0, *(len(phase) for phase in numbers)])
    return Elements(np.concatenate(numbers), start)


def chosen(states: ElementStates, references: Elements) -> list[str]:
    rows = states.rows(references)
    return PHASES if rows is None else [PHASES[row] for row in rows]


def test_phases_hold_only_what_the_specimen_must_or_may_contain(references: Elements) -> None:
    assert chosen(parse_element_states(elements=["O", "Ti"]), references) == ["Ti", "Ti O"]
    assert chosen(parse_element_states(elements=["O", "Ti"], maybe=["H"]), references) == ["Ti", "Ti O", "Ti O H"]
    assert chosen(parse_element_states(maybe=["Fe", "O", "U"]), references) == ["Fe O", "U O"]
    assert chosen(parse_element_states(elements=["O"], one_of=["Fe", "U"]), references) == ["Fe O", "U O"]


def test_without_possible_elements_all_but_the_excluded_are_possible(references: Elements) -> None:
    assert parse_element_states().rows(references) is None
    assert parse_element_states(one_of=["Ti"]).rows(references) is None
    assert chosen(parse_element_states(exclude=["F", "U"]), references) == ["Ti", "Ti O", "Ti O H", "Fe O"]


def test_required_elements_that_a_phase_lacks_are_counted(references: Elements) -> None:
    states = parse_element_states(elements=["O", "Ti"], maybe=["H"], one_of=["Fe", "H"])
    assert states.missing(references, np.arange(6)).tolist() == [2, 1, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"elements": ["O", "Ti"], "exclude": ["O"]}, "O cannot be both in elements and excluded"),
        ({"one_of": ["Fe", "Co"], "exclude": ["Fe", "Co"]}, "Fe, Co cannot be both in one_of and excluded"),
        ({"maybe": ["Xx"]}, "'Xx' is not a chemical element"),
        ({"exclude": []}, "no element is given"),
    ],
)
def test_contradictions_and_unknown_elements_are_refused(arguments: dict[str, list[str]], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        parse_element_states(**arguments)
