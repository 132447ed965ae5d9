"""What the built pages may not contain: anything that a browser would load from another site."""

from __future__ import annotations

import re

# A reader may follow a link to another site (`<a href>`); scripts, styles, fonts and pictures must come with the page.
_TAGS = re.compile(r"<(?:script|link|img|iframe|source|video|audio|embed|object)\b[^>]*>", re.IGNORECASE)
_ADDRESS = re.compile(r"""\b(?:src|href|data|srcset)\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)""", re.IGNORECASE)
_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s;]+)""", re.IGNORECASE)


def external_resources(text: str) -> list[str]:
    """Addresses that a page or style sheet loads from other sites, in the order in which they occur."""
    tags = [tag for tag in _TAGS.findall(text) if 'rel="canonical"' not in tag]
    return [address for tag in tags for address in _ADDRESS.findall(tag)] + _STYLE.findall(text)
