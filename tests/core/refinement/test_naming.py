"""Phases of a refinement by id, by name, or from a file."""

from __future__ import annotations

import pytest

from xxact_core.errors import DatasetError
from xxact_core.refinement.naming import find_row
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.identify import Identifier


@pytest.fixture(scope="module")
def references() -> ReferenceDatabase:
    return Identifier.load().references


@pytest.mark.parametrize(("identity", "formula"), [("mp-2133", "ZnO"), ("mp-1143", "Al2O3"), ("Nahcolite", "NaHCO3")])
def test_a_phase_is_found_by_any_of_its_ids_and_by_its_name(
    references: ReferenceDatabase, identity: str, formula: str
) -> None:
    assert references.formula(find_row(references, identity)) == formula


def test_a_name_of_several_phases_is_answered_with_their_ids(references: ReferenceDatabase) -> None:
    with pytest.raises(DatasetError, match=r"reference phases are called corundum: give the id .* mp-1143 \(Al2O3\)"):
        find_row(references, "corundum")


def test_an_unknown_phase_is_named(references: ReferenceDatabase) -> None:
    with pytest.raises(DatasetError, match="'unobtainium' is neither a CIF file nor the id or name of") as error:
        find_row(references, "unobtainium")
    assert error.value.code == "E_PHASE"
