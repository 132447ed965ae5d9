"""Tokens by which programs identify themselves."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError, os_error_to_text

TOKENS_VARIABLE = "XXACT_TOKENS"
"""Environment variable: the file of tokens."""

SHORTEST = 16
"""Fewest characters of a token. Ours: at random, more than can be tried."""

_SCHEME = "bearer "
_TOKEN = re.compile(rf"[!-~]{{{SHORTEST},}}")
"""Characters that every program can send in a header."""


class Tokens:
    """The tokens of a server, of which only digests are kept in memory."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._digests = {name: _digest(token) for name, token in tokens.items()}

    def name_of(self, header: str) -> str | None:
        """Name of the token in an `Authorization` header; None where there is none, or it is not known."""
        if not header.lower().startswith(_SCHEME):
            return None
        given, found = _digest(header[len(_SCHEME) :].strip()), None
        for name, digest in self._digests.items():  # all of them, so that the time tells nothing
            found = name if hmac.compare_digest(given, digest) else found
        return found


def read_private_json(file: Path, what: str, *, expected: str) -> Any:  # noqa: ANN401 - any JSON
    """What a JSON file of secrets holds.

    Raises:
        InputError: it cannot be read, or others can read it (E_APP).
    """
    try:
        open_to_others = os.name == "posix" and file.stat().st_mode & 0o077
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(os_error_to_text(error), code="E_APP") from error
    except ValueError as error:
        msg = f"{file} cannot be read as JSON: expected {expected}"
        raise InputError(msg, code="E_APP") from error
    if open_to_others:
        msg = f"others on this machine can read the {what} in {file}: chmod 600 {file}"
        raise InputError(msg, code="E_APP")
    return content


def read_tokens(file: Path) -> Tokens:
    """The tokens of a JSON file, {"name": "token"}.

    Raises:
        InputError: it cannot be read, others can read it, or it holds something else (E_APP).
    """
    tokens = read_private_json(file, "tokens", expected='{"name": "token", ...}')
    given = list(tokens.values()) if isinstance(tokens, dict) else []
    if not given or not all(isinstance(token, str) and _TOKEN.fullmatch(token) for token in given):
        msg = f'{file} holds no tokens: expected {{"name": "token", ...}}, each of at least {SHORTEST} letters, digits '
        msg += "or signs, without spaces"
        raise InputError(msg, code="E_APP")
    return Tokens(tokens)


def given_tokens() -> Tokens | None:
    """The tokens of the file that `XXACT_TOKENS` names; None where it is not set.

    Raises:
        InputError: as `read_tokens`.
    """
    named = os.environ.get(TOKENS_VARIABLE, "")
    return read_tokens(Path(named)) if named else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", errors="replace")).digest()
