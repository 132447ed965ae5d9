"""How long does the map of embeddings take on the server: to show, to select on, and to zoom into?

    python benchmarks/speed/embeddings.py            # maps of 50,000 and 1,000,000 materials
    python benchmarks/speed/embeddings.py --quick    # maps of 5,000 and 250,000 materials

Embeddings are random, since their values do not change the cost. The figures are part of docs/results/app.md, which
`benchmarks/speed/app.py` writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import json
import tempfile
import warnings
from typing import Any

import numpy as np

from benchmarks.harness import Figure, argument_parser, figures_to_table, seconds_of

WIDTH = 192
FIGURES = {
    "show_50000_seconds": Figure("showing the small map", "{:.2f} s", at_most=4.0),
    "select_3000_seconds": Figure("selecting 3,000 materials on it", "{:.3f} s", at_most=0.3),
    "show_1000000_seconds": Figure("showing the large map", "{:.2f} s", at_most=10.0),
    "zoom_1000000_seconds": Figure("zooming into it", "{:.3f} s", at_most=1.5),
}


def measure(small: int, large: int) -> dict[str, float]:
    """Times [s] on a small and a large map of so many materials each."""
    from bokeh.events import RangesUpdate

    measured: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        view, measured["show_50000_seconds"] = _show(Path(folder) / "small", small)
        chosen = list(range(0, small, max(small // 3000, 1)))[:3000]
        measured["select_3000_seconds"] = seconds_of(lambda: setattr(view.source.selected, "indices", chosen))
        view, measured["show_1000000_seconds"] = _show(Path(folder) / "large", large)
        drawn = view.figures[0]
        drawn.plot.x_range.end = (drawn.plot.x_range.start + drawn.plot.x_range.end) / 2
        zoom = RangesUpdate(drawn.plot)
        measured["zoom_1000000_seconds"] = seconds_of(lambda: view._zoomed(zoom))  # noqa: SLF001 - what the browser's event calls
    return measured


def _show(folder: Path, size: int) -> tuple[Any, float]:
    """The screen with a map of `size` materials, and the time from the file to the document [s]."""
    import panel as pn
    from bokeh.document import Document

    from xxact_app.library.workspace import open_workspace
    from xxact_app.samples.store import Store
    from xxact_app.screens.embeddings.store import EmbeddingStore
    from xxact_app.screens.embeddings.view import EmbeddingsScreen
    from xxact_app.session.session import Session
    from xxact_core.checkpoint import Checkpoint, make_model, save_checkpoint
    from xxact_core.evaluation.embeddings import Embeddings, write_embeddings
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
    made = Embeddings(names, np.full(size, "Al2O3"), np.arange(size), {"fused": values}, targets)
    write_embeddings(place.parent / "test.h5", made)
    session = Session(map_models=["run one"], map_materials="file test.h5")
    shown = []

    def show() -> None:
        shown.append(EmbeddingsScreen(session, EmbeddingStore(session, Store(session), workspace=lambda: workspace)))
        document = Document()
        shown[0].panel.server_doc(document)
        document.to_json()

    seconds = seconds_of(show)
    return shown[0], seconds


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, metavar=("SMALL", "LARGE"), help="materials on the two maps")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = arguments.sizes or ((5000, 250_000) if arguments.quick else (50_000, 1_000_000))
    measured = measure(*sizes)
    print(figures_to_table(measured, FIGURES))
    print(json.dumps({name: round(value, 4) for name, value in measured.items()}))


if __name__ == "__main__":
    main()
