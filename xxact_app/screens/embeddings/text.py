"""Texts, tables, files and Python code of the Embeddings screen."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from xxact_app.plots.export import columns_to_csv, columns_to_netcdf, figure_to_bytes, new_figure
from xxact_app.screens.embeddings.figures import UNKNOWN, Colouring, axis_labels
from xxact_app.screens.embeddings.store import EmbeddingMap
from xxact_app.ui.formatting import display_formula, percent, plain_formula
from xxact_app.ui.safe_text import safe_text
from xxact_core.compositions.formula import parse_formula, reduced_amounts
from xxact_core.errors import FormulaError
from xxact_core.evaluation.embeddings import Embeddings
from xxact_core.quantities import CRYSTAL_SYSTEMS, TARGETS
from xxact_core.structures.public_ids import public_id

PROJECTION_LABELS = {"PCA": "pca", "t-SNE": "t-sne"}
PART_LABELS = {"Fused": "fused", "XRD encoder": "pattern", "Composition encoder": "composition"}
_LISTED = ("crystal_system", "space_group", "formation_energy_per_atom", "band_gap")
TEXT_COLUMNS = ("Material", "Formula", *(TARGETS[name].label for name in ("crystal_system", "space_group")))
"""Columns of `selection_rows` that are always shown as text."""

_MOST_IN_PICTURE = 200_000
_ELEMENT = re.compile(r"([A-Z][a-z]?)([0-9.]*)")


def colour_choices(shown: EmbeddingMap) -> dict[str, str]:
    """The targets of the materials: label → name."""
    return {shown.quantities[name].label: name for name in shown.embedded.targets}


def map_summary(shown: EmbeddingMap) -> str:
    """Number of materials, embedding, and own samples that are missing; safe HTML."""
    label = next(label for label, part in PART_LABELS.items() if part == shown.part)
    lines = [f"<p class='muted'>{len(shown.embedded):,} materials, {label.lower()} embedding.</p>"]
    if any(panel.own for panel in shown.panels):
        lines.append("<p class='muted'>Stars: the loaded patterns. Point at a star or a material for its name.</p>")
    absent = dict.fromkeys(text for panel in shown.panels for text in panel.absent)
    if absent:
        lines.append(f"<p class='muted'>Not on the map: {'; '.join(absent)}</p>")
    return "".join(lines)


def panel_title(shown: EmbeddingMap, number: int) -> str:
    """The heading of one map, as safe HTML."""
    panel = shown.panels[number]
    if panel.explained is None:
        return f"<h2>{panel.model.label}: t-SNE</h2>"
    return f"<h2>{panel.model.label}: {percent(panel.explained.sum())} of the variance in two components</h2>"


def silhouette_table(shown: EmbeddingMap) -> str:
    """Silhouette coefficient of each crystal system by each model, the text alternative of the map; safe HTML."""
    if not any(panel.silhouettes for panel in shown.panels):
        return "<p class='muted'>No silhouette coefficients: at least two known crystal systems are needed.</p>"
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
        "<p class='muted'>Silhouette coefficient from −1 (within other classes) to 1 (well separated), over at most "
        "2,000 materials and all dimensions of the embedding.</p>"
    )


def selection_rows(shown: EmbeddingMap, numbers: Sequence[int]) -> pd.DataFrame:
    """The selected materials as a table with their labels."""
    chosen = np.asarray(numbers, dtype=np.int64)
    columns: dict[str, object] = {"Material": [safe_text(public_id(name)) for name in shown.embedded.id[chosen]]}
    columns["Formula"] = [safe_text(display_formula(formula)) for formula in shown.embedded.formula[chosen]]
    for name in (*_LISTED, *(name for name in shown.quantities if name not in TARGETS)):
        if name in shown.embedded.targets:
            quantity, values = shown.quantities[name], shown.embedded.targets[name][chosen]
            unit = f" [{quantity.unit}]" if quantity.unit else ""
            columns[quantity.label + unit] = (
                _class_names(values, quantity.classes) if quantity.classes else np.round(values, 3)
            )
    return pd.DataFrame(columns)


def material_label(embedded: Embeddings, number: int) -> str:
    """Formula of a material, with its id where people know it: `Si (mp-149)`; not escaped."""
    formula, name = display_formula(embedded.formula[number]), public_id(embedded.id[number])
    return f"{formula} ({name})" if name else formula


def count_of_materials(number: int) -> str:
    """`1 material`, `2,000 materials`."""
    return f"{number:,} {'material' if number == 1 else 'materials'}"


def find_materials(shown: EmbeddingMap, text: str) -> list[int]:
    """Indices of the materials with this crystal system or formula, or whose formula or ID contains the text."""
    wanted = text.strip().casefold()
    systems = shown.embedded.targets.get("crystal_system")
    if not wanted:
        return []
    if wanted in CRYSTAL_SYSTEMS and systems is not None:
        return np.flatnonzero(systems == CRYSTAL_SYSTEMS.index(wanted)).tolist()
    try:
        amounts = reduced_amounts(parse_formula(text.strip()))
    except FormulaError:
        amounts = {}
    names = zip(shown.embedded.formula.tolist(), shown.embedded.id.tolist(), strict=True)
    return [
        index
        for index, (formula, name) in enumerate(names)
        if wanted in formula.casefold() or wanted in name.casefold() or (amounts and _amounts(formula) == amounts)
    ]


def _amounts(formula: str) -> dict[str, str]:
    """Amount of each element of a reduced formula without brackets, in any order: faster than `parse_formula`."""
    return {symbol: amount or "1" for symbol, amount in _ELEMENT.findall(formula)}


def selection_summary(shown: EmbeddingMap, numbers: Sequence[int]) -> str:
    """Number and crystal systems of the selected materials, as safe HTML."""
    if not len(numbers):
        hint = "No materials selected. Select them on the map with the lasso or the box, or find them by name."
        return f"<p class='muted'>{hint}</p>"
    systems = shown.embedded.targets.get("crystal_system")
    if systems is None:
        return f"<p>{count_of_materials(len(numbers))} selected.</p>"
    of_chosen = systems[np.asarray(numbers, dtype=np.int64)]
    counts = [(int((of_chosen == index).sum()), name) for index, name in enumerate(CRYSTAL_SYSTEMS)]
    kinds = ", ".join(f"{count:,} {name}" for count, name in sorted(counts, reverse=True) if count)
    return f"<p>{count_of_materials(len(numbers))} selected: {kinds}.</p>"


def to_columns(shown: EmbeddingMap, numbers: Sequence[int]) -> dict[str, np.ndarray]:
    """The selected materials, or all where none is selected, with labels and coordinates on the maps."""
    chosen = np.asarray(numbers, dtype=np.int64) if len(numbers) else np.arange(len(shown.embedded))
    embedded = shown.embedded
    formulas = [plain_formula(formula) for formula in embedded.formula[chosen].tolist()]
    columns = {"id": embedded.id[chosen], "formula": np.array(formulas, dtype=str)}
    for name, values in embedded.targets.items():
        classes = shown.quantities[name].classes
        columns[name] = np.array(_class_names(values[chosen], classes)) if classes else values[chosen]
    for place, panel in enumerate(shown.panels, start=1):
        suffix = f"_{place}" if len(shown.panels) > 1 else ""
        for axis in (0, 1):
            kind = "component" if panel.explained is not None else "t_sne"
            columns[f"{kind}_{axis + 1}{suffix}"] = panel.coordinates[chosen, axis]
    return columns


def to_csv(shown: EmbeddingMap, numbers: Sequence[int]) -> bytes:
    """The selection as CSV."""
    return columns_to_csv(to_columns(shown, numbers))


def to_netcdf(shown: EmbeddingMap, numbers: Sequence[int]) -> bytes:
    """The selection as netCDF, with the embeddings."""
    chosen = np.asarray(numbers, dtype=np.int64) if len(numbers) else np.arange(len(shown.embedded))
    columns = {**to_columns(shown, numbers), "embedding": shown.embedded.parts[shown.part][chosen]}
    units = {name: shown.quantities[name].unit for name in shown.embedded.targets if shown.quantities[name].unit}
    about = {"part": shown.part, "models": ", ".join(panel.model.digest for panel in shown.panels)}
    return columns_to_netcdf(columns, dimension="material", units=units, about=about)


def to_picture(shown: EmbeddingMap, colouring: Colouring, *, kind: str) -> bytes:
    """The maps as PNG or SVG; many points are embedded in an SVG as an image, which keeps it small."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415 - slow to import
    from matplotlib.colors import ListedColormap, Normalize  # noqa: PLC0415 - slow to import

    drawing, axes = new_figure(panels=len(shown.panels))
    colours = ListedColormap(colouring.palette).with_extremes(bad=UNKNOWN)
    scale = Normalize(colouring.low, colouring.high)
    step = -(-len(shown.embedded) // _MOST_IN_PICTURE)
    for axis, panel in zip(axes, shown.panels, strict=True):
        coordinates, values = panel.coordinates[::step], np.ma.masked_invalid(colouring.values[::step])
        size = float(np.clip(20_000 / len(coordinates), 0.5, 12))
        axis.scatter(
            coordinates[:, 0], coordinates[:, 1], c=values, cmap=colours, norm=scale, s=size, lw=0, alpha=0.75,
            rasterized=len(coordinates) > 5000, plotnonfinite=True,  # noqa: PLR2004 - above, a vector is slow to open
        )  # fmt: skip
        for point in panel.own:
            axis.plot(point.x, point.y, "*", ms=13, mfc="#FFD400", mec="#101010")
            axis.annotate(point.name, (point.x, point.y), xytext=(6, 3), textcoords="offset points", fontsize=8,
                          parse_math=False)  # fmt: skip
        axis.set_title(panel.model.label, fontsize=10, parse_math=False)
        across, up = axis_labels(panel.explained)
        axis.set_xlabel(across)
        axis.set_ylabel(up)
    bar = drawing.colorbar(ScalarMappable(scale, colours), ax=axes, label=colouring.label)
    if colouring.classes:
        bar.set_ticks(range(len(colouring.classes)), labels=colouring.classes)
    return figure_to_bytes(drawing, "svg" if kind == "svg" else "png")


def python_code(shown: EmbeddingMap) -> str:
    """Python code of the map from its files of embeddings; empty without files."""
    if not shown.files:
        return ""
    commands = ""
    planar = shown.panels[0].explained is None
    if shown.materials.dataset is not None:
        commands = "".join(
            f"# xxact embed {panel.model.folder} {shown.materials.dataset} {file}{' --t-sne' * planar}\n"
            for panel, file in zip(shown.panels, shown.files, strict=True)
        )
    projection = "from xxact_core.evaluation.projection import fit_projection\n"
    coordinates = """    projection = fit_projection(embedding)
    coordinates = projection.project(embedding)  # shape (materials, 2)
    print(projection.explained)
"""
    if planar:
        projection, coordinates = "", f"    coordinates = embedded.t_sne[{shown.part!r}]  # shape (materials, 2)\n"
    return f"""{commands}from pathlib import Path

from xxact_core.evaluation.embeddings import read_embeddings
{projection}from xxact_core.evaluation.evaluate import silhouettes

for file in {[str(file) for file in shown.files]!r}:
    embedded = read_embeddings(Path(file))
    embedding = embedded.parts[{shown.part!r}]
{coordinates}    if "crystal_system" in embedded.targets:
        print(silhouettes(embedding, embedded.targets["crystal_system"], sample=2000))
"""


def _class_names(values: np.ndarray, classes: Sequence[str]) -> list[str]:
    return ["" if np.isnan(value) else classes[int(value)] for value in values]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("-", "−")
