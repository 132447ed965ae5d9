from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_fixtures import ATTACK, PATIENCE, SHOWN_ATTACK, Visit, text_file

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SURFACE_IS_DARK = """() => {
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--panel-surface-color")
  return parseInt(colour.replace("#", "").slice(0, 2), 16) < 64
}"""

FOCUSED = """() => {
  let focused = document.activeElement
  while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement
  return focused?.value
}"""

CHANGE_TABLE = """() => {
  for (const model of Bokeh.documents[0]._all_models.values()) {
    if (model.type.endsWith("DataTabulator") && model.columns.some((column) => column.field === "Composition")) {
      model.source.patch({[model.columns[0].field]: [[0, "changed"]]})
    }
  }
}"""
"""What a message of the server does that crosses the click which opens an editor."""

BACKGROUND_POINTS = """(former) => {
  const tool = [...Bokeh.documents[0]._all_models.values()].find((model) => model.type === "PointDrawTool")
  const angles = [...(tool?.renderers[0].data_source.data.x ?? [])]
  const sorted = angles.every((angle, place) => place === 0 || angles[place - 1] <= angle)
  const same = angles.length === former.length && angles.every((angle) => former.includes(angle))
  return sorted && !same ? angles : null
}"""
"""Angles of the background points, in order as the server sends them, once they differ from former ones."""

LAYOUTS = """() => new Promise((resolve) => {
  const [page] = [...Bokeh.index.query((view) => view.model.class_name === "Page")]
  const [part] = [...Bokeh.index.query((view) => view.model.class_name === "FileDrop")]
  const measure = page.measure_layout
  let count = 0
  page.measure_layout = function () {
    count += 1
    measure.call(page)
  }
  for (let number = 0; number < 20; number++) part.invalidate_layout()
  setTimeout(() => resolve(count), 500)
})"""
"""Layouts of the page after twenty changes of a part of it."""

LIBRARY_FAULTS = {
    "aria-progressbar-name": "MuiLinearProgress",  # the bar under the heading, which stands still
    "aria-allowed-attr": "tabulator-cell",  # ticks in tables
    "aria-required-children": "tabulator",  # the foot of tables
    "button-name": "MuiIconButton-sizeSmall",  # - and + beside a number, which arrow keys do too
}
"""Faults in what libraries draw, where a program that uses them cannot name things: the rule, and what tells them."""

LOOKS = 8
"""How often a screen is looked at until nothing is found: colours fade into one another while it opens."""

SCREENS = ("Answer", "Patterns", "Embeddings", "Reconstruction", "Training")


def test_a_dropped_file_becomes_an_answer_by_itself(visit: Visit, examples: Path) -> None:
    visit.drop(examples / "rutile.raw")
    visit.shows("Guess from the file name: Ti, O")
    visit.page.get_by_role("heading", name="TiO₂ (rutile)").wait_for(timeout=4 * PATIENCE)
    visit.shows("Likely")
    visit.shows("tetragonal")
    visit.shows("eV/atom")
    visit.shows("Model: Shipped model")
    visit.page.get_by_text("Why “likely”?").click()
    visit.shows("the phase has a probability of")
    visit.page.get_by_role("button", name="Elements").click()
    iron = visit.page.get_by_role("gridcell", name="Fe: not set")
    iron.focus()
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("gridcell", name="Fe: may be present").wait_for(timeout=PATIENCE)
    visit.shows("may: Fe")
    visit.page.keyboard.press("ArrowRight")
    visit.page.get_by_role("gridcell", name="Co: not set").wait_for(timeout=PATIENCE)
    assert visit.page.evaluate("document.activeElement !== document.body")


def test_a_dropped_file_and_a_formula_become_a_prediction(visit: Visit, examples: Path) -> None:
    visit.drop(examples / "corundum.prn")
    visit.shows("Enter the radiation that was used")
    visit.page.get_by_label("Radiation or wavelength in Å").fill("CuKa")
    visit.page.get_by_role("button", name="Use this wavelength").click()
    formula = visit.page.get_by_label("Composition", exact=True)
    formula.fill("Al2O3")
    visit.shows("Atomic fractions: O 60\N{NO-BREAK SPACE}%, Al 40\N{NO-BREAK SPACE}%")
    formula.press("Enter")
    visit.page.get_by_role("heading", name="Al₂O₃ (corundum)").wait_for(timeout=4 * PATIENCE)
    visit.shows("trigonal")
    visit.shows("eV/atom")
    visit.shows("100\N{NO-BREAK SPACE}% of 5–90° 2θ (Cu Kα) was measured")

    visit.drop(text_file("broken.xrdml", b"<xrdMeasurements><oops"))
    visit.shows("broken.xrdml:")
    visit.page.get_by_label("Composition", exact=True).fill("MgO")
    visit.page.get_by_label("Composition", exact=True).press("Enter")
    visit.shows("Atomic fractions: O 50\N{NO-BREAK SPACE}%")


def test_what_is_typed_in_a_table_is_no_shortcut(visit: Visit, examples: Path) -> None:
    visit.drop(examples / "quartz.xrdml", examples / "rutile.raw")
    visit.page.get_by_role("heading", name="SiO₂ (quartz)").wait_for(timeout=4 * PATIENCE)
    page = visit.page
    page.get_by_role("heading", name="All patterns").evaluate("heading => heading.scrollIntoView()")
    page.wait_for_timeout(2000)  # a table is drawn anew when it comes into view
    page.get_by_role("gridcell", name="rutile.raw").locator("xpath=following-sibling::*[@role='gridcell'][1]").click()
    page.keyboard.type("TiO")
    page.get_by_role("button", name="Predict all patterns").dispatch_event("click")
    page.wait_for_timeout(2000)
    page.evaluate(CHANGE_TABLE)
    page.keyboard.type("2")
    page.wait_for_timeout(1000)
    assert page.evaluate(FOCUSED) == "TiO2", "the editor is still open"
    assert page.get_by_role("gridcell", name="changed").count() == 0
    page.keyboard.press("Escape")
    page.get_by_role("gridcell", name="changed").wait_for(timeout=PATIENCE)
    page.get_by_role("tab", name="Answer", selected=True).wait_for(timeout=PATIENCE)
    assert "screen=" not in page.url


def test_the_page_is_laid_out_once_after_many_changes(visit: Visit) -> None:
    visit.page.wait_for_timeout(2000)
    assert visit.page.evaluate(LAYOUTS) == 1


def test_bad_files_are_told_in_words_and_put_away(visit: Visit, examples: Path) -> None:
    scan = text_file("rutile.raw", (examples / "rutile.raw").read_bytes())
    visit.open("Patterns")
    visit.drop(text_file("empty.xy", b""), text_file("letter.xy", b"Dear all,\n"), scan)
    visit.shows("empty.xy:")
    visit.shows("letter.xy:")
    visit.shows("1 of 1 patterns shown")
    close = visit.page.get_by_label("Close")
    close.first.click()
    visit.page.get_by_text("empty.xy:").wait_for(state="detached")
    visit.shows("letter.xy:")


def test_the_examples_are_one_click_away_in_both_stages(visit: Visit) -> None:
    visit.open("Patterns")
    visit.page.get_by_role("button", name="Load example data").click()
    visit.shows("patterns shown as measured")
    visit.shows("corundum.prn")
    visit.page.get_by_role("button", name="Model input").click()
    visit.shows("shown as model input")
    visit.page.get_by_role("button", name="Stacked").click()
    visit.page.get_by_role("button", name="Remove selected").wait_for()


def select_most(visit: Visit, name: str) -> None:
    """Draw a lasso on the map, again where the plot was still being drawn, until a material is in the table."""
    from playwright.sync_api import TimeoutError as TooLate

    row = visit.page.get_by_role("gridcell", name=name).first
    for _ in range(3):
        visit.drag((0.15, 0.1), (0.8, 0.1), (0.8, 0.8), (0.15, 0.8), (0.15, 0.15))
        with contextlib.suppress(TooLate):
            row.wait_for(timeout=20_000)
            return
    row.wait_for()


def test_markup_in_names_is_shown_and_never_run(visit: Visit, examples: Path) -> None:
    scan = (examples / "lanthanum_hexaboride.cif").read_bytes()
    visit.open("Patterns")
    visit.drop(text_file(f"{ATTACK}.cif", scan), text_file(f"bad {ATTACK}.xy", b"hello"))
    visit.shows(f"bad {SHOWN_ATTACK}.xy:")
    visit.shows("1 of 1 patterns shown")
    visit.page.get_by_role("gridcell", name=f"{SHOWN_ATTACK}.cif").wait_for()
    visit.open("Answer")
    visit.page.get_by_label("Composition", exact=True).fill(ATTACK)
    visit.page.get_by_label("Composition", exact=True).press("Enter")
    visit.shows("‹img")
    visit.open("Reconstruction")
    visit.choose("Model", f"Run run {SHOWN_ATTACK}")
    visit.open("Training")
    visit.shows("New training")
    visit.choose("Dataset", f"data {SHOWN_ATTACK}")
    visit.page.get_by_role("gridcell", name=f"run {SHOWN_ATTACK}").wait_for()
    visit.open("Embeddings")
    visit.choose("Model", f"Run run {SHOWN_ATTACK}")
    visit.choose("Materials", f"File {SHOWN_ATTACK}.h5")
    visit.shows("210 materials, fused embedding")
    select_most(visit, SHOWN_ATTACK)
    assert visit.page.evaluate("window.ran") is None


def test_the_page_fits_a_phone_and_a_dark_room(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.open("Patterns")
    visit.page.get_by_role("button", name="Load example data").click()
    visit.shows("patterns shown as measured")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    light = brightness(visit)
    visit.page.get_by_label("Toggle theme").click()
    visit.page.wait_for_function(SURFACE_IS_DARK)
    visit.page.wait_for_function("() => document.fonts.status === 'loaded'")
    assert light > 180
    assert brightness(visit) < 90


def brightness(visit: Visit) -> float:
    """Of a picture of the page, from 0 to 255."""
    from matplotlib import image

    return 255 * float(np.mean(image.imread(io.BytesIO(visit.page.screenshot()))[..., :3]))


def test_a_background_point_is_dragged_on_the_plot(visit: Visit, examples: Path) -> None:
    page = visit.page
    visit.open("Patterns")
    visit.drop(examples / "quartz.xrdml")
    visit.shows("1 of 1 patterns shown")
    visit.choose("Background", "points by hand")
    visit.shows("Click on the plot to add a point")
    suggested = set(page.wait_for_function(BACKGROUND_POINTS, arg=[]).json_value())
    page.wait_for_timeout(3000)  # until the plot has its place
    visit.drag((0.5, 0.3))
    with_added = set(page.wait_for_function(BACKGROUND_POINTS, arg=[*suggested]).json_value())
    (added,) = with_added - suggested
    page.wait_for_timeout(1000)
    visit.drag((0.5, 0.869), (0.56, 0.6))  # the point was put on the background, at the foot of the plot
    (moved,) = set(page.wait_for_function(BACKGROUND_POINTS, arg=[*with_added]).json_value()) - suggested
    assert 2 < moved - added < 7
    page.wait_for_timeout(2000)
    page.keyboard.press("u")
    visit.shows("Undone: steps")
    page.wait_for_timeout(2000)
    assert set(page.evaluate(BACKGROUND_POINTS, [])) == with_added


def test_a_click_on_the_plot_masks_a_window(visit: Visit, examples: Path) -> None:
    visit.open("Patterns")
    visit.drop(examples / "lanthanum_hexaboride.cif")
    visit.shows("1 of 1 patterns shown")
    visit.open("Reconstruction")
    visit.page.get_by_label("Formula").last.fill("LaB6")
    visit.page.get_by_label("Formula").last.press("Enter")
    visit.shows("1 of 17 windows masked")  # an example
    visit.page.get_by_role("button", name="Unmask all").click()
    visit.shows("No window is masked")
    visit.drag((0.5, 0.5))
    visit.shows("1 of 17 windows masked")
    visit.shows("Error in the masked windows")


def test_a_lasso_on_the_map_selects_materials(visit: Visit) -> None:
    visit.open("Embeddings")
    visit.choose("Model", "Run one")
    visit.choose("Materials", "File test.h5")
    visit.shows("210 materials, fused embedding")
    select_most(visit, "NaCl")
    visit.shows("materials selected")


def test_a_training_is_started_watched_found_again_after_a_reload_and_stopped(visit: Visit) -> None:
    page = visit.page
    visit.open("Training")
    visit.choose("Dataset", "small")
    visit.shows("400 materials")
    page.get_by_label("Epochs").fill("2000")
    page.get_by_label("Further settings").fill("preset=tiny\nbatch_size=32\nvalidate_every=50\nvalidation_rows=16")
    page.get_by_label("Name of the run").fill("mine")
    page.get_by_label("Name of the run").press("Enter")
    visit.shows("About")
    page.get_by_role("button", name="Start training").click()
    visit.shows("mine: running", patience=4 * PATIENCE)  # its process is polite
    visit.shows("materials/s", patience=4 * PATIENCE)
    visit.shows("Latest values as a table")
    page.reload()
    visit.shows("Load example data")
    visit.open("Training")
    visit.shows("mine: running")
    page.get_by_role("button", name="Stop").click()
    visit.shows("mine: stopped", patience=4 * PATIENCE)
    assert page.get_by_role("progressbar", name="Progress of mine").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_on_any_screen_shuts_out_people_with_other_senses(theme: str, visit: Visit) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    if theme == "dark":
        visit.page.get_by_label("Toggle theme").click()
        visit.page.wait_for_function(SURFACE_IS_DARK)
    visit.open("Patterns")
    visit.page.get_by_role("button", name="Load example data").click()
    visit.shows("patterns shown as measured")
    found = []
    for screen in SCREENS:
        visit.open(screen)
        for _ in range(LOOKS):
            visit.page.wait_for_timeout(1500)
            faults = serious_faults(axe.run(visit.page).response["violations"])
            if not faults:
                break
        found += [f"{screen}: {fault}" for fault in faults]
    assert not found, "\n".join(found)


def test_the_keyboard_the_address_and_a_saved_session_work_together(
    visit: Visit, examples: Path, tmp_path: Path
) -> None:
    page = visit.page
    visit.open("Patterns")
    page.wait_for_url("**/app?screen=patterns", timeout=PATIENCE)
    visit.drop(examples / "anatase.xy")
    visit.shows("1 of 1 patterns shown")
    before = page.evaluate("history.length")
    page.keyboard.press("x")
    page.wait_for_url("**/app?screen=patterns&axis=q", timeout=PATIENCE)
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="Save session").click()
    download.value.save_as(tmp_path / "session.xxact")
    page.keyboard.press("Control+z")
    visit.shows("Undone: axis")
    page.wait_for_url("**/app?screen=patterns", timeout=PATIENCE)
    page.get_by_label("Radiation or wavelength in Å").press("x")
    page.get_by_label("Radiation or wavelength in Å").press("?")
    page.get_by_role("button", name="Shortcuts").focus()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for(timeout=PATIENCE)
    page.keyboard.press("y")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached", timeout=PATIENCE)
    page.keyboard.press("1")
    page.wait_for_url("**/app", timeout=PATIENCE)
    assert page.evaluate("history.length") == before + 1
    page.go_back()
    page.wait_for_url("**/app?screen=patterns", timeout=PATIENCE)
    page.get_by_role("tab", name="Patterns", selected=True).wait_for(timeout=PATIENCE)
    page.go_forward()
    page.get_by_role("tab", name="Answer", selected=True).wait_for(timeout=PATIENCE)
    assert page.evaluate("history.length") == before + 1

    page.goto(f"{page.url}?scale=log&arrangement=sideways", timeout=PATIENCE)
    visit.shows("Unknown settings in the address were ignored: arrangement=sideways")
    assert page.url.endswith("/app?scale=log")
    visit.drop(tmp_path / "session.xxact")
    page.wait_for_url("**/app?screen=patterns&axis=q", timeout=PATIENCE)
    page.get_by_role("gridcell", name="anatase.xy").wait_for(timeout=PATIENCE)


def serious_faults(violations: list[dict[str, Any]]) -> list[str]:
    """What shuts people out, in words, of all that axe found."""
    found = []
    for fault in violations:
        nodes = fault["nodes"]
        places = [
            node["html"] for node in nodes if not is_library_fault(fault["id"], f"{node['target']} {node['html']}")
        ]
        if places and fault["impact"] in {"serious", "critical"}:
            found.append(f"{fault['id']} ({fault['help']}): {places[:5]}")
    return found


def is_library_fault(rule: str, place: str) -> bool:
    return rule in LIBRARY_FAULTS and LIBRARY_FAULTS[rule] in place
