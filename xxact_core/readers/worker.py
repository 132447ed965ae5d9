"""The process that reads patterns from untrusted files: `python -m xxact_core.readers.worker`."""

from __future__ import annotations

from typing import Any

from xxact_core.readers.content import MAX_BYTES
from xxact_core.readers.read import parse_scans
from xxact_core.sandbox.framing import MAX_MEMORY, serve

_FIELDS = ("wavelength", "name", "format", "warnings")


def main() -> None:
    """Read patterns until the input ends."""

    def read(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        scans = parse_scans(data, **request)
        header = {
            "points": [scan.two_theta.size for scan in scans],
            "scans": [
                {name: getattr(scan, name) for name in _FIELDS} | {"metadata": dict(scan.metadata)} for scan in scans
            ],
        }
        columns = [scan.two_theta for scan in scans] + [scan.intensity for scan in scans]
        return header, b"".join(column.tobytes() for column in columns)

    serve(read, max_bytes=MAX_BYTES, max_memory=MAX_MEMORY)


if __name__ == "__main__":
    main()
