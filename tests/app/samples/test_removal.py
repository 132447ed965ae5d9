"""A removed file leaves nothing of it behind, wherever the session and what follows from it keep things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType

import pytest
from app_fixtures import loaded
from looking_fixtures import workspace_with

from xxact_app.library.models import find_model
from xxact_app.samples.store import Store
from xxact_app.screens.embeddings.store import EmbeddingStore
from xxact_app.screens.prediction.phases_store import PhasesStore, SearchResult
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.screens.reconstruction.store import ReconstructionStore
from xxact_app.session import history as history_module
from xxact_app.session.history import History
from xxact_app.session.session import Session

OURS = "xxact_"


def mentions(value: object, key: str, *, path: str = "", seen: set[int] | None = None) -> Iterator[str]:
    """Paths at which the text of a key is found in an object, its attributes, and all that they hold."""
    seen = set() if seen is None else seen
    if isinstance(value, str):
        if key in value:
            yield path
        return
    if id(value) in seen or isinstance(value, bytes | int | float | None):
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        parts = [(f"{path}[{name!r}]", part) for name, held in value.items() for part in (name, held)]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = [(f"{path}[{number}]", part) for number, part in enumerate(value)]
    elif isinstance(value, FunctionType):
        parts = [(f"{path}()", cell.cell_contents) for cell in value.__closure__ or ()]
    elif type(value).__module__.startswith(OURS):
        names = {*getattr(value, "__dict__", {}), *getattr(value, "param", ())}
        parts = [(f"{path}.{name}", getattr(value, name)) for name in names if not name.startswith("_param__")]
    else:
        return
    for name, part in parts:
        yield from mentions(part, key, path=name, seen=seen)


@pytest.fixture
def used(tmp_path: Path) -> tuple[Session, Store, list[object], str]:
    """A session of which every screen has computed something for its first pattern."""
    session, store = loaded("gone.xy", "stays.xy")
    workspace = workspace_with(tmp_path / "work", runs={"mxm": ["mxm"]})
    key = session.files[0]
    session.chosen = key
    session.change([key], wavelength=1.54184, formula="LaB6", masked=(3,), phase="mp-2680", visible=False)
    session.reconstruction_model = "run mxm"
    predictions = PredictionStore(session, store, workspace=lambda: workspace)
    reconstructions = ReconstructionStore(session, store, workspace=lambda: workspace)
    embeddings = EmbeddingStore(session, store, workspace=lambda: workspace)
    answer = predictions.ask(key)
    predictions.attention(answer)
    predictions.start()
    predictions.batch().join(seconds=120)
    assert reconstructions.masked_pattern().reconstruction is not None
    embeddings._embed_own(find_model("shipped"), key, "LaB6")
    store.trace(key)
    phases = PhasesStore(session, store, workspace=lambda: workspace)
    phases._found.put(key, (), SearchResult(matches=(), unescaped=(), candidates=0, verdict="no match", no_match=1.0))
    stores = [predictions, reconstructions, embeddings, phases]
    return session, store, stores, key


def test_a_removed_file_leaves_nothing_behind(
    used: tuple[Session, Store, list[object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, store, stores, key = used
    monkeypatch.setattr(history_module, "MOST_STEPS", 2)
    history = History(session, keep=store.keep_read)
    everything = {"session": session, "store": store, "screens": stores, "history": history}
    assert all(any(mentions(held, key)) for held in (session, store, history, store.stages, *store._caches))
    assert len(store._caches) == 6
    session.remove([key])
    session.axis = "q"
    assert any(mentions(history, key))  # it can come back
    session.scale = "log"
    assert list(mentions(everything, key)) == []


def test_a_removed_file_comes_back_whole(used: tuple[Session, Store, list[object], str]) -> None:
    session, store, _, key = used
    history = History(session, keep=store.keep_read)
    before = session.to_dict()
    session.remove([key])
    history.undo()
    assert session.to_dict() == before
    assert store.answer().formula == "LaB6"
