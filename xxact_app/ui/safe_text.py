"""Escaping of text from files and users, done once where it enters the app."""

from __future__ import annotations

import re

from xxact_core.errors import shorten

_LOOK_ALIKES = str.maketrans({"<": "‹", ">": "›", "&": "＆", '"': "”", "'": "’", "`": "’", "$": "＄"})
_OPENING_QUOTE = re.compile(r"(?<![^\s(\[{=])['`](?=\S)")
"""A quote before a word, as in `'CuKa' is not known`."""

_LONGEST_MESSAGE = 600


def safe_text(text: object, *, limit: int = 120) -> str:
    """One printable line of at most `limit` characters without markup.

    Characters with a meaning in HTML, its attributes and TeX are replaced by look-alikes. So the text reads the same in
    plain-text and HTML components, and is never escaped twice.
    """
    return _OPENING_QUOTE.sub("‘", shorten(text, limit=limit)).translate(_LOOK_ALIKES)


def safe_message(text: object) -> str:
    """A longer message, such as that of an error, as one safe line."""
    return safe_text(text, limit=_LONGEST_MESSAGE)


def plain_markdown(text: str) -> str:
    """Safe text escaped for Markdown components."""
    return re.sub(r"([\\*_{}\[\]()#+\-.!|~:/@^=])", r"\\\1", text)


def spreadsheet_text(text: str) -> str:
    """The text, quoted where a spreadsheet would run it as a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
