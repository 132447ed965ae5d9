"""What a command imports: each takes its share of the time until the answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from locations import REPOSITORY

from xxact_core.commands.extras import LIBRARIES

RUN = """
import json, sys
from xxact_core.commands.main import main
sys.argv = ["xxact", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)))
"""

EXAMPLES = REPOSITORY / "xxact_core" / "data" / "examples"
PREDICT = ["predict", str(EXAMPLES / "quartz.xrdml"), "--formula", "SiO2"]
IDENTIFY = ["identify", str(EXAMPLES / "zincite.prn"), "--wavelength", "CuKa", "--elements", "Zn,O"]
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
SLOW = {"pybaselines", "scipy.signal"}
EXTRAS = {library for libraries in LIBRARIES.values() for library in libraries}


def imported(code: str, *arguments: str) -> set[str]:
    line = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        (PREDICT, COMPILER | SLOW | EXTRAS | {"pymatgen", "pyarrow", "scipy.optimize", "xxact_core.search_match"}),
        (IDENTIFY, COMPILER | SLOW | EXTRAS | {"torch", "h5py"}),
        (["info"], COMPILER | EXTRAS),
        (["examples"], COMPILER | SLOW | EXTRAS | {"numpy", "torch"}),
        (["--help"], COMPILER | SLOW | EXTRAS | {"numpy", "torch"}),
    ],
    ids=["predict", "identify", "info", "examples", "--help"],
)
def test_a_command_imports_only_what_its_answer_needs(command: list[str], unwanted: set[str]) -> None:
    assert imported(RUN, json.dumps(command)) & unwanted == set()


def test_importing_the_package_imports_no_library() -> None:
    modules = imported("import json, sys; import xxact_core; print(json.dumps(sorted(sys.modules)))")
    assert not {"numpy", "torch", "scipy", "typer"} & modules


def test_a_command_that_answers_ends_the_processes_that_it_started(tmp_path: Path) -> None:
    """Although it leaves without taking the interpreter apart."""
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "xxact_core.commands.main", *IDENTIFY], stdout=out)
        started: set[psutil.Process] = set()
        while process.poll() is None:
            try:
                started |= set(psutil.Process(process.pid).children(recursive=True))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
    assert process.wait() == 0
    assert started
    assert not any(child.is_running() for child in started)
    assert "ZnO" in (tmp_path / "out").read_text()
