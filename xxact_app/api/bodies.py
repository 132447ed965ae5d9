"""The body of an HTTP request → its source and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from tornado.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data

from xxact_app.api.operations import Operation
from xxact_app.api.source import Source, SourceFields, fields_to_source, file_source
from xxact_core.errors import InputError, shorten
from xxact_core.requests.parsing import parse_form, parse_request
from xxact_core.setting_types import field_names

FORM, JSON, BYTES = "multipart/form-data", "application/json", "application/octet-stream"
TYPES = (FORM, JSON, BYTES)
"""Media types of bodies: a form with a file, JSON, and a file with the settings in the address."""

FILE = "file"
"""Name of the file in a form."""

_NAME = "name"


@dataclass(frozen=True)
class Body:
    """The body of a request as received, and what its headers and its address say."""

    media_type: str
    """Value of the header `Content-Type`."""
    content: bytes
    query: Mapping[str, Sequence[bytes]]
    """Settings in the address, by name: all values of each."""


def parse_body(body: Body, operation: Operation) -> tuple[Source, object]:
    """The source and the settings of a request.

    Raises:
        InputError: the body is not of one of `TYPES`, is damaged, or does not describe a request.
    """
    header = Message()
    header["Content-Type"] = body.media_type
    kind = header.get_content_type() if body.media_type else ""
    if kind == FORM:
        return _form(body, operation, boundary=str(header.get_param("boundary", "")))
    if kind == JSON:
        return _json(body, operation)
    if kind == BYTES:
        settings = _single_texts(body.query, place="the address")
        source = file_source(settings.pop(_NAME, "pattern"), body.content)
        return source, parse_form(operation.request, settings)
    msg = f"the Content-Type {shorten(kind or 'none')!r} is not known; expected one of {', '.join(TYPES)}"
    raise InputError(msg, code="E_INPUT")


def _form(body: Body, operation: Operation, *, boundary: str) -> tuple[Source, object]:
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_multipart_form_data(boundary.encode("latin-1", errors="replace"), body.content, arguments, files)
    except (HTTPInputError, ValueError) as error:
        msg = f"the form cannot be read: {shorten(error)}"
        raise InputError(msg, code="E_INPUT") from error
    texts = _single_texts(body.query, place="the address") | _single_texts(arguments, place="the form")
    if [(name, len(given)) for name, given in files.items()] != [(FILE, 1)]:
        found = ", ".join(f"{len(given)} called {name}" for name, given in sorted(files.items())) or "none"
        msg = f"the form has these files: {shorten(found)}; expected one, called {FILE}"
        raise InputError(msg, code="E_INPUT")
    (file,) = files[FILE]
    name = texts.pop(_NAME, file["filename"])
    return file_source(name, file["body"]), parse_form(operation.request, texts)


def _single_texts(values: Mapping[str, Sequence[bytes]], *, place: str) -> dict[str, str]:
    """The settings of an address or a form.

    Raises:
        InputError: one is given more than once (E_INPUT).
    """
    if repeated := [name for name, given in values.items() if len(given) > 1]:
        msg = f"{place} has {shorten(repeated[0])} more than once"
        raise InputError(msg, code="E_INPUT")
    return {name: given[0].decode("utf-8", errors="replace") for name, given in values.items()}


def _json(body: Body, operation: Operation) -> tuple[Source, object]:
    try:
        values: Any = json.loads(body.content)
    except (ValueError, RecursionError) as error:
        msg = f"the body is no JSON: {shorten(error)}"
        raise InputError(msg, code="E_INPUT") from error
    if not isinstance(values, dict):
        msg = f"the body is {shorten(repr(values), limit=40)}; expected a JSON object"
        raise InputError(msg, code="E_INPUT")
    if body.query:
        msg = f"the address has {shorten(', '.join(body.query))}; with JSON, all settings are in the body"
        raise InputError(msg, code="E_INPUT")
    of_source = set(field_names(SourceFields))
    given = parse_request(SourceFields, {name: value for name, value in values.items() if name in of_source})
    request: object = parse_request(operation.request, {name: values[name] for name in values if name not in of_source})
    return fields_to_source(given), request
