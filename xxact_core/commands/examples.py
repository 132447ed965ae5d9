"""The command `xxact examples`: the example patterns that ship."""

from __future__ import annotations

import csv
import filecmp
import shutil
from pathlib import Path
from typing import Annotated

import typer

from xxact_core.errors import InputError
from xxact_core.shipped import EXAMPLES, shipped_path

app = typer.Typer()


@app.command()
def examples(
    *,
    to: Annotated[Path | None, typer.Option(help="Copy the example patterns to this folder.")] = None,
) -> None:
    """List the example patterns that ship, or copy them to a folder."""
    source = shipped_path(EXAMPLES)
    table = shipped_path(f"{EXAMPLES}/examples.csv")
    if to is not None:
        count = _copy(source, to)
        typer.echo(f"{count} example patterns in {to}")
        return
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    typer.echo(f"{'file':40s}{'formula':22s}{'--wavelength':14s}name")
    for row in rows:
        typer.echo(f"{row['file']:40s}{row['formula'] or '-':22s}{row['wavelength'] or '-':14s}{row['name']}")


def _copy(source: Path, folder: Path) -> int:
    """Copy the patterns and their table to a folder; return the number of patterns.

    Raises:
        InputError: the folder cannot be written, or holds another file of the same name, which stays (E_EXAMPLE).
    """
    paths = sorted(source.iterdir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            target = folder / path.name
            if target.exists() and not filecmp.cmp(path, target, shallow=False):
                msg = f"{target} is another file than the example of this name, and is not replaced"
                raise InputError(msg, code="E_EXAMPLE")
            shutil.copyfile(path, target)
    except OSError as error:
        msg = f"the examples cannot be copied to {folder}: {error.strerror or error}"
        raise InputError(msg, code="E_EXAMPLE") from error
    return len(paths) - 1  # examples.csv describes them
