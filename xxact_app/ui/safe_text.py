"""Text from files and people, made safe for every component of the app at the one place where it enters."""

from __future__ import annotations

import re

from xxact_core.errors import shorten

_LOOK_ALIKES = str.maketrans({"<": "‹", ">": "›", "&": "＆", '"': "”", "'": "’", "`": "’", "$": "＄"})
_LONGEST_MESSAGE = 600


def safe_text(text: object, *, limit: int = 120) -> str:
    """One printable line of at most `limit` characters without markup.

    The characters that HTML, its attributes and TeX in text give a meaning become look-alikes without one. So the text
    reads the same in a component that shows plain text and in one that shows HTML, and is never escaped twice.
    """
    return shorten(text, limit=limit).translate(_LOOK_ALIKES)


def safe_message(text: object) -> str:
    """The message of an error, which may quote a file at length, made safe."""
    return safe_text(text, limit=_LONGEST_MESSAGE)


def plain_markdown(text: str) -> str:
    """Safe text for a component that reads Markdown: shown as it is, without emphasis, lists or links."""
    return re.sub(r"([\\*_{}\[\]()#+\-.!|~:/@^=])", r"\\\1", text)
