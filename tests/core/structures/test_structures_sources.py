"""Each kind of source gives back the structures that were written into it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from ase import Atoms
from pymatgen.core import Structure as PymatgenStructure
from source_fixtures import (
    CRYSTALS,
    ENERGIES,
    GAPS,
    ORDERED,
    PACK,
    alexandria_entry,
    assert_is,
    assert_labelled,
    cif_text,
    jarvis_document,
    optimade_entry,
    read_source,
    write_archive,
    write_json,
    write_lines,
    write_table,
)

from xxact_core.errors import DatasetError, StructureError
from xxact_core.structures.json_dialects import jarvis_dict_to_arrays, structure_dict_to_arrays
from xxact_core.structures.sources import count_items, list_blocks
from xxact_core.structures.structure import MOST_ATOMS, Structure, pymatgen_to_structure


def assert_all(items: list[Any], ids: list[str], *, labelled: bool = True, names: list[str] | None = None) -> None:
    names = names or list(CRYSTALS)
    assert [item.id if isinstance(item, Structure) else item for item in items] == ids
    for item, name in zip(items, names, strict=True):
        assert_is(item, CRYSTALS[name])
        if labelled:
            assert_labelled(item, name)


# ---------------------------------------------------------------------------------------------------------- CIF files
def assert_same_crystal(found: Structure, name: str) -> None:
    """CIF text rounds its numbers and pymatgen orders the atoms anew."""
    composition = CRYSTALS[name].composition
    amounts = dict(zip(found.composition.symbols, found.composition.amounts, strict=True))
    assert amounts == pytest.approx({element.symbol: amount for element, amount in composition.items()})
    np.testing.assert_allclose(found.cell, CRYSTALS[name].lattice.parameters, atol=1e-5)


def test_folder_of_cif_files_is_read_in_natural_order(tmp_path: Path) -> None:
    for number, name in enumerate(CRYSTALS, start=8):
        (tmp_path / f"{number}_{name}.cif").write_text(cif_text(name))
    items = read_source(tmp_path)
    assert [item.id for item in items] == ["8_NaCl", "9_Si", "10_ZnO", "11_mixed", "12_CuO"]
    for item, name in zip(items, CRYSTALS, strict=True):
        assert_same_crystal(item, name)
    assert count_items(tmp_path) == 5


def test_cif_files_of_one_name_in_several_folders_stay_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.cif").write_text(cif_text("Si"))
    (tmp_path / "y.cif").write_text(cif_text("Si"))
    assert [item.id for item in read_source(tmp_path)] == ["a/x.cif", "b/x.cif", "y"]


@pytest.mark.parametrize("packing", PACK)
def test_cif_files_may_be_packed_and_of_another_system(tmp_path: Path, packing: str) -> None:
    text = "\ufeff" * (packing == ".gz") + cif_text("ZnO").replace("\n", "\r\n")
    (tmp_path / f"ZnO.CIF{packing}").write_bytes(PACK[packing](text.encode()))
    (item,) = read_source(tmp_path)
    assert item.id == "ZnO"
    assert_same_crystal(item, "ZnO")


def test_each_structure_of_a_cif_file_is_an_item_named_by_its_data_block(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    path.write_text(cif_text("ZnO") + cif_text("Si"))
    items = read_source(path)
    assert [item.id for item in items] == ["two:ZnO", "two:Si"]
    for item, name in zip(items, ["ZnO", "Si"], strict=True):
        assert_same_crystal(item, name)
    assert count_items(path) == 2
    archive = write_archive(tmp_path / "cifs.zip", {"two.cif": path.read_bytes()})
    assert [item.id for item in read_source(archive)] == ["two:ZnO", "two:Si"]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_archive_of_cif_files_is_read_member_by_member(tmp_path: Path, suffix: str) -> None:
    members = {f"deep/{name}.cif": cif_text(name).encode() for name in CRYSTALS}
    others = {"README.md": b"data_", "deep/inner.zip": b"PK", "__MACOSX/deep/._Si.cif": b"\0"}
    again = {"other/Si.cif": cif_text("Si").encode()}
    path = write_archive(tmp_path / f"cifs{suffix}", {**members, **others, **again})
    items = read_source(path)
    assert [item.id for item in items] == [*CRYSTALS, "other/Si.cif"]
    for item, name in zip(items, [*CRYSTALS, "Si"], strict=True):
        assert_same_crystal(item, name)
    assert {path.name for path in tmp_path.iterdir()} == {path.name}


def test_archives_in_a_folder_keep_their_members_apart(tmp_path: Path) -> None:
    for archive in ("one.zip", "two.tar.gz"):
        write_archive(tmp_path / archive, {"Si.cif": cif_text("Si").encode()})
    assert [item.id for item in read_source(tmp_path)] == ["one:Si", "two:Si"]


# --------------------------------------------------------------------------------------------------------------- JSON
@pytest.mark.parametrize("crystal", CRYSTALS.values(), ids=list(CRYSTALS))
def test_reading_pymatgens_json_equals_pymatgen(crystal: PymatgenStructure) -> None:
    charged = crystal.copy()
    charged.add_oxidation_state_by_element({"O": -2, "Cl": -1, "Na": 1, "Si": 0, "Zn": 2, "Cu": 2, "Ni": 2, "Mg": 2})
    for written in (crystal, charged):
        text = written.as_dict()
        expected = pymatgen_to_structure(PymatgenStructure.from_dict(text), name="x")
        found = structure_dict_to_arrays(json.loads(json.dumps(text)))
        np.testing.assert_allclose(found.cell, expected.cell, atol=1e-10)
        np.testing.assert_array_equal(found.atomic_numbers, expected.atomic_numbers)
        np.testing.assert_array_equal(found.frac_coords, expected.frac_coords)
        np.testing.assert_array_equal(found.occupancies, expected.occupancies)


@pytest.mark.parametrize("packing", PACK)
def test_list_of_pymatgen_structures(tmp_path: Path, packing: str) -> None:
    path = write_json(tmp_path / f"many.json{packing}", [crystal.as_dict() for crystal in CRYSTALS.values()])
    assert_all(read_source(path), [f"many:{index}" for index in range(5)], labelled=False)
    assert count_items(path) is None


def test_one_pymatgen_structure_a_file(tmp_path: Path) -> None:
    for name, crystal in CRYSTALS.items():
        write_json(tmp_path / f"{name}.json", crystal.as_dict())
    names = sorted(CRYSTALS)
    assert_all(read_source(tmp_path), names, names=names, labelled=False)


@pytest.mark.parametrize("name", ["documents.json", "documents.jsonl", "documents.ndjson.gz", "documents.jsonl.bz2"])
def test_documents_with_a_structure_and_labels(tmp_path: Path, name: str) -> None:
    documents = [
        {
            "material_id": f"mp-{name}",
            "structure": crystal.as_dict(),
            "formation_energy_per_atom": ENERGIES[name],
            "band_gap": GAPS[name],
            "energy_above_hull": float("nan"),  # which Python writes, though JSON knows no such number
        }
        for name, crystal in CRYSTALS.items()
    ]
    write = write_json if ".json." in f"{name}." else write_lines
    assert_all(read_source(write(tmp_path / name, documents)), [f"mp-{name}" for name in CRYSTALS])


def test_structures_under_their_ids(tmp_path: Path) -> None:
    path = write_json(tmp_path / "keyed.json", {f"mp-{name}": CRYSTALS[name].as_dict() for name in CRYSTALS})
    assert_all(read_source(path), [f"mp-{name}" for name in CRYSTALS], labelled=False)


def test_documents_with_the_text_of_a_cif(tmp_path: Path) -> None:
    documents = [{"id": name, "cif": cif_text(name), "band_gap": GAPS[name]} for name in CRYSTALS]
    items = read_source(write_json(tmp_path / "cifs.json", documents))
    for item, name in zip(items, CRYSTALS, strict=True):
        assert_same_crystal(item, name)
        assert item.targets == {"band_gap": GAPS[name]}


@pytest.mark.parametrize("packing", PACK)
def test_alexandria(tmp_path: Path, packing: str) -> None:
    content = {"entries": [alexandria_entry(name) for name in CRYSTALS]}
    path = write_json(tmp_path / f"alexandria_000.json{packing}", content)
    assert_all(read_source(path), [f"agm-{name}" for name in CRYSTALS])


@pytest.mark.parametrize("order", [("index", "columns", "data"), ("data", "index", "columns")])
def test_matbench_wherever_its_columns_stand(tmp_path: Path, order: tuple[str, ...]) -> None:
    parts = {
        "index": list(range(5)),
        "columns": ["structure", "gap pbe", "e_form"],
        "data": [[CRYSTALS[name].as_dict(), GAPS[name], ENERGIES[name]] for name in CRYSTALS],
    }
    path = write_json(tmp_path / "matbench.json.gz", {part: parts[part] for part in order})
    assert_all(read_source(path), [f"matbench:{index}" for index in range(5)])
    parts["index"] = [f"mb-{name}" for name in CRYSTALS]
    path = write_json(path, {part: parts[part] for part in order})
    assert_all(read_source(path), [f"mb-{name}" for name in CRYSTALS])


@pytest.mark.parametrize("cartesian", [True, False])
def test_jarvis(tmp_path: Path, cartesian: bool) -> None:
    content = [jarvis_document(name, cartesian=cartesian) for name in ORDERED]
    items = read_source(write_json(tmp_path / "jdft.json", content))
    assert_all(items, [f"JVASP-{name}" for name in ORDERED], names=list(ORDERED))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"density": 5.0}, r"the cell has a density of 2.1\d* g/cm³; density = 5 is stated"),
        ({"volume": 50}, r"the cell has a volume of \d+.?\d* Å³; volume = 50 is stated"),
        ({"lattice": {"volume": 999}}, "volume = 999 is stated"),
        ({"species": []}, "site 0 has no element"),
        ({"abc": [0.5, 0.5, 0.55]}, r"are 0.28 Å apart, though their occupancies sum to 2"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    crystal = CRYSTALS["NaCl"]
    written = json.loads(json.dumps(crystal.as_dict()))
    whole = {"material_id": "m-1", "structure": written, "density": 2.2, "volume": 180}
    assert_all(read_source(write_json(tmp_path / "whole.json", [whole])), ["m-1"], labelled=False, names=["NaCl"])
    written["lattice"] |= more.pop("lattice", {})
    site = {key: more.pop(key) for key in ("species", "abc") if key in more}
    if "abc" in site:
        del written["sites"][0]["xyz"]
    written["sites"][0] |= site
    (item,) = read_source(write_json(tmp_path / "wrong.json", [whole | more]))
    assert item[0] == "m-1"
    assert re.search(reason, item[1])


def test_more_than_one_atom_at_a_place_is_refused(tmp_path: Path) -> None:
    atoms = Atoms(["Na"] * 3 + ["Cl"], scaled_positions=[[0, 0, 0]] * 3 + [[0.5] * 3], cell=[3.5] * 3, pbc=True)
    for share, count in ((1 / 3, 4), (0.5, None)):
        atoms.set_array("occupancies", np.array([share] * 3 + [1.0]))
        ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
        (item,) = read_source(tmp_path / "a.xyz")
        if count is None:
            assert "the occupancies of the atoms at 0, 0, 0 sum to 1.5; expected at most 1" in item[1]
        else:
            assert len(item.atomic_numbers) == count


def test_vectors_in_nanometres_are_refused(tmp_path: Path) -> None:
    atoms = to_ase(CRYSTALS["NaCl"])
    atoms.set_cell(0.1 * np.array(atoms.cell), scale_atoms=True)
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    (item,) = read_source(tmp_path / "a.xyz")
    assert "the density would be" in item[1]


def to_ase(crystal: PymatgenStructure, **info: object) -> Atoms:
    numbers = [site.specie.Z for site in crystal]
    return Atoms(numbers, positions=crystal.cart_coords, cell=crystal.lattice.matrix, pbc=True, info=info)


def test_ase_json_as_ase_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "atoms.json"
    ase.io.write(path, [to_ase(crystal) for crystal in ORDERED.values()])
    assert_all(read_source(path), [f"atoms:{index}" for index in range(1, 5)], names=list(ORDERED), labelled=False)


def test_ase_database_in_json_with_labels(tmp_path: Path) -> None:
    path = tmp_path / "database.json"
    with ase.db.connect(path, append=False) as database:
        for name, crystal in ORDERED.items():
            database.write(to_ase(crystal), e_form=ENERGIES[name], bandgap=GAPS[name], mat_id=f"m{name}")
    assert_all(read_source(path), [f"m{name}" for name in ORDERED], names=list(ORDERED))


@pytest.mark.parametrize("name", ["frames.extxyz", "frames.xyz.gz", "frames.xyz.bz2"])
def test_extended_xyz_as_ase_writes_it(tmp_path: Path, name: str) -> None:
    plain = tmp_path / "plain.extxyz"
    frames = [to_ase(crystal, band_gap=GAPS[name], e_form=ENERGIES[name]) for name, crystal in ORDERED.items()]
    for frame in frames:
        frame.new_array("occupancies", np.linspace(0.5, 1, len(frame)))
    ase.io.write(plain, frames)
    path = tmp_path / "packed" / name
    path.parent.mkdir()
    path.write_bytes(PACK[path.suffix if path.suffix in PACK else ""](plain.read_bytes()))
    items = read_source(path)
    assert [item.id for item in items] == [f"frames:{index}" for index in range(4)]
    for item, (label, crystal) in zip(items, ORDERED.items(), strict=True):
        np.testing.assert_allclose(item.cell, crystal.lattice.parameters, atol=1e-6)  # eight digits are written
        np.testing.assert_allclose(item.frac_coords, crystal.frac_coords, atol=1e-7)
        np.testing.assert_allclose(item.occupancies, np.linspace(0.5, 1, len(crystal)), atol=1e-8)
        assert_labelled(item, label)


@pytest.mark.parametrize("name", ["page.json", "dump.jsonl"])
def test_optimade(tmp_path: Path, name: str) -> None:
    entries = [optimade_entry(name) for name in CRYSTALS]
    if name == "page.json":
        content = {"data": entries, "meta": {"more_data_available": False}, "links": {"next": None}}
        path = write_json(tmp_path / name, content)
    else:
        header = [{"x-optimade": {"meta": {}}}, {"type": "info", "id": "structures", "properties": {}}]
        path = write_lines(tmp_path / name, [*header, *entries])
    assert_all(read_source(path), [f"x/{name}" for name in CRYSTALS])


def test_single_optimade_answer(tmp_path: Path) -> None:
    path = write_json(tmp_path / "one.json", {"data": optimade_entry("mixed"), "meta": {"api_version": "1.2"}})
    assert_all(read_source(path), ["x/mixed"], names=["mixed"])


# ------------------------------------------------------------------------------------------------------------- tables
def test_table_with_occupancies(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.parquet", list(CRYSTALS))
    assert_all(read_source(path), list(CRYSTALS))
    assert count_items(path) == 5


def test_table_with_other_names_and_without_ids(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.parquet", list(CRYSTALS))
    table = pa.parquet.read_table(path).drop(["id"])
    other = {"species": "symbols", "frac_coords": "fractional_coordinates", "a": "lattice_a", "band_gap": "bandgap"}
    pa.parquet.write_table(table.rename_columns([other.get(name, name) for name in table.column_names]), path)
    assert_all(read_source(path), [f"table:{row}" for row in range(5)])


def test_table_of_many_row_groups_has_the_same_borders(tmp_path: Path) -> None:
    names = list(CRYSTALS) * 7
    path = write_table(tmp_path / "table.parquet", names)
    whole = read_source(path, rows=10)
    pa.parquet.write_table(pa.parquet.read_table(path), path, row_group_size=3)
    parts = read_source(path, rows=10)
    assert [item.id for item in whole] == [item.id for item in parts] == names


@pytest.mark.parametrize("form", ["text", "columns"])
def test_table_whose_rows_are_records(tmp_path: Path, form: str) -> None:
    path = tmp_path / "records.parquet"
    if form == "text":
        rows = [
            {"material_id": name, "structure": json.dumps(CRYSTALS[name].as_dict()), "gap pbe": GAPS[name]}
            for name in ORDERED
        ]
    else:
        rows = [
            {"immutable_id": name, "band_gap": GAPS[name], **optimade_entry(name)["attributes"], "species": None}
            for name in ORDERED
        ]
    pd.DataFrame(rows).to_parquet(path)
    items = read_source(path)
    assert_all(items, list(ORDERED), names=list(ORDERED), labelled=False)
    assert [item.targets["band_gap"] for item in items] == [GAPS[name] for name in ORDERED]


# ------------------------------------------------------------------------------------------------ a source as a whole
def mixed_folder(folder: Path) -> Path:
    """A folder with a file of each kind, each with every crystal that it can hold."""
    ase.io.write(folder / "a.extxyz", [to_ase(crystal) for crystal in ORDERED.values()])
    write_json(folder / "b_2.json.bz2", {"entries": [alexandria_entry(name) for name in CRYSTALS]})
    write_json(folder / "b_10.json.bz2", {"entries": [alexandria_entry(name) for name in CRYSTALS]})
    write_table(folder / "c.parquet", list(CRYSTALS))
    write_archive(folder / "d.zip", {"Si.cif": cif_text("Si").encode()})
    (folder / "e.cif").write_text(cif_text("NaCl"))
    (folder / "notes.txt").write_text("no structures")
    return folder


def test_mixed_folder_counts_through_in_a_stated_order(tmp_path: Path) -> None:
    ids = [item.id for item in read_source(mixed_folder(tmp_path), rows=3)]
    agm = [f"agm-{name}" for name in CRYSTALS]
    assert ids == ["e", *CRYSTALS, "d:Si", *agm, *agm, "a:0", "a:1", "a:2", "a:3"]
    files = [block.path for block in list_blocks(tmp_path, rows=100)]
    assert files == [str(tmp_path), str(tmp_path / "c.parquet"), str(tmp_path)]


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_borders_depend_on_nothing_but_rows(tmp_path: Path, rows: int) -> None:
    mixed_folder(tmp_path)
    blocks = list(list_blocks(tmp_path, rows=rows))
    assert blocks == list(list_blocks(tmp_path, rows=rows))
    total = sum(block.rows for block in blocks)
    assert total == 21
    assert [block.start for block in blocks] == [sum(block.rows for block in blocks[:n]) for n in range(len(blocks))]
    for limit in (1, 2, 8, 20, 21, 50):
        limited = list(list_blocks(tmp_path, rows=rows, limit=limit))
        assert sum(block.rows for block in limited) == min(limit, total)
        assert limited[:-1] == blocks[: len(limited) - 1]
        assert len(read_source(tmp_path, rows=rows, limit=limit)) == min(limit, total)


def test_source_that_is_nothing_is_refused_with_what_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no file or folder .*nowhere.*\.cif.*\.parquet.*\.extxyz"):
        list_blocks(tmp_path / "nowhere", rows=5)
    with pytest.raises(DatasetError, match="contains no file of structures"):
        count_items(tmp_path)
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DatasetError, match="unknown kind"):
        list_blocks(tmp_path / "notes.docx", rows=5)


@pytest.mark.parametrize("content", [{"colour": "red", "size": 3}, [{"colour": 1}], [1, 2], "text", {"entries": []}])
def test_json_without_structures_is_refused_with_what_it_has(tmp_path: Path, content: object) -> None:
    path = write_json(tmp_path / "unknown.json", content)
    with pytest.raises(DatasetError, match=r"contains no structure.*pymatgen, JARVIS, ASE or OPTIMADE") as refused:
        list_blocks(path, rows=5)
    assert refused.value.code == "E_DATASET"
    if "colour" in json.dumps(content):
        assert "colour" in str(refused.value)


def test_table_that_lacks_a_column_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pd.DataFrame({"id": ["a"], "a": [3.0]}).to_parquet(path)
    with pytest.raises(DatasetError, match="species"):
        list_blocks(path, rows=5)
    path.write_bytes(b"PAR1 no table")
    with pytest.raises(DatasetError, match="not a readable parquet table"):
        list_blocks(path, rows=5)


# ----------------------------------------------------------------------------------------------------------- bad input
def pymatgen_with(**changes: object) -> dict[str, Any]:
    """NaCl as pymatgen writes it, with members of its first site or its lattice changed."""
    text = json.loads(json.dumps(CRYSTALS["NaCl"].as_dict()))
    for key, value in changes.items():
        (text["lattice"] if key in text["lattice"] else text["sites"][0])[key] = value
    return text


BAD = {
    "unknown element": (pymatgen_with(species=[{"element": "Xx", "occu": 1}]), "'Xx' is not a chemical element"),
    "coordinate is no number": (pymatgen_with(abc=[0, float("nan"), 0]), "not a finite number"),
    "infinite cell": (pymatgen_with(matrix=[[1e999, 0, 0], [0, 1, 0], [0, 0, 1]]), "finite"),
    "zero lattice vector": (pymatgen_with(matrix=[[0, 0, 0], [0, 1, 0], [0, 0, 1]]), "zero"),
    "a slab": (pymatgen_with(pbc=[True, True, False]), "periodic in 2 of three"),
    "occupancy in percent": (pymatgen_with(species=[{"element": "Na", "occu": 50}]), "occupancies"),
    "no sites": ({"lattice": {"matrix": np.eye(3).tolist()}, "sites": []}, "no atoms"),
    "sites of another form": (pymatgen_with(species=7), "not a readable structure"),
    "sites are a text": ({"lattice": {"matrix": np.eye(3).tolist()}, "sites": "no"}, "not a readable structure"),
    "too many atoms": ({"lattice": {}, "sites": [{}] * (MOST_ATOMS + 1)}, f"at most {MOST_ATOMS}"),
    "no structure": ({"colour": "red"}, "an object with the members .*colour"),
    "a number": (17, "int 17"),
    "implausible gap": (
        {"structure": CRYSTALS["Si"].as_dict(), "band_gap": 1500},
        "band_gap 1500 eV is outside 0 to 25 eV; is it in another unit",
    ),
    "cell without volume": (
        {**optimade_entry("Si")["attributes"], "lattice_vectors": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]},
        "no volume",
    ),
    "atoms without positions": (
        {**optimade_entry("Si")["attributes"], "structure_features": ["implicit_atoms"]},
        "implicit_atoms",
    ),
    "unknown species": (
        {
            **optimade_entry("Si")["attributes"],
            "species": [{"name": "Si", "chemical_symbols": ["X"], "concentration": [1.0]}],
        },
        "'X' is not a chemical element",
    ),
    "no cell": (
        {"numbers": [11], "positions": [[0, 0, 0]], "cell": [[0, 0, 0]] * 3, "pbc": [False] * 3},
        "periodic in 0 of three",
    ),
    "atom of no element": (
        {"numbers": [0], "positions": [[0, 0, 0]], "cell": np.eye(3).tolist(), "pbc": [True] * 3},
        "no element has the atomic number",
    ),
    "broken CIF": ({"cif": "data_x\n_cell_length_a ?"}, "not a readable CIF"),
}


@pytest.mark.parametrize(("record", "reason"), BAD.values(), ids=list(BAD))
def test_bad_record_becomes_an_error_row_between_good_ones(tmp_path: Path, record: object, reason: str) -> None:
    good = CRYSTALS["ZnO"].as_dict()
    before, bad, after = read_source(write_json(tmp_path / "records.json", [good, record, good]))
    assert_is(before, CRYSTALS["ZnO"])
    assert_is(after, CRYSTALS["ZnO"])
    assert bad[0] == "records:1"
    assert re.search(reason, bad[1]), bad[1]


def test_deuterium_is_hydrogen_and_a_charge_changes_no_element(tmp_path: Path) -> None:
    records = [pymatgen_with(species=[{"element": symbol, "occu": 1}]) for symbol in ("D", "T", "Fe3+", "O2-")]
    items = read_source(write_json(tmp_path / "records.json", records))
    assert [item.atomic_numbers[0] for item in items] == [1, 1, 26, 8]


def test_broken_cif_becomes_an_error_row_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text("data_x\n_cell_length_a  ?\n")
    (tmp_path / "b.cif").write_text(cif_text("Si"))
    bad, good = read_source(tmp_path)
    assert bad[0] == "a"
    assert "not a readable CIF structure" in bad[1]
    assert_same_crystal(good, "Si")


def test_molecule_in_extended_xyz_becomes_an_error_row(tmp_path: Path) -> None:
    path = tmp_path / "frames.xyz"
    ase.io.write(path, [to_ase(CRYSTALS["Si"]), Atoms("OH", [[0, 0, 0], [0, 0, 1]])], format="extxyz")
    good, bad = read_source(path)
    np.testing.assert_allclose(good.frac_coords, CRYSTALS["Si"].frac_coords, atol=1e-7)
    assert bad == ("frames:1", "periodic in 0 of three directions: not a crystal")


def _cesium_chloride(*, xyz: Sequence[float] = (2.06, 2.06, 2.06), **lattice: float) -> dict[str, object]:
    """CsCl as pymatgen writes it, with the position of the chlorine and members of the lattice as given."""
    cell = {"a": 4.12, "b": 4.12, "c": 4.12, "alpha": 90.0, "beta": 90.0, "gamma": 90.0, **lattice}
    sites = [
        {"species": [{"element": element, "occu": 1}], "abc": places, "xyz": positions}
        for element, places, positions in (("Cs", [0, 0, 0], [0, 0, 0]), ("Cl", [0.5] * 3, list(xyz)))
    ]
    return {"lattice": {"matrix": (4.12 * np.eye(3)).tolist(), **cell}, "sites": sites}


def test_what_a_json_structure_states_twice_must_agree() -> None:
    for agreeing in (
        _cesium_chloride(),
        _cesium_chloride(a=4.121),  # rounded
        _cesium_chloride(xyz=(2.06, 2.06, 6.18)),  # in another cell of the lattice
    ):
        assert structure_dict_to_arrays(agreeing).atomic_numbers.tolist() == [55, 17]
    for contradicting, message in (
        (_cesium_chloride(a=8.24), "the lattice vectors give a = 4.12; a = 8.24 is stated"),
        (_cesium_chloride(gamma=120), "the lattice vectors give gamma = 90; gamma = 120 is stated"),
        (_cesium_chloride(xyz=(1.0, 2.06, 2.06)), "site 1: abc and xyz are 1.06 Å apart"),
    ):
        with pytest.raises(StructureError, match=message) as caught:
            structure_dict_to_arrays(contradicting)
        assert caught.value.code == "E_CONTRADICTION"


def test_jarvis_coordinates_that_are_no_fractions_are_refused() -> None:
    atoms = {"lattice_mat": [[4.12, 0, 0], [0, 4.12, 0], [0, 0, 4.12]], "elements": ["Cs", "Cl"], "abc": [4.12] * 3}
    places = [[0, 0, 0], [2.06] * 3]
    read = jarvis_dict_to_arrays(atoms | {"coords": places, "cartesian": True})
    assert read.frac_coords[1].tolist() == pytest.approx([0.5] * 3)
    with pytest.raises(StructureError, match="stated to be fractional"):
        jarvis_dict_to_arrays(atoms | {"coords": places, "cartesian": False})
    with pytest.raises(StructureError, match=r"a = 4\.12; a = 5 is stated"):
        jarvis_dict_to_arrays(atoms | {"coords": places, "cartesian": True, "abc": [5, 5, 5]})


def test_the_compound_of_an_aflow_record_is_compared(tmp_path: Path) -> None:
    record = {"geometry": "4.12,4.12,4.12,90,90,90", "positions_fractional": "0,0,0;0.5,0.5,0.5", "species": "Cs,Cl"}
    record |= {"composition": "1,1"}
    (good,) = read_source(write_json(tmp_path / "good.json", [record | {"compound": "Cl1Cs1"}]))
    assert good.atomic_numbers.tolist() == [55, 17]
    (bad,) = read_source(write_json(tmp_path / "bad.json", [record | {"compound": "Br1Cs1"}]))
    assert "the formula Br1Cs1 is stated" in bad[1]
