"""The table of element features is the one that CrabNet reads."""

from __future__ import annotations

import numpy as np
import pytest

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_features import load_element_features
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.errors import FormulaError


def test_every_element_has_its_own_two_hundred_features() -> None:
    features = load_element_features()
    assert features.shape == (118, 200)
    assert np.isfinite(features).all()
    assert np.unique(features, axis=0).shape[0] == 118
    assert np.abs(features).sum(axis=1).min() > 0


def test_rows_stand_in_order_of_atomic_number() -> None:
    features = load_element_features()
    assert features[0, :3] == pytest.approx([0.057146, -0.225565, 0.172799], abs=1e-6)
    likeness = features @ features[ATOMIC_NUMBERS["Na"] - 1] / np.linalg.norm(features, axis=1)
    assert SYMBOLS[np.argsort(likeness)[-2]] in {"K", "Li"}


def test_the_table_cannot_be_changed_by_its_users() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_element_features()[0, 0] = 1


def test_symbols_are_those_of_pymatgen() -> None:
    from pymatgen.core import Element

    assert [Element.from_Z(number).symbol for number in range(1, 119)] == list(SYMBOLS)


def test_a_composition_is_sorted_checked_and_scale_free() -> None:
    alumina = Composition(("Al", "O"), (2.0, 3.0))
    assert alumina.symbols == ("O", "Al")
    assert alumina.atomic_numbers.tolist() == [8, 13]
    assert alumina.fractions == pytest.approx([0.6, 0.4])
    assert Composition(("O", "Al"), (6.0, 4.0)).fractions == pytest.approx(alumina.fractions)
    assert Composition(("O", "Al"), (6.0, 4.0)) != alumina


@pytest.mark.parametrize(
    ("symbols", "amounts"),
    [
        ((), ()),
        (("Fe",), (0.0,)),
        (("Fe",), (-1.0,)),
        (("Fe",), (float("nan"),)),
        (("Fe", "Fe"), (1.0, 1.0)),
        (("Fe", "O"), (1.0,)),
        (("D",), (1.0,)),
    ],
)
def test_impossible_compositions_are_refused(symbols: tuple[str, ...], amounts: tuple[float, ...]) -> None:
    with pytest.raises(FormulaError) as refusal:
        Composition(symbols, amounts)
    assert refusal.value.code == "E_FORMULA"
