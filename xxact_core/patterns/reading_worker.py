"""A process that reads files of others under limits: files come in by standard input, patterns go out."""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Any, BinaryIO

from xxact_core.errors import InputError

MOST_MEMORY = 2**30
"""Address space of the process [bytes], its libraries included."""

LONGEST_HEADER = 2**24
_LENGTHS = struct.Struct(">IQ")


def write_message(stream: BinaryIO, header: dict[str, Any], block: bytes = b"") -> None:
    """Write plain values and a block of bytes, with their lengths in front."""
    text = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(text), len(block)) + text)
    stream.write(block)
    stream.flush()


def read_message(stream: BinaryIO, *, most_bytes: int) -> tuple[dict[str, Any], bytes] | None:
    """What `write_message` wrote; None where the stream ends, or the message is longer than the limits."""
    front = stream.read(_LENGTHS.size)
    if len(front) < _LENGTHS.size:
        return None
    length, size = _LENGTHS.unpack(front)
    if length > LONGEST_HEADER or size > most_bytes:
        return None
    text, block = stream.read(length), stream.read(size)
    return (json.loads(text), block) if len(text) == length and len(block) == size else None


def main() -> None:
    """Read files until the input ends; after one that takes too much memory the process ends, too."""
    incoming = sys.stdin.buffer
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no message
    from xxact_core.patterns import readers  # noqa: PLC0415 - the framing above is imported without the readers

    _limit_memory()
    while (request := read_message(incoming, most_bytes=readers.MOST_BYTES)) is not None:
        wanted, data = request
        _limit_seconds(wanted.pop("seconds"))
        try:
            pattern = readers.read_pattern(data, **wanted)
        except InputError as error:
            write_message(outgoing, {"kind": type(error).__name__, "code": error.code, "error": str(error)})
        except MemoryError:
            text = f"{wanted['name']}: takes more than {MOST_MEMORY // 2**20} MB of memory to read"
            write_message(outgoing, {"kind": "PatternError", "code": "E_LIMIT", "error": text})
            return
        else:
            described = {
                "wavelength": pattern.wavelength,
                "name": pattern.name,
                "format": pattern.format,
                "warnings": list(pattern.warnings),
                "metadata": dict(pattern.metadata),
            }
            write_message(outgoing, described, pattern.two_theta.tobytes() + pattern.intensity.tobytes())


def _limit_memory() -> None:
    """Keep this process from growing beyond `MOST_MEMORY`, where the system can see to that."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every system

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # others do not keep to it
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def _limit_seconds(seconds: float) -> None:
    """Let the system end this process after so much more processor time, should nobody be left to do so."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every system

    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
