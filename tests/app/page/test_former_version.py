"""What the app of version 0.1.0 wrote is read: session files, addresses and records of jobs."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from app_fixtures import loaded
from locations import REPOSITORY

from xxact_app.jobs.records import read_job
from xxact_app.library.models import ModelFolder, keys_by_text
from xxact_app.page.session_file import file_to_saved, restore_session
from xxact_app.samples.store import Store
from xxact_app.session.session import FORMER_SCREENS, Session
from xxact_app.session.url_state import IN_ADDRESS, query_to_session
from xxact_core.quantities import TARGETS

WRITTEN = REPOSITORY / "tests" / "fixtures" / "v0_1_0"
QUERIES = (WRITTEN / "url_queries.txt").read_text(encoding="utf-8").split()
MODELS = [
    ModelFolder(key, key, Path(), digest="", data="", reconstructs=True, predicts=True)
    for key in ("shipped", "shipped-reconstruction", "run full", "run pretrain")
]


def opened(name: str) -> tuple[Session, Store]:
    session, store = loaded()
    content = (WRITTEN / "sessions" / name).read_bytes()
    list(restore_session(file_to_saved(content, name=name), session, store, name=name))
    return session, store


def test_a_session_with_everything_other_than_at_the_start() -> None:
    former = json.loads((WRITTEN / "sessions" / "everything_to_json.json").read_text(encoding="utf-8"))
    session, store = opened("everything.xxact")
    assert store.problems == []
    keys = dict(zip(former["files"], session.files, strict=True))
    assert len(keys) == 5
    for key, now in keys.items():
        record = session.sample(now)
        assert record.visible == (key not in former["hidden"])
        assert record.wavelength == former["wavelengths"].get(key)
        assert record.formula == former["formulas"].get(key, "")
        assert record.scan == former["scans"].get(key, 0)
        assert record.masked == tuple(former["masked"].get(key, ()))
        assert record.phase == former["neighbours"].get(key, "")
    assert session.chosen == keys[former["chosen"]]
    assert session.draft_formula == former["formulas"][""] == "Al2O3"
    assert session.model == "run full"
    assert [len(session.references), len(session.hidden_references)] == [2, 1]
    assert len(session.steps) == len(former["steps"])
    per_pattern = {"files", "hidden", "wavelengths", "formulas", "scans", "masked", "neighbours"}
    per_visit = {"dark", "dismissed", "chosen", "references", "hidden_references", "model", "steps"}
    for name in former.keys() - per_pattern - per_visit:
        assert getattr(session, name) == former[name], name


@pytest.mark.parametrize(("name", "files"), [("usual.xxact", 2), ("empty.xxact", 0)])
def test_other_sessions(name: str, files: int) -> None:
    session, store = opened(name)
    assert store.problems == []
    assert len(session.files) == len(store.samples) == files
    assert (session.model, session.reconstruction_model) == ("shipped", "")
    for key in session.files:
        assert session.sample(key).wavelength
        assert store.gridded(key).coverage.any()


@pytest.mark.parametrize("query", QUERIES)
def test_addresses(query: str) -> None:
    session = Session()
    keys = [model.key for model in MODELS]
    offered = {
        "model": lambda: keys_by_text(MODELS), "reconstruction_model": lambda: keys, "map_models": lambda: keys,
        "map_materials": lambda: ["", "data cells", "file predictions.h5"], "map_colour": lambda: list(TARGETS),
    }  # fmt: skip
    values = parse_qs(query)
    arguments = {name: [value.encode() for value in given] for name, given in values.items()}
    assert query_to_session(arguments, session, offered=offered) == ""
    asked = {**values, **({"model": ["run full"]} if "model" in values else {})}
    if "screen" in values:
        asked["screen"] = [FORMER_SCREENS.get(screen, screen) for screen in values["screen"]]
    for name in values.keys() & set(IN_ADDRESS):
        held = getattr(session, name)
        texts = held if isinstance(held, list) else ["yes" if held is True else "no" if held is False else held]
        assert texts == asked[name]


@pytest.mark.parametrize("record", sorted((WRITTEN / "job_states").glob("*.json")), ids=lambda path: path.stem)
def test_records_of_jobs(record: Path, tmp_path: Path) -> None:
    values = json.loads(record.read_text(encoding="utf-8"))
    folder = tmp_path / values["key"]
    folder.mkdir()
    (folder / "job.json").write_text(record.read_text(encoding="utf-8"), encoding="utf-8")
    job = read_job(folder / "job.json")
    assert job is not None
    assert (job.state, job.pid, job.started) == (record.stem, values["pid"], values["started"])
    assert not job.has_process
