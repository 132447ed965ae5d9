"""HDF5 files that somebody else may have made, opened only where all that they hold lies in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

MOST_MEMBERS = 20_000
DEEPEST = 32
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
        NotPlainError: it holds links other than hard ones, virtual datasets, data kept in other files, filters that
            are not ours, datasets larger than what is stored could be, or more members than a file of ours has.
        OSError: it is missing or no HDF5.
    """
    with h5py.File(path, "r") as file:
        arrays = []
        for name, item in walk(file):
            if item is None:
                msg = f"{name} is a link to elsewhere, which is not followed"
                raise NotPlainError(msg)
            if isinstance(item, h5py.Dataset):
                arrays.append(item)
        longest = max((max(item.shape, default=0) for item in arrays if item.id.get_storage_size()), default=0)
        for item in arrays:
            check_dataset(item, longest=longest)
        yield file


def walk(file: h5py.File) -> Iterator[tuple[str, h5py.Group | h5py.Dataset | None]]:
    """Groups and datasets by path, along hard links alone, each group once; None for a link of another kind.

    Raises:
        NotPlainError: there are more than `MOST_MEMBERS`, or groups in groups deeper than `DEEPEST`.
    """
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    seen = {_address(file)}
    count = 0
    while waiting:
        path, group = waiting.pop()
        yield path or "/", group
        for key in group:
            count += 1
            if count > MOST_MEMBERS or path.count("/") > DEEPEST:
                msg = f"it holds more than {MOST_MEMBERS} members or {DEEPEST} levels of groups"
                raise NotPlainError(msg)
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                yield f"{path}/{key}", None
                continue
            item = group[key]
            if isinstance(item, h5py.Dataset):
                yield f"{path}/{key}", item
            elif isinstance(item, h5py.Group) and _address(item) not in seen:
                seen.add(_address(item))
                waiting.append((f"{path}/{key}", item))


def check_dataset(item: h5py.Dataset, *, longest: int = 0, more_filters: Collection[int] = ()) -> None:
    """Refuse a dataset that cannot be what it says, before its values are read.

    longest: axis of what is really stored; a netCDF dimension is as long as one and holds nothing itself.
    more_filters: that may be used besides those of our files.

    Raises:
        NotPlainError: it lies in another file, is stored with other filters, or is larger than what is stored could be.
    """
    if item.is_virtual or item.external:
        msg = f"the data of {item.name} lie in another file"
        raise NotPlainError(msg)
    making = item.id.get_create_plist()
    filters = {making.get_filter(number)[0] for number in range(making.get_nfilters())}
    unknown = filters - _FILTERS - set(more_filters)
    if unknown:
        msg = f"{item.name} is stored with unknown filters: {sorted(unknown)}"
        raise NotPlainError(msg)
    size, stored = item.size or 0, item.id.get_storage_size()
    if item.ndim == 1 and not stored and size <= longest:
        return
    if size * item.dtype.itemsize > _MOST_EXPANDED * stored + _SMALL:
        msg = f"{item.name} announces {size} values, and {stored} bytes are stored of it"
        raise NotPlainError(msg)


def _address(item: h5py.HLObject) -> int:
    return int(h5py.h5o.get_info(item.id).addr)
