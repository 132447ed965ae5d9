"""Verdicts follow from predictions: each is checked on runs that were made so that it is known."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.paper.claims import FAILS, HOLDS, UNKNOWN, Claim, folder_to_claims
from xxact_core.paper.claims_text import claims_to_markdown
from xxact_core.paper.cost import hours_of_runs
from xxact_core.paper.layouts import ACCURACY, MAE
from xxact_core.paper.pages import write_pages
from xxact_core.paper.results import (
    DFT_ERROR,
    ENERGY_ERROR,
    FROM_FORMULA,
    SILHOUETTE,
    WRONG,
    RunResults,
    difference_of,
    mean_of,
    read_results,
)
from xxact_core.paper.runs import DFT_ENERGY, MATERIALS, read_materials, run_folder

MANY = 600
POLYMORPHS = 3
FORMULA = [f"X{number // POLYMORPHS}" for number in range(MANY)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of runs whose test materials are three polymorphs of each formula, a third of them with DFT energies."""
    lines = [f"m{number},{formula},{0.1 * number if number % 3 == 0 else ''}" for number, formula in enumerate(FORMULA)]
    (tmp_path / MATERIALS).write_text("\n".join([f"id,formula,{DFT_ENERGY}", *lines]) + "\n")
    return tmp_path


def write_run(
    folder: Path,
    name: str,
    seed: int = 0,
    *,
    error: float = 0.1,
    right: float = 0.5,
    spread: float = 1.0,
    gap: float | None = None,
    curve: Mapping[int, float] | None = None,
    materials: int = 1000,
) -> Path:
    """A finished run with a mean error [eV/atom], a fraction of right systems and clusters of that relative width."""
    run = run_folder(folder, name, seed)
    run.mkdir()
    random = np.random.default_rng([seed, len(name), *name.encode()])
    energy, systems = 0.1 * np.arange(MANY), np.arange(MANY) % 7
    logits = np.eye(7)[np.where(random.random(MANY) < right, systems, (systems + 1) % 7)]
    with h5py.File(run / "predictions.h5", "w") as file:
        file["id"] = np.array([f"m{number}" for number in range(MANY)], dtype=h5py.string_dtype())
        file["embedding"] = 4 * np.eye(7)[systems] + spread * random.normal(size=(MANY, 7))
        if gap is not None:
            file["predicted/band_gap"], file["true/band_gap"] = energy + random.normal(gap, 0.01, MANY), energy
        else:
            file["predicted/formation_energy_per_atom"] = energy + random.normal(error, 0.2 * error, MANY)
            file["true/formation_energy_per_atom"] = energy
            file["predicted/crystal_system"], file["true/crystal_system"] = logits, systems.astype(float)
    events = [{"event": "started", "step": 0, "steps": 100, "materials": materials}]
    events += [{"event": "validation", "step": step, "metrics": {MAE: value, ACCURACY: 1 - value / 1000}}
               for step, value in (curve or {100: 1.0}).items()]  # fmt: skip
    (run / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return run


def claim(claims: list[Claim], word: str) -> Claim:
    (found,) = [one for one in claims if word in one.title]
    return found


def test_nothing_is_decided_without_runs(tmp_path: Path) -> None:
    claims = folder_to_claims(tmp_path)
    assert len(claims) >= 10
    assert {one.verdict for one in claims} == {UNKNOWN}
    page = claims_to_markdown(claims, tmp_path)
    assert all(one.title in page for one in claims)
    assert "Missing: " in page


def test_models_that_do_not_use_the_pattern_are_told_by_the_parts_of_their_error(folder: Path) -> None:
    energy = 0.1 * np.arange(MANY)
    medians = np.repeat(energy[1::POLYMORPHS], POLYMORPHS)
    predicted = {
        "crabnet-formation-energy": medians + 0.05,
        "xxact-formation-energy": medians + 0.5 * (energy - medians),
        "xxact-formation-energy-from-crystal-system": energy,
    }
    for name, values in predicted.items():
        with h5py.File(write_run(folder, name) / "predictions.h5", "a") as file:
            file["predicted/formation_energy_per_atom"][...] = values
    found = claim(folder_to_claims(folder), "Formation energy: composition")
    parts = {part.label: part for part in found.parts}
    true = 1000 * 0.2 / 3
    for label, expected in {
        "composition": (50, true, 0),
        "both (single-task)": (0, true / 2, true / 2),
        "both (single-task, from the model of crystal systems)": (0, 0, true),
    }.items():
        part = parts[label]
        numbers = (part.of_median.value, part.of_difference.value, part.predicted_difference.value)
        assert numbers == pytest.approx(expected, abs=1e-3), label
    assert "| composition | 50.0 | 66.7 | 0.0 |" in claims_to_markdown([found], folder)


def test_hours_are_those_of_steps_at_their_median_duration(tmp_path: Path) -> None:
    for seed, speeds in enumerate([[64.0] * 1800, [64.0] * 1799 + [0.001], []]):
        run = write_run(tmp_path, "xxact-mxm", seed)
        with (run / "journal.jsonl").open("a") as file:
            for step, speed in enumerate(speeds):
                file.write(json.dumps({"event": "step", "step": step, "loss": 1.0, "samples_per_second": speed}) + "\n")
        (run / "recipe.json").write_text(json.dumps({"recipe": {"batch_size": 128}}))
    assert hours_of_runs(tmp_path) == (2, pytest.approx(2.0)), "1,800 steps of two seconds each, a pause left out"
    assert "- training: 2 runs, 2.0 hours" in claims_to_markdown([], tmp_path)


def test_order_of_the_inputs_holds_where_it_is_and_fails_where_it_is_reversed(folder: Path) -> None:
    write_run(folder, "crabnet-formation-energy", error=0.13)
    write_run(folder, "xrd-transformer-formation-energy", error=0.4)
    write_run(folder, "crabnet-crystal-system", right=0.6, spread=40)
    write_run(folder, "xrd-transformer-crystal-system", right=0.8, spread=2)
    write_run(folder, "xxact-formation-energy", error=0.04)
    write_run(folder, "xxact-crystal-system", right=0.7, spread=0.5)
    for seed in range(3):
        write_run(folder, "xxact-multi-target", seed, error=0.05, right=0.9, spread=0.5)
    write_run(folder, "variant-multi-target", error=0.03, right=0.95)
    claims = folder_to_claims(folder)
    energy, system = claim(claims, "Formation energy: composition"), claim(claims, "Crystal system: the pattern")
    assert energy.verdict == HOLDS
    assert system.verdict == FAILS, "judged by the models of one target, which have as many steps for it"
    assert claim(claims, "with regard to DFT labels").verdict == HOLDS
    assert claim(claims, "our variant predicts the formation energy").verdict == HOLDS
    assert claim(claims, "our variant of the model predicts crystal systems").verdict == HOLDS
    assert claim(claims, "ordered by crystal system").verdict == HOLDS
    of_fused = next(number for number in energy.numbers if number.label == "both (multi-task)")
    assert (of_fused.value, of_fused.seeds) == (pytest.approx(50, abs=1), 3)
    assert of_fused.low < of_fused.value < of_fused.high
    floor = next(number for number in energy.numbers if "median" in number.label)
    assert floor.value == pytest.approx(1000 * 0.2 / 3), "0, 100 and 100 meV/atom from the median of three"


def test_difference_within_its_interval_cannot_be_decided(folder: Path) -> None:
    for name in ("xxact-mxm", "xxact-contrastive", "xxact-contrastive-mxm", "xxact-multi-target"):
        write_run(folder, name, error=0.1)
    assert claim(folder_to_claims(folder), "MXM pretraining lowers").verdict == UNKNOWN


@pytest.mark.parametrize(("pretrained", "seeds", "verdict"), [(20, 3, HOLDS), (90, 3, FAILS), (20, 1, UNKNOWN)])
def test_steps_to_the_threshold_need_several_seeds(folder: Path, pretrained: int, seeds: int, verdict: str) -> None:
    """The run from scratch has fallen to its value at a quarter of the steps after 50."""
    for seed in range(seeds):
        flat = dict.fromkeys(range(5, 45, 5), 500.0) | {25: 400.0} | dict.fromkeys(range(45, 101, 5), 300.0)
        early = {step: 500.0 if step < pretrained + seed else 100.0 for step in range(1, 101)}
        write_run(folder, "xxact-multi-target", seed, curve=dict(sorted(flat.items())))
        write_run(folder, "xxact-contrastive-mxm", seed, curve=early)
    found = claim(folder_to_claims(folder), "fewer steps")
    assert found.verdict == verdict
    assert len(found.numbers) == 2


def test_no_speed_up_where_one_seed_never_reaches_the_threshold(folder: Path) -> None:
    flat = dict.fromkeys(range(5, 45, 5), 500.0) | {25: 400.0} | dict.fromkeys(range(45, 101, 5), 300.0)
    for seed in range(3):
        early = {step: 500.0 if step < 20 + seed or seed == 2 else 100.0 for step in range(1, 101)}
        write_run(folder, "xxact-multi-target", seed, curve=dict(sorted(flat.items())))
        write_run(folder, "xxact-contrastive-mxm", seed, curve=early)
    assert claim(folder_to_claims(folder), "fewer steps").verdict == UNKNOWN


def test_scaling_compares_exponents_with_their_errors(folder: Path) -> None:
    for model, exponent in (("crabnet", -0.05), ("xxact", -0.35)):
        for part in ("", "-2th", "-4th", "-8th", "-16th"):
            size = 16000 / int(part[1:-2] or 1) if part else 16000
            write_run(
                folder, f"{model}-multi-target{part}", error=0.1 * (size / 16000) ** exponent, materials=int(size)
            )
    found = claim(folder_to_claims(folder), "falls faster with data")
    assert found.verdict == HOLDS
    exponents = [number for number in found.numbers if number.label.startswith("exponent")]
    assert [number.value for number in exponents] == pytest.approx([-0.05, -0.35], abs=0.03)
    assert all(number.low < number.value < number.high for number in exponents)


def test_transfer_is_judged_by_the_band_gap(folder: Path) -> None:
    for name, gap in (("xxact-multi-target", 0.1), ("crabnet-formation-energy", 0.3),
                      ("xrd-transformer-crystal-system", 0.2)):  # fmt: skip
        write_run(folder, f"{name}-to-band-gap", gap=gap)
    found = claim(folder_to_claims(folder), "band gap")
    assert found.verdict == HOLDS
    assert found.numbers[0].unit == "eV"


def test_errors_are_those_of_the_file(folder: Path) -> None:
    run = write_run(folder, "xxact-multi-target", error=0.2, right=0.75)
    materials = read_materials(folder)
    errors = read_results(run, materials, silhouette=True).errors
    with h5py.File(run / "predictions.h5") as file:
        predicted, true = (file[f"{kind}/formation_energy_per_atom"][...] for kind in ("predicted", "true"))
        wrong = file["predicted/crystal_system"][...].argmax(axis=1) != file["true/crystal_system"][...]
    np.testing.assert_allclose(errors[ENERGY_ERROR].value, 1000 * np.abs(predicted - true))
    assert errors[WRONG].value.mean() == pytest.approx(100 * wrong.mean())
    assert len(errors[DFT_ERROR].value) == MANY / 3
    assert len(errors[FROM_FORMULA].value) == MANY
    assert -1 <= errors[SILHOUETTE].value.mean() <= 1


def test_polymorphs_that_err_alike_widen_the_interval(folder: Path) -> None:
    """Materials of one formula are drawn together, so that three equal errors count as one."""
    run = write_run(folder, "xxact-multi-target")
    groups = {f"m{number}": formula for number, formula in enumerate(FORMULA)}
    errors = read_results(run).errors[ENERGY_ERROR]
    alike = RunResults({ENERGY_ERROR: type(errors)(errors.id, np.repeat(errors.value[::POLYMORPHS], POLYMORPHS))})
    together, alone = (mean_of([alike], ENERGY_ERROR, of) for of in (groups, {}))
    assert together is not None
    assert alone is not None
    assert together.value == pytest.approx(alone.value)
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(3**0.5, rel=0.15)


def test_seeds_that_scatter_widen_the_interval(folder: Path) -> None:
    seeds = [read_results(write_run(folder, "xxact-mxm", seed, error=error)) for seed, error in enumerate((0.1, 0.3))]
    other = [read_results(write_run(folder, "crabnet-formation-energy", error=0.4))]
    one, two = (difference_of(runs, other, ENERGY_ERROR, {}) for runs in (seeds[:1], seeds))
    assert one is not None
    assert two is not None
    assert two.high - two.low > 5 * (one.high - one.low)
    assert one.is_positive is True
    assert two.value == pytest.approx(200, rel=0.05)


def test_claims_are_printed_and_written(folder: Path, tmp_path: Path) -> None:
    write_run(folder, "crabnet-formation-energy")
    result = CliRunner().invoke(app, ["paper", "claims", str(folder), "--json"])
    assert result.exit_code == 0
    assert {entry["verdict"] for entry in json.loads(result.stdout)} == {UNKNOWN}
    output = tmp_path / "claims.md"
    assert CliRunner().invoke(app, ["paper", "claims", str(folder), "--output", str(output)]).exit_code == 0
    assert output.read_text().startswith("# Claims of the paper")


def test_one_page_shows_claims_tables_and_figures_with_links_between_them(folder: Path) -> None:
    for name in ("crabnet-crystal-system", "xrd-transformer-crystal-system", "xxact-multi-target"):
        write_run(folder, name, curve={1: 900.0, 50: 400.0, 100: 300.0})
    written = write_pages(folder)
    assert {"claims", "table 1", "figure 6"} <= set(written)
    page = (folder / "pages" / "index.html").read_text()
    targets = re.findall(r'(?:href|src)="([^"]+)"', page)
    anchors = {target[1:] for target in targets if target.startswith("#")}
    assert {"table1", "figure6"} <= anchors
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    files = {target for target in targets if not target.startswith("#")}
    assert {"figure6.svg", "figure6.html", "table1.csv"} <= files
    assert all((folder / "pages" / file).is_file() for file in files)
    assert "<script" not in page
    assert "<td><strong>cannot be decided</strong></td>" in page
