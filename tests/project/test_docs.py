"""The documentation agrees with the code: paths, commands, error codes, settings and examples that it names exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from locations import REPOSITORY

DOCS = REPOSITORY / "docs"
sys.path.append(str(DOCS))

import generated_text  # noqa: E402 - found through the path above
import site_checks  # noqa: E402 - likewise

README = REPOSITORY / "README.md"
# Results are written by benchmarks; the changelog and the model card name what earlier versions had.
PAGES = sorted(
    page
    for page in [README, REPOSITORY / "CONTRIBUTING.md", *DOCS.glob("**/*.md")]
    if page.parent.name != "results" and page.name != "model-card.md"
)


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def code_blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


# -------------------------------------------------------------------------------------------------------------- metrics
def rows_of_table(page: Path) -> dict[str, list[str]]:
    block = re.search(r"<!-- metrics.*?-->\n(.*?)<!-- /metrics -->", page.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    lines = [line.strip("|").split("|") for line in block[1].strip().splitlines()]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines[2:]}


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ("this model", ("test_metrics",)),
        ("this model, augmented patterns", ("test_metrics_distorted",)),
        ("training mean / majority class", ("baselines", "constant")),
    ],
)
def test_table_in_readme_is_that_of_the_shipped_model(row: str, place: tuple[str, ...]) -> None:
    shipped = REPOSITORY / "xxact_core" / "weights" / "compact" / "checkpoint.json"
    metrics = json.loads(shipped.read_text(encoding="utf-8"))["about"]
    for part in place:
        metrics = metrics[part]
    table = rows_of_table(README)
    assert len(table) <= 8
    assert table[row][0] == f"{metrics['formation_energy_per_atom_mae_mev_per_atom']:.1f}"
    assert table[row][1] == f"{metrics['band_gap_mae_ev']:.3f}"
    assert table[row][2] == f"{metrics['crystal_system_accuracy']:.3f}"
    assert table[row][4] == f"{metrics['space_group_accuracy']:.3f}"


# ---------------------------------------------------------------------------------------------------------------- pages
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    # A path in a URL, a placeholder or a pattern is not meant.
    named = re.findall(r"`((?:xxact_core|xxact_app|tests|benchmarks|docs|notebooks)/[\w/.-]*\w/?)`", page.read_text())
    missing = [path for path in named if not (REPOSITORY / path).exists() and not path.startswith("docs/tutorials/")]
    assert missing == []


@pytest.mark.parametrize(
    ("question", "path", "symbol"),
    [
        (cells[1].strip(), re.findall(r"`([^`]+)`", cells[2])[-1], re.findall(r"`([^`]+)`", cells[3])[-1])
        for line in (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8").splitlines()
        if line.count("|") == 4 and (cells := line.split("|"))[2].strip().startswith("`xxact_") and "/" in cells[2]
    ],
)
def test_table_of_where_things_are_leads_to_them(question: str, path: str, symbol: str) -> None:
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    assert re.search(rf"^\s*(?:def|class) {symbol}\b|^{symbol}\b", text, flags=re.MULTILINE), f"{question}: no {symbol}"


def test_table_of_where_things_are_answers_what_newcomers_ask() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    assert all(asked in text for asked in ("Bruker", "band gap's 90 % interval", "Stop button"))


@pytest.mark.parametrize(("package", "contract"), [("xxact_core", "Core:"), ("xxact_app", "App:")])
def test_levels_of_the_architecture_page_are_those_of_the_import_contract(package: str, contract: str) -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(item["layers"] for item in settings["contracts"] if item["name"].startswith(contract))
    text = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index(f"| level | `{package}`") :].split("\n\n")[0].splitlines()[2:]
    shown = [set(re.findall(r"`(\w+)`", line.split("|")[2])) for line in table]
    assert shown == [{name.strip().removeprefix(f"{package}.") for name in layer.split("|")} for layer in layers]


def test_every_error_code_is_explained() -> None:
    sources = [*REPOSITORY.glob("xxact_core/**/*.py"), *REPOSITORY.glob("xxact_app/**/*.py")]
    raised = {code for path in sources for code in re.findall(r'code="(E_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    explained = set(re.findall(r"`(E_[A-Z_]+)`", (DOCS / "troubleshooting.md").read_text(encoding="utf-8")))
    assert len(raised) > 30
    assert raised - explained == set()
    assert explained - raised == set()


def test_terms_that_pages_refer_to_are_in_the_glossary() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = {line for line in text.splitlines() if line and not line.startswith((" ", "#", ":"))}
    for page in PAGES:
        for written in re.findall(r"\{term\}`([^`]+)`", page.read_text(encoding="utf-8")):
            term = written[written.find("<") + 1 : -1] if written.endswith(">") else written
            assert term.casefold() in {entry.casefold() for entry in terms}, f"{name_of(page)}: {term}"


# ------------------------------------------------------------------------------------------------------------- commands
def command_lines(page: Path) -> list[str]:
    """The commands of `xxact` in a page, without comments; a line that ends in a backslash goes on."""
    lines = "\n".join(code_blocks(page, "sh")).replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^|\s)(?:\.venv/bin/)?xxact (.*)", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)], ids=name_of)
def test_commands_and_options_of_a_page_exist(page: Path) -> None:
    from xxact_core.commands import main as command_line

    command_line.add_installed_commands(command_line.app)
    program = typer.main.get_command(command_line.app)
    for line in command_lines(page):
        command, words = program, shlex.split(line, comments=True)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            assert words[0] in command.commands, f"xxact {line}"
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        options = {word.split("=")[0] for word in words if word.startswith("--")}
        assert options - known <= {"--help"}, f"xxact {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_that_a_page_sets_exist(page: Path) -> None:
    from xxact_core import stored_names
    from xxact_core.training.config import Recipe

    known = {field.name for field in fields(Recipe)}
    text = page.read_text(encoding="utf-8")
    written = re.findall(r"--set '?(?:[\w*-]+:)?(\w+)=", text)
    assert [name for name in written if name not in known and not name.isupper()] == []
    former = set(stored_names.RECIPE_SETTINGS) - known
    assert former & set(re.findall(r"`(\w+)=", text)) == set()


@pytest.mark.slow
def test_commands_of_readme_run(tmp_path: Path) -> None:
    lines = next(block for block in code_blocks(README, "sh") if "xxact predict" in block).splitlines()
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line, comments=True)
        command = [sys.executable, "-m", "xxact_core.commands.main", *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in DOCS.glob("how-to/*.md") if "example_path" in page.read_text()], ids=name_of
)
def test_python_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    code = "\n".join(block for block in code_blocks(page, "python") if "open_dataset" not in block)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ----------------------------------------------------------------------------------------------------------------- site
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<link rel="stylesheet" href="//fonts.example/css">', ["//fonts.example/css"]),
        ("<img alt='' src='http://example.org/a.png'>", ["http://example.org/a.png"]),
        ("@import url(https://fonts.example/css2);", ["https://fonts.example/css2"]),
        ('<a href="https://example.org">elsewhere</a><img src="_images/a.png">', []),
    ],
)
def test_search_for_external_resources_finds_them(text: str, found: list[str]) -> None:
    assert site_checks.external_resources(text) == found


def test_settings_table_has_the_sentence_under_each_field() -> None:
    text = generated_text.settings("xxact_core.training.config.Recipe")
    assert all(
        f"| `{field.name}` |" in text for field in fields(generated_text.resolve("xxact_core.training.config.Recipe"))
    )


@pytest.mark.parametrize("name", ["training.config.Recipe", "model.config.ModelConfig", "model.config.BlockSizes"])
def test_every_setting_is_documented(name: str) -> None:
    from xxact_core.setting_types import field_documentation

    documented = field_documentation(generated_text.resolve(f"xxact_core.{name}"))
    assert documented
    assert [field for field, sentence in documented.items() if not sentence] == []


def test_changelog_lists_every_setting_that_has_another_name_now() -> None:
    from xxact_core import stored_names

    listed = set(re.findall(r"`(\w+)`", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")))
    for names in (stored_names.RECIPE_SETTINGS, stored_names.MODEL_SETTINGS, stored_names.FOREST_SETTINGS):
        assert {*names, *names.values()} - listed == set()


def test_mark_in_a_page_is_replaced() -> None:
    text = generated_text.fill_in("# Recipes\n\n<!-- generated: recipes -->\n")
    assert "`compact`" in text
    assert "generated" not in text
    with pytest.raises(KeyError):
        generated_text.fill_in("<!-- generated: nothing -->")
