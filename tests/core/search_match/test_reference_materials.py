"""Known materials show their lines where their cells put them, from the file to the grid."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from locations import REPOSITORY

from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.processing.gridding import put_on_grid
from xxact_core.readers.read import read_pattern

SCRIPT = REPOSITORY / "benchmarks" / "quality" / "reference_lines.py"
HELD = ["LaB6 (NIST SRM 660c)", "corundum", "fluorite", "zincite", "brucite", "silicon", "rutile"]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    specification = importlib.util.spec_from_file_location("reference_lines", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["reference_lines"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", HELD)
@pytest.mark.filterwarnings("ignore::UserWarning:pymatgen")
def test_every_strong_line_lies_within_a_twentieth_of_a_degree(benchmark: ModuleType, name: str) -> None:
    reference = next(reference for reference in benchmark.REFERENCES if reference.name == name)
    row = benchmark.compare(reference)
    assert row["lines"] >= 3
    assert row["largest"] < 0.05
    assert abs(row["shift"]) < 0.08
    assert row["likeness"] > row["likeness_raw"]


@pytest.mark.filterwarnings("ignore::UserWarning:pymatgen")
def test_the_certified_lines_of_lanthanum_hexaboride_need_no_shift(benchmark: ModuleType) -> None:
    reference = benchmark.REFERENCES[0]
    pattern = read_pattern(benchmark.EXAMPLES / reference.file)
    expected = broaden_sticks(benchmark.reference_sticks(reference))
    deviations = benchmark.line_deviations(put_on_grid(pattern, override_coverage=True), expected)
    assert deviations.size == 10
    assert np.abs(deviations).max() < 0.05
    at_alpha_1 = put_on_grid(pattern, wavelength=1.54056, override_coverage=True)
    assert np.abs(benchmark.line_deviations(at_alpha_1, expected)).max() > 0.05


@pytest.mark.filterwarnings("ignore::UserWarning:pymatgen")
def test_another_material_is_told_apart(benchmark: ModuleType) -> None:
    fluorite, zincite = (
        next(item for item in benchmark.REFERENCES if item.name == name) for name in ("fluorite", "zincite")
    )
    measured = put_on_grid(read_pattern(benchmark.EXAMPLES / fluorite.file), wavelength=CU_K_ALPHA)
    right, wrong = (broaden_sticks(benchmark.reference_sticks(item)) for item in (fluorite, zincite))

    def likeness(expected: GriddedPattern) -> float:
        return float(
            measured.intensity
            @ expected.intensity
            / np.linalg.norm(measured.intensity)
            / np.linalg.norm(expected.intensity)
        )

    assert likeness(right) > 0.95
    assert likeness(wrong) < 0.3


def test_the_benchmark_prints_one_json_object() -> None:
    run = subprocess.run([sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True, check=True)
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["reached"]
    assert len(result["materials"]) == 2
