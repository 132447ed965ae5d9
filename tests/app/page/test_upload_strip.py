from __future__ import annotations

import pytest

from xxact_app.ui import file_drop
from xxact_app.ui.file_drop import FileDrop


@pytest.fixture
def drop() -> FileDrop:
    refused: list[str] = []

    def take(files: list[tuple[str, bytes]]) -> None:
        drop.taken += files

    drop = FileDrop(on_files=take, on_refusal=refused.append, largest_file=10)
    drop.taken, drop.refused, drop.sent = [], refused, []
    drop._send_msg = drop.sent.append
    return drop


def send(drop: FileDrop, name: str, *chunks: bytes, announced: int | None = None) -> None:
    size = sum(map(len, chunks)) if announced is None else announced
    drop._handle_msg({"kind": "begin", "name": name, "size": size})
    for chunk in chunks:
        drop._handle_msg({"kind": "chunk", "data": chunk})
    drop._handle_msg({"kind": "end"})


def test_files_arrive_whole_and_in_order_empty_ones_and_duplicates_too(drop: FileDrop) -> None:
    send(drop, "a.xy", b"12", b"34")
    send(drop, "empty.xy")
    send(drop, "a.xy", b"5")
    drop._handle_msg({"kind": "done"})
    assert drop.taken == [("a.xy", b"1234"), ("empty.xy", b""), ("a.xy", b"5")]
    assert drop.sent == [{"kind": "done"}]


def test_the_limit_is_held_on_the_server_whatever_the_browser_says(drop: FileDrop) -> None:
    send(drop, "lie.xy", b"12345678", b"12345678", b"12345678", announced=3)
    assert drop._parts == []
    send(drop, "honest.xy", announced=10**9)
    send(drop, "fine.xy", b"1")
    drop._handle_msg({"kind": "done"})
    assert drop.taken == [("fine.xy", b"1")]
    assert [text.split(":")[0] for text in drop.refused] == ["lie.xy", "honest.xy"]


def test_a_drop_has_a_limit_of_files_and_of_bytes(drop: FileDrop, monkeypatch: pytest.MonkeyPatch) -> None:
    drop._most_files = lambda: 2
    monkeypatch.setattr(file_drop, "LARGEST_DROP", 5)
    send(drop, "a", b"123")
    send(drop, "b", b"123")
    send(drop, "c")
    drop._handle_msg({"kind": "done"})
    assert [name for name, _ in drop.taken] == ["a"]
    send(drop, "d", b"1")
    drop._handle_msg({"kind": "done"})
    assert [name for name, _ in drop.taken] == ["a", "d"]


def test_a_fault_in_taking_still_ends_the_wait(drop: FileDrop) -> None:
    def fail(_files: object) -> None:
        raise ZeroDivisionError

    drop._on_files = fail
    with pytest.raises(ZeroDivisionError):
        drop._handle_msg({"kind": "done"})
    assert drop.sent == [{"kind": "done"}]


def test_names_in_refusals_are_safe(drop: FileDrop) -> None:
    send(drop, "<script>.xy", announced=99)
    assert drop.refused[0].startswith("‹script›.xy: ")


def test_messages_with_wrong_types_cost_no_memory(drop: FileDrop) -> None:
    for size in (-1, float("nan"), 1e400, "9", None):
        drop._handle_msg({"kind": "begin", "name": "scan.xy", "size": size})
        assert drop._refused
    drop._handle_msg({"kind": "begin", "name": "scan.xy", "size": 3})
    for data in (10**12, [1, 2], "text", None, b"abc"):  # bytes(10**12) would be a terabyte of zeros
        drop._handle_msg({"kind": "chunk", "data": data})
    assert b"".join(drop._parts) == b"abc"
