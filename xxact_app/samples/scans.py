"""The scans of one file as patterns of their own, named for what differs between them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import PurePath

from xxact_app.samples.sample import Sample, file_to_name, free_name, read_scan
from xxact_app.ui.safe_text import safe_text

MOST_SPLIT = 100
"""Number of scans up to which a file is split."""

_KELVIN = re.compile(r"(\d+(?:\.\d+)?)\s*k")


def split_scans(sample: Sample, *, first_number: int, taken: Collection[str]) -> list[Sample]:
    """All scans of a file as patterns, in the order of the file.

    Args:
        sample: the pattern of the file.
        first_number: number of the first of them in the session, part of its key.
        taken: names in use.

    Raises:
        PatternError: a scan cannot be read.
    """
    parts = [read_scan(sample, scan=number) for number in range(sample.scans)]
    known = set(taken)
    named = []
    for place, (part, label) in enumerate(zip(parts, _labels(parts), strict=True)):
        file = PurePath(file_to_name(sample.file))
        name = free_name(safe_text(f"{file.stem} {label}{file.suffix}"), known)
        known.add(name)
        named.append(replace(part, key=f"{sample.key.rpartition('-')[0]}-{first_number + place}", name=name))
    return named


def _labels(parts: list[Sample]) -> list[str]:
    """What each scan is called: its temperature or the title of its column where all differ, else its number."""
    for entry in ("temperature", "column"):
        texts = [part.pattern.metadata.get(entry, "").strip() for part in parts]
        if all(texts) and len(set(texts)) == len(texts):
            return [_KELVIN.sub(r"\1 K", text) if _KELVIN.fullmatch(text) else text for text in texts]
    return [f"scan {number + 1}" for number in range(len(parts))]
