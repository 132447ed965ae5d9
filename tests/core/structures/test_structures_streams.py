"""Sources that are cut off, damaged, hostile or larger than the memory."""

from __future__ import annotations

import bz2
import json
import tracemalloc
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from source_fixtures import (
    CRYSTALS,
    PACK,
    alexandria_entry,
    assert_is,
    assert_labelled,
    cif_text,
    read_source,
    write_archive,
    write_json,
    write_table,
)

from xxact_core.errors import DatasetError
from xxact_core.structures import cif_archives, cif_files, json_text, sources
from xxact_core.structures.labels import Labels
from xxact_core.structures.sources import list_blocks, read_block
from xxact_core.structures.structure import MOST_ATOMS


def alexandria_text(*, records: int) -> bytes:
    """Entries that do not compress well, so that a cut somewhere leaves some of them whole."""
    generator = np.random.default_rng(0)
    entries = []
    for number in range(records):
        entry = alexandria_entry("ZnO")
        entry["data"]["mat_id"] = f"agm{number}"
        entry["parameters"] = {"noise": generator.random(300).tolist()}
        entries.append(entry)
    return json.dumps({"entries": entries}).encode()


@pytest.mark.parametrize("packing", PACK)
def test_everything_before_a_cut_is_delivered_and_the_cut_is_said(tmp_path: Path, packing: str) -> None:
    packed = PACK[packing](alexandria_text(records=400))
    path = tmp_path / f"alexandria.json{packing}"
    path.write_bytes(packed[: int(len(packed) * 0.7)])
    *items, last = read_source(path, rows=50)
    assert 100 < len(items) < 300
    for number, item in enumerate(items):
        assert item.id == f"agm{number}"
        assert_labelled(item, "ZnO")
    assert last[0] == path.name
    assert last[1].startswith(f"the file ends in the middle, after {len(items)} records (")


def test_file_that_is_cut_after_its_last_record_is_said_too(tmp_path: Path) -> None:
    path = tmp_path / "structures.json"
    path.write_text(json.dumps([CRYSTALS["Si"].as_dict()] * 3)[:-1])
    *items, last = read_source(path)
    assert len(items) == 3
    assert "after 3 records" in last[1]


BROKEN_LINES = ["{'single': 'quotes'}", '{"structure": {"lattice', "nothing", '{"a": 1}}', '{"b": [1, 2', "[1, 2", "{}"]


@pytest.mark.parametrize("broken", BROKEN_LINES)
def test_line_that_is_no_json_costs_itself_only(tmp_path: Path, broken: str) -> None:
    good = json.dumps({"structure": CRYSTALS["Si"].as_dict()})
    path = tmp_path / "lines.jsonl"
    path.write_text(f"{good}\n{good}\n{broken}\n\n{good}\n{broken}\n{good}")
    items = read_source(path)
    assert [item[0] if isinstance(item, tuple) else item.id for item in items] == [f"lines:{n}" for n in range(6)]
    assert [n for n, item in enumerate(items) if isinstance(item, tuple)] == [2, 4]


def test_objects_over_several_lines_may_follow_one_another(tmp_path: Path) -> None:
    path = tmp_path / "objects.json"
    path.write_text("\n".join(json.dumps(CRYSTALS["Si"].as_dict(), indent=2) for _ in range(3)))
    items = read_source(path)
    assert [item.id for item in items] == ["objects:0", "objects:1", "objects:2"]


@pytest.mark.parametrize("packing", PACK)
def test_lines_before_a_cut_are_delivered(tmp_path: Path, packing: str) -> None:
    generator = np.random.default_rng(0)
    lines = [
        json.dumps({"structure": CRYSTALS["Si"].as_dict(), "noise": generator.random(300).tolist()}) for _ in range(400)
    ]
    packed = PACK[packing]("\n".join(lines).encode())
    path = tmp_path / f"lines.jsonl{packing}"
    path.write_bytes(packed[: int(len(packed) * 0.7)])
    *items, last = read_source(path, rows=50)
    assert 100 < len(items) < 300
    assert not any(isinstance(item, tuple) for item in items)
    assert last[1].startswith(f"the file ends in the middle, after {len(items)} records (")


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_folder_goes_on_after_a_file_that_is_cut(tmp_path: Path, rows: int) -> None:
    text = json.dumps([CRYSTALS["Si"].as_dict()] * 3)
    (tmp_path / "a.json").write_text(text[: len(text) // 2])
    (tmp_path / "b.json").write_text(text)
    (tmp_path / "c.json").write_text("")
    (tmp_path / "d.json").write_text(json.dumps({"colour": "red"}))
    items = read_source(tmp_path, rows=rows)
    ids = [item[0] if isinstance(item, tuple) else item.id for item in items]
    assert ids == ["a:0", "a.json", "b:0", "b:1", "b:2", "c.json", "d"]
    assert "after 0 records" in items[5][1]
    assert "colour" in items[6][1]


def test_what_is_no_json_in_the_middle_ends_the_file_with_its_reason(tmp_path: Path) -> None:
    good = json.dumps(CRYSTALS["Si"].as_dict())
    path = tmp_path / "broken.json"
    path.write_text(f"[{good}, {{'single': 'quotes'}}, {good}]")
    item, last = read_source(path)
    assert_is(item, CRYSTALS["Si"])
    assert last[0] == "broken.json"
    assert last[1].startswith("the file is not JSON, after 1 records (")


FORM = '{"sites": 1, "lattice": 2}'


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        "1" * 10_000,
        "-1e99999",
        '"\\ud800"',
        "{}",
        "null",
        '{"sites": 1, "lattice": 2}',
    ],
    ids=["lists", "objects", "digits", "exponent", "surrogate", "empty", "null", "another form"],
)
def test_hostile_json_becomes_an_error_row(tmp_path: Path, hostile: str) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(f"[{json.dumps(CRYSTALS['Si'].as_dict())}, {hostile}]")
    item, *errors = read_source(path)
    assert_is(item, CRYSTALS["Si"])
    assert len(errors) == 1
    assert isinstance(errors[0], tuple)


def test_value_larger_than_any_structure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MOST_VALUE_TEXT", 2**20)
    good = json.dumps(CRYSTALS["Si"].as_dict())
    path = tmp_path / "large.json"
    path.write_text(f'[{good}, "{"x" * 2**22}", {good}]')
    _, last = read_source(path)
    assert "a value of more than" in last[1]


def test_nothing_that_a_file_names_is_imported(tmp_path: Path) -> None:
    marker = tmp_path / "imported"
    module = tmp_path / "evil_module_of_a_file.py"
    module.write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    record = {**CRYSTALS["Si"].as_dict(), "@module": "evil_module_of_a_file", "@class": "Structure"}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        (item,) = read_source(write_json(tmp_path / "record.json", record))
    assert_is(item, CRYSTALS["Si"])
    assert not marker.exists()


# ----------------------------------------------------------------------------------------------------- frames, archives
def test_frames_before_a_cut_are_delivered(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    atoms = Atoms("Si2", scaled_positions=[[0, 0, 0], [0.25, 0.25, 0.25]], cell=[5.4, 5.4, 5.4], pbc=True)
    ase.io.write(path, [atoms] * 4)
    text = path.read_text()
    path.write_text(text[: int(len(text) * 0.6)].rpartition("\n")[0] + "\n")
    *items, last = read_source(path)
    assert len(items) == 2
    assert last == (path.name, "the file ends in the middle, after 2 records (no more lines)")
    path.write_text(text + "and now something else\n")
    assert "expected a number of atoms" in read_source(path)[-1][1]


def test_frame_with_too_many_atoms_is_passed_over(tmp_path: Path) -> None:
    head = f'{MOST_ATOMS + 1}\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3\n'
    small = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3\nPo 0 0 0\n'
    path = tmp_path / "frames.xyz"
    path.write_text(head + "Po 0 0 0\n" * (MOST_ATOMS + 1) + small)
    large, good = read_source(path)
    assert large == ("frames:0", f"the cell contains {MOST_ATOMS + 1} atoms; expected at most {MOST_ATOMS}")
    assert good.atomic_numbers.tolist() == [84]


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ("species:S:1:pos:R:4000000000", "4000000001 numbers an atom"),
        ("species:S:1:pos:R:x", "not a readable frame"),
        ("species:S:1", "no positions"),
        ("species:S:1:pos:R:3:forces:R:3", "not a readable frame"),
    ],
)
def test_frame_of_impossible_columns_becomes_an_error_row(tmp_path: Path, properties: str, reason: str) -> None:
    path = tmp_path / "frame.xyz"
    path.write_text(f'1\nLattice="3 0 0 0 3 0 0 0 3" Properties={properties}\nPo 0 0 0\n')
    ((name, found),) = read_source(path)
    assert name == "frame"
    assert reason in found


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_members_before_a_cut_of_an_archive_are_delivered(tmp_path: Path, suffix: str) -> None:
    generator = np.random.default_rng(0)
    members = {
        f"{number}.cif": (cif_text("Si") + f"# {generator.random(2000).tolist()}\n").encode() for number in range(40)
    }
    path = write_archive(tmp_path / f"cifs{suffix}", members)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.7)])
    *items, last = read_source(path, rows=10)
    assert 4 < len(items) < 35
    assert [item.id for item in items] == [str(number) for number in range(len(items))]
    assert last[0] == path.name
    assert f"after {len(items)} records" in last[1]


def test_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cifs.zip"
    path.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(DatasetError, match=r"cifs\.zip"):
        list_blocks(path, rows=5)


def test_cif_that_is_too_large_becomes_an_error_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cif_files, "MOST_CIF_BYTES", 2**20)
    monkeypatch.setattr(cif_archives, "MOST_CIF_BYTES", 2**20)
    large, small = b"#" * (2**20 + 1), cif_text("Si").encode()
    archived = read_source(write_archive(tmp_path / "cifs.zip", {"large.cif": large, "small.cif": small}))
    assert archived[0] == ("large", "the file is larger than 1 MB")
    assert archived[1].id == "small"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large.cif").write_bytes(large)
    ((name, reason),) = read_source(tmp_path / "files")
    assert name == "large"
    assert "larger than 1 MB" in reason


def test_cif_with_too_many_sites_is_refused_before_symmetry_multiplies_them(tmp_path: Path) -> None:
    head, sites = cif_text("Si").rsplit("Si  Si0", 1)
    line = "Si" + "  Si0" + sites.splitlines()[0]
    (tmp_path / "many.cif").write_text(head + f"{line}\n" * (MOST_ATOMS + 1))
    ((_, reason),) = read_source(tmp_path)
    assert f"atom sites; expected at most {MOST_ATOMS}" in reason


def test_file_that_vanishes_after_listing_becomes_an_error_row(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.cif").write_text(cif_text("Si"))
    (block,) = list_blocks(tmp_path, rows=5)
    (tmp_path / "a.cif").unlink()
    lost, kept = read_block(block, labels=Labels())
    assert lost[0] == "a"
    assert "cannot be read" in lost[1]
    assert kept.id == "b"


def test_damaged_row_group_costs_its_rows_only_their_reason(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.parquet", list(CRYSTALS) * 20)
    content = bytearray(path.read_bytes())
    middle = len(content) // 8
    content[4:middle] = bytes(middle - 4)
    path.write_bytes(bytes(content))
    items = read_source(path, rows=30)
    assert len(items) == 100
    errors = [item for item in items if isinstance(item, tuple)]
    assert errors
    assert all("cannot be read" in reason for _, reason in errors)


def test_table_that_was_exchanged_after_listing_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.parquet", list(CRYSTALS))
    blocks = list(list_blocks(path, rows=4))
    write_table(path, ["Si", "NaCl"])
    with pytest.raises(DatasetError, match="2 of 4 listed rows"):
        list(read_block(blocks[0], labels=Labels()))


# --------------------------------------------------------------------------------------------------------------- size
def test_block_ends_where_its_text_grows_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_TEXT", 1)
    path = write_json(tmp_path / "many.json", [CRYSTALS["Si"].as_dict()] * 3)
    assert [block.rows for block in list_blocks(path, rows=50)] == [1, 1, 1]


def test_stream_larger_than_the_memory_that_it_takes(tmp_path: Path) -> None:
    """The text is more than 30 MB; a tenth of that is in use at once."""
    entry = json.dumps({**alexandria_entry("NaCl"), "parameters": {"comment": "x" * 20_000}})
    records = 30_000_000 // len(entry) + 1
    path = tmp_path / "alexandria_000.json.bz2"
    with bz2.open(path, "wt", compresslevel=1) as file:
        file.write('{"entries": [' + ", ".join([entry] * records) + "]}")
    assert path.stat().st_size < 10_000_000
    tracemalloc.start()
    try:
        rows = sum(block.rows for block in list_blocks(path, rows=200))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == records
    assert peak < 10_000_000


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1021])
def test_pieces_in_which_a_stream_comes_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    listed = write_json(tmp_path / "listed.json", {"n": 12.5e-3, "entries": [alexandria_entry(n) for n in CRYSTALS]})
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps({**alexandria_entry(n), "é": "α\\n"}, ensure_ascii=False) for n in CRYSTALS))
    whole = [list(list_blocks(path, rows=10)) for path in (listed, lines)]
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    assert [list(list_blocks(path, rows=10)) for path in (listed, lines)] == whole
    for item, name in zip(read_source(lines), CRYSTALS, strict=True):
        assert_is(item, CRYSTALS[name])


def test_limit_stops_reading(tmp_path: Path) -> None:
    """What follows the last item asked for is not read: here it would be an error row."""
    packed = bz2.compress(alexandria_text(records=400))
    path = tmp_path / "alexandria.json.bz2"
    path.write_bytes(packed[: len(packed) // 2])
    items = read_source(path, rows=20, limit=50)
    assert len(items) == 50
    assert not any(isinstance(item, tuple) for item in items)
