"""Provenance of a result: date, commit, data, seeds, machine, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from xxact_core.shipped import packages_folder

UNKNOWN = "unknown"
LIBRARIES = ("torch", "numpy", "scikit-learn")


def provenance(*, table_digest: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Provenance of a page of results, as plain values for JSON.

    date: of today, UTC. commit: of the checkout that this module is in, with "+" where it has changes; "unknown"
    elsewhere. data_digest, seeds: as given. hardware: CPU or GPU, and number of usable CPU cores. versions: of
    Python and of the libraries that compute.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit_of(packages_folder()),
        "data_digest": table_digest,
        "seeds": list(seeds),
        "hardware": hardware(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }


def commit_of(folder: Path) -> str:
    """The commit that a folder is checked out at, with "+" where files differ from it; "unknown" outside a checkout."""
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + "+" * bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


def hardware() -> str:
    """The GPU or CPU of this machine, with the number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {cores} CPU cores"
    return f"{_processor()}, {cores} cores"


def provenance_to_line(stated: dict[str, Any]) -> str:
    """One sentence for the top of a page."""
    seeds = ", ".join(map(str, stated["seeds"]))
    versions = ", ".join(f"{name} {version}" for name, version in stated["versions"].items())
    return (
        f"{stated['date']}, commit `{stated['commit']}`, data digest `{stated['data_digest']}`, seed {seeds}, "
        f"{stated['hardware']}; {versions}."
    )


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - only git, with fixed arguments


def _processor() -> str:
    """Name of the CPU from /proc/cpuinfo, or else from Python."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or UNKNOWN
