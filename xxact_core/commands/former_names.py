"""Options of version 0.1.0 that have other names now: accepted, but not listed in the help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click.core import Context


class RenamedOptions(TyperCommand):
    """A command that accepts former names of its options."""

    present: Mapping[str, str] = {}
    """Former → present name, with the leading `--`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments after former names are replaced."""
        return super().parse_args(ctx, rename_options(args, self.present))


class PredictOptions(RenamedOptions):
    """Former options of `xxact predict`."""

    present: Mapping[str, str] = {
        "--known": "--search-match",
        "--table": "--reference",
        "--preparation": "--processing",
    }


class IdentifyOptions(RenamedOptions):
    """Former options of `xxact identify`."""

    present: Mapping[str, str] = {"--table": "--reference", "--whole": "--full", "--prepared": "--gridded"}


def rename_options(arguments: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Arguments with former option names replaced, as far as `--`, after which there are no options."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    renamed = list(arguments)
    for place, argument in enumerate(arguments[:end]):
        name, equals, value = argument.partition("=")
        renamed[place] = f"{names.get(name, name)}{equals}{value}"
    return renamed
