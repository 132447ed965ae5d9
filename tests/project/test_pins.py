"""The environment is described once: ranges, pins, conda's file and what is installed agree."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from locations import REPOSITORY
from packaging.requirements import Requirement
from packaging.version import Version

from xxact_core.commands.extras import LIBRARIES

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = ("train", "app", "mcp", "dev", "docs")
REQUIREMENTS = [
    Requirement(text)
    for texts in (PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in EXTRAS))
    for text in texts
    if Requirement(text).name != PROJECT["name"]  # an extra that includes another
]

MODULE_TO_PACKAGE = {"sklearn": "scikit-learn"}

# Older releases are unsafe (bokeh, tornado, h5py, torch) or give other numbers (pymatgen).
FLOORS = {"bokeh": "3.8.2", "h5py": "3.16", "pymatgen": "2026.10", "torch": "2.10", "tornado": "6.5.5"}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(lines: list[str]) -> dict[str, str]:
    pins = {}
    for line in lines:
        name, _, pin = line.partition("==")
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), f"{line!r} is not an exact pin"
        assert normalised(name) not in pins, f"{name} is pinned twice"
        pins[normalised(name)] = pin
    return pins


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, str]:
    lines = (repository / "constraints.txt").read_text().splitlines()
    return read_pins([line for line in lines if line and not line.startswith("#")])


def test_conda_environment_has_the_same_pins(repository: Path, pins: dict[str, str]) -> None:
    environment = yaml.safe_load((repository / "environment.yml").read_text())
    *packages, pip_section = environment["dependencies"]
    assert packages == ["python=3.11", "pip"]
    *lines, project = pip_section["pip"]
    assert project == "--editable ."
    assert read_pins(lines) == pins


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_requirement_is_pinned_and_installed_within_its_range(requirement: Requirement, pins: dict[str, str]) -> None:
    assert requirement.specifier.contains(pins[normalised(requirement.name)])
    assert requirement.specifier.contains(version(requirement.name))


@pytest.mark.parametrize("name", FLOORS)
def test_floor_holds_in_the_range_and_in_the_installed_version(name: str) -> None:
    requirement = next(requirement for requirement in REQUIREMENTS if requirement.name == name)
    lowest = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
    assert lowest == [Version(FLOORS[name])]
    assert Version(version(name)) >= Version(FLOORS[name])


@pytest.mark.parametrize("extra", LIBRARIES)
def test_extra_is_named_where_one_of_its_libraries_is_missing(extra: str) -> None:
    texts = PROJECT["optional-dependencies"][extra]
    packages = {normalised(Requirement(text).name) for text in texts} - {PROJECT["name"]}
    assert {normalised(MODULE_TO_PACKAGE.get(name, name)) for name in LIBRARIES[extra]} == packages


def test_torch_is_pinned_without_a_build(pins: dict[str, str]) -> None:
    assert pins["torch"] == "2.13.0"
