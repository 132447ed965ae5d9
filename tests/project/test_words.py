"""The words of interface, messages, names and documentation: field terms and plain English."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from locations import REPOSITORY

EVERYWHERE = {
    r"\b(?:has|have|had) (?:its|their|a) say\b": "is combined with",
    r"\b(?:is|are|was|were|be) told\b|\btold (?:apart|of)\b": "shown, reported, distinguished",
    r"\b(?:what this|it|they|this) rests? on\b": "is based on",
    r"\ball the same\b": "anyway",
    r"\b(?:9|nine) (?:times )?of (?:10|ten)(?: times)?\b": "90 %",
    r"\bof another make\b": "with a different architecture",
    r"\bplug was pulled\b": "power failure",
    r"\bdata[ ]sets?\b": "dataset",
    r"\bprocessors?\b": "CPU",
    r"\bwhere the model looks\b": "attention map",
    r"\bplease (?:enter|note)\b": "missing, warning",
    r"\bnot asked yet\b": "not run",
    r"\bwhat can be typed\b": "accepted input",
    r"\bhow far (?:it|each|a|is)\b": "progress",
    r"\bgoes on from\b": "continues",
}
"""Expressions that read like riddles, or in place of which the field has a term → what to write."""

INTERFACE = {
    r"\bknown materials?\b|\bnearest known\b": "reference materials, reference phases",
    r"\b(?:as|what) the model (?:sees|reads)\b": "model input",
    r"\bover the set\b": "on the test split",
    r"\b(?:beside|besides) it\b": "compare with",
    r"\bthat (?:ships|comes with)\b": "shipped",
    r"\bin words\b": "as text",
    r"\bthat there (?:is|are)\b": "available, existing",
    r"\bwhoever\b|\bnobody (?:says|said)\b|\bwho (?:gives|gave|calls|shows|starts)\b": "the caller, the user",
    r"\bsmear(?:s|ed|ing)?\b": "broaden",
    r"\b(?:says?|said) more\b": "see the log",
    r"\btwins? of\b": "text alternative",
    r"\bunder way\b": "running",
}
"""Expressions that only the app does without, for example because they quote the paper elsewhere."""

FORMULAS = re.compile(r"\b(?:OZn|O2Ti|B6La|CCaO3|ClNa|Al2O3Si)\b|\bmatbench_[0-9]+\b")
"""Formulas in an order that no chemist writes, and ids of a benchmark in place of those of the Materials Project."""

HOMEMADE_NAMES = re.compile(
    r"\b(?:Shown|Making|MakingPanel|UnderWay|KnownStore|KnownView|Found|OverSet|told|twin|_tell)\b"
)
"""Names of the first version that were replaced by field terms or by plain names."""

APP = sorted(REPOSITORY.glob("xxact_app/**/*.py"))
CORE = sorted(REPOSITORY.glob("xxact_core/**/*.py"))
DOCUMENTATION = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("notebooks/*.ipynb")]
)
SCRIPTS = sorted([*REPOSITORY.glob("xxact_app/**/*.js"), *REPOSITORY.glob("xxact_app/**/*.css")])


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def texts(source: str) -> list[tuple[int, str]]:
    """Line and text of every string of a program, docstrings and the constant parts of f-strings included."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return [(node.lineno, node.value) for node in nodes if isinstance(node.value, str)]


def comments(source: str) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(source.splitlines(), start=1) if line.lstrip().startswith("#")]


def names(source: str) -> list[tuple[int, str]]:
    """Line and name of every class, function, argument, variable and attribute that a program defines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.lineno, node.name))
        elif isinstance(node, ast.arg):
            found.append((node.lineno, node.arg))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append((node.lineno, node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.append((node.lineno, node.attr))
    return found


def findings(text: str, expressions: Mapping[str, str] = EVERYWHERE | INTERFACE) -> list[str]:
    """Every refused expression in a text, with what to write in its place."""
    plain = " ".join(text.split())
    found = [
        f"“{match.group()}” ({better})"
        for pattern, better in expressions.items()
        for match in re.finditer(pattern, plain, re.IGNORECASE)
    ]
    return found + [f"“{match.group()}” (formula or id)" for match in FORMULAS.finditer(plain)]


@pytest.mark.parametrize("path", APP, ids=relative)
def test_the_app_is_written_in_field_terms_and_plain_english(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    odd = [
        f"{relative(path)}:{line}: {one}" for line, text in texts(source) + comments(source) for one in findings(text)
    ]
    odd += [
        f"{relative(path)}:{line}: the name {name}" for line, name in names(source) if HOMEMADE_NAMES.fullmatch(name)
    ]
    assert not odd, "\n".join(odd)


@pytest.mark.parametrize("path", CORE, ids=relative)
def test_the_core_is_written_in_field_terms_and_plain_english(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    odd = [
        f"{relative(path)}:{line}: {one}"
        for line, text in texts(source) + comments(source)
        for one in findings(text, EVERYWHERE)
    ]
    assert not odd, "\n".join(odd)


@pytest.mark.parametrize("path", DOCUMENTATION, ids=relative)
def test_documentation_is_written_in_field_terms_and_plain_english(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert not findings(text, EVERYWHERE), relative(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_scripts_and_styles_of_the_app_are_written_in_plain_english(path: Path) -> None:
    odd = [
        f"{relative(path)}:{number}: {one}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for one in findings(line)
    ]
    assert not odd, "\n".join(odd)


@pytest.mark.parametrize(
    "text",
    [
        "nine times of ten it is one of trigonal",
        "−0.62 to −0.40 eV/atom (9 of 10 times)",
        "What this rests on",
        "Predict all the same",
        "Take the error over the set",
        "Known materials have their say, too",
        "a model of another make",
        "the data set is\n    told apart",
        "beyond the lines of OZn",
        "the material matbench_101336",
    ],
)
def test_the_search_finds_the_expressions_of_the_first_version(text: str) -> None:
    assert findings(text)


@pytest.mark.parametrize(
    "text",
    ["90 % prediction set: trigonal", "Basis of this prediction", "Predict anyway", "Likely a mixture: ZnO and TiO2"],
)
def test_the_search_passes_field_terms(text: str) -> None:
    assert not findings(text)
