"""Path or bytes → the content of a file and its name, within a size limit."""

from __future__ import annotations

from pathlib import Path

from xxact_core.errors import PatternError, shorten

MOST_BYTES = 64 * 2**20
"""Largest file that is read; the longest scan of a laboratory has under 1 MB."""


def read_source(source: bytes | str | Path, *, name: str | None = None) -> tuple[bytes, str]:
    """Content of a path or of bytes, and what to call it.

    Raises:
        PatternError: there are more than `MOST_BYTES` (E_TOO_LARGE), which are not read, or it is a folder (E_FORMAT).
        OSError: the path cannot be opened.
    """
    if isinstance(source, bytes):
        called = name or "pattern"
        _check_size(len(source), name=shorten(called))
        return source, called
    path = Path(source)
    called = name or path.name
    if path.is_dir():
        msg = f"{shorten(called)}: is a folder; expected the files in it (for a shell {shorten(path)}/*)"
        raise PatternError(msg, code="E_FORMAT")
    with path.open("rb") as stream:
        data = stream.read(MOST_BYTES + 1) if path.stat().st_size <= MOST_BYTES else b""
        _check_size(max(path.stat().st_size, len(data)), name=shorten(called))
    return data, called


def _check_size(size: int, *, name: str) -> None:
    if size > MOST_BYTES:
        msg = f"{name}: has {size / 2**20:.0f} MB; expected at most {MOST_BYTES // 2**20} MB"
        raise PatternError(msg, code="E_TOO_LARGE")
