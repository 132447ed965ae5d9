"""Every screen offers what the page and the readers of its files count on."""

from __future__ import annotations

import ast
import csv
import inspect
import io
import shutil
from pathlib import Path

import panel as pn
import pytest
from app_fixtures import loaded
from locations import REPOSITORY
from looking_fixtures import embedded_of, workspace_with, write_run_file

from xxact_app.library.workspace import Workspace
from xxact_app.screens.embeddings.store import EmbeddingStore
from xxact_app.screens.embeddings.view import EmbeddingsScreen
from xxact_app.screens.patterns.view import PatternsScreen
from xxact_app.screens.prediction.phases_store import PhasesStore
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.screens.prediction.view import PredictionScreen
from xxact_app.screens.reconstruction.store import ReconstructionStore
from xxact_app.screens.reconstruction.view import ReconstructionScreen
from xxact_app.screens.screen import Screen, standard_files
from xxact_app.screens.training.store import TrainingStore
from xxact_app.screens.training.view import TrainingScreen
from xxact_app.session.session import SCREENS, Session

KINDS = (PredictionScreen, PatternsScreen, EmbeddingsScreen, ReconstructionScreen, TrainingScreen)


def build(kind: type[Screen], session: Session, store: object, workspace: Workspace) -> Screen:
    def place() -> Workspace:
        return workspace

    if kind is PatternsScreen:
        return PatternsScreen(session, store)
    if kind is ReconstructionScreen:
        return ReconstructionScreen(session, store, ReconstructionStore(session, store, workspace=place))
    if kind is PredictionScreen:
        predictions = PredictionStore(session, store, workspace=place)
        matches = PhasesStore(session, store, workspace=place, shipped=workspace.root / "no.parquet")
        return PredictionScreen(session, store, predictions, matches)
    if kind is TrainingScreen:
        return TrainingScreen(session, TrainingStore(session, workspace))
    return EmbeddingsScreen(session, EmbeddingStore(session, store, workspace=place))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = workspace_with(tmp_path / "work", runs={"mxm": ["targets", "mxm"]})
    write_run_file(workspace, "mxm", embedded_of(30, width=32, seed=0))
    shutil.copytree(REPOSITORY / "tests" / "fixtures" / "v0_1_0" / "runs" / "windows", workspace.runs / "trained")
    return workspace


def test_the_screens_are_those_that_a_session_can_open() -> None:
    assert tuple(kind.KEY for kind in KINDS) == SCREENS
    assert len({kind.TITLE for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KEY)
def test_a_screen_has_all_members_of_the_interface(kind: type[Screen]) -> None:
    for name, wanted in vars(Screen).items():
        if inspect.isfunction(wanted) and not name.startswith("_"):
            offered = inspect.signature(getattr(kind, name))
            assert list(offered.parameters.items()) == list(inspect.signature(wanted).parameters.items()), name
            assert offered.return_annotation == inspect.signature(wanted).return_annotation, name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KEY)
def test_a_screen_with_something_to_show_writes_it(kind: type[Screen], workspace: Workspace) -> None:
    session, store = loaded("a.xy")
    session.change(session.files, wavelength=1.54184, formula="LaB6", masked=(3,))
    session.param.update(
        reconstruction_model="run mxm", compared=["trained"], map_models=["run mxm"], map_materials="file test.h5"
    )
    screen = build(kind, session, store, workspace)
    screen.come_to_front(in_front=True)
    try:
        assert isinstance(screen.panel, pn.viewable.Viewable)
        rows = list(csv.reader(io.StringIO(screen.to_csv().decode())))
        assert len(rows) > 1
        assert len({len(row) for row in rows}) == 1
        assert screen.to_picture("png").startswith(b"\x89PNG")
        assert b"<svg" in screen.to_picture("svg")
        ast.parse(screen.python_code())
        assert "xxact_core" in screen.python_code()
        files = standard_files(screen, "mine")
        assert {label: name for label, (name, _) in files.items()} == {
            "CSV": "mine.csv", "PNG": "mine.png", "SVG": "mine.svg"
        }  # fmt: skip
        assert files["PNG"][1]().startswith(b"\x89PNG")
    finally:
        screen.come_to_front(in_front=False)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS if kind is not EmbeddingsScreen],
    ids=lambda kind: kind.KEY,  # has a shipped map
)
def test_a_screen_with_nothing_to_show_writes_nothing(kind: type[Screen], tmp_path: Path) -> None:
    session, store = loaded()
    screen = build(kind, session, store, workspace_with(tmp_path / "empty", runs={}))
    assert (screen.to_csv(), screen.to_picture("png"), screen.python_code()) == (b"", b"", "")
