"""Digests of JSON files: a file states the SHA-256 of its own content, so that damage is noticed when it is read.

Files of version 0.1.0 have none; their readers check each field instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CONTENT_DIGEST = "content_sha256"
"""Name of the field with the digest."""


def content_digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of values as JSON with sorted names and without spaces, the field `content_sha256` left out."""
    plain = {name: value for name, value in values.items() if name != CONTENT_DIGEST}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with their digest as the last field."""
    plain = json.loads(json.dumps({name: value for name, value in values.items() if name != CONTENT_DIGEST}))
    return {**plain, CONTENT_DIGEST: content_digest(plain)}


def is_damaged(values: Mapping[str, Any], *, known: frozenset[str]) -> str:
    """Why values that were read from a file are not those that were written; empty where they are, as far as is known.

    Args:
        values: with or without a digest.
        known: names of all fields; another name is that of a damaged field, such as the digest itself.
    """
    unknown = sorted(set(values) - known - {CONTENT_DIGEST})
    if unknown:
        return f"it has an unknown field {str(unknown[0])[:40]!r}"
    if CONTENT_DIGEST in values and values[CONTENT_DIGEST] != content_digest(values):
        return f"its content does not have the SHA-256 that it states as {CONTENT_DIGEST}"
    return ""
