"""Settings of dataclasses: checks of names and types from TOML, JSON or the command line; documentation and schema."""

from __future__ import annotations

import ast
import inspect
import json
import math
import textwrap
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
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


def settings_schema(settings: type) -> dict[str, Any]:
    """JSON Schema of a dataclass: type, meaning and default of each field; no other properties are allowed."""
    documentation, declared = field_documentation(settings), _declared(settings)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for item in fields(settings):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        described = {**_type_schema(declared[item.name]), "description": " ".join(documentation[item.name].split())}
        if default is MISSING:
            required.append(item.name)
        elif default is None or isinstance(default, bool | int | float | str | tuple):
            described["default"] = list(default) if isinstance(default, tuple) else default
        properties[item.name] = described
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _type_schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a type as it is written
    """JSON Schema of the type of a field; empty, which allows anything, for types that JSON does not have."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return {"anyOf": [_type_schema(part) for part in parts]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is tuple:
        items = {"type": "array", "items": _type_schema(parts[0])}
        return items if parts[-1] is ... else {**items, "minItems": len(parts), "maxItems": len(parts)}
    if is_dataclass(kind):
        assert isinstance(kind, type), "a field has a type, not a value"
        return settings_schema(kind)
    if isinstance(origin or kind, type) and issubclass(origin or kind, Mapping):
        return {"type": "object"}
    names = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}
    return {"type": names[kind]} if kind in names else {}


def type_mismatch(kind: type, name: str, value: object) -> str:
    """What is wrong with a value for a field of a dataclass, "is 'x'; expected a number"; empty where it fits."""
    declared = _declared(kind)[name]
    if _fits(value, declared):
        return ""
    item = _misfit(value, declared) if isinstance(value, tuple) else ""
    return f"{item or f'is {shorten(repr(value))}'}; expected {_in_words(declared)}"


def _misfit(value: tuple[object, ...], kind: Any) -> str:  # noqa: ANN401 - a type as it is written
    """Which item of a list does not fit, "has nan as item 3"; empty where the field takes no list of any length."""
    for part in get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,):
        if get_origin(part) is tuple and get_args(part)[-1] is ...:
            wrong = [place for place, item in enumerate(value) if not _fits(item, get_args(part)[0])]
            return f"has {shorten(repr(value[wrong[0]]))} as item {wrong[0] + 1}"
    return ""


def plain_to_declared(kind: type, name: str, value: object) -> object:
    """A value from JSON with lists as tuples, where the field of a dataclass is declared as a tuple."""
    return _lists_to_tuples(value) if "tuple" in str(_declared(kind)[name]) else value


def _lists_to_tuples(value: object) -> object:
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value


def is_text(kind: type, name: str) -> bool:
    """Whether a field of a dataclass may be a text."""
    declared = _declared(kind)[name]
    return declared is str or str in get_args(declared)


def text_to_declared(kind: type, name: str, text: str) -> object:
    """A value written as text, as in a form: as it is where the field may be a text, else parsed as JSON.

    A list may be written without brackets. A text that is no JSON is returned unchanged, for the check of the type to
    refuse.
    """
    if is_text(kind, name):
        return text
    plain = text.strip().lower()
    if "tuple" in str(_declared(kind)[name]) and plain and not plain.startswith(("[", "null")):
        plain = f"[{plain}]"
    try:
        value = json.loads(plain if plain in {"true", "false"} or plain.startswith("[") else text)
    except (ValueError, RecursionError):
        return text
    return plain_to_declared(kind, name, value)


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
        several = {int: "whole numbers", float: "numbers", bool: "values true or false", str: "texts"}
        number = "" if parts[-1] is ... else f"{len(parts)} "
        return f"a list of {number}{several.get(parts[0], 'items, each ' + _in_words(parts[0]))}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "nothing"}
    return words.get(kind, "a table of settings")
