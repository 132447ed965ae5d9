"""What the user knows of the elements of a pattern: as states of a periodic table, and as conditions of a search."""

from __future__ import annotations

from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.partial import PartialComposition, maybe_symbols
from xxact_core.errors import FormulaError
from xxact_core.search_match.element_states import ElementStates


def element_states(session: Session, store: Store, key: str) -> ElementStates:
    """What is known of the elements of a pattern; an invalid composition counts as none.

    The composition wins where an excluded element is in it.
    """
    chosen = session.sample(key)
    try:
        known = store.known(store.formula(key))
    except FormulaError:
        known = PartialComposition()
    must = known.symbols
    one_of = tuple(symbol for symbol in chosen.one_of if symbol not in must)
    may = tuple(
        symbol for symbol in dict.fromkeys([*maybe_symbols(known), *chosen.may]) if symbol not in (*must, *one_of)
    )
    never = tuple(symbol for symbol in chosen.never if symbol not in (*must, *one_of, *may))
    return ElementStates(must, may, one_of, never)


def set_element(session: Session, store: Store, key: str, symbol: str, state: str) -> None:
    """Give an element a state of the periodic table, or none; amounts are kept where the composition allows it.

    A guess becomes the composition.
    """
    chosen = session.sample(key)
    try:
        known = store.known(chosen.formula.strip() or ",".join(store.guess(key) if store.guessed(key) else ()))
    except FormulaError:
        known = PartialComposition()
    lists = {name: tuple(one for one in getattr(chosen, name) if one != symbol) for name in ("may", "one_of", "never")}
    formula = chosen.formula.strip()
    if state == "must" and symbol not in known.symbols:
        formula = str(PartialComposition((*known.symbols, symbol), maybe=_without(maybe_symbols(known), symbol)))
    elif state != "must" and symbol in known.symbols:
        left = _without(known.symbols, symbol)
        formula = str(PartialComposition(left, maybe=maybe_symbols(known) if left else ())) if left else ""
        if not left:
            lists["may"] = (*lists["may"], *maybe_symbols(known))
    elif symbol in maybe_symbols(known):
        formula = _to_text(known, _without(maybe_symbols(known), symbol))
    elif not formula and known.symbols:
        formula = str(known)
    if state in lists:
        lists[state] = (*lists[state], symbol)
    emptied = not formula and bool(known.symbols)
    session.change([key], formula=formula, use_guess=chosen.use_guess and not emptied, **lists)


def _without(symbols: tuple[str, ...], symbol: str) -> tuple[str, ...]:
    return tuple(one for one in symbols if one != symbol)


def _to_text(known: Composition | PartialComposition, maybe: tuple[str, ...]) -> str:
    """The composition with other possible elements."""
    errors = known.errors if isinstance(known, PartialComposition) else ()
    return str(PartialComposition(known.symbols, known.amounts, errors, maybe))
