"""Refinement of the phases of the Answer screen: what it needs, its command, its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.app_fixtures import loaded
from tests.looking_fixtures import workspace_with
from xxact_app.screens.prediction import refinement_store
from xxact_app.screens.prediction.phases_store import PhaseRow, PhasesStore, SearchResult
from xxact_app.screens.prediction.refinement_store import RefinementStore, parse_refinement
from xxact_app.screens.prediction.refinement_view import RefinementPanel

pytestmark = pytest.mark.usefixtures("tables")

PHASE = PhaseRow(
    formula="LaB6",
    name="",
    space_group="Pm-3m (221)",
    weight="100",
    cell="",
    size="",
    probability=0.9,
    source_id="mp-2680",
)
FOUND = SearchResult(matches=(), unescaped=(), candidates=3, verdict="single", no_match=0.1, phases=(PHASE,))
RESULT = {
    "r_wp": 0.1, "r_exp": 0.05, "warnings": ["poor <fit>"], "phases": [{
        "formula": "LaB6", "name": "<b>", "weight_fraction": 1.0, "u_weight_fraction": 0.0,
        "cell": [4.1568, 4.1568, 4.1568, 90.0, 90.0, 90.0], "u_cell": [0.0001, 0.0001, 0.0001, 0.0, 0.0, 0.0],
    }],
}  # fmt: skip


def stores(folder: Path, *, wavelength: str = "1.54184", installed: bool = True) -> tuple[RefinementStore, str]:
    workspace = workspace_with(folder / "workspace", runs={})
    table = folder / "table.parquet"
    table.touch()
    session, store = loaded("scan.xy", wavelength=wavelength)
    session.change(session.files, formula="LaB6")
    search = PhasesStore(session, store, workspace=lambda: workspace, shipped=table)
    return RefinementStore(store, search, installed=installed), session.chosen


def test_phases_of_a_table_can_be_refined(tmp_path: Path) -> None:
    refinement, key = stores(tmp_path)
    assert refinement.can_refine(key, FOUND)
    assert not refinement.can_refine(key, None)
    assert not refinement.can_refine(key, replace(FOUND, phases=()))


def test_the_command_names_every_phase_and_the_wavelength(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refinement, key = stores(tmp_path)
    given: list[list[str]] = []

    def command_step(_text: str, arguments: object) -> object:
        given.append(arguments())  # type: ignore[operator]  # a function in the app
        return object()

    monkeypatch.setattr(refinement_store, "command_step", command_step)
    monkeypatch.setattr(refinement_store, "submit", lambda *_, **__: None)
    refinement.start(key, FOUND)
    (arguments,) = given
    assert arguments[0] == "refine"
    assert Path(arguments[1]).read_text().count("\n") == refinement.store.samples[key].pattern.two_theta.size
    written = Path(arguments[1])
    assert [path.stat().st_mode & 0o777 for path in (written.parent, written)] == [0o700, 0o600]
    assert arguments[2:4] == ["--phase", "mp-2680"]
    assert arguments[arguments.index("--wavelength") + 1] == "1.54184"
    assert "--progress" in arguments
    assert "--json" in arguments


def test_the_result_is_shown_without_markup_of_files() -> None:
    result = parse_refinement(RESULT)
    assert result.rows[0].name == "‹b›"
    assert result.notes == ("poor ‹fit›",)
    assert "4.1568(1)" in result.rows[0].cell
    assert result.agreement == "R_wp 10.0 %, expected 5.0 %"


def test_a_missing_library_is_named_where_it_is_needed(tmp_path: Path) -> None:
    refinement, key = stores(tmp_path, installed=False)
    session, store = refinement.search.session, refinement.store
    panel = RefinementPanel(session, store, refinement.search, refinement=refinement)
    panel.show(key, FOUND)
    assert "xxact[refine]" in panel.refined.object
    assert not panel.task.panel.visible
    panel.show(key, None)
    assert not panel.panel.visible
