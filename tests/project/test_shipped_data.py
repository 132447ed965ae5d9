"""The data that ship: every example says what it is, may be passed on, and can be read; the repository stays small."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import tempfile
from pathlib import Path

import nbformat
import pyarrow.parquet
import pytest
from locations import REPOSITORY
from nbclient import NotebookClient

from xxact_core.compositions.formula import parse_formula
from xxact_core.processing.gridding import put_on_grid
from xxact_core.quantities import CRYSTAL_SYSTEMS, space_group_to_crystal_system
from xxact_core.readers.read import read_pattern

EXAMPLES = REPOSITORY / "xxact_core" / "data" / "examples"
ROWS = list(csv.DictReader((EXAMPLES / "examples.csv").read_text(encoding="utf-8").splitlines()))
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
FIRST_NOTEBOOKS = {"file_to_tokens", "predict"}
"""Notebooks that `make test` runs; `make test-slow` runs the others, each of which takes half a minute."""

MEGABYTE = 1024**2


def file_name(row: dict[str, str]) -> str:
    return row["file"]


def test_table_and_folder_agree() -> None:
    listed = [row["file"] for row in ROWS]
    assert len(listed) == len(set(listed)) >= 12
    assert set(listed) == {path.name for path in EXAMPLES.iterdir()} - {"examples.csv"}
    assert len({Path(name).suffix for name in listed}) >= 8


@pytest.mark.parametrize("row", ROWS, ids=file_name)
def test_example_may_be_passed_on_and_says_where_it_is_from(row: dict[str, str]) -> None:
    allowed = ("MIT", "Apache-2.0", "BSD", "public domain", "released for re-analysis")
    assert row["licence"].startswith(allowed), row["licence"]
    assert row["origin"]
    assert row["notes"]
    assert None not in row, "a line of examples.csv has more fields than its header"


@pytest.mark.parametrize("row", [row for row in ROWS if row["formula"]], ids=file_name)
def test_example_has_a_formula_and_matching_symmetry(row: dict[str, str]) -> None:
    assert parse_formula(row["formula"]).fractions.sum() == pytest.approx(1)
    if row["space_group"]:
        assert row["crystal_system"] in CRYSTAL_SYSTEMS
        assert space_group_to_crystal_system(int(row["space_group"])) == row["crystal_system"]


@pytest.mark.parametrize("row", ROWS, ids=file_name)
def test_example_is_read_and_put_on_the_grid(row: dict[str, str]) -> None:
    pattern = read_pattern(EXAMPLES / row["file"], wavelength=row["wavelength"] or None)
    assert pattern.wavelength is not None, "examples.csv must state the wavelength that the file does not"
    gridded = put_on_grid(pattern, override_coverage=True)  # the certification scan of LaB6 measured its lines only
    assert gridded.covered_fraction > 0.25
    assert gridded.intensity.max() == pytest.approx(100)


@pytest.mark.parametrize("row", [row for row in ROWS if row["wavelength"]], ids=file_name)
def test_example_that_needs_a_wavelength_does_not_get_one_silently(row: dict[str, str]) -> None:
    assert read_pattern(EXAMPLES / row["file"]).wavelength is None


def test_table_of_structures_is_the_documented_one() -> None:
    table = pyarrow.parquet.ParquetFile(REPOSITORY / "xxact_core" / "data" / "materials_project.parquet")
    documented = (REPOSITORY / "xxact_core" / "data" / "README.md").read_text(encoding="utf-8")
    assert table.metadata.num_rows == 106_192
    assert "106,192" in documented
    assert [name for name in table.schema_arrow.names if f"`{name}`" not in documented] == []


def test_reference_table_is_the_documented_one() -> None:
    table = pyarrow.parquet.ParquetFile(REPOSITORY / "xxact_core" / "data" / "reference_materials.parquet")
    documented = (REPOSITORY / "xxact_core" / "data" / "README.md").read_text(encoding="utf-8")
    assert [name for name in table.schema_arrow.names if f"`{name}`" not in documented] == []


def test_repository_stays_small() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    sizes = {name: (REPOSITORY / name).stat().st_size for name in listing.stdout.split("\0") if name}
    assert sum(sizes.values()) < 56 * MEGABYTE
    assert sum(size for name, size in sizes.items() if name.startswith("xxact_core/data/examples/")) < 4 * MEGABYTE


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_has_small_outputs_that_are_the_same_everywhere(path: Path) -> None:
    assert path.stat().st_size <= MEGABYTE
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs, "make notebooks executes it"
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    shown = json.dumps([{**output, "data": {**output.get("data", {}), "image/png": ""}} for output in outputs])
    for unwanted in (
        "stderr",
        "Warning",
        "Traceback",
        "<script",
        str(REPOSITORY),
        str(Path.home()),
        tempfile.gettempdir(),
    ):
        assert unwanted not in shown, unwanted


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_imports_the_public_interface_only(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    imported = set(re.findall(r"(?:from|import) (xxact_\w+(?:\.\w+)*)", code))
    assert imported
    assert imported <= {"xxact_core", "xxact_app.widgets"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.stem in FIRST_NOTEBOOKS else pytest.mark.long) for path in NOTEBOOKS],
    ids=lambda path: path.name,
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::DeprecationWarning:zmq")
def test_notebook_runs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
