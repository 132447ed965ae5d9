"""A process that reads files of others under limits: files come in by standard input, plain numbers go out."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
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


def serve(
    answer: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]], *, most_bytes: int, most_memory: int
) -> None:
    """Answer files until the input ends; after one that takes too much memory the process ends, too.

    answer: plain values that say what is wanted, and a file, to plain values and a block; it may raise `InputError`.
    """
    incoming = sys.stdin.buffer
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no message
    _limit_memory(most_memory)
    while (request := read_message(incoming, most_bytes=most_bytes)) is not None:
        wanted, data = request
        _limit_seconds(wanted.pop("seconds"))
        try:
            described, block = answer(wanted, data)
        except InputError as error:
            write_message(outgoing, {"kind": type(error).__name__, "code": error.code, "error": str(error)})
        except MemoryError:
            text = f"{wanted['name']}: takes more than {most_memory // 2**20} MB of memory to read"
            write_message(outgoing, {"kind": "PatternError", "code": "E_LIMIT", "error": text})
            return
        else:
            write_message(outgoing, described, block)


def _limit_memory(most: int) -> None:
    """Keep this process from growing beyond `most` bytes, where the system can see to that."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every system

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # others do not keep to it
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_seconds(seconds: float) -> None:
    """Let the system end this process after so much more processor time, should nobody be left to do so."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every system

    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
