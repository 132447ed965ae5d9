"""Where numbers come from: date, commit, data, seeds, hardware and versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "numpy")


def provenance(*, table_digest: str, seeds: Sequence[int]) -> dict[str, Any]:
    """What has to stand beside a result so that it can be made again; plain values for JSON.

    The commit is `unknown` outside of a checkout, and ends in `+` where the checkout has changes of its own.
    """
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "commit": _commit(),
        "data_digest": table_digest,
        "seeds": list(seeds),
        "hardware": _hardware(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def _commit() -> str:
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--abbrev=12",
        "--exclude=*",
        "--dirty=+",
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - a fixed command
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def _hardware() -> str:
    import torch  # noqa: PLC0415 - slow to import

    cores = f"{os.cpu_count()} cores"
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {cores}"
    return f"{_processor()}, {cores}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # only Linux has it
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
