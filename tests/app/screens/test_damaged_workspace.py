"""One damaged run, dataset, job or upload never breaks the lists for the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from xxact_app.library.materials import find_dataset
from xxact_app.library.models import list_models
from xxact_app.library.workspace import Workspace, own_folders
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_core.dataset.store import read_manifest
from xxact_core.errors import DatasetError, InputError

FIXTURE = Path(__file__).parents[2] / "fixtures" / "v0_1_0" / "workspace"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The workspace of version 0.1.0, with a second run and dataset that are never damaged."""
    root = tmp_path / "workspace"
    shutil.copytree(FIXTURE, root)
    shutil.copytree(root / "runs" / "finished", root / "runs" / "healthy")
    shutil.copytree(root / "datasets" / "cells", root / "datasets" / "healthy")
    return Workspace(root)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def changed(**values: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            content = {}
        path.write_text(json.dumps({**content, **values} if isinstance(content, dict) else values), encoding="utf-8")

    return change


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: path.write_bytes(b""),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\x00PK\x03\x04" * 50),
    "half": half,
    "list": lambda path: path.write_text("[1, 2]"),
    "nothing": lambda path: path.write_text("{}"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "folder": as_folder,
    "missing": Path.unlink,
    "types": changed(
        name=7, key=None, arguments="x", state=[], about=[], made="soon", steps={}, recipe=3, model=[], shards={},
        schema=9,
    ),
    "values": changed(
        name="../../../etc", output="\0", made=1e400, pid=-5, started="now", reason=None, step=-1, steps="9", digest=5,
        materials=-1, statistics={"band_gap": [0, 0]}, about={"total": "x", "rate": "y", "make": []},
    ),
}  # fmt: skip

FILES = (
    "runs/finished/recipe.json", "runs/finished/status.json", "runs/finished/journal.jsonl",
    "runs/finished/model/checkpoint.json", "datasets/cells/manifest.json", "jobs/*/job.json",
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", FILES)
def test_damage_of_one_file_leaves_the_lists_of_the_others(workspace: Workspace, place: str, damage: str) -> None:
    path = min(workspace.root.glob(place))
    DAMAGE[damage](path)
    store = TrainingStore(Session(), workspace)
    rows = {row.run: row for row in store.rows()}
    assert "healthy" in rows
    assert rows["healthy"].state == "finished"
    healthy = str(workspace.datasets / "healthy")
    assert healthy in store.datasets().values()
    assert store.facts(healthy).materials > 0
    assert "run healthy" in {model.key for model in list_models(workspace)}
    digest = read_manifest(workspace.datasets / "healthy")["digest"]
    assert find_dataset(workspace, digest) in {workspace.datasets / "healthy", workspace.datasets / "cells"}
    for dataset in store.datasets().values():
        with suppress(InputError):
            store.facts(dataset)


def test_workspace_whose_folders_are_gone_lists_nothing(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root)
    assert list(own_folders(workspace.runs)) == []
    assert TrainingStore(Session(), workspace).rows() == []


@pytest.mark.parametrize("field", ["digest", "materials", "errors", "plan", "shards", "content_sha256"])
def test_manifest_of_a_dataset_is_checked_field_by_field(workspace: Workspace, field: str) -> None:
    folder = workspace.datasets / "healthy"
    manifest = read_manifest(folder)
    for value in (None, "x", -1, 1.5, [], {"a": 1}, [None], [{"file": "x"}], [{"file": "../x"}]):
        (folder / "manifest.json").write_text(json.dumps({**manifest, field: value}))
        if value == {"a": 1} and field == "plan":
            continue
        with pytest.raises(DatasetError, match=r"damaged|not in its folder"):
            read_manifest(folder)
