"""The process that reads patterns from untrusted files: `python -m xxact_core.readers.worker`."""

from __future__ import annotations

from typing import Any

from xxact_core.readers.read import parse_scans
from xxact_core.readers.source import MOST_BYTES
from xxact_core.sandbox.framing import MOST_MEMORY, serve


def main() -> None:
    """Read patterns."""

    def answer(wanted: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        scans = parse_scans(data, **wanted)
        told = ("wavelength", "name", "format", "warnings")
        described = {
            "points": [scan.two_theta.size for scan in scans],
            "scans": [
                {name: getattr(scan, name) for name in told} | {"metadata": dict(scan.metadata)} for scan in scans
            ],
        }
        columns = [scan.two_theta for scan in scans] + [scan.intensity for scan in scans]
        return described, b"".join(column.tobytes() for column in columns)

    serve(answer, most_bytes=MOST_BYTES, most_memory=MOST_MEMORY)


if __name__ == "__main__":
    main()
