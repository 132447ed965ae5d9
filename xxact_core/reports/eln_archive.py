"""An analysed pattern → an archive that electronic lab notebooks import: a zipped RO-Crate, ending in `.eln`.

Source: the ELN file format of the ELN Consortium with its checks of 2026, and RO-Crate 1.1. eLabFTW, Kadi4Mat,
PASTA-ELN, SampleDB, RSpace and NOMAD read or write it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

from xxact_core.reports.analysed_pattern import AnalysedPattern
from xxact_core.reports.records import TAGS, analysed_to_record
from xxact_core.requests.json_text import to_json

METADATA = "ro-crate-metadata.json"
"""Name of the description inside an archive."""

_CONTEXT, _PROFILE = "https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/crate/1.1"
_EXPERIMENT, _PROGRAM, _PUBLISHER, _ACTION, _LICENSE = "./results/", "#xxact", "#publisher", "#analysis", "#license"

_VERSION = "1.0"
"""Version of this description, which the checks of the consortium require; it changes where a reader would notice."""

_UNITS = {"%": "P1", "°": "DD", "Å": "A11", "nm": "C45", "eV": "A53"}
"""Common codes of units by their symbols. Source: UN/CEFACT Recommendation 20."""

_FILES = {
    "json": ("results.json", "application/json", "all results as JSON"),
    "html": ("report.html", "text/html", "report"),
    "png": ("plot.png", "image/png", "measured and calculated pattern"),
    "csv": ("results.csv", "text/csv", "results in one row"),
    "nxs": ("pattern.nxs", "application/x-hdf5", "pattern, processing and results as NeXus"),
}
"""Format → name, media type and description of its file in an archive."""

_NOT_IN_NAMES = re.compile(r"[^\w.()+=,@-]|[\ud800-\udfff]")
"""Characters that identifiers of RO-Crate cannot have as they are, or that some file system does not take."""


def crate_metadata(
    analysed: AnalysedPattern, files: Mapping[str, bytes], *, when: datetime, content: bytes | None = None
) -> dict[str, Any]:
    """The description of an archive as JSON-LD.

    Args:
        analysed: the pattern.
        files: contents by format, of those that the archive holds.
        when: time of the analysis.
        content: of the measured file; None where the archive lacks it.
    """
    date = when.isoformat(timespec="seconds")
    name = analysed.source.name
    parts = [
        _file(f"{_EXPERIMENT}{called}", files[kind], media, text)
        for kind, (called, media, text) in _FILES.items()
        if kind in files
    ]
    measured = f"{_EXPERIMENT}{_measured_name(name)}"
    if content is not None:
        parts.insert(0, _file(measured, content, "application/octet-stream", "the file as measured"))
    values = _property_values(analysed)
    pieces = [{"@id": part["@id"]} for part in parts]
    graph: list[dict[str, Any]] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": _PROFILE},
            "dateCreated": date,
            "version": _VERSION,
            "sdPublisher": {"@id": _PUBLISHER},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Powder diffraction of {_clean(name)}",
            "description": f"Phases and properties of a powder diffractogram: {_clean(analysed.sentence)}.",
            "datePublished": date,
            "license": {"@id": _LICENSE},
            "hasPart": [{"@id": _EXPERIMENT}, *pieces],
        },
        {
            "@id": _EXPERIMENT,
            "@type": "Dataset",
            "name": _clean(name),
            "genre": "experiment",
            "dateCreated": date,
            "dateModified": date,
            "description": f"{_clean(analysed.sentence)}.",
            "text": _body(analysed),
            "encodingFormat": "text/html",
            "keywords": TAGS.replace("|", ","),
            "identifier": f"sha256:{analysed.source.sha256}",
            "hasPart": pieces,
            "variableMeasured": [{"@id": value["@id"]} for value in values],
            "mentions": {"@id": _ACTION},
        },
        *parts,
        *values,
        {
            "@id": _LICENSE,
            "@type": "CreativeWork",
            "name": "License not stated",
            "description": "The measured file states no license. Its owner decides on the use of these data.",
        },
        {"@id": _PUBLISHER, "@type": "Organization", "name": str(analysed.program["name"])},
        {
            "@id": _PROGRAM,
            "@type": "SoftwareApplication",
            "name": str(analysed.program["name"]),
            "softwareVersion": str(analysed.program["version"]),
            "description": "Reads powder diffractograms: phases, weight fractions, and predicted properties",
        },
        {
            "@id": _ACTION,
            "@type": "CreateAction",
            "name": "search in reference phases, joint fit and prediction",
            "endTime": date,
            "instrument": {"@id": _PROGRAM},
            "result": {"@id": _EXPERIMENT},
            **({"object": {"@id": measured}} if content is not None else {}),
            "description": json.dumps(
                {
                    "reference_digest": analysed.reference_digest,
                    "model_sha256": analysed.model_digest,
                    **analysed.pipeline.to_dict(),
                },
                ensure_ascii=False,
            ),
        },
    ]
    return {"@context": _CONTEXT, "@graph": graph}


def analysed_to_archive(
    analysed: AnalysedPattern, files: Mapping[str, bytes], *, content: bytes | None, stem: str, when: datetime
) -> bytes:
    """The content of an `.eln` file.

    Args:
        analysed: the pattern.
        files: contents by format; those of JSON, report, plot, table and NeXus are taken.
        content: of the measured file, which is added where it is given.
        stem: name of the folder inside, as of the archive.
        when: time of the analysis.
    """
    root = _safe_name(stem)
    kept = {kind: files[kind] for kind in _FILES if kind in files}
    described = crate_metadata(analysed, kept, when=when, content=content)
    members = {METADATA: to_json(described, indent=1).encode("utf-8", "replace")}
    if content is not None:
        members[f"results/{_measured_name(analysed.source.name)}"] = content
    members |= {f"results/{_FILES[kind][0]}": data for kind, data in kept.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(f"{root}/{name}", date_time=when.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def _file(identifier: str, data: bytes, media: str, text: str) -> dict[str, Any]:
    return {
        "@id": identifier,
        "@type": "File",
        "name": identifier.rpartition("/")[2],
        "description": text,
        "encodingFormat": media,
        "contentSize": str(len(data)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _property_values(analysed: AnalysedPattern) -> list[dict[str, Any]]:
    """The record as property values, which notebooks show as fields of the entry."""
    values = []
    for number, one in enumerate(analysed_to_record(analysed)):
        value: dict[str, Any] = {
            "@id": f"#value-{number}",
            "@type": "PropertyValue",
            "propertyID": _clean(one.name),
            "name": _clean(one.name),
            "value": _clean(one.value) if isinstance(one.value, str) else float(f"{one.value:.6g}"),
        }
        if one.unit:
            value["unitText"] = one.unit
        if one.unit in _UNITS:
            value["unitCode"] = _UNITS[one.unit]
        values.append(value)
    return values


def _body(analysed: AnalysedPattern) -> str:
    """The text of the notebook's entry as simple HTML."""
    rows = "".join(
        f"<tr><td>{escape(_clean(one.name))}</td><td>{escape(_value_text(one.value))} {escape(one.unit)}</td></tr>"
        for one in analysed_to_record(analysed)
    )
    return f"<p>{escape(_clean(analysed.analysis.sentence))}</p><table><tbody>{rows}</tbody></table>"


def _value_text(value: str | float) -> str:
    return _clean(value) if isinstance(value, str) else f"{value:.4g}"


def _clean(text: str) -> str:
    """Text without characters that cannot be written."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _safe_name(name: str) -> str:
    """A name that every file system and every archive program takes."""
    return _NOT_IN_NAMES.sub("_", name).strip(" .") or "results"


def _measured_name(name: str) -> str:
    """The name of the measured file in an archive, which no other file there has."""
    safe, taken = _safe_name(name), {value[0] for value in _FILES.values()}
    return f"measured-{safe}" if safe.casefold() in taken else safe  # in any case, as on Windows
