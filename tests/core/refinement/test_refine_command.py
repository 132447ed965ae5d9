"""The command `xxact refine`, run as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.core.refinement.phase_fixtures import mixture_pattern, rock_salt
from xxact_core.processes import module_command
from xxact_core.refinement.output_files import write_xye
from xxact_core.refinement.refine import intensity_to_sigma
from xxact_core.structures.cif_writing import conventional_to_cif
from xxact_core.structures.conventional_cell import structure_to_conventional

MAIN = "xxact_core.commands.main"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pattern of periclase and CIF files of periclase and halite."""
    folder = tmp_path_factory.mktemp("inputs")
    periclase = rock_salt(12, 8, 4.2117, name="periclase")
    pattern = mixture_pattern([(periclase, 1.0)])
    write_xye(folder / "pattern.xye", pattern.two_theta, pattern.intensity, intensity_to_sigma(pattern.intensity))
    for structure in (periclase, rock_salt(11, 17, 5.64, name="halite")):
        conventional = structure_to_conventional(structure, symprec=0.01)
        (folder / f"{structure.id}.cif").write_text(conventional_to_cif(conventional, name=structure.id))
    return folder


def xxact(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = module_command(MAIN, *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_phase_is_refined_and_written(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    run = xxact(
        "refine", inputs / "pattern.xye", "--wavelength", "CuKa", "--phase", inputs / "periclase.cif", "--output",
        tmp_path / "out", "--json", "--progress",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert lines[0]["done"] == 0
    assert lines[-2]["done"] == lines[-2]["total"]
    assert lines[-1]["phases"][0]["name"] == "periclase"
    assert lines[-1]["phases"][0]["cell"][0] == pytest.approx(4.2117, rel=2e-4)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        Path(path).name for path in lines[-1]["files"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wavelength", "CuKa"], "give the phases (--phase FILE.cif or --phase mp-2133), or the elements"),
        (["--phase", "periclase.cif"], "pattern.xye: the file does not state the wavelength; give it"),
        (["--wavelength", "CuKa", "--phase", "periclase.cif", "--elements", "Mg,O"], "give either --phase or"),
        (
            ["--wavelength", "CuKa", "--method", "pawley", "--phase", "periclase.cif"],
            "expected one of rietveld, lebail",
        ),
        (["--wavelength", "CuKa", "--phase", "pattern.xye"], "pattern.xye: not a readable CIF structure"),
    ],
)
def test_invalid_input_is_one_line(inputs: Path, arguments: list[str], message: str) -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    places = [str(inputs / argument) if (inputs / argument).is_file() else argument for argument in arguments]
    run = xxact("refine", inputs / "pattern.xye", *places)
    assert run.returncode == 2
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_missing_extra_says_how_to_install_it(inputs: Path) -> None:
    """The library is hidden, so that this is checked where it is installed, too."""
    script = f"import sys; sys.modules['rietx'] = None; from {MAIN} import main; main()"
    arguments = ["refine", str(inputs / "pattern.xye"), "--phase", str(inputs / "periclase.cif")]
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.strip().endswith('pip install "xxact[refine]"')


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_refinement_leaves_no_files(inputs: Path, tmp_path: Path, number: signal.Signals) -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    command = module_command(
        MAIN, "refine", str(inputs / "pattern.xye"), "--wavelength", "CuKa", "--phase", str(inputs / "periclase.cif"),
        "--phase", str(inputs / "halite.cif"), "--progress", "--output", str(tmp_path / "out"),
    )  # fmt: skip
    # Where the tests run in the background of a shell, SIGINT is ignored, which a child would inherit.
    heeding = "import os, sys; from signal import *; signal(SIGINT, SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    child = subprocess.Popen(
        [sys.executable, "-c", heeding, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["done"] == 0
    time.sleep(0.2)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
