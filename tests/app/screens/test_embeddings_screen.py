from __future__ import annotations

import csv
import io
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_fixtures import scan_file
from bokeh.events import RangesUpdate, SelectionGeometry
from looking_fixtures import embedded_of, workspace_with, write_run_file

from xxact_app.library import materials as materials_store
from xxact_app.plots.rasterise import outline_to_points, points_to_image
from xxact_app.samples.store import Store
from xxact_app.screens.embeddings import figures as embedding_figures
from xxact_app.screens.embeddings import text as embedding_text
from xxact_app.screens.embeddings import view as embedding
from xxact_app.screens.embeddings.figures import colour_by
from xxact_app.screens.embeddings.store import EmbeddingMap, EmbeddingStore, MissingMap
from xxact_app.screens.embeddings.view import EmbeddingsScreen
from xxact_app.session.session import Session
from xxact_app.ui.formatting import display_formula
from xxact_core.evaluation.projection import t_sne
from xxact_core.quantities import CRYSTAL_SYSTEM, CRYSTAL_SYSTEM_COLOURS, SPACE_GROUP

pytestmark = pytest.mark.usefixtures("tables")


def screen(folder: Path, *, size: int = 210, runs: tuple[str, ...] = ("one",)) -> EmbeddingsScreen:
    """The screen with a map of `size` materials by each of these runs."""
    workspace = workspace_with(folder, runs={name: ["targets"] for name in runs})
    for seed, name in enumerate(runs):
        write_run_file(workspace, name, embedded_of(size, width=32, seed=seed))
    session = Session(map_models=[f"run {name}" for name in runs[:1]], map_materials="file test.h5")
    return EmbeddingsScreen(session, EmbeddingStore(session, Store(session), workspace=lambda: workspace))


def test_a_map_that_is_not_there_is_offered_to_be_made(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, runs={"one": ["targets"]})
    session = Session(map_models=["run one"])
    view = EmbeddingsScreen(session, EmbeddingStore(session, Store(session), workspace=lambda: workspace))
    assert isinstance(view.map, MissingMap)
    assert "has not been computed yet" in view.message.object
    assert view.made.visible
    assert not view.content.visible


def test_the_map_of_the_shipped_model_is_there_at_once_with_the_patterns_of_its_materials(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, runs={})
    session = Session()
    view = EmbeddingsScreen(session, EmbeddingStore(session, Store(session), workspace=lambda: workspace))
    assert isinstance(view.map, EmbeddingMap)
    assert len(view.source.data["x0"]) == len(view.map.embedded) == 2000
    assert view.materials.value == ""
    assert "2,000 materials of the test split" in view.materials.options
    view.source.selected.indices = [3, 8]
    assert [line.visible for line in view.selection.figure.lines] == [True, True]
    pattern = view.embeddings.pattern(view.map, 3)
    assert pattern.intensity.max() == pytest.approx(100)
    view.projection.value = "t-sne"
    assert view.figures[0].plot.xaxis[0].axis_label == "t-SNE 1"


def test_the_map_is_made_in_a_process_of_its_own_and_kept(
    tmp_path: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materials_store, "SAMPLE", "small")
    workspace = workspace_with(tmp_path, runs={"one": ["targets"]}, dataset=small_dataset)
    session = Session(map_models=["run one"])
    view = EmbeddingsScreen(session, EmbeddingStore(session, Store(session), workspace=lambda: workspace))
    view.task.button.param.trigger("clicks")
    task = view.embeddings.task()
    task.join(seconds=240)
    view.task.look()
    assert (task.state, task.reason) == ("finished", "")
    assert isinstance(view.map, EmbeddingMap)
    assert len(view.source.data["x0"]) == 400
    view.source.selected.indices = [3, 8]
    assert "Patterns of 2 of 2" in view.selection.pattern_note.object
    assert [line.visible for line in view.selection.figure.lines] == [True, True]
    again = EmbeddingsScreen(session, view.embeddings)
    assert isinstance(again.map, EmbeddingMap)


def test_the_map_shows_variance_silhouettes_and_own_samples(tmp_path: Path) -> None:
    view = screen(tmp_path)
    assert "of the variance in two components" in view.titles[0].object
    table = view.silhouettes.object
    assert all(name in table for name in (*CRYSTAL_SYSTEM.classes, "mean"))
    assert [item.label.value for item in view.figures[0].legend.items] == [
        f"{name} (30)" for name in CRYSTAL_SYSTEM.classes
    ]
    session, store = view.session, view.embeddings.store
    session.add(store.read_files([("own<b>.xy", scan_file()), ("bare.xy", scan_file())]))
    session.change(session.files, wavelength=1.54184)
    assert "own‹b›.xy: formula missing" in view.summary.object
    session.set_formula("LaB6")
    assert view.figures[0].own.data["name"] == ["own‹b›.xy"]
    assert np.isfinite(view.figures[0].own.data["x"]).all()


def test_materials_of_the_shipped_table_are_shown_by_the_ids_that_people_know(tmp_path: Path) -> None:
    shown = screen(tmp_path).map
    embedded = replace(shown.embedded, id=np.array(["matbench_083528", "own-7", *shown.embedded.id[2:].tolist()]))
    changed = replace(shown, embedded=embedded)
    assert embedding_text.selection_rows(changed, [0, 1])["Material"].tolist() == ["mp-149", "own-7"]
    assert embedding_text.material_label(embedded, 0).endswith(" (mp-149)")
    assert embedding_text.material_label(embedded, 1).endswith(" (own-7)")
    unknown = replace(embedded, id=np.array(["matbench_000007", *embedded.id[1:].tolist()]))
    assert embedding_text.material_label(unknown, 0) == display_formula(unknown.formula[0])
    assert "1 material selected" in embedding_text.selection_summary(changed, [0])


def test_the_selection_is_linked_to_table_and_files(tmp_path: Path) -> None:
    view = screen(tmp_path)
    view.source.selected.indices = [0, 7, 14]
    assert view.session.map_selected == [0, 7, 14]
    assert view.selection.table.value["Material"].tolist() == ["m0", "m7", "m14"]
    assert "3 materials selected: 3 triclinic" in view.selection.summary.object
    assert "not in the workspace" in view.selection.pattern_note.object
    rows = list(csv.DictReader(io.StringIO(view.to_csv().decode())))
    assert [row["id"] for row in rows] == ["m0", "m7", "m14"]
    assert {row["crystal_system"] for row in rows} == {"triclinic"}
    import xarray as xr

    (tmp_path / "made.nc").write_bytes(view.to_netcdf())
    with xr.open_dataset(tmp_path / "made.nc", engine="h5netcdf") as made:
        assert made["embedding"].shape == (3, 32)
        assert made["band_gap"].attrs["units"] == "eV"
    view.source.selected.indices = []
    assert len(list(csv.DictReader(io.StringIO(view.to_csv().decode())))) == 210
    assert view.to_picture("png").startswith(b"\x89PNG")
    assert b"<svg" in view.to_picture("svg")
    view.session.map_part = "pattern"
    assert view.map.part == "pattern"


def test_materials_are_found_without_drawing_around_them(tmp_path: Path) -> None:
    view = screen(tmp_path)
    view.selection.find.value = "M20"
    assert (
        view.selection.table.value["Material"].tolist() == ["m20", *(f"m20{number}" for number in range(10))][: 10 + 1]
    )
    view.selection.find.value = "Monoclinic"
    assert "30 materials selected: 30 monoclinic" in view.selection.summary.object
    view.selection.find.value = "ClNa"
    assert len(view.session.map_selected) == 210
    view.selection.find.value = "no such thing"
    assert view.session.map_selected == []
    view.selection.find.value = ""
    assert "No materials selected" in view.selection.summary.object


def test_another_colour_changes_values_and_scale_only(tmp_path: Path) -> None:
    view = screen(tmp_path)
    before = view.source.data["x0"]
    view.colour.value = "band_gap"
    assert view.source.data["x0"] is before
    np.testing.assert_array_equal(view.source.data["value"], view.map.embedded.targets["band_gap"])
    assert view.figures[0].bar.title == "Band gap [eV]"
    assert view.figures[0].mapper.low < view.figures[0].mapper.high < 1
    assert view.figures[0].bar.major_label_overrides == {}
    assert (view.figures[0].bar.visible, view.figures[0].legend.visible) == (True, False)


def test_the_legend_has_a_group_of_points_for_each_class_that_shares_the_selection(tmp_path: Path) -> None:
    view = screen(tmp_path, size=70)
    drawn = view.figures[0]
    systems = view.map.embedded.targets["crystal_system"]
    assert (drawn.legend.click_policy, drawn.points.visible, drawn.bar.visible) == ("hide", False, False)
    for place, renderer in enumerate(drawn.groups[:7]):
        assert renderer.visible
        assert renderer.data_source is view.source
        assert renderer.view.filter.indices == np.flatnonzero(systems == place).tolist()
        assert renderer.glyph.fill_color == CRYSTAL_SYSTEM_COLOURS[place]
    assert not drawn.groups[7].visible  # every system is known
    view.session.map_colour = "band_gap"
    assert (drawn.points.visible, drawn.legend.visible, drawn.legend.items) == (True, False, [])
    assert not any(renderer.visible for renderer in drawn.groups)


def test_a_t_sne_is_shown_where_the_file_has_one_and_own_samples_join_their_neighbours(tmp_path: Path) -> None:
    view = screen(tmp_path)
    view.projection.value = "t-sne"
    assert isinstance(view.map, MissingMap)
    assert "Select PCA instead" in view.message.object
    embedded = embedded_of(210, width=32)
    planar = t_sne(embedded.parts["fused"])
    write_run_file(view.embeddings._workspace(), "one", replace(embedded, t_sne={"fused": planar}))
    view.session.map_projection = "pca"
    view.session.map_projection = "t-sne"
    np.testing.assert_array_equal(view.source.data["x0"], planar[:, 0])
    assert view.figures[0].plot.xaxis[0].axis_label == "t-SNE 1"
    assert "t_sne_1" in view.to_csv().decode().splitlines()[0]
    session, store = view.session, view.embeddings.store
    session.add(store.read_files([("own.xy", scan_file())]))
    session.change(session.files, wavelength=1.54184)
    session.set_formula("LaB6")
    x = view.figures[0].own.data["x"]
    assert planar[:, 0].min() <= x[0] <= planar[:, 0].max()
    assert "embedded.t_sne['fused']" in view.python_code()


def test_two_models_stand_side_by_side_and_share_the_selection(tmp_path: Path) -> None:
    view = screen(tmp_path, runs=("one", "two"))
    assert not view.panels[1].visible
    view.models[1].value = "run two"
    assert view.session.map_models == ["run one", "run two"]
    assert view.panels[1].visible
    assert view.figures[1].points.data_source is view.figures[0].points.data_source
    assert not np.array_equal(view.source.data["x0"], view.source.data["x1"])
    assert "Run two" in view.silhouettes.object
    view.source.selected.indices = [5]
    assert view.session.map_selected == [5]
    view.models[1].value = ""
    assert view.session.map_selected == []


def test_models_with_different_files_show_what_both_have(tmp_path: Path) -> None:
    view = screen(tmp_path, runs=("one", "two"))
    workspace = view.embeddings._workspace()
    fewer = embedded_of(100, width=32, seed=1)
    write_run_file(workspace, "two", fewer)
    view.models[1].value = "run two"
    assert view.map.embedded.id.tolist() == fewer.id.tolist()
    assert len(view.map.panels[0].coordinates) == len(view.map.panels[1].coordinates) == 100


def test_the_program_makes_the_map_that_is_shown(tmp_path: Path) -> None:
    view = screen(tmp_path)
    (tmp_path / "map.py").write_text(view.python.text)
    names = runpy.run_path(str(tmp_path / "map.py"))
    np.testing.assert_allclose(names["coordinates"], view.map.panels[0].coordinates, rtol=1e-5, atol=1e-5)


def test_very_many_points_are_an_image_that_follows_the_zoom_and_the_lasso(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_figures, "MOST_POINTS", 100)
    monkeypatch.setattr(embedding, "MOST_POINTS", 100)
    view = screen(tmp_path)
    drawn, coordinates = view.figures[0], view.map.panels[0].coordinates
    assert drawn.image.visible
    assert not drawn.points.visible
    assert len(view.source.data["x0"]) == 0
    whole = (drawn.pixels.data["image"][0] != 0).sum()
    assert 100 < whole <= 210
    middle = float(np.median(coordinates[:, 0]))
    drawn.plot.x_range.end = middle
    event = RangesUpdate(drawn.plot, x0=drawn.plot.x_range.start, x1=middle, y0=0, y1=1)
    view._zoomed(event)
    assert drawn.pixels.data["dw"] == [middle - drawn.plot.x_range.start]
    assert (drawn.pixels.data["image"][0] != 0).sum() < whole
    left, right = coordinates[:, 0].min() - 1, middle
    box = {"type": "rect", "x0": left, "x1": right, "y0": -1e3, "y1": 1e3}
    view._selected_outline(SelectionGeometry(drawn.plot, geometry=box, final=True))
    assert view.session.map_selected == np.flatnonzero(coordinates[:, 0] <= middle).tolist()
    assert len(drawn.marked.data["x"]) == len(view.session.map_selected)
    view.colour.value = "band_gap"
    assert drawn.mapper.high < 1


def test_an_image_mixes_the_colours_of_its_points() -> None:
    points = np.array([[0.5, 0.5], [0.5, 0.5], [3.5, 1.5], [9, 9]], dtype=np.float32)
    image = points_to_image(
        points, np.array([0, 1, np.nan, 0], dtype=np.float32), palette=("#FF0000", "#0000FF"), value_range=(-0.5, 1.5),
        x_range=(0, 4), y_range=(0, 2), size=(4, 2), unknown="#00FF00",
    )  # fmt: skip
    pixels = image.view(np.uint8).reshape(2, 4, 4)
    assert pixels[0, 0].tolist() == [127, 0, 127, 255]
    assert pixels[1, 3, :3].tolist() == [0, 255, 0]
    assert (pixels[..., 3] > 0).sum() == 2


def test_points_in_a_polygon_are_those_inside_it() -> None:
    coordinates = np.array([[0.5, 0.4], [0.5, 0.9], [2, 2], [-1, 0]], dtype=np.float32)
    triangle = {"type": "poly", "x": [0, 1, 1], "y": [0, 0, 1]}
    assert outline_to_points(coordinates, triangle).tolist() == [0]


def test_space_groups_are_coloured_by_their_number() -> None:
    colouring = colour_by(SPACE_GROUP, np.array([0, 224, np.nan]))
    assert colouring.values[:2].tolist() == [1, 225]
    systems = colour_by(CRYSTAL_SYSTEM, np.array([0, 6]))
    assert systems.palette == CRYSTAL_SYSTEM_COLOURS
    assert (systems.low, systems.high) == (-0.5, 6.5)


def test_text_from_files_is_safe_in_table_and_hover(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, runs={"one": ["targets"]})
    attack = "<img src=x onerror=alert(1)>"
    embedded = embedded_of(30, width=32)
    write_run_file(workspace, "one", replace(embedded, id=np.array([attack, *embedded.id[1:]])))
    session = Session(map_models=["run one"], map_materials="file test.h5", map_selected=[0])
    view = EmbeddingsScreen(session, EmbeddingStore(session, Store(session), workspace=lambda: workspace))
    assert "<" not in view.selection.table.value["Material"][0]
    assert "<" not in view.source.data["name"][0]
    assert embedding_text.to_columns(view.map, [0])["id"][0] == attack


def test_a_map_is_drawn_again_only_if_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []
    draw = EmbeddingsScreen._draw
    monkeypatch.setattr(EmbeddingsScreen, "_draw", lambda screen, shown: (drawn.append(shown), draw(screen, shown)))
    session = Session()
    screen = EmbeddingsScreen(session, EmbeddingStore(session, Store(session)))
    assert len(drawn) == 1
    screen.come_to_front(in_front=False)
    screen.come_to_front(in_front=True)
    assert len(drawn) == 1
    screen.come_to_front(in_front=False)
    session.map_part = "composition"
    session.map_colour = "band_gap"
    screen.come_to_front(in_front=True)
    assert len(drawn) == 2
    assert screen.colour.value == "band_gap"
    screen.come_to_front(in_front=True)
    assert len(drawn) == 2
