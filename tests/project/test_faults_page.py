"""The page of faults names tests that exist, for all of its 64 cases."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from locations import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "faults.md"
ROWS = re.findall(r"^\| ([0-9]+) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_all_cases_are_listed_once_and_in_order() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 65))


@pytest.mark.parametrize(("number", "tests"), [(number, tests) for number, _, _, tests in ROWS])
def test_tests_of_a_case_exist(number: str, tests: str) -> None:
    named = re.findall(r"`([^`]+?)::([a-z0-9_]+)`", tests)
    assert named, number
    for file, name in named:
        assert (REPOSITORY / "tests" / file).is_file(), file
        assert name in names_of_tests(REPOSITORY / "tests" / file), f"{file}::{name}"
