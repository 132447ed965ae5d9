"""Datasets at a URL: a local copy of the manifest, and of each shard from its first use on.

https and http need nothing more than Python; all other protocols are fsspec's, such as `s3://`, `gs://`, `sftp://` or
`memory://`, and take their settings from fsspec's own configuration. The copy is a dataset folder without the shards
that were not used yet; shards that were not used for longest are removed where the cache is full.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit

from xxact_core.dataset.store import MANIFEST, file_digest, read_manifest, write_json
from xxact_core.errors import DatasetError, shorten

Result = TypeVar("Result")

CACHE_VARIABLE, SIZE_VARIABLE = "XXACT_DATASET_CACHE", "XXACT_DATASET_CACHE_GB"
"""Environment variables: the folder of the cache, and its largest size [GB]."""

DEFAULT_SIZE = 100.0
"""Largest size of the cache [GB]: the reflections of five million materials take a tenth of it. Ours."""

SOURCE = "source.json"
"""File in a local copy that names its URL."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
"""A protocol of two letters or more, unlike the drive of a Windows path. A `Path` keeps one of the two slashes."""

_ATTEMPTS = 3
_FIRST_PAUSE = 0.5
_TIMEOUT = 60.0
"""Attempts to fetch a file, pause after the first, which doubles each time, and time without an answer [s]. Ours."""

_STALE = 3600.0
"""Age of a part of a shard from which its process is known to have ended [s]. Ours: far more than `_TIMEOUT`."""

_SERVER_ERRORS = 500
"""Smallest HTTP status that may pass: an error of the server."""

_LARGEST_MANIFEST = 1 << 28
_PIECE = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_opened: dict[tuple[str, str], Path] = {}
"""Local copies of this process by URL and cache: the manifest is read once, so that it cannot change meanwhile."""

_verified: dict[Path, tuple[int, int]] = {}
"""Shards whose digest was verified in this process, with their sizes and times of the last change."""


def local_folder(source: Path | str) -> Path:
    """The folder of a dataset; of one at a URL its local copy, into which the manifest is fetched.

    Raises:
        DatasetError: the URL cannot be read, or holds no dataset.
        ModuleNotFoundError: the package of the protocol is not installed.
    """
    url = to_url(source)
    if url is None:
        return Path(source)
    if url.startswith("file://"):
        return Path("/" + url.removeprefix("file://").lstrip("/"))
    cache = cache_folder()
    known = url, str(cache)
    if known not in _opened:
        _opened[known] = _open(url, cache)
    return _opened[known]


def to_url(source: Path | str) -> str | None:
    """The URL that a source is, also where it was made a `Path`; None for a folder."""
    found = _URL.fullmatch(str(source) if isinstance(source, str) else source.as_posix())
    return None if found is None else f"{found[1].lower()}://{found[2].rstrip('/')}"


def cache_folder() -> Path:
    """Folder of the cache: that of the environment variable, or the user's folder for caches."""
    import platformdirs  # noqa: PLC0415 - for datasets at a URL only

    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("xxact", appauthor=False) / "datasets")


def cache_size() -> float:
    """Largest size of the cache [bytes].

    Raises:
        DatasetError: the environment variable is no number above 0.
    """
    given = os.environ.get(SIZE_VARIABLE, "").strip()
    try:
        size = float(given) if given else DEFAULT_SIZE
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        msg = f"{SIZE_VARIABLE} is {shorten(given, limit=40)!r}; expected a size in GB, above 0"
        raise DatasetError(msg, code="E_DATASET")
    return size * 1e9


def is_copy(folder: Path) -> bool:
    """Whether a folder is the local copy of a dataset at a URL."""
    return (folder / SOURCE).is_file()


def fetch_shard(folder: Path, shard: Mapping[str, Any]) -> Path:
    """Path of a shard in a local copy, fetched where it is missing or damaged, with its digest verified.

    Args:
        folder: of the local copy.
        shard: what the manifest states of it.

    Raises:
        DatasetError: the shard at the URL is missing, cannot be read, or is another than that of the manifest; or the
            cache has no room for it.
    """
    path, sha256 = folder / str(shard["file"]), str(shard["sha256"])
    if _is_whole(path, sha256):
        return path
    with _locked(folder / f"{path.name}.lock"):
        if not _is_whole(path, sha256):  # no other process fetched it meanwhile
            _fetch(_url_of(folder), path, sha256=sha256, cache=folder.parent)
            _note_verified(path)
    return path


# --------------------------------------------------------------------------------------------------------- the manifest
def _open(url: str, cache: Path) -> Path:
    content = _read_manifest(url)
    try:
        digest = str(json.loads(content)["digest"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        msg = f"{shown(url)} is not a finished dataset: its {MANIFEST} is damaged"
        raise DatasetError(msg, code="E_DATASET") from error
    key = hashlib.sha256(f"{url} {digest}".encode()).hexdigest()[:24]
    folder = cache / key
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # a URL may contain a signature
        with _locked(folder / f"{MANIFEST}.lock"):
            part = folder / f"{MANIFEST}.fetched"
            part.write_bytes(content)
            part.replace(folder / MANIFEST)
            write_json(folder / SOURCE, {"url": url})
    except OSError as error:
        msg = f"the cache {cache} cannot be written: {error.strerror}; name another folder by {CACHE_VARIABLE}"
        raise DatasetError(msg, code="E_DATASET") from error
    read_manifest(folder)
    return folder


def _read_manifest(url: str) -> bytes:
    def read() -> bytes:
        with _remote_file(_join(url, MANIFEST)) as file:
            content: bytes = file.read(_LARGEST_MANIFEST + 1)
            return content

    try:
        content = _tried(read)
    except OSError as error:
        msg = f"{shown(url)} is not a finished dataset, or cannot be read: its {MANIFEST} cannot be fetched: "
        raise DatasetError(msg + _reason(error), code="E_DATASET") from error
    if len(content) > _LARGEST_MANIFEST:
        msg = f"the {MANIFEST} of {shown(url)} is larger than {_LARGEST_MANIFEST} bytes; expected that of a dataset"
        raise DatasetError(msg, code="E_DATASET")
    return content


def _url_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / SOURCE).read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder / SOURCE} is damaged; delete {folder}, which is a copy, and name the URL again"
        raise DatasetError(msg, code="E_DATASET") from error


# ------------------------------------------------------------------------------------------------------------ one shard
def _is_whole(path: Path, sha256: str) -> bool:
    """Whether a shard is there with this digest; a damaged one is removed."""
    try:
        state = path.stat()
        if _verified.get(path) != (state.st_size, state.st_mtime_ns) and file_digest(path) != sha256:
            path.unlink(missing_ok=True)
            return False
        _note_verified(path)
    except OSError:
        return False
    return True


def _note_verified(path: Path) -> None:
    """Remember that a shard is whole, and note its use as the time of the last access, which disks may not note."""
    with suppress(OSError):
        state = path.stat()
        os.utime(path, ns=(time.time_ns(), state.st_mtime_ns))
        _verified[path] = state.st_size, state.st_mtime_ns


def _fetch(url: str, path: Path, *, sha256: str, cache: Path) -> None:
    source = _join(url, path.name)
    _remove_parts(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    found = ""
    try:
        for _ in range(2):  # a transfer may be cut short without an error
            found = _download(source, part, cache=cache)
            if found == sha256:
                _make_room(cache, part.stat().st_size)
                part.replace(path)
                return
    except OSError as error:
        msg = f"the shard {shown(source)} cannot be fetched: {_reason(error)}"
        raise DatasetError(msg, code="E_DATASET") from error
    finally:
        part.unlink(missing_ok=True)
    msg = f"the shard {shown(source)} is not the one that the manifest names: its SHA-256 is {found[:12]}…, expected "
    msg += f"{sha256[:12]}…. It was changed after the dataset was opened, or is damaged; start again with the present "
    msg += "dataset, or restore the shard"
    raise DatasetError(msg, code="E_DATASET")


def _remove_parts(path: Path) -> None:
    """Remove what processes that were killed have fetched of a shard; one that still fetches it writes every minute."""
    for part in path.parent.glob(f"{path.name}.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()


def _download(source: str, part: Path, *, cache: Path) -> str:
    """Fetch a file; returns its SHA-256. Where the disk is full, unused shards make room.

    Raises:
        OSError: it cannot be read.
        DatasetError: the disk has no room for it, or it is larger than the cache may be.
    """

    def read() -> str:
        digest, size, limit = hashlib.sha256(), 0, cache_size()
        with _remote_file(source) as file, part.open("wb") as local:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
                if size > limit:
                    msg = f"the shard {shown(source)} is larger than the cache may be, {limit / 1e9:g} GB; "
                    raise DatasetError(msg + f"set a larger size by {SIZE_VARIABLE}", code="E_DATASET")
                local.write(piece)
        return digest.hexdigest()

    while True:
        try:
            return _tried(read)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            part.unlink(missing_ok=True)
            if not _remove_oldest(cache):
                msg = f"the disk of the cache {cache} is full, and nothing in it can be removed; free some space, or "
                msg += f"name a folder on another disk by {CACHE_VARIABLE}"
                raise DatasetError(msg, code="E_DATASET") from error


def _make_room(cache: Path, wanted: int) -> None:
    """Remove the shards that were not used for longest, until the cache has room for `wanted` bytes.

    Raises:
        DatasetError: they do not fit.
    """
    limit = cache_size()
    while sum(size for _, size, _ in _shards_in(cache)) + wanted > limit:
        if not _remove_oldest(cache):
            msg = f"a shard of {wanted / 1e9:g} GB does not fit into the cache of {limit / 1e9:g} GB; "
            raise DatasetError(msg + f"set a larger size by {SIZE_VARIABLE}", code="E_DATASET")


def _shards_in(cache: Path) -> Iterator[tuple[float, int, Path]]:
    """Time of the last use, size and path of every shard in the cache."""
    for path in cache.glob("*/*.h5"):
        with suppress(OSError):  # another process removed it
            state = path.stat()
            yield state.st_atime, state.st_size, path


def _remove_oldest(cache: Path) -> bool:
    """Remove the shard that was not used for longest; false where there is none."""
    for _, _, path in sorted(_shards_in(cache)):
        try:
            path.unlink()
        except FileNotFoundError:
            return True  # another process did
        except OSError:
            continue  # in use, on Windows
        return True
    return False


# ------------------------------------------------------------------------------------------------------------ protocols
@contextmanager
def _remote_file(url: str) -> Iterator[BinaryIO]:
    """A file at a URL, open for reading.

    Raises:
        OSError: it is missing or cannot be read.
        DatasetError: the protocol is unknown.
    """
    try:
        with _open_remote(url) as file:
            yield file
    except (OSError, DatasetError):
        raise
    except Exception as error:  # protocols have errors of their own, such as of a damaged answer or a missing login
        msg = f"{type(error).__name__}: {error}"
        raise OSError(msg) from error


def _open_remote(url: str) -> AbstractContextManager[BinaryIO]:
    """What opens a URL; raises as `_remote_file`, and errors of the protocol."""
    if url.startswith(("http://", "https://")):
        from urllib.request import Request, urlopen  # noqa: PLC0415 - for datasets at a URL only

        request = Request(url, headers={"User-Agent": "xxact"})  # noqa: S310 - http or https, see above
        answer: AbstractContextManager[BinaryIO] = urlopen(request, timeout=_TIMEOUT)  # noqa: S310 - the protocol is checked
        return answer
    import fsspec  # noqa: PLC0415 - for datasets at a URL only

    try:
        opened: AbstractContextManager[BinaryIO] = fsspec.open(url, "rb")
    except (ImportError, ValueError) as error:  # what fsspec raises where a protocol needs a package, or is unknown
        msg = f"{shown(url)} cannot be read: {shorten(error, limit=200)}"
        raise DatasetError(msg, code="E_DATASET") from error
    return opened


def _tried(read: Callable[[], Result]) -> Result:
    """The result of `read`, which is repeated after errors that may pass.

    Raises:
        OSError: it failed every time, or with an error that stays.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return read()
        except OSError as error:
            stays = isinstance(error, FileNotFoundError | PermissionError) or error.errno in _FULL
            stays |= isinstance(error, HTTPError) and error.code < _SERVER_ERRORS
            if stays or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_FIRST_PAUSE * 2**attempt)
    raise AssertionError


def _join(url: str, name: str) -> str:
    """URL of a file in a folder; a query, such as a signature, stays at the end."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def shown(url: str) -> str:
    """A URL for messages: without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return shorten(f"{parts.scheme}://{place}{parts.path}", limit=200)


def _reason(error: OSError) -> str:
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {shorten(error.reason, limit=60)}"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return shorten(getattr(error, "reason", None) or error.strerror or error, limit=160)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Of several processes on a machine, one at a time; where the system has no such locks, each for itself."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        yield
        return
    with path.open("w") as file:
        with suppress(OSError):  # a network disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
