"""Messages of a sandbox process, and the loop in it: files arrive on standard input, plain numbers go to its output."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from xxact_core.errors import InputError

MAX_MEMORY = 2**30
"""Address space of the process [bytes], including its libraries."""

MAX_HEADER_BYTES = 2**24
"""Largest header of a message [bytes]."""

_LENGTHS = struct.Struct(">IQ")


def write_message(stream: BinaryIO, header: dict[str, Any], block: bytes = b"") -> None:
    """Write a header of plain values and a block of bytes, preceded by their lengths."""
    text = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(text), len(block)) + text)
    stream.write(block)
    stream.flush()


def read_message(stream: BinaryIO, *, max_bytes: int) -> tuple[dict[str, Any], bytes] | None:
    """Header and block that `write_message` wrote; None at the end of the stream and for a message over the limits."""
    front = stream.read(_LENGTHS.size)
    if len(front) < _LENGTHS.size:
        return None
    length, size = _LENGTHS.unpack(front)
    if length > MAX_HEADER_BYTES or size > max_bytes:
        return None
    text, block = stream.read(length), stream.read(size)
    return (json.loads(text), block) if len(text) == length and len(block) == size else None


def serve(
    read: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]], *, max_bytes: int, max_memory: int
) -> None:
    """Read one file after another until the input ends, or until one exceeds the memory limit.

    Args:
        read: request (plain values) and content of a file → header (plain values) and block; may raise `InputError`.
        max_bytes: largest file [bytes].
        max_memory: address space of this process [bytes].
    """
    incoming = sys.stdin.buffer
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the messages
    limit_memory(max_memory)
    while (message := read_message(incoming, max_bytes=max_bytes)) is not None:
        request, data = message
        _limit_cpu_seconds(request.pop("seconds"))
        try:
            header, block = read(request, data)
        except InputError as error:
            write_message(outgoing, {"type": type(error).__name__, "code": error.code, "error": str(error)})
        except MemoryError:
            text = f"{request['name']}: takes more than {max_memory // 2**20} MB of memory to read"
            write_message(outgoing, {"type": "PatternError", "code": "E_LIMIT", "error": text})
            return
        else:
            write_message(outgoing, header, block)


def limit_memory(max_memory: int) -> None:
    """Limit the address space of this process [bytes], on systems that support it."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every system

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # other systems ignore the limit
        resource.setrlimit(resource.RLIMIT_AS, (max_memory, max_memory))


def _limit_cpu_seconds(seconds: float) -> None:
    """Let the system kill this process after this much more CPU time, in case its parent no longer exists."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every system

    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
