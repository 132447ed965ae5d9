"""The description of the HTTP interface: an OpenAPI document, and a page that needs no network."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.metadata import version
from typing import Any

from xxact_app.api.bodies import BYTES, FILE, FORM, JSON
from xxact_app.api.operations import OPERATIONS, Operation
from xxact_app.api.source import SourceFields
from xxact_core.setting_types import settings_schema

_ERROR = {"$ref": "#/components/schemas/Error"}
_ANSWER = {"type": "object", "additionalProperties": True}

_ERRORS = {
    "400": "The file or a setting cannot be used; or the host name is unknown.",
    "401": "The token is missing or wrong.",
    "403": "The request comes from a page of another site, or from another machine without a token.",
    "413": "The file or the body is too large.",
    "429": "Too many wrong tokens from one machine in a minute.",
    "503": "Too many requests are running or waiting.",
}

_EXAMPLES = {
    "read": "-F file=@scan.xrdml",
    "predict": "-F file=@scan.xrdml -F formula=LaB6",
    "identify": "-F file=@scan.xrdml -F elements=La,B",
    "phases": "-F file=@scan.xrdml -F elements=Ti,Zn,O -H 'Prefer: respond-async'",
    "simulate": "-F file=@phase.cif -F wavelength=CuKa",
}
"""Options of curl that show each operation."""


@cache
def openapi_document() -> dict[str, Any]:
    """The interface in OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "XxaCT",
            "version": version("xxact"),
            "description": "Powder diffraction patterns: reading, prediction, phases, simulation. The answers are the "
            "JSON of the command line.",
        },
        "paths": {
            **{f"/api/v1/{name}": {"post": _operation(operation)} for name, operation in OPERATIONS.items()},
            "/api/v1/jobs/{id}": _job_path(),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _error_schema(), "Job": _job_schema()},
        },
        "security": [{"token": []}, {}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    settings = settings_schema(operation.request)
    file = {"type": "string", "format": "binary", "description": f"A {operation.takes}, in any format that is read."}
    source = settings_schema(SourceFields)["properties"]
    form = {**settings, "properties": {FILE: file, **settings["properties"]}}
    form["required"] = [FILE, *settings.get("required", [])]
    answer = {"description": f"The JSON of `{operation.command}`.", "content": {JSON: {"schema": _ANSWER}}}
    job = {
        "description": "The request became a job, because the client prefers that.",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Address of the job."}},
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Job"}}},
    }
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "enum": ["respond-async"]},
                "description": "Answer in the background, as a job with progress that can be cancelled.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                FORM: {"schema": form},
                JSON: {"schema": {**settings, "properties": {**source, **settings["properties"]}}},
                BYTES: {"schema": {**file, "description": f"{file['description']} The address has the settings."}},
            },
        },
        "responses": {"200": answer, "202": job, **_refusals(*_ERRORS)},
    }


def _refusals(*statuses: str) -> dict[str, Any]:
    return {
        status: {"description": _ERRORS[status], "content": {JSON: {"schema": _ERROR}}}
        for status in statuses
    }  # fmt: skip


def _job_path() -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Job"}}}
    missing = {"404": {"description": "There is no such job (any more).", "content": {JSON: {"schema": _ERROR}}}}
    refusals = {**missing, **_refusals("401", "403", "429")}
    return {
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "get": {
            "operationId": "job",
            "summary": "State and progress of a job, with its answer once it has finished.",
            "responses": {"200": {"description": "The job.", "content": content}, **refusals},
        },
        "delete": {
            "operationId": "cancel",
            "summary": "Cancels a job, or forgets one that has ended.",
            "responses": {"200": {"description": "The last state of the job.", "content": content}, **refusals},
        },
    }


def _error_schema() -> dict[str, Any]:
    described = {"code": "Stable identifier, such as E_WAVELENGTH.", "message": "What is wrong, and what is expected."}
    return {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {name: {"type": "string", "description": text} for name, text in described.items()},
                "required": ["code", "message"],
            }
        },
        "required": ["error"],
    }


def _job_schema() -> dict[str, Any]:
    states = ["starting", "running", "stopping", "finished", "cancelled", "failed"]
    number = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "operation": {"type": "string", "enum": list(OPERATIONS)},
            "file": {"type": "string"},
            "state": {"type": "string", "enum": states},
            "progress": {**number, "description": "Finished fraction, 0-1."},
            "seconds_left": number,
            "result": _ANSWER,
            "error": _error_schema()["properties"]["error"],
        },
        "required": ["id", "operation", "file", "state", "progress", "seconds_left"],
    }


# ------------------------------------------------------------------------------------------------------------ the page
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { background: var(--soft); padding: 0.7rem 1rem; overflow-x: auto; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
"""

_INTRODUCTION = """
<h1>XxaCT for other programs</h1>
<p>Each question is posted with a file and its settings, and answered with the JSON of the command line. This page is
also available as an <a href="v1/openapi.json">OpenAPI document</a>.</p>
<p>The file and the settings are a form (<code>multipart/form-data</code>), as in the examples, or a JSON object with
the settings and <code>content</code> (a text file), <code>content_base64</code> (any file), or <code>two_theta</code>
and <code>intensity</code> (numbers). A server that other machines can reach needs a token:
<code>-H 'Authorization: Bearer TOKEN'</code>.</p>
<p>With <code>-H 'Prefer: respond-async'</code> a request becomes a job: the answer has the address of the job in its
header <code>Location</code>. <code>GET</code> on that address gives state, progress and, in the end, the result;
<code>DELETE</code> cancels the job. Errors are <code>{"error": {"code": ..., "message": ...}}</code>.</p>
"""


@cache
def openapi_page() -> str:
    """The interface as a page: operations, their settings, and an example of each."""
    parts = "".join(_section(operation) for operation in OPERATIONS.values())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>XxaCT: interface for programs</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><main>{_INTRODUCTION}{parts}</main></body></html>\n"
    )


def _section(operation: Operation) -> str:
    schema = settings_schema(operation.request)
    rows = "".join(
        _row(name, described, required=name in schema.get("required", []))
        for name, described in schema["properties"].items()
    )
    example = f"curl {_EXAMPLES[operation.name]} http://127.0.0.1:5006/api/v1/{operation.name}"
    return (
        f'<h2 id="{operation.name}">POST /api/v1/{operation.name}</h2><p>{escape(operation.summary)} '
        f"The answer is that of <code>{escape(operation.command)}</code>.</p><pre>{escape(example)}</pre>"
        f'<div class="wide"><table><thead><tr><th>setting</th><th>default</th><th>meaning</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(name: str, described: dict[str, Any], *, required: bool) -> str:
    default = described.get("default")
    shown = "required" if required else "" if default is None else f"<code>{escape(_plain(default))}</code>"
    return f"<tr><td><code>{name}</code></td><td>{shown}</td><td>{_marked(described['description'])}</td></tr>"


def _marked(text: str) -> str:
    """Text with `code` set as such."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
