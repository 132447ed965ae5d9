"""Settings of dataclasses: checks of names and types from TOML, JSON or the command line; documentation of fields."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from xxact_core.errors import RecipeError, shorten


def check_names(owner: str, values: Iterable[str], *, known: Iterable[str]) -> None:
    """Check the names of settings.

    Raises:
        RecipeError: a name is unknown; the message begins with `owner` and lists the known names.
    """
    choices = sorted(known)
    if unknown := sorted(set(values) - set(choices)):
        msg = f"{owner} {unknown_settings(unknown, choices)}"
        raise RecipeError(msg, code="E_RECIPE")


def field_names(settings: type) -> list[str]:
    """Names of the fields of a dataclass, in their order."""
    return [item.name for item in fields(settings)]


def check_types(owner: str, declared_by: type, values: Mapping[str, Any]) -> None:
    """Check values against the types of the fields of the same names.

    Raises:
        RecipeError: a value is of another type, or a number is not finite; the message names `owner`, setting, value
            and what was expected.
    """
    declared = _declared(declared_by)
    for name, value in values.items():
        if not _fits(value, declared[name]):
            msg = f"{owner}: {name} is {shorten(repr(value))}; expected {_in_words(declared[name])}"
            raise RecipeError(msg, code="E_RECIPE")


def unknown_settings(unknown: Collection[str], known: Collection[str]) -> str:
    """End of a message: "has no setting 'epoch' (did you mean 'epochs'?); it has batch_size, epochs"."""
    named = shorten(", ".join(map(repr, sorted(unknown))))
    similar = sorted({name for given in unknown for name in get_close_matches(given, known, n=1)})
    advice = f" (did you mean {' or '.join(map(repr, similar))}?)" if similar else ""
    return f"has no setting {named}{advice}; it has {', '.join(sorted(known))}"


def field_documentation(settings: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, those of its parents included; empty where there is none."""
    found: dict[str, str] = {}
    for parent in filter(is_dataclass, reversed(settings.__mro__)):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found[statement.target.id] = _docstring(following)
    return found


def _docstring(statement: ast.stmt | None) -> str:
    """The text of a statement that is a string and nothing else."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) else None
    return inspect.cleandoc(text) if isinstance(text, str) else ""


@cache
def _declared(kind: type) -> dict[str, Any]:
    """Types of the fields of a dataclass; cached, because reading them is slow."""
    return get_type_hints(kind)


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401 - a type as it is written
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple and isinstance(value, tuple):
        kinds = (parts[0],) * len(value) if parts[-1] is ... else parts
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, origin or kind) and (kind is not int or not isinstance(value, bool))


def _in_words(kind: Any) -> str:  # noqa: ANN401 - a type as it is written
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_in_words, parts))
    if origin is Literal:
        return f"one of {parts}"
    if origin is tuple:
        number = "" if parts[-1] is ... else f"{len(parts)} times "
        return f"a list: {number}{_in_words(parts[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "nothing"}
    return words.get(kind, "a table of settings")
