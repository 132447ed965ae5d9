"""Damaged files: a short run finds nothing, and what the script looks for is found."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pattern_files as made
import pytest

from benchmarks.fuzzing.mutations import MUTATIONS, mutate
from benchmarks.fuzzing.seeds import made_patterns, made_structures, small_targets
from benchmarks.fuzzing.targets import Target, pattern_target, structure_target
from benchmarks.quality import fuzzing
from benchmarks.quality.fuzzing import State, damaged_file, fuzz, fuzz_one, table
from xxact_core.errors import PatternError


def test_short_run_finds_no_error_and_nothing_hung(tmp_path: Path) -> None:
    targets = [pattern_target(made_patterns()), structure_target(made_structures()), *small_targets()]
    state = State.load(tmp_path)
    fuzz(targets, state, files=400, seed=7, until=time.monotonic() + 15)
    findings = (tmp_path / "findings.jsonl").read_text() if (tmp_path / "findings.jsonl").exists() else ""
    assert not {key: count for key, count in state.totals.items() if key.endswith(("uncaught", "hung"))}, findings
    assert state.totals.total() > 50
    assert "patterns" in table(state.totals)


def test_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    targets = [pattern_target({"made.ras": made.ras().encode()})]
    whole, parts = State.load(tmp_path / "whole"), State.load(tmp_path / "parts")
    fuzz(targets, whole, files=30, seed=1)
    fuzz(targets, parts, files=12, seed=1)
    resumed = State.load(tmp_path / "parts")
    fuzz(targets, resumed, files=30, seed=1)
    assert resumed.totals == whole.totals


def test_damage_follows_from_seed_and_number() -> None:
    targets = [pattern_target(made_patterns())]
    first, again, other = (damaged_file(targets, number, seed=3)[2] for number in (5, 5, 6))
    assert first == again != other


def test_every_kind_of_damage_changes_files() -> None:
    data, random = made.xrdml().encode(), np.random.default_rng(0)
    for name, mutation in MUTATIONS.items():
        assert any(mutation(data, random) != data for _ in range(5)), name
    archive = made.archive(made.rasx())
    assert {mutate(archive, random)[1].endswith("member") for _ in range(40)} == {True, False}


def test_errors_and_endless_loops_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SECONDS", 0.2)

    def loops(_data: bytes, _name: str) -> None:
        while True:
            pass

    def fails(data: bytes, _name: str) -> bytes:
        if data != b"whole":
            raise KeyError(data)
        return data

    def refuses(data: bytes, _name: str) -> bytes:
        if data != b"whole":
            raise PatternError(str(data))
        return data

    outcomes = Counter(
        fuzz_one(Target("a", {"seed": b"whole"}, read, originals={"seed": b""}), "seed", b"hole", "").kind
        for read in (fails, refuses, loops, lambda data, _: data)
    )
    assert outcomes == {"uncaught": 1, "refused": 1, "hung": 1, "read": 1}


def test_silent_change_is_found() -> None:
    """A start that contradicts the stop of the same file, read by a reader that believes it."""
    from xxact_core.patterns.pattern import Pattern

    def believing(data: bytes, name: str) -> list[Pattern]:
        first = float(data.split(b"DataAngleRange,")[1].split(b",")[0])
        return [Pattern(two_theta=first + 0.02 * np.arange(200), intensity=made.COUNTS, wavelength=1.5406, name=name)]

    data = made.philips_udf().encode()
    target = Target("patterns", {"made.udf": data}, believing, pattern_target({}).silently_wrong)
    damaged = data.replace(b"10.0000", b"10.8000")
    assert fuzz_one(target, "made.udf", damaged, "").reason == "contradicts stop"
    assert fuzz_one(target, "made.udf", data, "").kind == "read"
