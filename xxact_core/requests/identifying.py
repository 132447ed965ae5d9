"""Pattern and elements → reference phases, as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xxact_core.compositions.partial import maybe_symbols, parse_composition
from xxact_core.errors import FormulaError, InputError
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.requests.reading import ReadRequest
from xxact_core.search_match.element_states import ElementStates, parse_element_states

if TYPE_CHECKING:
    from xxact_core.search_match.identify import Identification, Identifier
    from xxact_core.search_match.instrument import InstrumentProfile

Symbols = str | tuple[str, ...]

_OF_MATCHES = frozenset({"matches", "neighbours", "mixture"})
"""Keys about single phases compared with the pattern, which an answer about phases alone leaves out."""


@dataclass(frozen=True, kw_only=True)
class ElementsRequest(ReadRequest):
    """Which reference phases are searched.

    Raises:
        FormulaError: an element is unknown, both possible and excluded, or elements and formula are given.
    """

    elements: Symbols | None = None
    """Elements that the specimen contains, `La,B` or a list. Phases with other elements are not compared. By default
    all reference phases are compared."""

    maybe: Symbols | None = None
    """Elements that the specimen may contain besides `elements`."""

    one_of: Symbols | None = None
    """Elements of which the specimen contains at least one."""

    exclude: Symbols | None = None
    """Elements that the specimen does not contain."""

    formula: str | None = None
    """Instead of `elements`, a composition: LaB6, `La,B,?O`, `?`."""

    full: bool = False
    """Whether the answer lists the fitted reflections."""

    def __post_init__(self) -> None:
        """Check the elements before the reference phases are read, which takes seconds."""
        super().__post_init__()
        _ = self.states

    @property
    def states(self) -> ElementStates:
        """The elements of the request."""
        elements, maybe = parse_symbols(self.elements), parse_symbols(self.maybe)
        if elements is not None and self.formula is not None:
            msg = "give either elements or a formula"
            raise FormulaError(msg, code="E_FORMULA")
        if self.formula is not None:
            known = parse_composition(self.formula)
            elements, possible = known.symbols or None, maybe_symbols(known)
            maybe = (*possible, *(maybe or ())) if possible else maybe
        return parse_element_states(
            elements=elements,
            maybe=maybe,
            one_of=parse_symbols(self.one_of),
            exclude=parse_symbols(self.exclude),
        )


@dataclass(frozen=True, kw_only=True)
class IdentifyRequest(ElementsRequest):
    """Which reference phases are searched, and how many matches are listed."""

    count: int = 10
    """Largest number of matches, at least 1."""

    def __post_init__(self) -> None:
        """Check the number, too."""
        super().__post_init__()
        if self.count < 1:
            msg = f"count is {self.count}; expected at least 1"
            raise InputError(msg, code="E_INPUT")


@dataclass(frozen=True, kw_only=True)
class PhasesRequest(ElementsRequest):
    """Which reference phases are searched for those of the specimen."""

    curves: bool = False
    """Whether the answer has the measured and calculated curves."""


def parse_symbols(symbols: Symbols | None) -> tuple[str, ...] | None:
    """Element symbols from a text, separated by commas or spaces, or from a tuple; None where it is None."""
    if symbols is None or isinstance(symbols, tuple):
        return symbols
    return tuple(part for part in re.split(r"[\s,;]+", symbols) if part)


def identify_pattern(
    pattern: Pattern | GriddedPattern,
    request: IdentifyRequest,
    identifier: Identifier,
    *,
    instrument: InstrumentProfile | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Identification:
    """Search as `xxact identify` does; raises as `Identifier.identify`."""
    states = request.states
    return identifier.identify(
        pattern,
        elements=states.must or None,
        maybe=states.may or None,
        one_of=states.one_of or None,
        exclude=states.never or None,
        wavelength=request.wavelength,
        count=request.count,
        instrument=instrument,
        progress=progress,
    )


def keep_phases(identified: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the JSON of `xxact identify` that describes the phases of the specimen."""
    return {name: value for name, value in identified.items() if name not in _OF_MATCHES}
