"""The command that shows training recipes: xxact recipes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

app = typer.Typer()


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Name of a recipe; without it, all recipes are listed.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """List the training recipes, or show every setting of one, with its value and meaning."""
    from xxact_core.model.config import ModelConfig
    from xxact_core.training.config import Recipe
    from xxact_core.training.recipes import DESCRIPTIONS, recipe_by_name

    if name is None:
        width = max(map(len, DESCRIPTIONS))
        lines = [f"{recipe:{width}}  {description}" for recipe, description in DESCRIPTIONS.items()]
        typer.echo(json.dumps(DESCRIPTIONS) if as_json else "\n".join(lines))
        return
    recipe = recipe_by_name(name)
    settings, model = recipe.to_dict(), recipe.model_config().to_dict()
    if as_json:
        typer.echo(json.dumps({**settings, "model_settings": model}))
        return
    del settings["model_settings"]
    typer.echo("\n".join(_lines(settings, Recipe)))
    typer.echo("\nSettings of the model, which model_settings changes:\n")
    typer.echo("\n".join(_lines(model, ModelConfig)))


def _lines(values: Mapping[str, Any], settings: type) -> Iterator[str]:
    """Each setting as `name = value`, and its documentation below."""
    from xxact_core.setting_types import field_documentation

    documentation = field_documentation(settings)
    for name, value in values.items():
        yield textwrap.shorten(f"{name} = {json.dumps(value)}", width=100, placeholder=" …")
        yield textwrap.fill(documentation[name], width=100, initial_indent="    ", subsequent_indent="    ")
