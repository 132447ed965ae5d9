"""Datasets at a URL: the same as in a folder, read once, and refused where they change."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import fsspec
import numpy as np
import pytest

from xxact_core.dataset import shard_cache
from xxact_core.dataset.inspection import describe_dataset, verify_dataset
from xxact_core.dataset.opening import open_dataset
from xxact_core.dataset.shard_cache import CACHE_VARIABLE, SIZE_VARIABLE, local_folder, shown, to_url
from xxact_core.dataset.store import read_manifest
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import DatasetError

MEMORY = "memory://sets/small"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(shard_cache, "_FIRST_PAUSE", 0.01)
    start_again(monkeypatch)
    return tmp_path / "cache"


def start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process finds the cache."""
    monkeypatch.setattr(shard_cache, "_opened", {})
    monkeypatch.setattr(shard_cache, "_verified", {})


@dataclass
class Server:
    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    fails: int = 0
    """So many of the next requests for shards are answered 503."""


@pytest.fixture
def server(tmp_path: Path, small_dataset: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    shutil.copytree(small_dataset, folder / "small")
    served = Server("", folder / "small")

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(Path(self.path.partition("?")[0]).name)
            if self.path.endswith(".h5") and served.fails:
                served.fails -= 1
                self.send_error(503)
                return
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        served.url = f"http://127.0.0.1:{running.server_port}/small"
        try:
            yield served
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def in_memory(small_dataset: Path) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    files.put(str(small_dataset), "/sets/small", recursive=True)
    yield files
    files.rm("/sets", recursive=True)


def shards_of(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*.h5"))


def assert_same(one: StickTable, other: StickTable) -> None:
    assert one.digest == other.digest
    assert list(one.id) == list(other.id)
    rows = np.arange(len(one))[::-7]
    for name in ("count", "hkl", "intensity"):
        assert np.array_equal(getattr(one.take_sticks(rows), name), getattr(other.take_sticks(rows), name))


@pytest.mark.parametrize("resident", [True, False])
def test_dataset_at_any_fsspec_url_is_that_of_the_folder(
    in_memory: fsspec.AbstractFileSystem, small_dataset: Path, *, resident: bool
) -> None:
    assert in_memory.exists("/sets/small/manifest.json")
    assert_same(read_dataset(MEMORY, resident=resident), read_dataset(small_dataset))


def test_dataset_on_a_web_server_is_fetched_once(
    server: Server, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        start_again(monkeypatch)
        assert_same(read_dataset(server.url), read_dataset(small_dataset))
        assert_same(read_dataset(server.url, resident=False), read_dataset(small_dataset))
    names = [shard["file"] for shard in read_manifest(small_dataset)["shards"]]
    assert len(names) == 2
    assert sorted(server.asked) == sorted([*names, "manifest.json", "manifest.json"])


def test_url_that_became_a_path_is_read_by_every_function(server: Server, small_dataset: Path) -> None:
    """As the command line, whose arguments are paths, passes it."""
    path = Path(server.url)
    assert describe_dataset(path) == describe_dataset(small_dataset)
    assert verify_dataset(path) == []
    with open_dataset(path) as remote, open_dataset(small_dataset) as local:
        assert remote.equals(local)


def test_a_file_url_is_the_folder(small_dataset: Path) -> None:
    assert local_folder(f"file://{small_dataset}") == small_dataset
    assert local_folder(Path(f"file://{small_dataset}")) == small_dataset
    assert local_folder(small_dataset) == small_dataset


@pytest.mark.parametrize("path", ["C:/data/small", "runs/s3:x/small", "/data/small", "small"])
def test_paths_are_no_urls(path: str) -> None:
    assert to_url(path) is None


def test_shard_that_changes_under_the_reader_is_refused(server: Server, cache: Path) -> None:
    """The dataset is opened, its second shard rebuilt, and then read for the first time."""
    folder = local_folder(server.url)
    names = [shard["file"] for shard in read_manifest(folder)["shards"]]
    shutil.copyfile(server.folder / names[0], server.folder / names[1])
    with pytest.raises(
        DatasetError, match=rf"{names[1]} is not the one that the manifest names: its SHA-256 is"
    ) as raised:
        read_dataset(server.url)
    assert "start again with the present dataset" in str(raised.value)
    assert [path.name for path in shards_of(cache)] == [names[0]]
    assert not list(cache.glob("*/*.part"))
    assert verify_dataset(server.url)[0].startswith(f"the shard {server.url}/{names[1]} is not the one")


def test_shard_that_changes_after_it_left_the_cache_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one shard, those in use take turns."""
    largest = max(path.stat().st_size for path in server.folder.glob("*.h5"))
    monkeypatch.setenv(SIZE_VARIABLE, str(1.2 * largest / 1e9))
    table = read_dataset(server.url, resident=False, kept=1)
    shard = min(server.folder.glob("*.h5"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    table.take_sticks(np.array([399]))
    with pytest.raises(DatasetError, match="is not the one that the manifest names"):
        table.take_sticks(np.array([0]))


def test_dataset_that_is_replaced_is_another_one(
    server: Server, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process keeps the manifest that it has read; the next one reads the new dataset, from new files."""
    first = local_folder(server.url)
    manifest = json.loads((server.folder / "manifest.json").read_text())
    del manifest["content_sha256"]
    manifest["digest"] = "0" * 64
    (server.folder / "manifest.json").write_text(json.dumps(manifest))
    assert local_folder(server.url) == first
    start_again(monkeypatch)
    assert local_folder(server.url) != first
    assert read_dataset(server.url).digest == "0" * 64
    assert read_dataset(small_dataset).digest == read_manifest(first)["digest"]


def test_damaged_copy_is_fetched_again(
    server: Server, small_dataset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_dataset(server.url)
    damaged, cut = shards_of(cache)
    damaged.write_bytes(damaged.read_bytes()[:-5] + b"12345")
    cut.write_bytes(b"")
    server.asked.clear()
    assert_same(read_dataset(server.url), read_dataset(small_dataset))
    assert sorted(server.asked) == [damaged.name, cut.name]
    start_again(monkeypatch)
    damaged.unlink()
    assert_same(read_dataset(server.url), read_dataset(small_dataset))


def test_use_by_another_process_does_not_make_a_shard_unknown(server: Server, cache: Path) -> None:
    """It notes its use, after which the digest need not be computed again."""
    read_dataset(server.url)
    noted = dict(shard_cache._verified)
    for path in shards_of(cache):
        os.utime(path, ns=(1, path.stat().st_mtime_ns))
    assert len(noted) == 2
    read_dataset(server.url)
    assert shard_cache._verified == noted
    assert all(path.stat().st_atime > 1 for path in shards_of(cache))


def test_full_cache_gives_up_what_was_used_longest_ago(
    server: Server, small_dataset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = max(path.stat().st_size for path in small_dataset.glob("*.h5"))
    monkeypatch.setenv(SIZE_VARIABLE, str(1.2 * largest / 1e9))
    assert_same(read_dataset(server.url), read_dataset(small_dataset))
    assert len(shards_of(cache)) == 1
    assert_same(read_dataset(server.url, resident=False, kept=1), read_dataset(small_dataset))
    with pytest.raises(DatasetError, match=f"1 of 2 shards had to be removed for the others.*{SIZE_VARIABLE}"):
        describe_dataset(server.url)
    monkeypatch.setenv(SIZE_VARIABLE, str(0.5 * largest / 1e9))
    with pytest.raises(DatasetError, match=f"is larger than the cache may be.*{SIZE_VARIABLE}"):
        read_dataset(server.url)


@pytest.mark.parametrize("size", ["0", "-1", "many", "inf", "nan"])
def test_impossible_size_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, size)
    with pytest.raises(DatasetError, match=f"{SIZE_VARIABLE} is '{size}'; expected a size in GB"):
        read_dataset(server.url)


def test_full_disk_is_told_and_leaves_no_part(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullFile:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    opened = Path.open

    def open_(path: Path, *arguments: object, **named: object) -> object:
        return FullFile() if path.suffix == ".part" and ".h5" in path.name else opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", open_)
    with pytest.raises(DatasetError, match=f"the disk of the cache .* is full.*{CACHE_VARIABLE}"):
        read_dataset(server.url)
    assert not list(cache.glob("*/*.part"))


def test_cache_that_cannot_be_written_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(DatasetError, match=f"the cache .*file.cache cannot be written.*{CACHE_VARIABLE}"):
        read_dataset(server.url)


def test_server_that_fails_for_a_moment_is_asked_again(server: Server, small_dataset: Path) -> None:
    server.fails = 2
    assert_same(read_dataset(server.url), read_dataset(small_dataset))
    assert len(server.asked) == 5


def test_server_that_fails_and_missing_shards_are_named(server: Server) -> None:
    server.fails = 100
    with pytest.raises(DatasetError, match=rf"the shard {server.url}/.*\.h5 cannot be fetched: the server answers 503"):
        read_dataset(server.url)
    server.fails = 0
    missing = sorted(server.folder.glob("*.h5"))[1]
    missing.unlink()
    with pytest.raises(DatasetError, match=f"{missing.name} cannot be fetched: the server answers 404"):
        read_dataset(server.url)


def test_urls_without_a_dataset_are_refused(server: Server) -> None:
    with pytest.raises(DatasetError, match=r"nothing is not a finished dataset.*the server answers 404"):
        read_dataset(f"{server.url}/nothing")
    with pytest.raises(DatasetError, match=r"memory://nothing is not a finished dataset.*there is no such file"):
        read_dataset("memory://nothing")
    (server.folder / "manifest.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"its manifest\.json is damaged"):
        read_dataset(server.url)


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"gopher://host/small/manifest\.json cannot be read: Protocol not known: gopher"
    ):
        read_dataset("gopher://host/small")


def test_errors_of_a_protocol_are_told_with_the_url(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not an `OSError`: of http.client, and of the packages of fsspec."""
    with pytest.raises(DatasetError, match=r"its manifest\.json cannot be fetched: InvalidURL"):
        read_dataset(f"{server.url}/with space")

    def refuse(*_: object, **__: object) -> None:
        raise LookupError("Unable to locate credentials")  # noqa: EM101, TRY003 - as a package of fsspec does

    monkeypatch.setattr(fsspec, "open", refuse)
    with pytest.raises(DatasetError, match=r"s3://bucket/set .*cannot be fetched: LookupError: .*credentials"):
        read_dataset("s3://bucket/set")


def test_parts_of_processes_that_were_killed_are_removed(server: Server, cache: Path) -> None:
    folder = local_folder(server.url)
    name = read_manifest(folder)["shards"][0]["file"]
    stale, fresh = folder / f"{name}.1.part", folder / f"{name}.2.part"
    for part in (stale, fresh):
        part.write_bytes(b"some")
    os.utime(stale, (1, 1))
    read_dataset(server.url)
    assert list(cache.glob("*/*.part")) == [fresh]


def test_nobody_answers(server: Server) -> None:
    with pytest.raises(DatasetError, match=r"cannot be fetched: .*refused"):
        read_dataset("http://127.0.0.1:9/small")
    assert server.asked == []


def test_messages_keep_secrets() -> None:
    assert shown("https://user:word@host:8443/a/b?signature=abc") == "https://host:8443/a/b"


def test_query_stays_behind_the_name_of_the_file(server: Server, small_dataset: Path, cache: Path) -> None:
    assert_same(read_dataset(f"{server.url}?signature=abc"), read_dataset(small_dataset))
    (folder,) = cache.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
