"""Open untrusted HDF5 files, only if they are self-contained."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py

MOST_MEMBERS = 20_000
DEEPEST = 32
_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
_MOST_EXPANDED = 1100
"""Largest ratio of expanded to stored size. Deflate reaches 1032. Source: zlib's technical notes."""

_SMALL = 1 << 20


class UnreadableError(OSError):
    """A file that is missing, damaged, or no HDF5; the message says which, without the name of the file."""


class NotPlainError(OSError):
    """A file that refers to other files, or declares more data than it stores."""


@contextmanager
def open_plain(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, after all its members are checked and before any data are read.

    Raises:
        NotPlainError: the file contains links other than hard links, virtual or external datasets, unknown filters,
            datasets larger than their stored size allows, or too many members.
        UnreadableError: the file is missing or is not HDF5, or its data are damaged.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(h5py.File(path, "r"))
        except OSError as error:
            raise UnreadableError(_why_not(path)) from error
        arrays = []
        for name, item in walk(file):
            if item is None:
                msg = f"{name} is a soft or external link, which is not followed"
                raise NotPlainError(msg)
            if isinstance(item, h5py.Dataset):
                arrays.append(item)
        longest = max((max(item.shape, default=0) for item in arrays if item.id.get_storage_size()), default=0)
        for item in arrays:
            check_dataset(item, longest=longest)
        try:
            yield file
        except (NotPlainError, UnreadableError):
            raise
        except OSError as error:
            if error.errno is not None:  # of another file
                raise
            msg = "its data are damaged"
            raise UnreadableError(msg) from error


def _why_not(path: Path) -> str:
    """Why a file cannot be opened, in words; the library's message has paths, numbers and flags."""
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "it is a folder"
    return "it is no HDF5 file, or a damaged one" if os.access(path, os.R_OK) else "it may not be read"


def walk(file: h5py.File) -> Iterator[tuple[str, h5py.Group | h5py.Dataset | None]]:
    """Groups and datasets by path, following hard links only, each group once; None for other links.

    Raises:
        NotPlainError: the file has more than `MOST_MEMBERS` members or `DEEPEST` levels of groups.
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
                msg = f"it contains more than {MOST_MEMBERS} members or {DEEPEST} levels of groups"
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
    """Check a dataset before its values are read.

    Args:
        item: the dataset.
        longest: longest axis of the stored datasets; netCDF dimensions are as long, without stored values.
        more_filters: filters to accept besides those of our files.

    Raises:
        NotPlainError: the data are in another file, use unknown filters, or are larger than their stored size allows.
    """
    if item.is_virtual or item.external:
        msg = f"the data of {item.name} are stored in another file"
        raise NotPlainError(msg)
    properties = item.id.get_create_plist()
    filters = {properties.get_filter(number)[0] for number in range(properties.get_nfilters())}
    unknown = filters - _FILTERS - set(more_filters)
    if unknown:
        msg = f"{item.name} is stored with unknown filters: {sorted(unknown)}"
        raise NotPlainError(msg)
    size, stored = item.size or 0, item.id.get_storage_size()
    if item.ndim == 1 and not stored and size <= longest:
        return
    if size * item.dtype.itemsize > _MOST_EXPANDED * stored + _SMALL:
        msg = f"{item.name} declares {size} values, but {stored} bytes are stored"
        raise NotPlainError(msg)


def _address(item: h5py.HLObject) -> int:
    return int(h5py.h5o.get_info(item.id).addr)
