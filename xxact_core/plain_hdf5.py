"""HDF5 files that somebody else may have made, opened only where all that they hold lies in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

MOST_MEMBERS = 10_000
DEEPEST = 16
_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
_MOST_EXPANDED = 1100
"""Deflate makes 1032 bytes of one at most. Source: zlib's technical notes, "maximum compression factor"."""

_SMALL = 1 << 20


class NotPlainError(OSError):
    """A file that points out of itself, or announces more than it can hold."""


@contextmanager
def open_plain(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading after a look at everything that it names, before any of its data are read.

    Raises:
        NotPlainError: it holds links other than hard ones, virtual data sets, data kept in other files, filters that
            are not ours, data sets larger than what is stored could be, or more members than a file of ours has.
        OSError: it is missing or no HDF5.
    """
    with h5py.File(path, "r") as file:
        arrays = list(_arrays(file, seen={_address(file)}, depth=0))
        longest = max((max(item.shape, default=0) for item in arrays if item.id.get_storage_size()), default=0)
        for item in arrays:
            _check_dataset(item, longest=longest)
        yield file


def _arrays(group: h5py.Group, *, seen: set[int], depth: int) -> Iterator[h5py.Dataset]:
    if depth > DEEPEST:
        msg = f"{group.name} lies deeper than {DEEPEST} groups"
        raise NotPlainError(msg)
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            msg = f"{name} is a link to elsewhere, which is not followed"
            raise NotPlainError(msg)
        item = group[name]
        if _address(item) in seen:
            continue
        seen.add(_address(item))
        if len(seen) > MOST_MEMBERS:
            msg = f"it holds more than {MOST_MEMBERS} members"
            raise NotPlainError(msg)
        if isinstance(item, h5py.Group):
            yield from _arrays(item, seen=seen, depth=depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield item


def _check_dataset(item: h5py.Dataset, *, longest: int) -> None:
    """`longest`: axis of what is really stored; a netCDF dimension is as long as one and holds nothing itself."""
    if item.is_virtual or item.external:
        msg = f"the data of {item.name} lie in another file"
        raise NotPlainError(msg)
    making = item.id.get_create_plist()
    filters = {making.get_filter(number)[0] for number in range(making.get_nfilters())}
    if not filters <= _FILTERS:
        msg = f"{item.name} is stored with unknown filters: {sorted(filters - _FILTERS)}"
        raise NotPlainError(msg)
    size, stored = item.size or 0, item.id.get_storage_size()
    if item.ndim == 1 and not stored and size <= longest:
        return
    if size * item.dtype.itemsize > _MOST_EXPANDED * stored + _SMALL:
        msg = f"{item.name} announces {size} values, and {stored} bytes are stored of it"
        raise NotPlainError(msg)


def _address(item: h5py.HLObject) -> int:
    return int(h5py.h5o.get_info(item.id).addr)
