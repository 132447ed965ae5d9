"""Parts of the reference pages that are made from the code: the command line, settings, recipes, error codes."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

REPOSITORY = Path(__file__).resolve().parents[1]
MARK = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)


def fill_in(text: str) -> str:
    """A page with its marks `<!-- generated: NAME -->` replaced by the text of that name.

    Raises:
        KeyError: there is no generated text of that name.
    """

    def made(mark: re.Match[str]) -> str:
        name, *arguments = mark[1].split()
        return GENERATED[name](*arguments)

    return MARK.sub(made, text)


def cell(text: str) -> str:
    """Text for a cell of a Markdown table: one line, with its bars escaped."""
    return " ".join(text.split()).replace("|", r"\|")


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------- command line
def leaf_commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - click's, or typer's own copy
    """Every command with its full name, those of groups included, in alphabetical order."""
    if hasattr(command, "commands"):
        for child in sorted(command.commands):
            yield from leaf_commands(command.commands[child], f"{name} {child}")
    elif not command.hidden:
        yield name, command


def option_row(parameter: Any) -> tuple[str, str, str]:  # noqa: ANN401 - as above
    """How a parameter is written, what it means, its default."""
    flag = getattr(parameter, "is_flag", False)
    if parameter.param_type_name == "argument":
        written = f"`{parameter.name.upper()}{' ...' if parameter.nargs == -1 else ''}`"
    else:
        value = "" if flag else f" {parameter.name.upper()}"
        written = ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = "" if default is None or flag else f"`{getattr(default, 'value', default)}`"
    return written, parameter.help or "", "required" if parameter.required else shown


def command_line() -> str:
    """Every command of `xxact` with its options."""
    from xxact_core.commands import main as command_line

    command_line.add_installed_commands(command_line.app)
    parts = []
    for name, command in leaf_commands(typer.main.get_command(command_line.app), "xxact"):
        parameters = [item for item in command.params if item.name != "help" and not item.hidden]
        parts.append(f"## {name}\n\n{textwrap.dedent(command.help or '')}\n")
        rows = [option_row(item) for item in parameters]
        parts.append(table(("argument or option", "meaning", "default"), rows) + "\n")
    return "\n".join(parts)


# ----------------------------------------------------------------------------------------------------------- settings
def default_text(field: dataclasses.Field[Any]) -> str:
    """The default of a field as Python writes it; `required` where there is none."""
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    return "required"


def resolve(path: str) -> type:
    """The class of a dotted path such as `xxact_core.training.config.Recipe`."""
    module, _, name = path.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)


def settings(path: str) -> str:
    """The fields of a dataclass: name, default and meaning, from the sentence under each."""
    from xxact_core.setting_types import field_documentation

    kind = resolve(path)
    documented = field_documentation(kind)
    rows = [
        (f"`{field.name}`", default_text(field), documented.get(field.name, ""))
        for field in dataclasses.fields(kind)
        if field.init
    ]
    return table(("setting", "default", "meaning"), rows)


def recipes() -> str:
    """Every recipe and what it sets differently from the defaults."""
    from xxact_core.training.config import Recipe
    from xxact_core.training.recipes import RECIPES

    plain = Recipe().to_dict()
    rows = []
    for name, recipe in RECIPES.items():
        changed = {key: value for key, value in recipe.to_dict().items() if value != plain[key] and key != "name"}
        shown = ", ".join(f"`{key}={short_value(value)}`" for key, value in changed.items())
        rows.append((f"`{name}`", shown or "the defaults"))
    return table(("recipe", "differs from the defaults in"), rows)


def short_value(value: object) -> str:
    """A value of a setting, nested settings as an ellipsis; an empty text has to be given."""
    if isinstance(value, dict):
        return "{…}"
    if value == "":
        return "RUN/model"
    if isinstance(value, tuple):
        return "[" + ", ".join(str(item) for item in value) + "]"
    return str(value)


def augmentation() -> str:
    """The settings of every effect of the augmentation, in the order in which the effects apply."""
    from xxact_core.augmentation.config import EFFECTS

    parts = []
    for name, effect in EFFECTS.items():
        summary = inspect.cleandoc(effect.__doc__ or "").split("\n\n")[0]
        parts.append(f"## {name}\n\n{summary}\n\n{settings(f'{effect.__module__}.{effect.__name__}')}\n")
    return "\n".join(parts)


# ---------------------------------------------------------------------------------------------------- Python interface
GROUPS = {
    "Files": ("read_pattern", "read_scans", "read_untrusted_pattern", "example_path", "shipped_path"),
    "Patterns": ("Pattern", "GriddedPattern", "GRID", "Sticks", "broaden_sticks"),
    "Processing": ("ProcessingPipeline", "put_on_grid"),
    "Compositions": ("Composition", "PartialComposition", "parse_formula", "parse_composition", "format_formula"),
    "Predictions": ("Predictor", "Prediction", "CRYSTAL_SYSTEMS"),
    "Reference materials": ("Identifier", "Identification", "find_phases", "PhaseAnalysis", "Phase"),
    "Refinement and indexing": (
        "refine",
        "RefinementSettings",
        "write_refinement",
        "structure_to_phase",
        "index_pattern",
    ),
    "Reports": ("PatternAnalyser", "AnalysisSettings", "AnalysedPattern", "write_report"),
    "Series": ("read_frames", "Frames", "find_phases_of_series", "PhaseSeries"),
    "Datasets": ("BuildPlan", "build_dataset", "open_dataset", "read_dataset", "describe_dataset", "verify_dataset"),
    "Augmentation": ("AugmentationConfig", "BatchMaker"),
    "Training and evaluation": ("Recipe", "recipe_by_name", "override", "train", "evaluate"),
    "Models": ("Checkpoint", "load_checkpoint", "pattern_to_input"),
    "Embeddings and masked windows": ("embed_dataset", "embed_pattern", "reconstruct_pattern"),
}
"""Public names by topic, in the order of the page."""

MODULES = (
    "xxact_core.quantities",
    "xxact_core.errors",
    "xxact_core.patterns.grid",
    "xxact_core.patterns.conversions",
    "xxact_core.processing.pipeline",
    "xxact_core.processing.steps",
    "xxact_core.prediction.prediction",
    "xxact_core.search_match.identify",
    "xxact_core.search_match.phases",
    "xxact_core.search_match.phase_analysis",
    "xxact_core.search_match.instrument",
    "xxact_core.search_match.peak_search",
    "xxact_core.refinement.phases",
    "xxact_core.refinement.results",
    "xxact_core.refinement.indexing",
    "xxact_core.refinement.lattices",
    "xxact_core.simulation.diffraction",
    "xxact_core.dataset.table",
    "xxact_core.dataset.splits",
    "xxact_core.augmentation.config",
    "xxact_core.model.config",
    "xxact_core.model.model",
    "xxact_core.model.xxact",
    "xxact_core.model.knn_retrieval",
    "xxact_core.objectives.targets",
    "xxact_core.objectives.contrastive",
    "xxact_core.objectives.masked_patterns",
    "xxact_core.evaluation.report",
    "xxact_core.evaluation.metrics",
    "xxact_core.evaluation.calibration",
    "xxact_core.evaluation.embeddings",
    "xxact_core.evaluation.reconstruction",
    "xxact_app.widgets",
)
"""Modules whose whole content is documented."""


def public_interface() -> str:
    """Every public name of the package with its documentation, by topic; what no topic lists comes last."""
    import xxact_core

    grouped = {name for names in GROUPS.values() for name in names}
    others = tuple(name for name in xxact_core.__all__ if name not in grouped and not name.startswith("__"))
    groups = {**GROUPS, **({"Other names": others} if others else {})}
    return "\n".join(f"## {title}\n\n{autodoc_block(names)}" for title, names in groups.items())


def autodoc_block(names: tuple[str, ...]) -> str:
    """A block that documents public names.

    Raises:
        AttributeError: a name is not public any more.
    """
    import xxact_core

    lines = []
    for name in names:
        thing = getattr(xxact_core, name)
        kind = "class" if inspect.isclass(thing) else "function" if inspect.isroutine(thing) else "data"
        lines += [f".. auto{kind}:: xxact_core.{name}", ""]
    return "```{eval-rst}\n" + "\n".join(lines) + "```\n"


def skip_public(
    _app: object,
    what: str,
    name: str,
    thing: object,
    skip: bool,  # noqa: FBT001 - Sphinx passes it so
    _options: object,
) -> bool | None:
    """Leave out of the page of modules what the page of public names documents."""
    import xxact_core

    public = what == "module" and name in xxact_core.__all__ and getattr(xxact_core, name) is thing
    return True if public or skip else None


def modules() -> str:
    """The documentation of every module of `MODULES`."""
    parts = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in MODULES]
    return "\n".join(parts)


# ---------------------------------------------------------------------------------------------- pages of the repository
def repository_page(path: str) -> str:
    """A page that lies outside of `docs`, with its links to pages as seen from the top of `docs`."""
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    return text.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")


def escape_markup(_app: object, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Keep bars and trailing underscores of a docstring as they are: reStructuredText would take them for markup."""
    for place, line in enumerate(lines):
        parts = re.split(r"(`+[^`]*`+)", line)  # code stays as it is
        parts[::2] = [re.sub(r"(?<=\w)_(?!\w)", r"\\_", part.replace("|", r"\|")) for part in parts[::2]]
        lines[place] = "".join(parts)


PLAIN = {"attribute", "data", "property"}
"""Kinds of objects whose documentation is a sentence, not a Google docstring: "Range: low and high" names no type."""

_SENTENCES: dict[str, list[str]] = {}


def keep_sentence(_app: object, what: str, name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Remember the documentation of a field before the extension for Google docstrings reads it."""
    if what in PLAIN:
        _SENTENCES[name] = list(lines)


def restore_sentence(_app: object, what: str, name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Put it back afterwards."""
    if what in PLAIN:
        lines[:] = _SENTENCES.pop(name)


# ------------------------------------------------------------------------------------------------------- earlier names
def earlier_names() -> str:
    """Settings of version 0.1.0 and their present names."""
    from xxact_core import stored_names

    parts = []
    for title, names in (("recipe", stored_names.RECIPE_SETTINGS), ("model", stored_names.MODEL_SETTINGS)):
        parts += [(f"`{old}`", f"`{new}`", title) for old, new in sorted(names.items())]
    return table(("0.1.0", "now", "of the"), parts)


GENERATED: dict[str, Callable[..., str]] = {
    "augmentation": augmentation,
    "command-line": command_line,
    "page": repository_page,
    "earlier-names": earlier_names,
    "modules": modules,
    "public-interface": public_interface,
    "recipes": recipes,
    "settings": settings,
}
"""Texts by the name that stands in the marks of the pages."""
