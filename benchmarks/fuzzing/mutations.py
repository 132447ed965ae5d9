"""Damage to files: flipped bits, lost and repeated parts, changed and exchanged numbers."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable

import numpy as np

_NUMBER = re.compile(rb"(?<![A-Za-z0-9_.])[-+]?[0-9]+(?:[.,][0-9]+)?(?:[eE][-+]?[0-9]+)?(?![A-Za-z0-9_])")
_HEADER = 3000
"""Bytes at the beginning of a file, where limits and counts are declared; half of the damage to numbers is here."""

_MOST_LINES = 200

Mutation = Callable[[bytes, np.random.Generator], bytes]


def mutate(data: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """A damaged copy of a file, and a name of the damage; archives are damaged as a whole or in one member."""
    if data.startswith(b"PK\x03\x04") and random.random() < 0.6:
        return _mutate_member(data, random)
    name = str(random.choice(list(MUTATIONS)))
    return MUTATIONS[name](data, random), name


def flip_bits(data: bytes, random: np.random.Generator) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        changed[int(random.integers(len(changed)))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def flip_one_bit(data: bytes, random: np.random.Generator) -> bytes:
    """A single bit, half of the time in the header."""
    changed = bytearray(data)
    end = min(len(data), _HEADER) if random.random() < 0.5 else len(data)
    changed[int(random.integers(end))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def truncate(data: bytes, random: np.random.Generator) -> bytes:
    """The end is missing."""
    return data[: int(random.integers(len(data)))]


def delete_block(data: bytes, random: np.random.Generator) -> bytes:
    """A block of bytes is missing."""
    first, size = int(random.integers(len(data))), int(random.integers(1, max(2, len(data) // 4)))
    return data[:first] + data[first + size :]


def duplicate_block(data: bytes, random: np.random.Generator) -> bytes:
    """A block of bytes occurs twice."""
    first, size = int(random.integers(len(data))), int(random.integers(1, max(2, len(data) // 4)))
    return data[: first + size] + data[first : first + size] + data[first + size :]


def overwrite(data: bytes, random: np.random.Generator) -> bytes:
    """Up to eight bytes have extreme or random values, at a multiple of their number."""
    changed, size = bytearray(data), int(random.choice([1, 2, 4, 8]))
    first = int(random.integers(max(1, len(data) // size))) * size
    value = [b"\0" * size, b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), random.bytes(size)][int(random.integers(4))]
    changed[first : first + size] = value
    return bytes(changed[: len(data)])


def delete_lines(data: bytes, random: np.random.Generator) -> bytes:
    """Some lines in a row are missing."""
    lines = data.splitlines(keepends=True)
    first, count = int(random.integers(len(lines))), int(random.integers(1, _MOST_LINES))
    return b"".join(lines[:first] + lines[first + (count if random.random() < 0.5 else 1) :])


def duplicate_lines(data: bytes, random: np.random.Generator) -> bytes:
    """Some lines in a row occur twice."""
    lines = data.splitlines(keepends=True)
    first, count = int(random.integers(len(lines))), int(random.integers(1, _MOST_LINES))
    last = first + (count if random.random() < 0.5 else 1)
    return b"".join(lines[:last] + lines[first:last] + lines[last:])


def swap_lines(data: bytes, random: np.random.Generator) -> bytes:
    """Two lines are exchanged."""
    lines = data.splitlines(keepends=True)
    one, other = int(random.integers(len(lines))), int(random.integers(len(lines)))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def change_number(data: bytes, random: np.random.Generator) -> bytes:
    """A number has another value."""
    found = _numbers(data, random)
    if not found:
        return flip_bits(data, random)
    chosen = found[int(random.integers(len(found)))]
    text = chosen.group()
    digits = [position for position, byte in enumerate(text) if 48 <= byte <= 57]
    which = digits[int(random.integers(len(digits)))]
    other = bytes([48 + int(random.integers(10))])
    choices = (
        text[:which] + other + text[which + 1 :],
        text[:which] + other + text[which:],
        text[:which] + text[which + 1 :],
        b"-" + text,
        text + b"0",
        b"nan",
        b"1e999",
        b"0",
    )
    weights = np.array([8, 2, 2, 1, 1, 0.3, 0.3, 1])
    new = choices[int(random.choice(len(choices), p=weights / weights.sum()))]
    return data[: chosen.start()] + new + data[chosen.end() :]


def swap_numbers(data: bytes, random: np.random.Generator) -> bytes:
    """Two numbers are exchanged."""
    found = _numbers(data, random)
    if len(found) < 2:
        return flip_bits(data, random)
    one, other = sorted(random.choice(len(found), size=2, replace=False))
    first, second = found[one], found[other]
    between = data[first.end() : second.start()]
    return data[: first.start()] + second.group() + between + first.group() + data[second.end() :]


MUTATIONS: dict[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        flip_bits,
        flip_one_bit,
        truncate,
        delete_block,
        duplicate_block,
        overwrite,
        delete_lines,
        duplicate_lines,
        swap_lines,
        change_number,
        swap_numbers,
    )
}
"""All kinds of damage by name."""


def _numbers(data: bytes, random: np.random.Generator) -> list[re.Match[bytes]]:
    """Numbers in the header, or in a window anywhere: those of a whole file would take a second."""
    if random.random() < 0.5 or len(data) <= _HEADER:
        return list(_NUMBER.finditer(data, 0, _HEADER))
    first = int(random.integers(len(data) - _HEADER))
    return list(_NUMBER.finditer(data, first, first + _HEADER))


def _mutate_member(data: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """The archive with one damaged member, its checksums correct."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    filled = [name for name, content in members.items() if content]
    chosen = str(random.choice(filled))
    mutation = str(random.choice(list(MUTATIONS)))
    members[chosen] = MUTATIONS[mutation](members[chosen], random)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue(), f"{mutation} of a member"
