"""The undamaged files that are damaged: of a collection of instrument files, of the tests, and of version 0.1.0."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.fuzzing.targets import (
    Target,
    checkpoint_target,
    formula_target,
    journal_target,
    pattern_target,
    pipeline_target,
    recipe_target,
    session_target,
    snapshot_target,
    structure_target,
)
from benchmarks.harness import EXAMPLES, REPOSITORY

FIXTURES = REPOSITORY / "tests" / "fixtures" / "v0_1_0"
LARGEST = 40_000
"""Largest file of the collection that is damaged [bytes]; larger ones take long and show nothing else."""

FORMULAS = (
    "LaB6", "Fe2O3", "Ca5(PO4)3OH", "CuSO4·5H2O", "3CaO.Al2O3.6H2O", "(Mg0.5Fe0.5)2SiO4", "Fe 40±2 O 60±3", "Fe,O",
    "Fe 72 wt% ?O", "YBa2Cu3O6.9", "Al₂O₃", "Ca[Al2Si2O8]", "K+ Cl-", "α-Fe2O3", "TiO2:Nb", "CoFe2O4",
    "NaCl 50% KCl 50%",
)  # fmt: skip


def all_targets(collection: Path) -> list[Target]:
    """Everything that is fuzzed."""
    patterns, structures = {**made_patterns(), **examples()}, made_structures()
    for path in sorted(collection.glob("formats/*/*")) + sorted(collection.glob("cases/*/*")):
        if (
            not path.is_file()
            or path.stat().st_size > LARGEST
            or (path.suffix in {".csv", ".txt"} and "cases" in path.parts)
        ):
            continue
        chosen = structures if path.parent.name.startswith(("cif_", "json_")) else patterns
        if path.suffix != ".json" or chosen is structures:
            chosen[f"{path.parent.name}/{path.name}"] = path.read_bytes()
    return [pattern_target(patterns), structure_target(structures), *small_targets()]


def small_targets() -> list[Target]:
    """Everything but patterns and structures."""
    return [
        formula_target({text: text.encode() for text in FORMULAS}),
        checkpoint_target(
            {path.parent.parent.name: path.parent for path in FIXTURES.glob("runs/*/model/checkpoint.json")}
        ),
        snapshot_target(
            {
                path.parent.parent.parent.name: path.parent
                for path in FIXTURES.glob("runs/*/checkpoints/step-*/manifest.json")
            }
        ),
        journal_target(_files("runs/*/journal.jsonl")),
        session_target(_files("sessions/*.xxact")),
        recipe_target(_files("recipes/every_setting.*") | _files("recipes/full.toml")),
        pipeline_target(_files("preparations/*.json")),
    ]


def examples() -> dict[str, bytes]:
    """The measured patterns that ship."""
    return {path.name: path.read_bytes() for path in sorted(EXAMPLES.iterdir()) if 0 < path.stat().st_size < LARGEST}


def made_patterns() -> dict[str, bytes]:
    """Files that the tests make, one of each format."""
    tests = str(REPOSITORY / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    import pattern_files as made

    return {
        "made.xrdml": made.xrdml().encode(),
        "made.ras": made.ras().encode(),
        "made.cif": made.powder_cif().encode(),
        "made.rasx": made.archive(made.rasx()),
        "made.brml": made.archive(made.brml()),
        "made-1.raw": made.raw_1(),
        "made-2.raw": made.raw_2(),
        "made-3.raw": made.raw_3(),
        "made-stoe.raw": made.stoe_raw(),
        "made.rd": made.philips_rd(),
        "made.udf": made.philips_udf().encode(),
        "made.nxs": made.nexus(),
        **{f"made-two.{kind}": made.two_scans(kind) for kind in ("ras", "xrdml", "rasx")},
    }


def made_structures() -> dict[str, bytes]:
    """Structures that the tests make, or that are in the fixtures."""
    tests = str(REPOSITORY / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    import pattern_files as made

    return {"rock_salt.cif": made.cif_of_rock_salt().encode()}


def _files(pattern: str) -> Mapping[str, bytes]:
    return {"-".join(path.relative_to(FIXTURES).parts): path.read_bytes() for path in sorted(FIXTURES.glob(pattern))}
