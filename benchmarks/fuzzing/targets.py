"""What is fuzzed: a reader for each kind of file, its undamaged files, and whether a wrong answer could be noticed."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.oracle import contradictions, differs, file_text, told
from xxact_core.errors import InputError


@dataclass(frozen=True)
class Target:
    """A kind of file."""

    name: str

    seeds: Mapping[str, bytes]
    """Undamaged files by name."""

    read: Callable[[bytes, str], Any]
    """Reads content under a name; raises an `InputError` where it cannot."""

    silently_wrong: Callable[[bytes, Any, bytes, Any], str] = lambda *_: ""
    """What is wrong without a word (damaged content, what was read of it, undamaged content, what was read of that);
    empty where nothing is, or where the file could not tell."""

    originals: dict[str, Any] = field(default_factory=dict)
    """What was read of undamaged files, so that each is read once; an `InputError` where it is refused."""

    def original(self, seed: str) -> Any:  # noqa: ANN401 - what the reader returns
        """What is read of an undamaged file."""
        if seed not in self.originals:
            try:
                self.originals[seed] = self.read(self.seeds[seed], seed)
            except InputError as error:
                self.originals[seed] = error
        return self.originals[seed]


# ------------------------------------------------------------------------------------------------------------ patterns
def pattern_target(seeds: Mapping[str, bytes]) -> Target:
    """Instrument files."""
    from xxact_core.readers.read import read_scans

    baseline: dict[bytes, set[str]] = {}

    def wrong(damaged: bytes, patterns: Any, undamaged: bytes, originals: Any) -> str:  # noqa: ANN401 - patterns
        if isinstance(originals, InputError) or told(patterns, originals) or not differs(patterns, originals):
            return ""
        if undamaged not in baseline:
            baseline[undamaged] = contradictions(file_text(undamaged), undamaged, originals)
        found = contradictions(file_text(damaged), damaged, patterns) - baseline[undamaged]
        return f"contradicts {', '.join(sorted(found))}" if found else ""

    return Target("patterns", seeds, lambda data, name: read_scans(data, name=name), wrong)


# ---------------------------------------------------------------------------------------------------------- structures
def structure_target(seeds: Mapping[str, bytes]) -> Target:
    """CIF, JSON and extended XYZ of structures, read as `xxact build` does."""
    from xxact_core.structures.labels import Labels
    from xxact_core.structures.sources import list_blocks, read_block

    def read(data: bytes, name: str) -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_bytes(data)
            return [
                item for block in list_blocks(path, rows=50, limit=50) for item in read_block(block, labels=Labels())
            ]

    def wrong(damaged: bytes, items: Any, _: bytes, originals: Any) -> str:  # noqa: ANN401 - structures
        if isinstance(originals, InputError) or len(items) != 1 or isinstance(items[0], tuple):
            return ""
        stated = re.findall(rb"^_chemical_formula_sum\s+'?([A-Za-z0-9. ]+?)'?\s*$", damaged, re.MULTILINE)
        if len(stated) != 1 or len(originals) != 1 or isinstance(originals[0], tuple):
            return ""
        return _formula_contradicted(stated[0].decode(), items[0], originals[0])

    return Target("structures", seeds, read, wrong)


def _formula_contradicted(text: str, item: Any, original: Any) -> str:  # noqa: ANN401 - structures
    """Whether the elements of a structure are not those of the formula sum, although those of the original are."""
    from xxact_core.compositions.element_table import SYMBOLS

    stated = set(re.findall(r"[A-Z][a-z]?", text)) - {"H", "D"}
    read, before = ({SYMBOLS[number - 1] for number in one.atomic_numbers} - {"H"} for one in (item, original))
    return f"the formula {text!r} has other elements" if read != stated == before else ""


# -------------------------------------------------------------------------------------------------------------- others
def formula_target(seeds: Mapping[str, bytes]) -> Target:
    """Formulas as users type them."""
    from xxact_core.compositions.partial import parse_composition

    return Target("formulas", seeds, lambda data, _: parse_composition(data.decode("utf-8", errors="replace")))


def checkpoint_target(folders: Mapping[str, Path]) -> Target:
    """Descriptions of checkpoints, whose weights are undamaged, with their digests."""
    from xxact_core.checkpoint import DESCRIPTION, WEIGHTS, load_checkpoint
    from xxact_core.json_digest import with_digest

    scratch = Path(tempfile.mkdtemp(prefix="xxact-fuzzing-"))

    def read(data: bytes, name: str) -> Any:  # noqa: ANN401 - JSON
        folder = scratch / re.sub(r"\W", "_", name)
        if not folder.is_dir():
            folder.mkdir()
            shutil.copy(folders[name] / WEIGHTS, folder / WEIGHTS)
        (folder / DESCRIPTION).write_bytes(data)
        load_checkpoint(folder)
        return json.loads(data)

    def wrong(_: bytes, description: Any, __: bytes, original: Any) -> str:  # noqa: ANN401 - JSON
        return "is loaded with another meaning" if description != original else ""

    described = {name: json.loads((folder / DESCRIPTION).read_bytes()) for name, folder in folders.items()}
    seeds = {name: json.dumps(with_digest(values), indent=1).encode() for name, values in described.items()}
    return Target("checkpoints", seeds, read, wrong)


def snapshot_target(manifests: Mapping[str, Path]) -> Target:
    """Manifests of snapshots, whose weights and state are undamaged."""
    from xxact_core.training.snapshots import check_snapshot

    scratch = Path(tempfile.mkdtemp(prefix="xxact-fuzzing-"))

    def read(data: bytes, name: str) -> int:
        folder = scratch / re.sub(r"\W", "_", name) / manifests[name].name
        if not folder.is_dir():
            shutil.copytree(manifests[name], folder)
        (folder / "manifest.json").write_bytes(data)
        return check_snapshot(folder)

    def wrong(_: bytes, step: Any, __: bytes, original: Any) -> str:  # noqa: ANN401 - a step
        return f"gives the step {step}" if step != original else ""

    seeds = {name: (folder / "manifest.json").read_bytes() for name, folder in manifests.items()}
    return Target("snapshots", seeds, read, wrong)


def journal_target(seeds: Mapping[str, bytes]) -> Target:
    """Journals of runs."""
    from xxact_core.training.journal import read_journal

    def read(data: bytes, _: str) -> Any:  # noqa: ANN401 - events
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            path.write_bytes(data)
            return read_journal(path)

    return Target("journals", seeds, read)


def session_target(seeds: Mapping[str, bytes]) -> Target:
    """Session files of the app."""
    from xxact_app.page.session_file import file_to_saved

    return Target("sessions", seeds, lambda data, name: file_to_saved(data, name=name))


def recipe_target(seeds: Mapping[str, bytes]) -> Target:
    """Recipes in TOML and JSON, read as the command line and the run folder do."""
    from xxact_core.errors import RecipeError
    from xxact_core.training.config import Recipe, override
    from xxact_core.training.recipes import recipe_by_name

    def read(data: bytes, name: str) -> Recipe:
        try:
            values = json.loads(data) if name.endswith(".json") else tomllib.loads(data.decode())
        except (ValueError, RecursionError) as error:
            msg = f"{name} cannot be parsed"
            raise RecipeError(msg) from error
        if not isinstance(values, dict):
            msg = f"{name} has no settings"
            raise RecipeError(msg)
        return override(recipe_by_name(str(values.pop("recipe", "compact"))), values)

    return Target("recipes", seeds, read)


def pipeline_target(seeds: Mapping[str, bytes]) -> Target:
    """Files of processing steps."""
    from xxact_core.processing.pipeline import read_pipeline

    def read(data: bytes, _: str) -> Any:  # noqa: ANN401 - a pipeline
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "steps.json"
            path.write_bytes(data)
            return read_pipeline(path)

    return Target("processing steps", seeds, read)
