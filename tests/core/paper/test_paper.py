"""From a dataset to the paper's tables and figures: small runs, and numbers that are those of their predictions."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.metrics import recall_score
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import InputError, RecipeError
from xxact_core.evaluation.tables import OF_ALL, OF_CLASSES
from xxact_core.model.config import PRESETS
from xxact_core.objectives.masked_patterns import MASK_RATIO
from xxact_core.paper.drawings import draw, write_page
from xxact_core.paper.experiments import EXPERIMENTS, SHARES, VARIANT, with_prerequisites
from xxact_core.paper.figures import FigureData, figure_data
from xxact_core.paper.layouts import ACCURACY, FIGURES, MAE, TABLES, Cell, figure_runs, layout
from xxact_core.paper.measures import Measure
from xxact_core.paper.runs import SIZES, experiment_to_recipe, run_experiments, run_folder
from xxact_core.paper.tables import Entry, Table, folder_to_table
from xxact_core.paper.texts import table_to_rows, table_to_text
from xxact_core.quantities import CRYSTAL_SYSTEM_COLOURS, CRYSTAL_SYSTEMS
from xxact_core.training.recipes import RECIPES

SEEDS = 2
NAMES = ["xxact-multi-target", "xxact-mxm"]
SETTINGS = {"epochs": 1, "batch_size": 64, "validation_rows": 32, "save_every": 1000}


@pytest.fixture(scope="module")
def runs(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the four rows of table 2, with two seeds each."""
    folder = tmp_path_factory.mktemp("paper")
    outcomes = list(run_experiments(NAMES, small_dataset, folder, size="tiny", seeds=SEEDS, settings=SETTINGS))
    assert [(outcome.name, outcome.state) for outcome in outcomes] == SEEDS * [
        ("xxact-multi-target", "trained"), ("pretrain-mxm", "trained"), ("xxact-mxm", "trained")
    ]  # fmt: skip
    return folder


def predicted_and_true(folder: Path, name: str, seed: int, target: str) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(run_folder(folder, name, seed) / "predictions.h5") as file:
        predicted, true = file[f"predicted/{target}"][...], file[f"true/{target}"][...]
    return predicted[~np.isnan(true)], true[~np.isnan(true)]


def test_every_table_and_figure_is_made_of_known_experiments_in_an_order_that_can_be_trained() -> None:
    needed = [name for plan in TABLES.values() for name in plan.runs] + [
        name for names in FIGURES.values() for name in names
    ]
    ordered = [experiment.name for experiment in with_prerequisites(needed)]
    assert set(ordered) == set(EXPERIMENTS), "an experiment that nothing shows, or that does not exist"
    for experiment in with_prerequisites(needed):
        assert experiment.recipe in RECIPES
        if experiment.start_from:
            assert ordered.index(experiment.start_from) < ordered.index(experiment.name)


@pytest.mark.parametrize("size", SIZES)
def test_every_experiment_is_a_recipe_in_every_size(small_table: StickTable, tmp_path: Path, size: str) -> None:
    for experiment in EXPERIMENTS.values():
        recipe = experiment_to_recipe(experiment, small_table, tmp_path, size=size, seed=1, settings={"epochs": 10})
        assert recipe.preset == ("extra-trees" if experiment.name == "extra-trees" else size)
        assert recipe.epochs == 10 * experiment.length
        assert recipe.seed == 1
        assert recipe.freeze_backbone == experiment.name.endswith("-to-band-gap")
        assert recipe.mask_ratio == MASK_RATIO
        kinds = ("xxact", "crabnet", "xrd-transformer", "fcn-mlp", "fcn", "extra-trees")
        assert recipe.optimiser == ("muon" if experiment.name == VARIANT else "adamw")
        model = next((kind for kind in kinds if f"{experiment.name}-".startswith(f"{kind}-")), "xxact")
        assert recipe.model_config().architecture == model
        assert model != "extra-trees" or recipe.model_config().forest == PRESETS["extra-trees"].forest


def test_baselines_have_the_sizes_of_their_presets(small_table: StickTable, tmp_path: Path) -> None:
    for size, preset in (("paper", "crabnet"), ("small", "crabnet-small")):
        experiment = EXPERIMENTS["crabnet-formation-energy"]
        recipe = experiment_to_recipe(experiment, small_table, tmp_path, size=size, seed=0, settings={})
        ours, theirs = recipe.model_config().to_dict(), PRESETS[preset].to_dict()
        assert {**ours, "targets": ()} == {**theirs, "targets": ()}


def test_settings_of_some_experiments_do_not_touch_the_others(small_table: StickTable, tmp_path: Path) -> None:
    settings = {"epochs": 4, "pretrain-*:epochs": 3}
    epochs = {
        name: experiment_to_recipe(
            EXPERIMENTS[name], small_table, tmp_path, size="tiny", seed=0, settings=settings
        ).epochs
        for name in ("pretrain-mxm", "xxact-mxm", "fcn-crystal-system-200")
    }
    assert epochs == {"pretrain-mxm": 3, "xxact-mxm": 4, "fcn-crystal-system-200": 16}
    for setting, said in (
        ("crabnett*:epochs", "matches no experiment"),
        ("seed", "cannot be set"),
        ("fcn*:preset", "cannot be set"),
    ):
        with pytest.raises(InputError, match=said):
            list(run_experiments(NAMES, tmp_path, tmp_path, size="tiny", seeds=1, settings={setting: 1}))


def test_epochs_of_a_size_hold_until_the_user_sets_them(small_table: StickTable, tmp_path: Path) -> None:
    """In the narrow size FCNs are shorter and pretraining is no longer than a supervised run."""
    names = ("xxact-multi-target", "pretrain-mxm", "fcn-crystal-system-100", "fcn-mlp-crystal-system-200")
    for settings, expected in (
        ({}, (12, 12, 12, 16)),
        ({"epochs": 3}, (3, 6, 6, 12)),
        ({"fcn-*:epochs": 5}, (12, 12, 5, 5)),
    ):
        recipes = [experiment_to_recipe(EXPERIMENTS[name], small_table, tmp_path, size="narrow", seed=0,
                                        settings=settings) for name in names]  # fmt: skip
        assert tuple(recipe.epochs for recipe in recipes) == expected


def test_scaling_trains_on_parts_of_the_training_split(small_table: StickTable, tmp_path: Path) -> None:
    assert len(SHARES) >= 5
    materials = len(small_table.rows("train"))
    recipe = experiment_to_recipe(
        EXPERIMENTS["xxact-multi-target-4th"], small_table, tmp_path, size="tiny", seed=0, settings={}
    )
    assert recipe.training_rows == round(materials / 4)


def test_finished_runs_are_kept_and_another_recipe_is_refused(runs: Path, small_dataset: Path) -> None:
    before = (runs / "xxact-mxm-seed0" / "predictions.h5").stat().st_mtime_ns
    again = list(run_experiments(NAMES, small_dataset, runs, size="tiny", seeds=SEEDS, settings=SETTINGS))
    assert {outcome.state for outcome in again} == {"kept"}
    assert (runs / "xxact-mxm-seed0" / "predictions.h5").stat().st_mtime_ns == before
    with pytest.raises(RecipeError, match="epochs"):
        list(run_experiments(NAMES, small_dataset, runs, size="tiny", seeds=1, settings={**SETTINGS, "epochs": 2}))


def test_a_finished_run_whose_preset_was_another_one_is_refused(
    runs: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = PRESETS["tiny"]
    monkeypatch.setitem(PRESETS, "tiny", replace(tiny, fusion=replace(tiny.fusion, dropout=0.3)))
    with pytest.raises(RecipeError, match=r"differs in \['fusion'\]"):
        list(run_experiments(NAMES, small_dataset, runs, size="tiny", seeds=1, settings=SETTINGS))


def test_a_run_that_lost_its_origin_gets_one_again(runs: Path, small_dataset: Path, tmp_path: Path) -> None:
    place = tmp_path / "pretrain-mxm-seed0"
    shutil.copytree(runs / "pretrain-mxm-seed0", place)
    (place / "provenance.json").unlink()
    states = [
        outcome.state
        for _ in range(2)
        for outcome in run_experiments(
            ["pretrain-mxm"], small_dataset, tmp_path, size="tiny", seeds=1, settings=SETTINGS
        )
    ]
    assert states == ["trained", "kept"]
    assert (place / "provenance.json").is_file()


def test_only_lost_predictions_are_made_again(runs: Path, small_dataset: Path, tmp_path: Path) -> None:
    name = "xxact-multi-target"
    shutil.copytree(runs / f"{name}-seed0", tmp_path / f"{name}-seed0")
    (tmp_path / f"{name}-seed0" / "predictions.h5").unlink()
    journal = (tmp_path / f"{name}-seed0" / "journal.jsonl").read_bytes()
    (outcome,) = run_experiments([name], small_dataset, tmp_path, size="tiny", seeds=1, settings=SETTINGS)
    assert outcome.state == "trained"
    assert (tmp_path / f"{name}-seed0" / "journal.jsonl").read_bytes() == journal
    for target in ("formation_energy_per_atom", "crystal_system"):
        made, kept = (predicted_and_true(folder, name, 0, target)[0] for folder in (tmp_path, runs))
        np.testing.assert_allclose(made, kept, rtol=1e-5, atol=1e-5)


def row_of(table: Table, row: str, column: str) -> dict:
    (found,) = [entry for entry in table_to_rows(table) if (entry["row"], entry["column"]) == (row, column)]
    return found


def test_table_2_equals_numpy_on_the_predictions(runs: Path) -> None:
    table = folder_to_table(2, runs)
    maes, shares = [], []
    for seed in range(SEEDS):
        predicted, true = predicted_and_true(runs, "xxact-mxm", seed, "formation_energy_per_atom")
        maes.append(1000 * np.abs(predicted - true).mean())
        logits, systems = predicted_and_true(runs, "xxact-mxm", seed, "crystal_system")
        shares.append(100 * (logits.argmax(axis=1) == systems).mean())
    energy = row_of(table, "MXM", "Ef MAE [meV/atom], test")
    assert energy["value"] == pytest.approx(np.mean(maes))
    assert energy["standard_error"] == pytest.approx(np.std(maes, ddof=1) / np.sqrt(SEEDS))
    assert (energy["runs"], energy["paper"], energy["low"]) == (SEEDS, 43.48, None)
    assert row_of(table, "MXM", "crystal system accuracy [%], test")["value"] == pytest.approx(np.mean(shares))


def test_table_2_reads_the_journals(runs: Path) -> None:
    table = folder_to_table(2, runs)
    row = "without pretraining"
    early = row_of(table, row, "Ef MAE [meV/atom] at 25%")
    reached = [
        [json.loads(line) for line in (runs / f"xxact-multi-target-seed{seed}/journal.jsonl").read_text().splitlines()]
        for seed in range(SEEDS)
    ]
    steps = reached[0][0]["steps"]
    curves = [
        [(event["step"], event["metrics"][MAE]) for event in events if event["event"] == "validation"]
        for events in reached
    ]
    expected = np.mean([np.interp(0.25 * steps, *np.transpose(curve)) for curve in curves])
    assert early["value"] == pytest.approx(expected)
    threshold = expected
    took = []
    for curve in curves:
        numbers, values = np.transpose(curve)
        means = [values[place - 2 : place + 1].mean() for place in range(2, len(values))]
        took += [step for step, mean in zip(numbers[2:], means, strict=True) if mean <= threshold][:1]
    assert took, "nothing to see: no seed got so far"
    entry = row_of(table, row, "steps to threshold, Ef MAE [meV/atom]")
    assert entry["value"] == pytest.approx(np.mean(took))
    assert (entry["runs"], entry["seeds"]) == (len(took), SEEDS)
    assert any(MAE in note for note in table.notes)


def test_a_threshold_that_not_every_seed_reaches_is_said_to_be_of_those_that_do() -> None:
    cell = Cell("a row", "steps", "xxact-mxm", "steps")
    entries = (
        Entry(cell, Measure(120), 3),
        Entry(replace(cell, column="of all"), Measure(7, runs=3, standard_error=1), 3),
        Entry(replace(cell, column="of none"), None, 3),
    )
    page = table_to_text(Table(2, "steps", entries, (), {}), suffix=".md")
    assert "| 120.0, 1 of 3 seeds | 7.000 ± 1.000 | none of 3 seeds |" in page


def test_missing_runs_are_missing_and_no_failure(runs: Path, tmp_path: Path) -> None:
    table = folder_to_table(2, runs)
    assert row_of(table, "contrastive", "Ef MAE [meV/atom], test")["value"] is None
    assert table.about["missing"] == ["xxact-contrastive", "xxact-contrastive-mxm"]
    assert "missing" in table_to_text(table, suffix=".md")
    for number in TABLES:
        assert not any(row["value"] for row in table_to_rows(folder_to_table(number, tmp_path)))


def test_one_seed_has_an_interval_over_materials(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "xxact-mxm-seed1", tmp_path / "xxact-mxm-seed1")
    energy = row_of(folder_to_table(2, tmp_path), "MXM", "Ef MAE [meV/atom], test")
    assert energy["low"] < energy["value"] < energy["high"]
    assert (energy["runs"], energy["standard_error"]) == (1, None)


def test_table_by_system_has_both_means(runs: Path) -> None:
    table = folder_to_table(4, runs)
    of_all, of_classes = [], []
    for seed in range(SEEDS):
        logits, systems = predicted_and_true(runs, "xxact-mxm", seed, "crystal_system")
        of_all.append(100 * (logits.argmax(axis=1) == systems).mean())
        of_classes.append(
            100 * recall_score(systems, logits.argmax(axis=1), labels=np.unique(systems), average="macro")
        )
    assert row_of(table, OF_ALL, "MXM")["value"] == pytest.approx(np.mean(of_all))
    assert row_of(table, OF_CLASSES, "MXM")["value"] == pytest.approx(np.mean(of_classes))
    assert (row_of(table, OF_ALL, "MXM")["paper"], row_of(table, OF_CLASSES, "MXM")["paper"]) == (97.21, None)
    silhouette = row_of(folder_to_table(5, runs), OF_ALL, "MXM")
    assert -1 <= silhouette["value"] <= 1


def test_table_says_what_made_it(runs: Path, small_table: StickTable) -> None:
    about = folder_to_table(2, runs).about
    assert about["data_digest"] == [small_table.digest]
    assert about["size"] == ["tiny"]
    assert (about["epochs"], about["batch_size"]) == ([1], [64])
    assert about["split"] == ["formula"]
    assert about["seeds"] == {name: [0, 1] for name in NAMES}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["date"][0])
    assert about["commit"]
    assert "cores" in about["hardware"][0]


def test_table_as_csv_json_and_markdown_says_the_same(runs: Path, tmp_path: Path) -> None:
    table = folder_to_table(2, runs)
    as_json = json.loads(table_to_text(table, suffix=".json"))
    lines = [line for line in table_to_text(table, suffix=".csv").splitlines() if not line.startswith("#")]
    as_csv = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert len(as_json["rows"]) == len(as_csv) == len(layout(2).cells)
    assert [row["paper"] or "" for row in as_json["rows"]] == [
        float(row["paper"]) if row["paper"] else "" for row in as_csv
    ]
    page = table_to_text(table, suffix=".md")
    widths = {line.count("|") for line in page.splitlines() if line.startswith("|")}
    assert len(widths) == 1, "every line of the table has the same columns"
    with pytest.raises(InputError, match="choose from"):
        table_to_text(table, suffix=".xlsx")
    output = tmp_path / "tables" / "table2.md"
    result = CliRunner().invoke(app, ["paper", "table", "2", str(runs), "--output", str(output)])
    assert result.exit_code == 0
    assert output.read_text() == page


def test_trees_stand_in_table_1_like_any_model(small_dataset: Path, tmp_path: Path) -> None:
    command = ["paper", "run", str(small_dataset), str(tmp_path), "--table", "1", "--only", "extra-*", "--size", "tiny"]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (0, "extra-trees, seed 0: trained\n")
    logits, systems = predicted_and_true(tmp_path, "extra-trees", 0, "crystal_system")
    (entry,) = [
        row
        for row in table_to_rows(folder_to_table(1, tmp_path))
        if (row["experiment"], row["metric"]) == ("extra-trees", ACCURACY)
    ]
    assert entry["value"] == pytest.approx(100 * (logits.argmax(axis=1) == systems).mean())


def test_reference_on_other_splits_is_a_row_without_a_run_of_ours() -> None:
    (cell,) = [cell for cell in layout(1).cells if cell.row.startswith("ALIGNN")]
    assert (cell.run, cell.paper) == (None, 16)
    assert "other splits" in cell.row


@pytest.mark.parametrize("number", [2, 6])
def test_figure_of_runs_is_drawn_from_files_alone(runs: Path, tmp_path: Path, number: int) -> None:
    data = figure_data(number, runs)
    if number == 2:
        assert {row["panel"] for row in data.rows} == {"without pretraining", "MXM"}
        assert all(-1 <= value <= 1 for value in data.about["silhouette"].values())
    else:
        assert {row["metric"] for row in data.rows} == {MAE, ACCURACY}
        assert max(row["share"] for row in data.rows) == 100
    write_page(data, tmp_path / "figure.html")
    page = (tmp_path / "figure.html").read_text()
    assert "Bokeh" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page), "the page loads something"


def test_figures_of_the_data_come_from_the_data_set(
    small_dataset: Path, small_table: StickTable, tmp_path: Path
) -> None:
    output = tmp_path / "figure5.html"
    result = CliRunner().invoke(app, ["paper", "figure", "5", str(small_dataset), "--output", str(output)])
    assert result.exit_code == 0
    rows = json.loads(output.with_suffix(".json").read_text())["rows"]
    assert len(rows) == 2 * 118
    drawing = draw(figure_data(4, small_dataset))
    assert len(drawing) == 2
    shares = [row["share"] for row in figure_data(4, small_dataset).rows if row["split"] == "train"]
    assert sum(shares) == pytest.approx(100)
    assert output.with_suffix(".csv").read_text().startswith("# figure: 5")
    assert small_table.digest in output.with_suffix(".csv").read_text()


def test_scaling_figure_names_the_law_of_its_points() -> None:
    sizes = [1000, 2000, 4000, 8000, 16000]
    rows = [
        {"model": label, "materials": size, "seed": 0, "mae": factor * (size / 1e6) ** exponent}
        for label, factor, exponent in (
            ("CrabNet (composition)", 140, -0.046),
            ("XxaCT-NN (pattern, composition)", 70, -0.335),
        )
        for size in sizes
    ]
    drawing = draw(FigureData(3, "Error", rows))
    labels = [element.label for element in drawing]
    assert any("140 · D^-0.046" in label for label in labels)
    assert any("70 · D^-0.335" in label for label in labels)


def test_scaling_figure_shows_the_test_errors_of_its_runs(small_dataset: Path, tmp_path: Path) -> None:
    names = [f"crabnet-multi-target{part}" for part in ("-4th", "-2th", "")]
    settings = {**SETTINGS, "batch_size": 16}
    list(run_experiments(names, small_dataset, tmp_path, size="tiny", seeds=1, settings=settings))
    data = figure_data(3, tmp_path)
    materials = len(read_dataset(small_dataset, resident=False).rows("train"))
    assert [row["materials"] for row in data.rows] == [round(materials / 4), round(materials / 2), materials]
    for name, row in zip(names, data.rows, strict=True):
        predicted, true = predicted_and_true(tmp_path, name, 0, "formation_energy_per_atom")
        assert row["mae"] == pytest.approx(1000 * np.abs(predicted - true).mean())
    x, y = (np.log([row[name] for row in data.rows]) for name in ("materials", "mae"))
    (law,) = data.about["laws"].values()
    assert law["exponent"] == pytest.approx(np.polyfit(x, y, 1)[0])
    assert law["points"] == len(names)


def test_what_the_paper_does_not_have_is_refused(tmp_path: Path) -> None:
    for make in (lambda: layout(7), lambda: figure_runs(1), lambda: figure_data(3, tmp_path)):
        with pytest.raises(InputError):
            make()
    with pytest.raises(InputError, match="size"):
        list(run_experiments(NAMES, tmp_path, tmp_path, size="huge", seeds=1, settings={}))
    with pytest.raises(InputError, match="experiment"):
        with_prerequisites(["xxact-banana"])


def test_every_crystal_system_has_a_colour_of_its_own() -> None:
    assert len(set(CRYSTAL_SYSTEM_COLOURS)) == len(CRYSTAL_SYSTEMS)
