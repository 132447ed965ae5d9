"""An analysed pattern → the content of a file of any format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError, os_error_to_text, shorten
from xxact_core.reports.analysed_pattern import AnalysedPattern
from xxact_core.requests.json_text import to_json

FORMATS = {
    "json": "all results as JSON",
    "html": "report with the plot, for any browser",
    "png": "plot of the fit",
    "svg": "the same for editing",
    "pdf": "the same for printing",
    "nxs": "NeXus (NXxrd_pan or NXxrd): pattern, processing and results",
    "eln": "archive for electronic lab notebooks (RO-Crate)",
    "jsonld": "metadata of the archive alone (RO-Crate JSON-LD)",
    "csv": "results in one row, for tables and notebooks",
}
"""Formats by the ending of their files."""

DRAWN = frozenset({"html", "png", "svg", "pdf", "eln"})
"""Formats that need matplotlib."""


def format_of(path: Path) -> str:
    """The format of a file by its ending.

    Raises:
        InputError: it is none of `FORMATS` (E_WRITE).
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        msg = (
            f"{shorten(path.name)}: results are written to files that end in {', '.join('.' + one for one in FORMATS)}"
        )
        raise InputError(msg, code="E_WRITE")
    return ending


def analysed_to_files(
    analysed: AnalysedPattern,
    formats: tuple[str, ...],
    *,
    content: bytes | None = None,
    more: Mapping[str, Any] | None = None,
    when: datetime | None = None,
    stem: str | None = None,
) -> dict[str, bytes]:
    """The contents of files of these formats, by format.

    Args:
        analysed: the pattern.
        formats: of `FORMATS`.
        content: of the measured file, for archives; left out of them where it is not given.
        more: further keys of the JSON.
        when: time of the analysis; now where it is not given.
        stem: name of the folder inside an archive; that of the measured file where it is not given.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from xxact_core.reports.eln_archive import analysed_to_archive, crate_metadata  # noqa: PLC0415 - as needed
    from xxact_core.reports.html_report import write_html  # noqa: PLC0415 - as needed
    from xxact_core.reports.nexus_file import analysed_to_nexus  # noqa: PLC0415 - as needed
    from xxact_core.reports.records import record_to_csv  # noqa: PLC0415 - as needed

    when = when or datetime.now().astimezone()
    plain = {**analysed.to_dict(), "analysed_at": when.isoformat(timespec="seconds"), **(more or {})}
    files = {"json": (to_json(plain, indent=1) + "\n").encode("utf-8", "replace")}
    if DRAWN & set(formats):
        from xxact_core.reports.figure import draw_plot  # noqa: PLC0415 - matplotlib is not installed everywhere

        drawn = {kind for kind in ("svg", "pdf") if kind in formats} | {"png"}
        files |= {kind: draw_plot(analysed, kind=kind) for kind in drawn}
        remark = f"Analysed {when.isoformat(sep=' ', timespec='seconds')}"
        files["html"] = write_html(analysed, plot=files["png"], remarks=[remark]).encode("utf-8", "replace")
    if "csv" in formats or "eln" in formats:
        files["csv"] = record_to_csv(analysed, when=when).encode("utf-8", "replace")
    if "nxs" in formats or "eln" in formats:
        files["nxs"] = analysed_to_nexus(analysed, when=when)
    stem = stem or analysed.source.name
    if "jsonld" in formats:
        text = to_json(crate_metadata(analysed, {}, when=when), indent=1) + "\n"
        files["jsonld"] = text.encode("utf-8", "replace")
    if "eln" in formats:
        files["eln"] = analysed_to_archive(analysed, files, content=content, stem=stem, when=when)
    return {name: files[name] for name in formats}


def write_report(analysed: AnalysedPattern, path: Path | str, *, content: bytes | None = None) -> None:
    """Write an analysed pattern to a file; its ending decides the format, see `FORMATS`.

    Args:
        analysed: the pattern.
        path: of the file; one that exists is replaced once the new one is complete.
        content: of the measured file, for archives.

    Raises:
        InputError: the ending is unknown, or the file cannot be written (E_WRITE).
        ModuleNotFoundError: matplotlib is not installed, for formats with a plot.
    """
    path = Path(path)
    kind = format_of(path)
    files = analysed_to_files(analysed, (kind,), content=content, stem=path.stem)
    try:
        write_atomically(path, files[kind])
    except OSError as error:
        raise InputError(os_error_to_text(error), code="E_WRITE") from error


def write_atomically(path: Path, content: bytes, *, replace: Callable[[Path, Path], object] = os.replace) -> None:
    """Write a file so that it is complete whenever it is there, even after a power failure."""
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace(part, path)
    finally:
        part.unlink(missing_ok=True)
