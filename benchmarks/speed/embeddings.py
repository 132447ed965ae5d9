"""How long the map of embeddings takes to show, to select on and to zoom into, on the server's side."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

WIDTH = 192
FIGURES = {
    "show_50000_seconds": 4.0,
    "select_3000_seconds": 0.3,
    "show_1000000_seconds": 10.0,
    "zoom_1000000_seconds": 1.5,
}
"""What is to be reached [s]."""


def main() -> None:
    """Measure with files of made-up embeddings, of which the content costs no different time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=(50_000, 1_000_000), help="materials on the two maps")
    small, large = parser.parse_args().sizes
    warnings.simplefilter("ignore")
    measured: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        view, seconds = _show(Path(folder) / "small", small)
        measured["show_50000_seconds"] = seconds
        began = time.perf_counter()
        view.source.selected.indices = list(range(0, small, max(small // 3000, 1)))[:3000]
        measured["select_3000_seconds"] = time.perf_counter() - began
        view, seconds = _show(Path(folder) / "large", large)
        measured["show_1000000_seconds"] = seconds
        from bokeh.events import RangesUpdate

        drawn = view.figures[0]
        drawn.plot.x_range.end = (drawn.plot.x_range.start + drawn.plot.x_range.end) / 2
        began = time.perf_counter()
        view._zoomed(RangesUpdate(drawn.plot))  # noqa: SLF001 - what the browser's event calls
        measured["zoom_1000000_seconds"] = time.perf_counter() - began
    for name, value in measured.items():
        print(f"{name:28s} {value:7.3f}  (to reach: {FIGURES[name]})")
    print(json.dumps({name: round(value, 4) for name, value in measured.items()}))


def _show(folder: Path, size: int) -> tuple[object, float]:
    """The screen with a map of `size` materials, and how long it took from the file to the document [s]."""
    import panel as pn
    from bokeh.document import Document

    from xxact_app.library.workspace import open_workspace
    from xxact_app.samples.store import Store
    from xxact_app.screens.embeddings.store import EmbeddingStore
    from xxact_app.screens.embeddings.view import EmbeddingsScreen
    from xxact_app.session.session import Session
    from xxact_core.checkpoint import Checkpoint, make_model, save_checkpoint
    from xxact_core.evaluation.embedded import Embedded, write_embedded
    from xxact_core.model.config import preset

    pn.extension("tabulator")
    workspace = open_workspace(folder, sources=())
    place = workspace.runs / "one" / "model"
    place.mkdir(parents=True)
    save_checkpoint(place, Checkpoint(make_model(preset("tiny"), seed=0), statistics={}))
    generator = np.random.default_rng(0)
    systems = generator.integers(0, 7, size)
    values = generator.standard_normal((size, WIDTH), dtype=np.float32)
    values[:, :7] += 3 * np.eye(7, dtype=np.float32)[systems]
    names = np.array([f"material-{number}" for number in range(size)])
    targets = {"crystal_system": systems.astype(np.float32)}
    made = Embedded(names, np.full(size, "Al2O3"), np.arange(size), {"fused": values}, targets)
    write_embedded(place.parent / "test.h5", made)
    session = Session(map_models=["run one"], map_materials="file test.h5")
    began = time.perf_counter()
    view = EmbeddingsScreen(session, EmbeddingStore(session, Store(session), workspace=lambda: workspace))
    document = Document()
    view.panel.server_doc(document)
    document.to_json()
    return view, time.perf_counter() - began


if __name__ == "__main__":
    main()
