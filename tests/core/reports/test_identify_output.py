"""`xxact identify --output`: results in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.readers.read import read_pattern
from xxact_core.reports.analysed_pattern import AnalysisSettings


@pytest.fixture
def line(analysis: AnalysisSettings, measured: Callable[..., str], tmp_path: Path) -> list[str]:
    """The command for a measured file."""
    (tmp_path / "salt.xy").write_text(measured("NaCl"), encoding="utf-8")
    references = [part for path in analysis.reference for part in ("--reference", path)]
    return ["identify", str(tmp_path / "salt.xy"), "--wavelength", "CuKa", "--elements", "Na,Cl", *references]


def test_results_are_written_beside_what_is_printed(line: list[str], tmp_path: Path) -> None:
    files = [tmp_path / f"result.{ending}" for ending in ("json", "html", "nxs", "csv")]
    outputs = [part for path in files for part in ("--output", str(path))]
    done = CliRunner().invoke(app, [*line, "--json", *outputs], catch_exceptions=False)
    printed, stored = json.loads(done.stdout), json.loads(files[0].read_text(encoding="utf-8"))
    assert stored["phases"] == printed["phases"]
    assert stored["composition"] == "Na,Cl"
    pattern = read_pattern(files[2])
    np.testing.assert_array_equal(pattern.two_theta, read_pattern(tmp_path / "salt.xy").two_theta)
    assert pattern.wavelength == stored["measured_wavelength"]


def test_an_unknown_ending_is_refused_before_the_search(line: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*line, "--output", str(tmp_path / "result.docx")])
    assert "results are written to files that end in" in str(done.exception)
