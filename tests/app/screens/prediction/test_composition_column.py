"""Compositions of all patterns: a pasted column, a table by file names, a CSV file, and what cannot be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from app_fixtures import loaded
from looking_fixtures import workspace_with

from xxact_app.samples.prediction_result import Missing
from xxact_app.screens.prediction.batch import BatchTable
from xxact_app.screens.prediction.composition_column import read_compositions
from xxact_app.screens.prediction.phases_store import PhasesStore
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.screens.prediction.view import PredictionScreen
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import plain_markdown
from xxact_core.errors import InputError

NAMES = ("a.xy", "B 2.raw", "c.xrdml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NaCl\nSi\nLaB6\n", {0: "NaCl", 1: "Si", 2: "LaB6"}),
        ("Formula\r\nNaCl\r\n\r\nLaB6", {0: "NaCl", 2: "LaB6"}),
        ("c.xrdml\tSi\nA.XY\tNaCl", {2: "Si", 0: "NaCl"}),
        ("file,composition\nb 2.raw,LaB6\n", {1: "LaB6"}),
        ("composition;operator;sample\nSi;me;a\nNaCl;me;data\\\\c.xrdml", {0: "Si", 2: "NaCl"}),
        ('"B 2","Fe2O3, Al2O3"\na,Si', {1: "Fe2O3, Al2O3", 0: "Si"}),
        ("a.xy,Ti,O\nc.xrdml,Si", {0: "Ti,O", 2: "Si"}),
        ("file,composition\na.xy,Fe 40±2,O 60±3", {0: "Fe 40±2,O 60±3"}),
        ("file,composition,operator\na.xy,Si,me", {0: "Si"}),
        ("Ti,O\nSi\nFe,?O", {0: "Ti,O", 1: "Si", 2: "Fe,?O"}),
        ("composition\nTi,O\n\nFe,?O", {0: "Ti,O", 2: "Fe,?O"}),
    ],
)
def test_columns_and_tables_are_read(text: str, expected: dict[int, str]) -> None:
    found = read_compositions(text, NAMES)
    assert (found.formulas, found.unknown) == (expected, ())


def test_names_that_no_pattern_has_are_told() -> None:
    found = read_compositions("a.xy,Si\nd.xy,NaCl", NAMES)
    assert (found.formulas, found.unknown) == ({0: "Si"}, ("d.xy",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "no compositions"),
        ("Si\nNaCl", "2 compositions for 3 patterns"),
        ("Ti,O\nSi", "2 compositions for 3 patterns"),
        ("d.xy,Si\ne.xy,NaCl", "no pattern is called 'd.xy'"),
        ("d.xy,Si\ne.xy,NaCl\nf.xy,LaB6", "no pattern is called 'd.xy'"),
    ],
)
def test_what_cannot_be_assigned_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_compositions(text, NAMES)


def batch_of_two(tmp_path: Path) -> tuple[Session, BatchTable]:
    session, store = loaded("one.xy", "two.xy", wavelength="1.54184")
    workspace = workspace_with(tmp_path / "workspace", runs={}, dataset=None)
    predictions = PredictionStore(session, store, workspace=lambda: workspace)
    search = PhasesStore(session, store, workspace=lambda: workspace, shipped=tmp_path / "none.parquet")
    batch = PredictionScreen(session, store, predictions, search).batch
    batch.show()
    return session, batch


def test_pasted_and_dropped_compositions_reach_the_patterns(tmp_path: Path) -> None:
    session, batch = batch_of_two(tmp_path)
    batch.compositions.value = "LaB6\nNaCl"
    batch.apply.param.trigger("clicks")
    assert [session.sample(key).formula for key in session.files] == ["LaB6", "NaCl"]
    assert batch.table.value["Composition"].tolist() == ["LaB6", "NaCl"]
    assert (batch.message.object, batch.message.severity) == (plain_markdown("2 compositions set."), "success")
    batch._read_file([("list.csv", b"\xef\xbb\xbffile,composition\ntwo.xy,Si\nthree.xy,Si\n")])
    assert session.sample(session.files[1]).formula == "Si"
    assert "three" in batch.message.object
    assert batch.message.severity == "warning"
    batch.apply_compositions("Si")
    assert "1 composition for 2 patterns" in batch.message.object


def test_what_is_no_composition_is_named(tmp_path: Path) -> None:
    _, batch = batch_of_two(tmp_path)
    batch.apply_compositions("NaCl\nsalt")
    assert "salt" in batch.message.object
    assert "two" in batch.message.object
    assert batch.message.severity == "warning"


def test_a_column_without_names_is_not_assigned_in_another_order_than_the_table_shows(tmp_path: Path) -> None:
    session, batch = batch_of_two(tmp_path)
    batch.table.sorters = [{"field": "File", "dir": "desc"}]
    batch.apply_compositions("LaB6\nNaCl")
    assert [session.sample(key).formula for key in session.files] == ["", ""]
    assert "sorted" in batch.message.object
    assert batch.table.sorters == []
    batch.apply_compositions("LaB6\nNaCl")
    assert [session.sample(key).formula for key in session.files] == ["LaB6", "NaCl"]
    batch.table.sorters = [{"field": "File", "dir": "desc"}]
    batch.apply_compositions("two.xy,Si\none.xy,NaCl")
    assert [session.sample(key).formula for key in session.files] == ["NaCl", "Si"], "names need no order"


def test_the_whole_note_of_the_selected_pattern_is_below_the_table_as_text(tmp_path: Path) -> None:
    session, batch = batch_of_two(tmp_path)
    session.chosen = session.files[1]
    row = replace(batch.rows()[1], answer=Missing("<img src=x onerror=window.ran=1> " + "long " * 40))
    batch._rows = [batch.rows()[0], row]
    batch._show_note()
    assert "two.xy" in batch.note.object
    assert batch.note.object.count("long") == 40
    assert "<img" not in batch.note.object
