"""README says what is true: its examples run, its links lead somewhere, its table is the shipped model's."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from locations import REPOSITORY

from xxact_core.quantities import CRYSTAL_SYSTEMS

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "xxact_core/data/README.md"])
# The site's build makes these pages, from the notebooks.
TUTORIALS = REPOSITORY / "docs" / "tutorials"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert found, f"README has no {language} block"
    return found[1]


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    example = block("python")
    statements = [line for line in example.splitlines() if line.strip()]
    assert len(statements) <= 10
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - the text is our own README
    assert any(system in printed.getvalue() for system in CRYSTAL_SYSTEMS)
    assert "eV/atom" in printed.getvalue()


def links(page: Path) -> Iterator[Path]:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            path = (page.parent / target).resolve()
            yield REPOSITORY / "notebooks" / path.name if path.parent == TUTORIALS and path.suffix == ".ipynb" else path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert [str(target) for target in links(page) if not target.exists()] == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make (\w+)", README, flags=re.MULTILINE))))
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yml", ".cff", ".css", ".js", ".ipynb", ".json", ""}
# Written so that this file does not name them itself.
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|pytorch\.org|anaconda\.org|jsdelivr\.net|unpkg\.com|bokeh\.org|index[-]url|find[-]links"
)


def test_no_registry_is_named() -> None:
    """Where packages come from is the machine's business, and the app loads nothing from elsewhere."""
    folders = ("xxact_core", "xxact_app", "tests", "benchmarks", "docs", "notebooks", ".ci")
    paths = [path for path in REPOSITORY.iterdir() if path.is_file()]
    paths += [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    texts = [path for path in paths if path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts]
    named = [str(path) for path in texts if REGISTRY.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert named == []
