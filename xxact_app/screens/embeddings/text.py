"""Words, tables, files and programs of the Embeddings screen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xxact_app.plots.export import columns_to_csv, columns_to_netcdf, figure_to_bytes, new_figure
from xxact_app.screens.embeddings.figures import UNKNOWN, Colouring
from xxact_app.screens.embeddings.store import EmbeddingMap
from xxact_app.ui.safe_text import safe_text
from xxact_core.quantities import CRYSTAL_SYSTEMS, TARGETS

PART_LABELS = {"Fused": "fused", "XRD encoder": "pattern", "Composition encoder": "composition"}
_LISTED = ("crystal_system", "space_group", "formation_energy_per_atom", "band_gap")
TEXT_COLUMNS = ("Material", "Formula", *(TARGETS[name].label for name in ("crystal_system", "space_group")))
"""Columns of `selection_rows` that hold text, whatever it looks like."""

_MOST_IN_PICTURE = 200_000


def colour_choices(shown: EmbeddingMap) -> dict[str, str]:
    """Label → name of every target that the materials have."""
    return {shown.quantities[name].label: name for name in shown.embedded.targets}


def map_words(shown: EmbeddingMap) -> str:
    """What is drawn, for those who do not see it, as safe HTML."""
    label = next(label for label, part in PART_LABELS.items() if part == shown.part)
    lines = [f"<p class='muted'>{len(shown.embedded):,} materials, {label.lower()} embedding.</p>"]
    absent = dict.fromkeys(text for panel in shown.panels for text in panel.absent)
    if absent:
        lines.append(f"<p class='muted'>Not on the map: {'; '.join(absent)}</p>")
    return "".join(lines)


def panel_title(shown: EmbeddingMap, number: int) -> str:
    """Heading of one map, as safe HTML."""
    panel = shown.panels[number]
    return f"<h2>{panel.model.label}: {panel.explained.sum():.0%} of the variance in two components</h2>"


def silhouette_table(shown: EmbeddingMap) -> str:
    """Materials and silhouette of each crystal system by each model, as safe HTML; the text twin of the map."""
    if not any(panel.silhouettes for panel in shown.panels):
        return "<p class='muted'>No silhouette: crystal systems are unknown, or of one kind only.</p>"
    systems = shown.embedded.targets["crystal_system"]
    heads = ["Crystal system", "Materials", *(panel.model.label for panel in shown.panels)]
    rows = []
    for number, name in enumerate((*CRYSTAL_SYSTEMS, "mean")):
        count = int((systems == number).sum()) if name != "mean" else int((~np.isnan(systems)).sum())
        if not count:
            continue
        cells = [f"{count:,}", *(_score(panel.silhouettes.get(name)) for panel in shown.panels)]
        filled = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><th scope='row'>{name}</th>{filled}</tr>")
    head = "".join(f"<th scope='col'>{text}</th>" for text in heads)
    return (
        f"<div style='overflow-x:auto'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        "<p class='muted'>From −1 (among others) to 1 (apart from all others), over at most 2,000 materials and all "
        "dimensions of the embedding.</p>"
    )


def selection_rows(shown: EmbeddingMap, numbers: Sequence[int]) -> pd.DataFrame:
    """The selected materials as a table, with the labels that there are."""
    chosen = np.asarray(numbers, dtype=np.int64)
    columns: dict[str, object] = {"Material": [safe_text(name) for name in shown.embedded.id[chosen]]}
    columns["Formula"] = [safe_text(formula) for formula in shown.embedded.formula[chosen]]
    for name in (*_LISTED, *(name for name in shown.quantities if name not in TARGETS)):
        if name in shown.embedded.targets:
            quantity, values = shown.quantities[name], shown.embedded.targets[name][chosen]
            unit = f" [{quantity.unit}]" if quantity.unit else ""
            columns[quantity.label + unit] = (
                _words(values, quantity.classes) if quantity.classes else np.round(values, 3)
            )
    return pd.DataFrame(columns)


def find_materials(shown: EmbeddingMap, text: str) -> list[int]:
    """Numbers of the materials with this crystal system, or whose formula or id has this text in it."""
    wanted = text.strip().casefold()
    systems = shown.embedded.targets.get("crystal_system")
    if not wanted:
        return []
    if wanted in CRYSTAL_SYSTEMS and systems is not None:
        return np.flatnonzero(systems == CRYSTAL_SYSTEMS.index(wanted)).tolist()
    names = zip(shown.embedded.formula, shown.embedded.id, strict=True)
    return [n for n, (formula, name) in enumerate(names) if wanted in formula.casefold() or wanted in name.casefold()]


def selection_words(shown: EmbeddingMap, numbers: Sequence[int]) -> str:
    """How many are selected, and of what kind, as safe HTML."""
    if not len(numbers):
        words = "Nothing is selected. Draw around materials on the map with the lasso or the box, or find them by name."
        return f"<p class='muted'>{words}</p>"
    systems = shown.embedded.targets.get("crystal_system")
    if systems is None:
        return f"<p>{len(numbers):,} materials are selected.</p>"
    of_chosen = systems[np.asarray(numbers, dtype=np.int64)]
    counts = [(int((of_chosen == index).sum()), name) for index, name in enumerate(CRYSTAL_SYSTEMS)]
    kinds = ", ".join(f"{count:,} {name}" for count, name in sorted(counts, reverse=True) if count)
    return f"<p>{len(numbers):,} materials are selected: {kinds}.</p>"


def to_columns(shown: EmbeddingMap, numbers: Sequence[int]) -> dict[str, np.ndarray]:
    """Materials with labels and their places on the maps; all of them where none is selected."""
    chosen = np.asarray(numbers, dtype=np.int64) if len(numbers) else np.arange(len(shown.embedded))
    embedded = shown.embedded
    columns = {"id": embedded.id[chosen], "formula": embedded.formula[chosen]}
    for name, values in embedded.targets.items():
        classes = shown.quantities[name].classes
        columns[name] = np.array(_words(values[chosen], classes)) if classes else values[chosen]
    for place, panel in enumerate(shown.panels, start=1):
        suffix = f"_{place}" if len(shown.panels) > 1 else ""
        for axis in (0, 1):
            columns[f"component_{axis + 1}{suffix}"] = panel.places[chosen, axis]
    return columns


def to_csv(shown: EmbeddingMap, numbers: Sequence[int]) -> bytes:
    """The selection as CSV."""
    return columns_to_csv(to_columns(shown, numbers))


def to_netcdf(shown: EmbeddingMap, numbers: Sequence[int]) -> bytes:
    """The selection as netCDF, with the embedding itself."""
    chosen = np.asarray(numbers, dtype=np.int64) if len(numbers) else np.arange(len(shown.embedded))
    columns = {**to_columns(shown, numbers), "embedding": shown.embedded.parts[shown.part][chosen]}
    units = {name: shown.quantities[name].unit for name in shown.embedded.targets if shown.quantities[name].unit}
    about = {"part": shown.part, "models": ", ".join(panel.model.digest for panel in shown.panels)}
    return columns_to_netcdf(columns, dimension="material", units=units, about=about)


def to_picture(shown: EmbeddingMap, colouring: Colouring, *, kind: str) -> bytes:
    """The maps as PNG or SVG; the points of a large SVG are an image within it, or no program would open it."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415 - slow to import
    from matplotlib.colors import ListedColormap, Normalize  # noqa: PLC0415 - slow to import

    drawing, axes = new_figure(panels=len(shown.panels))
    colours = ListedColormap(colouring.palette).with_extremes(bad=UNKNOWN)
    scale = Normalize(colouring.low, colouring.high)
    step = -(-len(shown.embedded) // _MOST_IN_PICTURE)
    for axis, panel in zip(axes, shown.panels, strict=True):
        places, values = panel.places[::step], np.ma.masked_invalid(colouring.values[::step])
        size = float(np.clip(20_000 / len(places), 0.5, 12))
        axis.scatter(
            places[:, 0], places[:, 1], c=values, cmap=colours, norm=scale, s=size, lw=0, alpha=0.75,
            rasterized=len(places) > 5000, plotnonfinite=True,  # noqa: PLR2004 - above, a vector is slow to open
        )  # fmt: skip
        for point in panel.own:
            axis.plot(point.x, point.y, "*", ms=13, mfc="#FFD400", mec="#101010")
            axis.annotate(point.name, (point.x, point.y), xytext=(6, 3), textcoords="offset points", fontsize=8,
                          parse_math=False)  # fmt: skip
        axis.set_title(panel.model.label, fontsize=10, parse_math=False)
        axis.set_xlabel(f"Principal component 1 ({panel.explained[0]:.0%} of the variance)")
        axis.set_ylabel(f"Principal component 2 ({panel.explained[1]:.0%} of the variance)")
    bar = drawing.colorbar(ScalarMappable(scale, colours), ax=axes, label=colouring.label)
    if colouring.classes:
        bar.set_ticks(range(len(colouring.classes)), labels=colouring.classes)
    return figure_to_bytes(drawing, "svg" if kind == "svg" else "png")


def python_of(shown: EmbeddingMap) -> str:
    """A program that makes the map that is shown, from the files that it is drawn from; none without files."""
    if not shown.files:
        return ""
    made = ""
    if shown.materials.dataset is not None:
        made = "".join(
            f"# xxact embed {panel.model.folder} {shown.materials.dataset} {file}\n"
            for panel, file in zip(shown.panels, shown.files, strict=True)
        )
    return f"""{made}from pathlib import Path

from xxact_core.evaluation.embedded import read_embedded
from xxact_core.evaluation.embeddings import fit_projection
from xxact_core.evaluation.evaluate import silhouettes

for file in {[str(file) for file in shown.files]!r}:
    embedded = read_embedded(Path(file))
    embedding = embedded.parts[{shown.part!r}]
    projection = fit_projection(embedding)
    places = projection.project(embedding)  # shape (materials, 2)
    print(projection.explained)
    if "crystal_system" in embedded.targets:
        print(silhouettes(embedding, embedded.targets["crystal_system"], sample=2000))
"""


def _words(values: np.ndarray, classes: Sequence[str]) -> list[str]:
    return ["" if np.isnan(value) else classes[int(value)] for value in values]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("-", "−")
