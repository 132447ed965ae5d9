"""Values from JSON or a form → the settings of a request, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from xxact_core.errors import InputError
from xxact_core.setting_types import (
    field_names,
    plain_to_declared,
    text_to_declared,
    type_mismatch,
    unknown_settings,
)

Settings = TypeVar("Settings")


def parse_request(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A request from values as JSON has them; lists become tuples.

    Raises:
        InputError: a name is unknown, a required one is missing, or a value has another type (E_INPUT).
    """
    known = field_names(kind)
    if unknown := set(values) - set(known):
        msg = f"the request {unknown_settings(unknown, known)}"
        raise InputError(msg, code="E_INPUT")
    required = [
        item.name
        for item in fields(kind)  # type: ignore[arg-type]  # every request is a dataclass
        if item.default is MISSING and item.default_factory is MISSING
    ]
    if missing := [name for name in required if name not in values]:
        msg = f"the request lacks {', '.join(missing)}"
        raise InputError(msg, code="E_INPUT")
    given = {name: plain_to_declared(kind, name, value) for name, value in values.items()}
    for name, value in given.items():
        if mismatch := type_mismatch(kind, name, value):
            msg = f"{name} {mismatch}"
            raise InputError(msg, code="E_INPUT")
    return kind(**given)


def parse_form(kind: type[Settings], texts: Mapping[str, str]) -> Settings:
    """A request from the texts of a form: numbers, true and false, and lists are written as in JSON.

    Raises:
        InputError: as `parse_request`.
    """
    known = set(field_names(kind))
    return parse_request(
        kind, {name: text_to_declared(kind, name, text) if name in known else text for name, text in texts.items()}
    )
