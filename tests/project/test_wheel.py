"""The wheel: built, installed without the checkout, and used from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from locations import REPOSITORY
from serving_fixtures import free_port
from wheels import build_wheel

pytestmark = pytest.mark.slow

MEGABYTE = 2**20
SHIPPED = (
    "xxact_app/page/keyboard.css",
    "xxact_app/page/keyboard.js",
    "xxact_app/py.typed",
    "xxact_app/ui/file_drop.css",
    "xxact_app/ui/file_drop.js",
    "xxact_core/compositions/mat2vec.csv",
    "xxact_core/compositions/mat2vec_LICENSE.txt",
    "xxact_core/data/README.md",
    "xxact_core/data/examples/corundum.prn",
    "xxact_core/data/examples/examples.csv",
    "xxact_core/data/materials_project.parquet",
    "xxact_core/data/reference_materials.parquet",
    "xxact_core/py.typed",
    "xxact_core/simulation/scattering_factors.csv",
    "xxact_core/weights/compact/checkpoint.json",
    "xxact_core/weights/compact/model.safetensors",
)


@dataclass(frozen=True)
class Installed:
    """The package in an environment of its own, used from `folder`."""

    environment: Path
    folder: Path

    @property
    def packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.environment)}))

    def command(self, *arguments: str) -> list[str]:
        return [str(self.environment / "bin" / "xxact"), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=SURROUNDINGS, capture_output=True, text=True, check=False
        )


SURROUNDINGS = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(REPOSITORY, tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Beside the libraries of this environment, but without what makes the checkout importable in it."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    installed = Installed(environment, tmp_path_factory.mktemp("empty"))
    python = environment / "bin" / "python"
    line = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(line, env=SURROUNDINGS, check=True)
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (installed.packages / "libraries.pth").write_text("".join(f"{path}\n" for path in libraries))
    code = "import xxact_core, xxact_app; print(xxact_core.__file__, xxact_app.__file__)"
    told = subprocess.run(
        [str(python), "-c", code], cwd=installed.folder, env=SURROUNDINGS, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(environment)) for path in told.stdout.split())
    yield installed
    shutil.rmtree(environment)


def test_wheel_holds_what_is_needed_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert set(SHIPPED) - names == set()
    assert {name.partition("/")[0] for name in names} == {"xxact_core", "xxact_app", "xxact-0.2.0.dist-info"}
    paths = (path for package in ("xxact_core", "xxact_app") for path in (REPOSITORY / package).rglob("*"))
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for path in paths
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert {name for name in names if ".dist-info/" not in name} == files
    assert wheel.stat().st_size < 80 * MEGABYTE


def test_examples_are_listed_and_copied(installed: Installed) -> None:
    assert "corundum.prn" in installed.run("examples").stdout
    copied = installed.run("examples", "--to", "examples")
    assert copied.returncode == 0, copied.stderr
    names = {path.name for path in (REPOSITORY / "xxact_core" / "data" / "examples").iterdir()}
    assert {path.name for path in (installed.folder / "examples").iterdir()} == names
    assert installed.run("examples", "--to", "examples").returncode == 0, "again"
    (installed.folder / "examples" / "corundum.prn").write_text("mine")
    refused = installed.run("examples", "--to", "examples")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "corundum.prn" in refused.stderr
    shutil.rmtree(installed.folder / "examples")


def test_predict_and_identify(installed: Installed) -> None:
    examples = installed.packages / "xxact_core" / "data" / "examples"
    predicted = installed.run("predict", str(examples / "quartz.xrdml"), "--formula", "SiO2", "--json")
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)[0]["formation_energy_per_atom"]
    zincite = ("identify", str(examples / "zincite.prn"), "--wavelength", "CuKa", "--elements", "Zn,O")
    identified = installed.run(*zincite, "--table", "materials_project", "--json")
    assert identified.returncode == 0, identified.stderr
    assert json.loads(identified.stdout)["matches"][0]["space_group"] == 186


def test_a_damaged_installation_names_the_missing_file(installed: Installed) -> None:
    examples = installed.packages / "xxact_core" / "data" / "examples"
    for missing, command in (
        ("data/reference_materials.parquet", ("identify", str(examples / "quartz.xrdml"), "--elements", "Si,O")),
        ("weights/compact/model.safetensors", ("predict", str(examples / "quartz.xrdml"), "--formula", "SiO2")),
        ("data/examples/examples.csv", ("examples",)),
    ):
        path = installed.packages / "xxact_core" / missing
        path.rename(path.with_name("away"))
        try:
            told = installed.run(*command)
        finally:
            path.with_name("away").rename(path)
        assert told.returncode == 2
        assert told.stdout == ""
        assert told.stderr.count("\n") == 1
        assert Path(missing).name in told.stderr


def test_a_command_without_its_extra_says_what_to_install(installed: Installed) -> None:
    hidden = installed.packages / "panel.py"
    hidden.write_text("raise ModuleNotFoundError(\"No module named 'panel'\", name='panel')\n")
    try:
        told = installed.run("app", "--port", str(free_port()))
    finally:
        hidden.unlink()
    assert told.returncode == 2
    assert 'pip install "xxact[app]"' in told.stderr
    assert "Traceback" not in told.stderr


def test_app_is_served_and_stopped(installed: Installed) -> None:
    port, log = free_port(), installed.folder / "server.log"
    line = installed.command("app", "--port", str(port), "--workspace", str(installed.folder / "workspace"))
    with log.open("wb") as file:
        server = subprocess.Popen(
            line, cwd=installed.folder, env=SURROUNDINGS, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        page = answered(server, f"http://127.0.0.1:{port}/app", log)
        assert "<title>XxaCT</title>" in page
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert "Traceback" not in log.read_text()


def answered(server: subprocess.Popen[bytes], url: str, log: Path) -> str:
    """The page, once the server answers."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with suppress(OSError), urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server
            assert answer.status == 200
            return str(answer.read().decode())
        time.sleep(0.2)
    raise AssertionError(log.read_text())
