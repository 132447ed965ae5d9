"""Reference tables: built from sources of structures, merged, read again, and refused where they do not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cif_fixtures import SALT, cubic, make_cif
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.compositions.composition import Composition, composition_to_text, text_to_composition
from xxact_core.errors import DatasetError, StructureError
from xxact_core.search_match.opening import JoinedReferences, open_references, reference_notes
from xxact_core.search_match.published_formulas import parse_published, published_composition
from xxact_core.search_match.reference_building import Source, build_reference_table
from xxact_core.search_match.reference_files import read_reference_table
from xxact_core.search_match.reference_table import ReferenceTable, split_id
from xxact_core.structures.standardising import structure_to_unit
from xxact_core.structures.structure import Structure

FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
HALITE = [*FCC, *([(x + 0.5) % 1, (y + 0.5) % 1, (z + 0.5) % 1] for x, y, z in FCC)]
RUTILE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.305, 0.305, 0], [0.695, 0.695, 0], [0.195, 0.805, 0.5], [0.805, 0.195, 0.5]]


def halite(identity: str | int, edge: float, symbols: tuple[str, str] = ("Mg", "O"), **more: object) -> dict[str, Any]:
    cell = {"a": edge, "b": edge, "c": edge, "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    species = [symbols[0]] * 4 + [symbols[1]] * 4
    return {"id": identity, **cell, "species": species, "frac_coords": np.ravel(HALITE).tolist(), **more}


def rutile(identity: str | int, edge: float, **more: object) -> dict[str, Any]:
    cell = {"a": edge, "b": edge, "c": 2.96, "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    species = ["Ti", "Ti", "O", "O", "O", "O"]
    return {"id": identity, **cell, "species": species, "frac_coords": np.ravel(RUTILE).tolist(), **more}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reference")


@pytest.fixture(scope="module")
def table(folder: Path) -> ReferenceTable:
    computed = [
        halite("mp-1265", 4.26),
        halite("mp-99001", 4.25),  # another relaxation
        halite("mp-7", 4.80),  # another material of the same type
        rutile("mp-2657", 4.65),
        halite("mp-55", 5.0, ("Ca", "O")),
    ]
    labelled = [
        halite("matbench_000001", 4.27, public_id="mp-1265", in_icsd_guess=True),
        halite("matbench_000002", 5.9, ("Ba", "O"), public_id=None, in_icsd_guess=False),
    ]
    measured = [
        halite(8, 4.212, mineral="Periclase", formula_as_published="Mg O"),
        halite(9, 4.213, mineral="Periclase", formula_as_published="Mg O"),
        halite(10, 3.95, mineral="Periclase", formula_as_published="Mg O"),  # under pressure
        rutile(11, 4.594, mineral="<missing>", formula_as_published="Ti O2"),
        halite(12, 4.30, mineral="Ferropericlase", formula_as_published="(Mg.7 Fe.3) O")
        | {
            "species": ["Mg", "Fe"] * 4 + ["O"] * 4,
            "frac_coords": np.ravel([*np.repeat(FCC, 2, axis=0), *HALITE[4:]]).tolist(),
            "occupancies": [0.7, 0.3] * 4 + [1.0] * 4,
        },
        halite(13, 4.77, ("Cd", "O"), mineral="Made", formula_as_published="Cd O H"),
    ]
    out = folder / "made.parquet"
    build_reference_table(
        out,
        [
            Source(write_rows(folder / "computed.parquet", computed)),
            Source(write_rows(folder / "labelled.parquet", labelled)),
            Source(write_rows(folder / "amcsd.parquet", measured), experimental=True),
        ],
        credit=["computed: made for a test"],
        energies={"mp-2657": 0.012},
    )
    return read_reference_table(out)


def one(table: ReferenceTable, name: str) -> int:
    rows = table.find(name)
    assert len(rows) == 1, (name, [table.ids(int(row)) for row in rows])
    return int(rows[0])


def test_a_measured_cell_represents_the_phase_and_all_ids_are_kept(table: ReferenceTable) -> None:
    row = one(table, "mp-1265")
    assert set(table.ids(row)) == {
        "amcsd-0000008",
        "amcsd-0000009",
        "mp-1265",
        "mp-99001",
        "matbench_000001",
    }
    assert table.public_id(row) == "mp-1265"
    assert table.cell[row, 0] == pytest.approx(4.2125, abs=6e-4)
    assert table.experimental[row]
    assert table.known[row]
    assert table.name(row) == "periclase"
    assert int(table.space_group[row]) == 225


def test_cells_that_differ_stay_phases_of_their_own(table: ReferenceTable) -> None:
    under_pressure, other = one(table, "amcsd-0000010"), one(table, "mp-7")
    assert table.cell[under_pressure, 0] == pytest.approx(3.95)
    assert table.cell[other, 0] == pytest.approx(4.8)
    assert not table.experimental[other]


def test_ids_that_mean_nothing_to_people_are_not_shown(table: ReferenceTable) -> None:
    row = one(table, "matbench_000002")
    assert table.public_id(row) == ""
    assert table.ids(row) == ("matbench_000002",)


def test_solid_solutions_are_entries_of_their_own(table: ReferenceTable) -> None:
    row = one(table, "ferropericlase")
    assert table.disordered[row]
    assert table.formula(row) == "Mg7Fe3O10"
    assert set(table.symbols(row)) == {"Mg", "Fe", "O"}
    assert not table.disordered[one(table, "mp-1265")]


def test_hydrogen_of_the_published_composition_counts_as_an_element(table: ReferenceTable) -> None:
    row = one(table, "amcsd-0000013")
    assert "H" in table.symbols(row)
    assert table.formula(row) == "CdHO"
    assert row in table.rows_within(["Cd", "O", "H"])
    assert row not in table.rows_within(["Cd", "O"])
    mass = table.cell_mass[row] / 4
    assert mass == pytest.approx(112.41 + 16.00 + 1.008, abs=0.01)


@pytest.mark.parametrize(
    ("text", "symbols", "amounts", "expected"),
    [
        ("K Al3 S2 O14 H6", ("K", "Al", "S", "O"), (3, 9, 6, 42), ("O14 H6 Al3 S2 K1", True)),
        ("Mg O2 D1.998", ("Mg", "O"), (1, 2), ("O2 H1.998 Mg1", True)),
        ("Al2.38 Si.62 O4.77", ("Al", "Si", "O"), (4.76, 1.24, 9.54), ("O4.77 Al2.38 Si0.62", False)),
        ("Mg O", ("Mg", "O"), (4, 4), (None, False)),
        ("Cd O2 H2", ("Cd", "O"), (4, 4), (None, False)),  # contradicts the structure
        ("(Mg, Fe) O", ("Mg", "Fe", "O"), (2, 2, 4), (None, False)),
        ("H2", ("H",), (2,), (None, False)),
    ],
)
def test_published_compositions_are_used_where_they_say_more(
    text: str, symbols: tuple[str, ...], amounts: tuple[float, ...], expected: tuple[str | None, bool]
) -> None:
    found, lacks = published_composition(text, Composition(symbols, amounts))
    assert (None if found is None else composition_to_text(found), lacks) == expected
    if found is not None:
        assert text_to_composition(composition_to_text(found)) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Mg.7 Fe.3) O", "O1 Mg0.7 Fe0.3"),
        ("K Al3 (S O4)2 (O H)6", "O14 H6 Al3 S2 K1"),
        ("Mg O2 D1.998", "O2 H1.998 Mg1"),
        ("Ca (C O3", None),
        ("Ca )", None),
        ("Xx O", None),
        ("", None),
    ],
)
def test_formulas_are_read_as_journals_print_them(text: str, expected: str | None) -> None:
    found = parse_published(text)
    assert (None if found is None else composition_to_text(found)) == expected


def test_stored_lines_are_those_of_the_structures(table: ReferenceTable) -> None:
    for row in range(len(table)):
        sticks = table.sticks(row)
        d = sticks.wavelength / (2 * np.sin(np.radians(sticks.two_theta / 2)))
        lines = table.lines_of(np.array([row]))
        count = int(np.isfinite(lines.position).sum())
        strongest = int(lines.height[0].argmax())
        np.testing.assert_allclose(np.exp(-lines.position[0, strongest]), d[sticks.intensity.argmax()], rtol=2e-5)
        assert lines.height[0, strongest] == 1
        assert (np.diff(lines.position[0, :count]) > 0).all()
        assert np.array_equal(lines.position[0, :count], table.lines.position[row, :count])


def test_masses_energies_and_densities(table: ReferenceTable) -> None:
    row = one(table, "mp-2657")
    assert table.energy_above_hull[row] == pytest.approx(0.012)
    density = table.cell_mass[row] / table.cell_volume[row] / 0.602214076
    assert density == pytest.approx(4.25, abs=0.05)
    assert np.isnan(table.energy_above_hull[one(table, "mp-55")])


@pytest.mark.parametrize(
    ("identity", "parts"),
    [("mp-2657", ("mp-", 2657)), ("amcsd-0000008", ("amcsd-000000", 8)), ("x", ("x", -1)), ("a0", ("a", 0))],
)
def test_ids_are_split_into_beginning_and_number(identity: str, parts: tuple[str, int]) -> None:
    assert split_id(identity) == parts


def test_an_id_that_a_source_contains_twice_is_named(folder: Path) -> None:
    twice = write_rows(folder / "twice.parquet", [halite("a-1", 4.2), halite("a-1", 4.9)])
    with pytest.raises(DatasetError, match=r"contains the id 'a-1' twice"):
        build_reference_table(folder / "none.parquet", [Source(twice)])
    assert not (folder / "none.parquet").exists()


def test_a_measured_structure_without_its_oxygen_is_left_out(tmp_path: Path) -> None:
    whole = rutile(1, 4.6, mineral="Made")
    bare = rutile(2, 4.61, mineral="Made")
    whole["species"] = ["Ti", "Ti", "O", "O", "S", "S"]
    bare["species"], bare["frac_coords"] = ["Ti", "Ti", "S", "S"], np.ravel([*RUTILE[:2], *RUTILE[4:]]).tolist()
    source = write_rows(tmp_path / "minerals.parquet", [whole, bare, halite(3, 4.2, mineral="Other")])
    built = build_reference_table(tmp_path / "out.parquet", [Source(source, experimental=True)])
    assert [(identity, reason) for _, identity, reason in built.errors] == [
        ("minerals-0000002", "the structure lacks O, which minerals-0000001 of the same cell has")
    ]
    assert built.phases == 2


def test_two_tables_with_the_same_ids_keep_all_structures(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "first.parquet", [halite("a-1", 4.2), rutile("a-2", 4.6)])
    second = write_rows(tmp_path / "second.parquet", [halite("a-1", 5.1, ("Sr", "O")), halite("a-3", 6.1, ("Ba", "S"))])
    out = tmp_path / "both.parquet"
    result = CliRunner().invoke(app, ["reference", "build", str(out), str(first), str(second)])
    assert result.exit_code == 0, result.output
    assert "1 ids occur in an earlier source, too, and got the name of theirs: second:a-1" in result.output
    table = read_reference_table(out)
    assert sorted(table.id.tolist()) == ["a-1", "a-2", "a-3", "second:a-1"]
    assert table.formula(one(table, "second:a-1")) == "SrO"


def test_ids_of_several_tables_of_one_name_stay_unique(tmp_path: Path) -> None:
    sources = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        sources.append(Source(write_rows(tmp_path / str(number) / "own.parquet", [halite("a-1", 4.2 + number)])))
    built = build_reference_table(tmp_path / "built.parquet", sources)
    assert built.renamed == ("own:a-1", "own:own:a-1")
    assert set(read_reference_table(tmp_path / "built.parquet").id.tolist()) == {"a-1", *built.renamed}


def test_structures_that_cannot_be_stored_or_found_are_listed_and_the_rest_is_used(tmp_path: Path) -> None:
    heap = halite("heap", 4.2) | {"species": ["Fe"] * 8, "frac_coords": [0.0] * 24}
    tiny = halite("tiny", 4.2) | {"a": 1.0, "b": 1.0, "c": 1.0, "species": ["H"], "frac_coords": [0.0] * 3}
    source = Source(write_rows(tmp_path / "rows.parquet", [heap, tiny, halite("good", 4.2)]))
    built = build_reference_table(tmp_path / "built.parquet", [source])
    assert built.phases == 1
    reasons = {identity: reason for _, identity, reason in built.errors}
    assert "the occupancies of the atoms at 0, 0, 0 sum to 8" in reasons["heap"]
    atoms = Structure("heap", np.array([4.2] * 3 + [90] * 3), np.full(8, 26), np.zeros((8, 3)), np.ones(8))
    with pytest.raises(StructureError, match="heap: 8 atoms of one element are at the same place"):
        structure_to_unit(atoms, keep=False)
    assert reasons["tiny"].startswith("no reflection lies between")
    with pytest.raises(DatasetError, match="none of the 1 structures can be found in a pattern"):
        build_reference_table(tmp_path / "none.parquet", [Source(write_rows(tmp_path / "tiny.parquet", [tiny]))])


@pytest.mark.parametrize(("energy", "expected"), [(-0.001, 0.0), (-50.0, 0.0), (40.0, 32.767), (np.inf, 32.767)])
def test_energies_beyond_what_can_be_stored_are_limited(tmp_path: Path, energy: float, expected: float) -> None:
    source = Source(write_rows(tmp_path / "rows.parquet", [halite("a", 4.2)]))
    build_reference_table(tmp_path / "built.parquet", [source], energies={"a": energy})
    assert read_reference_table(tmp_path / "built.parquet").energy_above_hull == pytest.approx([expected])


@pytest.mark.parametrize("column", ["cell", "sites", "occupancy", "id_number"])
def test_a_table_whose_columns_are_of_another_type_is_refused(
    table: ReferenceTable, tmp_path: Path, column: str
) -> None:
    content = pq.read_table(table.path)
    texts = pa.array(["text"] * len(content))
    damaged = content.set_column(content.column_names.index(column), column, texts)
    pq.write_table(damaged, tmp_path / "damaged.parquet")
    with pytest.raises(DatasetError, match="expected a column of lists"):
        read_reference_table(tmp_path / "damaged.parquet")


def test_a_reference_table_is_a_source(table: ReferenceTable, tmp_path: Path) -> None:
    out = tmp_path / "again.parquet"
    built = build_reference_table(out, [Source(table.path)])
    assert built.errors == ()
    again = read_reference_table(out)
    assert sorted(again.id.tolist()) == sorted(table.id.tolist())
    for identity in table.id.tolist():
        row, former = one(again, identity), one(table, identity)
        assert again.formula(row) == table.formula(former)
        assert again.public_id(row) == table.public_id(former)
        assert again.name(row) == table.name(former)
        assert again.experimental[row] == table.experimental[former]
        np.testing.assert_allclose(again.cell[row], table.cell[former], atol=2e-5)


def test_a_dataset_is_no_source(small_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="stores reflections and no structures"):
        build_reference_table(tmp_path / "out.parquet", [Source(small_dataset)])


def test_broken_files_of_a_folder_are_listed_and_the_rest_is_used(tmp_path: Path) -> None:
    crystals = tmp_path / "crystals"
    crystals.mkdir()
    (crystals / "broken.cif").write_text("data_x\n_cell_length_a ?\n", encoding="utf-8")
    (crystals / "empty.cif").write_text("", encoding="utf-8")
    record = {
        "id": "own-1",
        "lattice_mat": (4.2 * np.eye(3)).tolist(),
        "coords": HALITE,
        "elements": ["Ni"] * 4 + ["O"] * 4,
    }
    (crystals / "good.json").write_text(json.dumps([{"jid": "own-1", "atoms": {**record, "cartesian": False}}]))
    out = tmp_path / "own.parquet"
    result = CliRunner().invoke(app, ["reference", "build", str(out), str(crystals)])
    assert result.exit_code == 0, result.output
    assert "1 phases from 3 structures" in result.output
    assert "2 structures could not be used" in result.output
    errors = (tmp_path / "own.parquet.errors.csv").read_text(encoding="utf-8")
    assert "broken" in errors
    assert "empty" in errors
    again = CliRunner().invoke(app, ["reference", "build", str(out), str(crystals)])
    assert isinstance(again.exception, DatasetError)
    assert "exists already" in str(again.exception)
    shown = CliRunner().invoke(app, ["reference", "info", str(out), "--json"])
    assert json.loads(shown.output)["phases"] == 1
    assert read_reference_table(out).known.all()  # a table of calculated structures would have to say so
    found = CliRunner().invoke(app, ["reference", "find", "NiO", "--reference", str(out), "--json"])
    assert [phase["ids"] for phase in json.loads(found.output)] == [["own-1"]]


def test_rows_of_a_table_are_known_only_where_it_says_so(tmp_path: Path) -> None:
    rows = [halite("a", 4.2, known=True), halite("b", 5.0, ("Ca", "O"), known=False)]
    build_reference_table(tmp_path / "said.reference.parquet", [Source(write_rows(tmp_path / "said.parquet", rows))])
    unsaid = [{name: value for name, value in row.items() if name != "known"} for row in rows]
    build_reference_table(tmp_path / "un.reference.parquet", [Source(write_rows(tmp_path / "un.parquet", unsaid))])
    said, unknown = (read_reference_table(tmp_path / f"{name}.reference.parquet") for name in ("said", "un"))
    assert {str(one): bool(known) for one, known in zip(said.id, said.known, strict=True)} == {"a": True, "b": False}
    assert not unknown.known.any()


def test_a_folder_without_a_usable_structure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.cif").write_text("data_x\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="none of the 1 structures"):
        build_reference_table(tmp_path / "out.parquet", [Source(tmp_path)])


def test_a_table_of_another_version_or_kind_is_refused(table: ReferenceTable, tmp_path: Path) -> None:
    content = pq.read_table(table.path)
    layout = json.loads(content.schema.metadata[b"xxact_layout"])
    for change, message in ({"version": 99}, "version 99"), ({"kind": "structures"}, "expected 'reference'"):
        other = tmp_path / "other.parquet"
        metadata = {"xxact_layout": json.dumps({**layout, **change})}
        pq.write_table(content.replace_schema_metadata(metadata), other)
        with pytest.raises(DatasetError, match=message):
            read_reference_table(other)
    pq.write_table(content.replace_schema_metadata({}), other)
    with pytest.raises(DatasetError, match="does not state the layout"):
        read_reference_table(other)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(table.path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="cannot be read"):
        read_reference_table(damaged)


def test_several_tables_are_searched_as_one(table: ReferenceTable, tmp_path: Path) -> None:
    own = write_rows(tmp_path / "own.parquet", [halite("mp-7", 4.9), halite("own-1", 5.1, ("Sr", "O"))])
    joined = open_references([table.path, own])
    assert isinstance(joined, JoinedReferences)
    assert len(joined) == len(table) + 2
    assert len(set(joined.id.tolist())) == len(joined)
    assert {"own:mp-7", "own-1"} <= set(joined.id.tolist())
    (row,) = np.flatnonzero(joined.id == "own-1")
    assert joined.formula(int(row)) == "SrO"
    assert joined.symbols(int(row)) == ("O", "Sr")
    assert row in joined.rows_within(["Sr", "O"])
    rows = np.array([int(row), 0])
    np.testing.assert_array_equal(joined.lines_of(rows).position, joined.lines.position[rows])
    assert joined.space_group[row] == 225
    (tmp_path / "copy").mkdir()
    again = write_rows(tmp_path / "copy" / "own.parquet", [halite("mp-7", 4.9)])
    ids = open_references([table.path, own, again]).id.tolist()
    assert len(set(ids)) == len(ids)
    assert ids[-1] == "own:own:mp-7"
    with pytest.raises(DatasetError, match="given twice"):
        open_references([table.path, table.path])


def test_what_was_assumed_or_left_out_of_files_of_structures_is_noted(tmp_path: Path) -> None:
    cell = cubic(5.64)
    texts = {
        "good": make_cif(cell, *SALT, symbol="F m -3 m"),
        "no-symmetry": make_cif(cubic(2.82), *SALT),
        "other-volume": make_cif(cell, *SALT, symbol="F m -3 m", more="_cell_volume 190"),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.cif").write_text(text)
    left_out, assumed = reference_notes(open_references(tmp_path))
    assert re.match(r"the structure other-volume.* was left out: .*190 Å³ is stated", left_out)
    assert assumed == "no-symmetry: no symmetry is stated; P 1 was assumed"
    joined = open_references([tmp_path / "good.cif", tmp_path / "no-symmetry.cif"])
    assert reference_notes(joined) == (assumed,)
    printed = CliRunner().invoke(app, ["reference", "build", str(tmp_path / "out.parquet"), str(tmp_path)])
    assert f"note: {assumed}" in printed.output


def test_a_large_source_has_to_be_built_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xxact_core.search_match import opening

    monkeypatch.setattr(opening, "MOST_UNBUILT", 1)
    own = write_rows(tmp_path / "own.parquet", [halite("a", 4.9), halite("b", 5.1, ("Sr", "O"))])
    with pytest.raises(DatasetError, match="xxact reference build"):
        open_references(own)
    with pytest.raises(DatasetError, match="no table of reference phases"):
        open_references(tmp_path / "nowhere.parquet")
